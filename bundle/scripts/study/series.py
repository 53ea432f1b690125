"""From the files of one DICOM series to the plan of one volume, or the reason why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .case import RefusedError
from .doubts import fewer_than_told, lost_ends, mixed_acquisitions, pixel_warnings, spacing_warnings
from .entry import Entry
from .geometry import affine_ras, axes, check_alike, check_plane, order, slice_step
from .header import shorten
from .limits import Limits
from .mixture import (
    check_concatenations,
    check_equal_positions,
    check_mixture,
    check_one_volume,
    check_source,
)
from .source import Source, masker_of

GEOMETRIC = ("CT", "MR", "PT", "NM")


@dataclass(frozen=True)
class Plan:
    """What will be read: a volume's slices in order, or one picture.

    Attributes:
        affine: (column, row, slice) to RAS millimetres; identity for a picture.
        shape: spatial shape, (columns, rows, slices) or (columns, rows).
    """

    entries: tuple[Entry, ...]
    shape: tuple[int, ...]
    channels: int
    affine: np.ndarray
    modality: str
    warnings: tuple[str, ...] = ()


def make_plan(sources: Sequence[Source], limits: Limits) -> Plan:
    """Plans one case from the headers of its files; its warnings quote nothing of the patient.

    Raises:
        RefusedError: the series is not one regular volume and not one picture.
    """
    for source in sources:
        check_source(source)
    check_concatenations(sources)
    entries = [Entry(source, frame) for source in sources for frame in source.frames]
    warnings: list[str] = []
    kept = [entry for entry in entries if not entry.frame.localizer]
    if 0 < len(kept) < len(entries):
        warnings.append(
            f"left out {len(entries) - len(kept)} localizer image(s) of the series (ImageType LOCALIZER)"
        )
        entries = kept
    check_mixture(entries)
    placed = any(entry.frame.position or entry.frame.orientation for entry in entries)
    plan = (_volume if placed else _picture)(entries, limits, warnings)
    if not plan.warnings:
        return plan
    return replace(plan, warnings=tuple(map(masker_of(sources).quoted, plan.warnings)))


def _picture(entries: list[Entry], limits: Limits, warnings: list[str]) -> Plan:
    first = entries[0]
    modality = first.source.modality
    if modality in GEOMETRIC and first.pixels.samples == 1 and first.pixels.photometric != "PALETTE COLOR":
        raise RefusedError(
            f"{first.name}: ImagePositionPatient and ImageOrientationPatient are missing in a {modality} "
            "image; export the series again with its geometry"
        )
    if len(entries) > 1:
        raise RefusedError(
            f"{entries[1].name}: {len(entries)} frames without ImagePositionPatient in one file or series; "
            "a film is no volume, give single frames"
        )
    channels = 3 if first.pixels.samples > 1 or first.pixels.photometric == "PALETTE COLOR" else 1
    shape = (first.pixels.columns, first.pixels.rows)
    limits.check_voxels((channels, *shape), first.name)
    if first.pixels.photometric == "MONOCHROME1":
        warnings.append("PhotometricInterpretation MONOCHROME1: values inverted, so that brighter is larger")
    warnings += pixel_warnings(entries)
    return Plan(tuple(entries), shape, channels, np.eye(4), modality, tuple(warnings))


def _volume(entries: list[Entry], limits: Limits, warnings: list[str]) -> Plan:
    first = entries[0]
    if first.pixels.samples > 1 or first.pixels.photometric == "PALETTE COLOR":
        raise RefusedError(
            f"{first.name}: PhotometricInterpretation is {shorten(first.pixels.photometric)}, a colour "
            "image with a place in the patient; expected grey values, export the original series"
        )
    planes = [entry.plane for entry in entries]
    for plane in planes:
        check_plane(plane)
    check_alike(planes)
    sequence = order(planes)
    entries = [entries[index] for index in sequence]
    planes = [planes[index] for index in sequence]
    shape = (first.pixels.columns, first.pixels.rows, len(entries))
    limits.check_voxels(shape, first.name)
    if len(entries) == 1:
        step, more = _single_slice(entries[0])
    else:
        check_equal_positions(entries)
        check_one_volume(entries)
        step, more = slice_step(planes)
        warnings += mixed_acquisitions(entries)
        warnings += spacing_warnings(entries, step, float(step @ axes(planes[0])[2]))
    affine = affine_ras(planes[0], step)
    if not first.source.series:
        warnings.append("SeriesInstanceUID is missing: the images of one folder taken as one series")
    warnings += more + lost_ends(entries) + fewer_than_told(entries) + pixel_warnings(entries)
    return Plan(tuple(entries), shape, 1, affine, first.source.modality, tuple(warnings))


def _single_slice(entry: Entry) -> tuple[np.ndarray, list[str]]:
    for keyword, value in (
        ("SpacingBetweenSlices", entry.frame.between),
        ("SliceThickness", entry.frame.thickness),
    ):
        if value is not None and math.isfinite(value) and value > 0:
            return axes(entry.plane)[2] * value, [
                f"a single slice, its extent taken from {keyword} = {value:g} mm"
            ]
    raise RefusedError(
        f"{entry.name}: SliceThickness is {entry.frame.thickness!r} in a series of one slice, expected a "
        "number above 0 mm; export the series again with it"
    )
