"""Whether an image is near what a task's weights were trained on."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from monai.data import MetaTensor
from nibabel.orientations import io_orientation

from .case import RefusedError

Mode = Literal["refuse", "warn", "off"]
RULES = (
    "kinds", "modality", "channels", "spatial_dims", "slice_axis", "spacing_mm", "field_of_view_mm", "size_px"
)  # fmt: skip
FAR_SPACING = 2.5
FAR_FIELD = 1.5
FAR_SIZE = 1.5
HOUNSFIELD_MINIMUM = -500
THICK = 1.2  # times the next spacing, from which one axis is that of the slices
AXES = ("left to right", "back to front", "foot to head")


def check_rules(rules: Mapping[str, Any], mode: str) -> None:
    """Raise ValueError for rules, or a mode, that :func:`judge` cannot follow."""
    if mode not in ("refuse", "warn", "off"):
        raise ValueError(f"fitness mode: expected 'refuse', 'warn' or 'off', received {mode!r}")
    if not isinstance(rules, Mapping):
        raise ValueError(f"fitness rules: expected an object, received {rules!r}")
    unknown = set(rules) - set(RULES)
    if unknown:
        raise ValueError(f"fitness rules: expected {', '.join(RULES)}, received {sorted(unknown)[0]!r}")
    for name in ("spacing_mm", "field_of_view_mm", "size_px"):
        given = rules.get(name)
        ranges = [given] if _is_range(given) else given
        if given is not None and not (isinstance(ranges, list | tuple) and all(map(_is_range, ranges))):
            raise ValueError(
                f"fitness rules: {name}: expected [low, high], or one an axis, received {given!r}"
            )


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(bound, int | float) for bound in value)
    )


def judge(image: MetaTensor, rules: Mapping[str, Any], mode: Mode = "refuse") -> list[str]:
    """Compares an image with a task's declared fitness.

    Args:
        image: what :func:`read_case` returned.
        rules: any of ``kinds``, ``modality``, ``channels`` (a number, or several), ``spatial_dims``, ``slice_axis``
            (0, 1 or 2 of RAS, which thick slices are stacked along), and ranges ``[low, high]``, or one range an axis in
            ascending order of size, ``spacing_mm`` and ``field_of_view_mm`` (``size_px`` for pictures).
        mode: ``warn`` turns refusals into warnings; ``off`` does nothing.

    Returns:
        Warnings, a sentence each.

    Raises:
        RefusedError: the answer would be nonsense.
        ValueError: an unknown rule or mode.
    """
    check_rules(rules, mode)
    if mode == "off":
        return []
    nonsense = [*_kind(image, rules), *_modality(image, rules), *_slice_axis(image, rules)]
    warnings: list[str] = []
    if not nonsense:
        for far, sentence in _ranges(image, rules):
            (nonsense if far else warnings).append(sentence)
    if nonsense and mode == "refuse":
        raise RefusedError(f"{image.meta.get('filename_or_obj', 'image')}: {nonsense[0]}")
    return nonsense + warnings


def with_channels(image: MetaTensor, channels: int | None, grey_as_colour: bool = False) -> MetaTensor:
    """An image as a network takes it.

    Args:
        image: what :func:`read_case` returned.
        channels: that the network takes; None: any number.
        grey_as_colour: a grey picture becomes one of three equal channels, as if it had been saved in colour.

    Raises:
        RefusedError: it has other channels, and no answer is possible.
    """
    if grey_as_colour and image.ndim == 3 and (len(image), channels) == (1, 3):
        return cast(MetaTensor, image.repeat(3, 1, 1))
    for problem in _channels(image, channels):
        raise RefusedError(f"{image.meta.get('filename_or_obj', 'image')}: {problem}")
    return image


def _kind(image: MetaTensor, rules: Mapping[str, Any]) -> list[str]:
    """What the image is, against what the task takes."""
    dims = image.ndim - 1
    kind = image.meta.get("kind") or ("picture" if dims == 2 else "nifti")
    problems = []
    if "kinds" in rules and kind not in rules["kinds"]:
        problems.append(f"the input is a {kind}, but the task expects {' or '.join(rules['kinds'])}")
    if "spatial_dims" in rules and dims != rules["spatial_dims"]:
        problems.append(f"it has {dims} spatial dimensions, but the task expects {rules['spatial_dims']}")
    return [f"{problem}; choose another task" for problem in problems] + _channels(
        image, rules.get("channels")
    )


def _channels(image: MetaTensor, wanted: int | Sequence[int] | None) -> list[str]:
    found, colour = len(image), "a colour picture" if len(image) == 3 else "a grey image"
    numbers = [wanted] if isinstance(wanted, int) else wanted
    if numbers is None or found in numbers:
        return []
    grey = image.ndim == 3 and found == 1 and [*numbers] == [3]
    advice = "save it in colour (RGB), or choose another task" if grey else "choose another task"
    return [
        f"it has {found} channels ({colour}), but the task expects {' or '.join(map(str, numbers))}; {advice}"
    ]


def _modality(image: MetaTensor, rules: Mapping[str, Any]) -> list[str]:
    wanted = rules.get("modality")
    if not wanted:
        return []
    found = image.meta.get("modality")
    if found:
        if found in wanted:
            return []
        return [f"Modality is {found!r}, but the task expects {' or '.join(wanted)}; choose another task"]
    least = float(image.min())
    if "CT" not in wanted and image.ndim == 4 and least <= HOUNSFIELD_MINIMUM:
        return [
            f"its least value is {least:g}, as in CT, but the task expects {' or '.join(wanted)}; "
            "choose another task"
        ]
    return []


def _slice_axis(image: MetaTensor, rules: Mapping[str, Any]) -> list[str]:
    """Which way thick slices are stacked, against the way that the network was shown."""
    wanted = rules.get("slice_axis")
    if wanted is None or image.ndim != 4:
        return []
    affine = np.asarray(image.affine, dtype=float)
    thick = thick_axis(np.linalg.norm(affine[:3, :3], axis=0))
    if thick is None:
        return []
    found = int(io_orientation(affine)[thick, 0])
    if found == wanted:
        return []
    return [
        f"its slices are stacked from {AXES[found]}, but the task expects {AXES[wanted]}; choose another series or task"
    ]


def thick_axis(spacing: Sequence[float] | np.ndarray) -> int | None:
    """The axis along which slices are stacked that are thicker than their pixels; None: there are none."""
    thick = int(np.argmax(spacing))
    return thick if spacing[thick] >= THICK * np.sort(spacing)[1] else None


def _ranges(image: MetaTensor, rules: Mapping[str, Any]) -> list[tuple[bool, str]]:
    found = []
    spatial = np.asarray(image.shape[1:], dtype=float)
    if image.ndim == 4:
        affine = np.asarray(image.affine, dtype=float)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        found += _outside(
            "spacing", spacing, rules.get("spacing_mm"), FAR_SPACING, "mm", "resample the image"
        )
        found += _outside(
            "field of view", spacing * spatial, rules.get("field_of_view_mm"), FAR_FIELD, "mm",
            "crop the image to the region that the task was trained on",
        )  # fmt: skip
    else:
        found += _outside("size", spatial, rules.get("size_px"), FAR_SIZE, "pixels", "resize the picture")
    return found


def _outside(
    what: str, values: np.ndarray, allowed: Sequence[Any] | None, factor: float, unit: str, advice: str
) -> list[tuple[bool, str]]:
    if allowed is None:
        return []
    values = np.sort(values)
    per_axis = [allowed] * len(values) if np.isscalar(allowed[0]) else list(allowed)
    shown = " x ".join(f"{value:.4g}" for value in values)
    outside = [pair for pair in zip(values, per_axis, strict=True) if not pair[1][0] <= pair[0] <= pair[1][1]]
    if not outside:
        return []
    far = [
        (value, limits) for value, limits in outside if not limits[0] / factor <= value <= limits[1] * factor
    ]
    low, high = (far or outside)[-1][1]
    end = f"; {advice}" if far else ""
    where = f"{'far ' if far else ''}outside the trained range {low:g} to {high:g} {unit}"
    return [(bool(far), f"the {what} is {shown} {unit}, {where}{end}")]
