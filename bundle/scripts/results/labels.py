"""The label table: what each value of a mask is called, how it is drawn, how DICOM codes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_KEYS = ("value", "name", "colour", "category", "type", "modifiers", "region")
_REQUIRED = ("value", "name", "colour", "category", "type")

# Of Verhoeff's check digit (1969), which ends every SNOMED CT identifier.
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


@dataclass(frozen=True)
class Code:
    """One coded concept, as DICOM writes it.

    Attributes:
        value: code value, at most 16 characters, e.g. ``"5366008"``.
        scheme: coding scheme designator, ``"SCT"`` for SNOMED CT.
        meaning: what a person reads, at most 64 characters.
    """

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        for name, text, limit in (
            ("value", self.value, 16),
            ("scheme", self.scheme, 16),
            ("meaning", self.meaning, 64),
        ):
            if not isinstance(text, str) or not text.strip() or len(text) > limit or not text.isprintable():
                raise ValueError(
                    f"a code's {name} must be a text of 1 to {limit} printable characters, got {text!r} in "
                    f"{(self.value, self.scheme, self.meaning)!r}"
                )
        if self.scheme == "SCT" and not is_snomed_identifier(self.value):
            raise ValueError(
                f"{self.value!r} ({self.meaning!r}) is no SNOMED CT identifier: expected 6 to 16 digits that "
                "end in a valid check digit"
            )


@dataclass(frozen=True)
class Label:
    """One value of a segmentation.

    Attributes:
        value: value in the mask, 1 to 255.
        name: what a person reads, at most 64 characters.
        colour: red, green and blue, 0 to 255.
        category: DICOM segmented property category, e.g. anatomical structure.
        type: DICOM segmented property type, e.g. hippocampus.
        modifiers: DICOM segmented property type modifiers, e.g. anterior, left.
        region: anatomic region of a finding, e.g. the colon of a polyp.
    """

    value: int
    name: str
    colour: tuple[int, int, int]
    category: Code
    type: Code
    modifiers: tuple[Code, ...] = ()
    region: Code | None = None


def is_snomed_identifier(text: str) -> bool:
    """Whether ``text`` has the form of a SNOMED CT identifier, its check digit included."""
    if not (text.isascii() and text.isdigit() and 6 <= len(text) <= 16) or text[0] == "0":
        return False
    check = 0
    for position, character in enumerate(reversed(text)):
        digit = int(character)
        for _ in range(position % 8):
            digit = _PERMUTATION[digit]
        check = _compose(check, digit)
    return check == 0


def label_table(config: Sequence[Mapping[str, Any]]) -> tuple[Label, ...]:
    """Read the label table of a configuration, strictly.

    Args:
        config: one mapping a label with the keys ``value``, ``name``, ``colour`` (red, green, blue),
            ``category`` and ``type`` (each ``[code value, scheme, meaning]``), and optionally ``modifiers``
            (a list of codes) and ``region`` (a code).

    Returns:
        The labels, sorted by value.

    Raises:
        ValueError: the table is empty, a key is unknown or missing, a value is taken twice or outside
            1 to 255, or a colour or code is malformed; the message names the label and what was found.
    """
    if isinstance(config, Mapping | str) or not isinstance(config, Sequence) or not config:
        raise ValueError(f"the label table must be a list of at least one label, got {config!r}")
    labels = sorted((_label(entry) for entry in config), key=lambda label: label.value)
    for first, second in pairwise(labels):
        if first.value == second.value:
            raise ValueError(f"label value {first.value} is given to {first.name!r} and to {second.name!r}")
    names = [label.name for label in labels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"label names must differ, got {', '.join(map(repr, twice))} more than once")
    return tuple(labels)


def class_labels(labels: Sequence[Mapping[str, Any]], out_channels: int) -> tuple[Label, ...]:
    """The label table, one label for each class above the background; of a network of one channel, its one label.

    Raises:
        ValueError: it is malformed, or its values are not those of the network's classes.
    """
    table = label_table(labels)
    values = [label.value for label in table]
    if values != list(range(1, max(out_channels, 2))):
        raise ValueError(
            f"out_channels is {out_channels}, but the labels have the values {values}; "
            "name each class from 1 once in the task's labels"
        )
    return table


def _label(entry: Any) -> Label:
    if not isinstance(entry, Mapping):
        raise ValueError(f"a label must be a mapping with the keys {', '.join(_REQUIRED)}, got {entry!r}")
    who = f"label {entry.get('name', entry.get('value', '?'))!r}"
    unknown = sorted(set(map(str, entry)) - set(_KEYS))
    missing = [key for key in _REQUIRED if key not in entry]
    if unknown or missing:
        raise ValueError(
            f"{who}: expected the keys {', '.join(_KEYS)} (the last two optional); "
            f"unknown: {unknown or 'none'}, missing: {missing or 'none'}"
        )
    value, name = entry["value"], entry["name"]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 255:
        raise ValueError(f"{who}: value must be an integer from 1 to 255 (0: background), got {value!r}")
    if not isinstance(name, str) or not name.strip() or len(name) > 64 or not name.isprintable():
        raise ValueError(f"{who}: name must be a text of 1 to 64 printable characters, got {name!r}")
    modifiers = entry.get("modifiers", ())
    if isinstance(modifiers, str) or not isinstance(modifiers, Sequence):
        raise ValueError(f"{who}: modifiers must be a list of codes, got {modifiers!r}")
    region = entry.get("region")
    return Label(
        value=value,
        name=name,
        colour=_colour(entry["colour"], who),
        category=_code(entry["category"], f"{who}: category"),
        type=_code(entry["type"], f"{who}: type"),
        modifiers=tuple(_code(code, f"{who}: modifier") for code in modifiers),
        region=None if region is None else _code(region, f"{who}: region"),
    )


def _colour(colour: Any, who: str) -> tuple[int, int, int]:
    well_formed = isinstance(colour, Sequence) and not isinstance(colour, str) and len(colour) == 3
    if not well_formed or not all(type(part) is int and 0 <= part <= 255 for part in colour):
        raise ValueError(f"{who}: colour must be three integers from 0 to 255, got {colour!r}")
    red, green, blue = colour
    return red, green, blue


def _code(code: Any, who: str) -> Code:
    if isinstance(code, str) or not isinstance(code, Sequence) or len(code) != 3:
        raise ValueError(f"{who} must be [code value, scheme, meaning], got {code!r}")
    try:
        return Code(*code)
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None


def _compose(first: int, second: int) -> int:
    """The product of two elements of D5: 0 to 4 are rotations, 5 to 9 reflections."""
    rotation = (first + (second if first < 5 else -second)) % 5
    return rotation + 5 * ((first >= 5) != (second >= 5))
