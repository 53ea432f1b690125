"""Reads the voxels of one DICOM case."""

from collections.abc import Iterator

import numpy as np

from .case import Case, RefusedError
from .colour import to_rgb
from .entry import Entry
from .fill import fill, whole
from .frames import iterate_frames
from .limits import Limits
from .pixels import clean
from .series import Plan, make_plan
from .source import read_source


def read_dicom(case: Case, limits: Limits) -> tuple[np.ndarray, Plan, list[str]]:
    """Reads a series.

    Returns:
        Array (channel, column, row[, slice]), the plan it was read by, and warnings.
    """
    names = case.shown or [case.relative(file) for file in case.files]
    sources = [read_source(file, name, limits) for file, name in zip(case.files, names, strict=True)]
    plan = make_plan(sources, limits)
    warnings = list(plan.warnings)
    if plan.channels == 3:
        entry = plan.entries[0]
        ((frame, colour),) = iterate_frames([(entry.source, entry.frame.index)], limits)
        values, changed = clean(frame, entry.pixels)
        warnings += _cleared({entry.name} if changed else set())
        return to_rgb(values, colour, entry.source).transpose(2, 1, 0), plan, warnings
    slopes = [_scale(entry) for entry in plan.entries]
    integers = all(whole(*pair) for pair in slopes) and not any(entry.pixels.real for entry in plan.entries)
    shape = (len(plan.entries), *plan.shape[1::-1])
    cleared: set[str] = set()
    volume = fill(shape, integers, lambda: _parts(plan, slopes, limits, cleared))
    warnings += _cleared(cleared)
    if len(plan.shape) == 2:
        return volume.transpose(0, 2, 1), plan, warnings
    return volume.transpose(2, 1, 0)[None], plan, warnings


def _cleared(names: set[str]) -> list[str]:
    if not names:
        return []
    return [f"bits above BitsStored were set in {len(names)} image(s), such as {min(names)}; cleared"]


def _scale(entry: Entry) -> tuple[float, float]:
    slope, intercept = entry.frame.slope, entry.frame.intercept
    slope, intercept = (1.0, 0.0) if slope is None or intercept is None else (slope, intercept)
    if not entry.frame.position and entry.pixels.photometric == "MONOCHROME1":
        top = -1 if entry.pixels.signed else 2**entry.pixels.stored - 1
        return -slope, intercept + slope * top
    return slope, intercept


def _parts(
    plan: Plan, slopes: list[tuple[float, float]], limits: Limits, cleared: set[str]
) -> Iterator[tuple[np.ndarray, float, float, str]]:
    """Every frame's values with slope, intercept and name; names with cleared bits go into ``cleared``."""
    frames = iterate_frames([(entry.source, entry.frame.index) for entry in plan.entries], limits)
    for entry, (slope, intercept), (stored, _) in zip(plan.entries, slopes, frames, strict=True):
        values, changed = clean(stored, entry.pixels)
        if changed:
            cleared.add(entry.name)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise RefusedError(f"{entry.name}: its pixel data is not finite; export the series again")
        yield values, slope, intercept, entry.name
