"""A strict view of a DICOM data set: values are parsed here, so no text of the file leaks into warnings."""

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from pydicom.charset import decode_bytes, default_encoding, python_encoding
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from .case import RefusedError
from .limits import DEFAULT_LIMITS, Limits
from .opening import BoundedFile
from .quiet import quiet

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_SHOWN = 60
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def shorten(value: object) -> str:
    """``value`` in ``repr`` form, cut to a length that fits a sentence; quotations are closed all the same."""
    text = ascii(value)
    if len(text) <= _SHOWN:
        return text
    if not isinstance(value, str | bytes):
        return text[:_SHOWN] + "..."
    kept = value[:_SHOWN]
    while len(ascii(kept)) > _SHOWN:  # no escape is cut apart
        kept = kept[:-1]
    text = ascii(kept)
    return f"{text[:-1]}...{text[-1]}"


@lru_cache(maxsize=1024)
def tag_of(keyword: str) -> BaseTag:
    """An attribute's tag."""
    return Tag(keyword)


@lru_cache(maxsize=1024)
def _vr(keyword: str) -> str:
    return dictionary_VR(tag_of(keyword))


def is_keyword(name: str) -> bool:
    """Whether ``name`` is a DICOM attribute's keyword."""
    return name in keyword_dict


def is_uid(text: str) -> bool:
    """Whether a text is a UID, and so a safe file name."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _unescaped(value: bytes, encodings: list[str]) -> str:
    """What bytes with ISO 2022's escape sequences mean (PS3.5, 6.1.2.5)."""
    with quiet():
        return decode_bytes(value, encodings or [default_encoding], {*"\\^="})


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip(" \0") for part in text.split("\\")) if part)


class Header:
    """Attributes of one data set or sequence item, by keyword.

    Args:
        dataset: what pydicom read.
        name: the file as messages name it.
        path: where a sequence item lies, for messages, such as ``PlanePositionSequence of frame 3: ``.
    """

    def __init__(self, dataset: Dataset, name: str, path: str = "", limits: Limits = DEFAULT_LIMITS) -> None:
        self.dataset = dataset
        self.limits = limits
        self.name = name
        self.path = path

    def refusal(self, keyword: str, problem: str) -> RefusedError:
        """The error that says what is wrong with an attribute."""
        return RefusedError(f"{self.name}: {self.path}{keyword} {problem}")

    def __contains__(self, keyword: str) -> bool:
        return tag_of(keyword) in self.dataset

    def _raw(self, keyword: str) -> tuple[Any, bool]:
        """An element's value as stored, and whether it is little endian."""
        tag = tag_of(keyword)
        if tag not in self.dataset:
            return None, True
        try:
            element = self.dataset.get_item(tag)
        except Exception:
            raise self.refusal(keyword, "cannot be read; export the file again") from None
        value = getattr(element, "value", None)
        if isinstance(value, Sequence | Dataset):
            raise self.refusal(keyword, "is a sequence, expected a plain value; export the file again")
        return value, getattr(element, "is_little_endian", True)

    def raw_bytes(self, keyword: str) -> tuple[bytes | None, bool]:
        """The bytes of a binary attribute, and whether they are little endian."""
        value, little = self._raw(keyword)
        return (value if isinstance(value, bytes) else None), little

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of a text attribute, stripped; empty when it is absent or empty."""
        value, _ = self._raw(keyword)
        if value is None:
            return ()
        if isinstance(value, bytes):
            value = value.decode("latin-1").split("\\")
        elif isinstance(value, str) or not hasattr(value, "__iter__"):
            value = [value]
        parts = tuple(str(part).strip(" \0") for part in value)
        return parts if any(parts) else ()

    def text(self, keyword: str) -> str:
        """The only or first value of a text attribute, or ``""``."""
        return next(iter(self.texts(keyword)), "")

    def numbers(self, keyword: str, count: int | None = None, signed: bool = False) -> tuple[float, ...]:
        """The values of a numeric attribute; empty when it is absent or empty.

        Args:
            keyword: the attribute.
            count: how many values it must have.
            signed: how to read attributes that are signed or unsigned depending on the pixels.
        """
        value, little = self._raw(keyword)
        if value is None or self._is_blank(keyword, value):
            return ()
        try:
            result = self._parse(keyword, value, little, signed)
        except (ValueError, struct.error, OverflowError, TypeError):
            raise self.refusal(
                keyword, f"is {shorten(value)}, not a number; correct it or export again"
            ) from None
        if count is not None and len(result) != count and result:
            raise self.refusal(
                keyword, f"is {shorten(result)}, expected {count} values; export the file again"
            )
        return result

    @staticmethod
    def _is_blank(keyword: str, value: Any) -> bool:
        """Whether a value is empty; zero bytes are blank in text and a number in binary."""
        if isinstance(value, bytes):
            return not value or (_vr(keyword) in ("DS", "IS") and not value.strip(b" \0"))
        return isinstance(value, str) and not value.strip(" \0")

    def _parse(self, keyword: str, value: Any, little: bool, signed: bool) -> tuple[float, ...]:
        if isinstance(value, bytes):
            vr = _vr(keyword)
            if vr in ("US or SS", "US or SS or OW"):
                vr = "SS" if signed else "US"
            if vr in _BINARY:
                code = _BINARY[vr]
                number = len(value) // struct.calcsize(code)
                return struct.unpack(("<" if little else ">") + code * number, value)
            value = value.decode("ascii").strip(" \0").split("\\")
            if any("_" in part for part in value):
                raise ValueError
            return tuple(float(part) for part in value)
        if hasattr(value, "__iter__") and not isinstance(value, str):
            return tuple(float(part) for part in value)
        return (float(value),)

    def number(self, keyword: str) -> float | None:
        """The one value of a numeric attribute, or None."""
        values = self.numbers(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str, signed: bool = False) -> int | None:
        """The one whole value of an attribute, or None."""
        values = self.numbers(keyword, 1, signed)
        if not values:
            return None
        if not math.isfinite(values[0]) or values[0] != int(values[0]):
            raise self.refusal(keyword, f"is {values[0]!r}, not a whole number; export the file again")
        return int(values[0])

    def items(self, keyword: str) -> list["Header"]:
        """The items of a sequence, empty when it is absent."""
        tag = tag_of(keyword)
        if tag not in self.dataset:
            return []
        try:
            self._unfold(tag)
            value = self.dataset[tag].value
            path = f"{self.path}{keyword}: "
            return [Header(item, self.name, path, self.limits) for item in value or ()]
        except RefusedError:
            raise
        except Exception:
            raise self.refusal(keyword, "cannot be read; export the file again") from None

    def _unfold(self, tag: BaseTag) -> None:
        """Parses a sequence that is still bytes, within the limits of a header."""
        raw: Any = self.dataset.get_item(tag)
        value = getattr(raw, "value", None)
        if not isinstance(value, bytes):
            return
        unknown = raw.VR == "UN"
        implicit, little = unknown or raw.is_implicit_VR, unknown or raw.is_little_endian
        stream = BoundedFile(io.BytesIO(value), self.limits, self.name)
        # pydicom reads from anything that has read, seek and tell
        source: Any = stream
        items = read_sequence(source, implicit, little, len(value), default_encoding)
        self.dataset.add_new(tag, "SQ", items)

    def shown(self, keyword: str) -> tuple[str, ...]:
        """The values of any attribute as text, decoded by the file's character set; none if it is damaged."""
        try:
            value, _ = self._raw(keyword)
            if not isinstance(value, bytes):
                return self.texts(keyword)
            if _vr(keyword) in _BINARY or _vr(keyword).startswith("US or"):
                return tuple(f"{number:g}" for number in self.numbers(keyword))
        except RefusedError:
            return ()
        return _parts(next(self._decoded(value)))

    def identifying(self, keyword: str) -> set[str]:
        """The values of an attribute as ``shown``, and as they read where the character set is declared wrongly."""
        try:
            value, _ = self._raw(keyword)
        except RefusedError:
            return set()
        if not isinstance(value, bytes):
            return {*self.shown(keyword)}
        return {part for text in self._decoded(value) for part in _parts(text)}

    def _decoded(self, value: bytes) -> Iterator[str]:
        """What bytes can mean, the likeliest first: by the file's own character sets, as UTF-8, as Latin-1."""
        declared = self.texts("SpecificCharacterSet")
        encodings = [name for text in declared if (name := python_encoding.get(text))]
        if b"\x1b" in value:
            with suppress(UnicodeDecodeError, LookupError):
                yield _unescaped(value, encodings)
        for encoding in (*encodings, "utf-8"):
            with suppress(UnicodeDecodeError, LookupError):
                yield value.decode(encoding)
        yield value.decode("latin-1")

    def group(self, keyword: str) -> "Header | None":
        """The first item of a sequence, or None."""
        return next(iter(self.items(keyword)), None)
