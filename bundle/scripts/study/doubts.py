"""What of a DICOM series that is read deserves a warning."""

import math
from collections.abc import Sequence

import numpy as np

from .case import RefusedError
from .entry import Entry
from .header import shorten
from .mixture import SINGLE, same
from .syntax import LOSSY

ALIKE_IN_ONE = ("FlipAngle", "InversionTime", "KVP", "ContrastBolusAgent", "ImageType")


def mixed_acquisitions(entries: Sequence[Entry]) -> list[str]:
    """Warnings where slices were taken in two ways, as where two acquisitions lie interleaved."""
    warnings = []
    for keyword in ALIKE_IN_ONE:
        values = [value for value in (entry.telling(keyword) for entry in entries) if value]
        other = next((value for value in values if not same(value, values[0], 0.01)), None)
        if other is not None:
            warnings.append(
                f"{keyword} is {shorten(values[0])} and {shorten(other)} in one series: slices of two acquisitions?"
            )
    for keyword in SINGLE:
        without = sum(not entry.telling(keyword) for entry in entries)
        if 0 < without < len(entries):
            warnings.append(
                f"{keyword} is missing in {without} of {len(entries)} slices: slices of two acquisitions?"
            )
    return warnings


def spacing_warnings(entries: Sequence[Entry], step: np.ndarray, height: float) -> list[str]:
    """A warning where the header's spacing is neither that along the normal nor that along a tilt."""
    between = entries[0].frame.between
    if between is None or not math.isfinite(between):
        return []
    tilted = float(np.linalg.norm(step))
    if min(abs(abs(between) - height), abs(abs(between) - tilted)) <= max(0.01 * height, 0.02):
        return []
    return [
        f"SpacingBetweenSlices is {between:g} mm, but the positions are {height:.4g} mm apart; positions used"
    ]


def lost_ends(entries: Sequence[Entry]) -> list[str]:
    """Warnings where numbers tell that the series began earlier or went on."""
    numbers = [entry.frame.stack_position for entry in entries]
    what = "InStackPositionNumber"
    if any(number is None for number in numbers):
        what = "InstanceNumber"
        numbers = [_soft_integer(entry, "InstanceNumber") for entry in entries]
    found = sorted(number for number in numbers if number is not None)
    if len(found) < len(entries):
        return []
    if len(set(found)) < len(found):
        several_frames = len({entry.source.file for entry in entries}) < len(entries)
        if several_frames or len(set(found)) == 1:
            return []
        return [f"{what} comes twice in one series: slices of two acquisitions?"]
    warnings = []
    if found[0] > 1 and found[-1] - found[0] == len(found) - 1:
        warnings.append(f"{what} begins at {found[0]}: the first or last slices may be missing")
    elif found[-1] - found[0] != len(found) - 1:
        warnings.append(
            f"{what} runs from {found[0]} to {found[-1]} over {len(found)} slices: some may be missing"
        )
    return warnings


def fewer_than_told(entries: Sequence[Entry]) -> list[str]:
    """Warnings where a header tells of more slices than there are (NumberOfSlices: of PET)."""
    told = (
        (keyword, _soft_integer(entries[0], keyword)) for keyword in ("ImagesInAcquisition", "NumberOfSlices")
    )
    return [
        f"{keyword} is {expected}, but there are {len(entries)} slices"
        for keyword, expected in told
        if expected is not None and expected > len(entries)
    ]


def _soft_integer(entry: Entry, keyword: str) -> int | None:
    """A number that only serves a warning: None where it is no number."""
    try:
        return entry.source.header.integer(keyword)
    except RefusedError:
        return None


def pixel_warnings(entries: Sequence[Entry]) -> list[str]:
    """Warnings on what the values mean: their unit, loss, padding, white for black."""
    first = entries[0]
    grey_ct = first.source.modality == "CT" and first.pixels.samples == 1
    doubts = first.frame.doubts_of_hounsfield if grey_ct else []
    warnings = [f"CT {doubt}: the values may not be Hounsfield units" for doubt in doubts]
    if any(
        entry.pixels.syntax in LOSSY or entry.source.header.text("LossyImageCompression") == "01"
        for entry in entries
    ):
        warnings.append("the images were compressed with loss")
    padding = first.source.header.numbers("PixelPaddingValue", signed=first.pixels.signed)
    if padding:
        warnings.append(
            f"PixelPaddingValue is {padding[0]:g}: padded voxels are kept, scaled like the others"
        )
    if len(first.frame.position) == 3 and first.pixels.photometric == "MONOCHROME1":
        warnings.append("PhotometricInterpretation MONOCHROME1: for display only, values kept")
    return warnings
