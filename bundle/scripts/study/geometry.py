"""From the position of every plane to one affine, or the reason why there is none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .case import RefusedError
from .header import shorten

GAP_SHARE = 0.01
GAP_MM = 0.02
DRIFT_SHARE = 0.05
DRIFT_MM = 0.05
ORIENTATION_TOLERANCE = 1e-4
UNIT_TOLERANCE = 2e-3
SPACING_TOLERANCE = 1e-3
SHEAR_DEGREES = 0.5


@dataclass(frozen=True)
class Plane:
    """Where one slice lies, in the patient's LPS millimetres.

    Attributes:
        name: the file (and frame) as messages name it.
        position: centre of the first pixel.
        orientation: direction along a row (growing column), then along a column (growing row).
        spacing: distance between rows, then between columns, as PixelSpacing has them.
    """

    name: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]


def check_plane(plane: Plane) -> None:
    """Refuses a plane whose numbers make no geometry."""
    for keyword, values, count in (
        ("ImagePositionPatient", plane.position, 3),
        ("ImageOrientationPatient", plane.orientation, 6),
        ("PixelSpacing", plane.spacing, 2),
    ):
        if len(values) != count:
            raise RefusedError(
                f"{plane.name}: {keyword} is missing, expected {count} numbers; "
                "export the series again with its geometry"
            )
        if not all(math.isfinite(value) for value in values):
            raise RefusedError(
                f"{plane.name}: {keyword} is {shorten(values)}, expected finite numbers; "
                "export the series again"
            )
    if min(plane.spacing) <= 0:
        raise RefusedError(
            f"{plane.name}: PixelSpacing is {shorten(plane.spacing)}, expected numbers above 0 mm; "
            "export the series again"
        )
    row, column = np.asarray(plane.orientation).reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > UNIT_TOLERANCE or abs(row @ column) > UNIT_TOLERANCE:
        raise RefusedError(
            f"{plane.name}: ImageOrientationPatient is {shorten(plane.orientation)}, "
            "expected two perpendicular unit vectors; export the series again"
        )


def axes(plane: Plane) -> np.ndarray:
    """Row direction, column direction and normal as the rows of an orthonormal matrix."""
    row, column = np.asarray(plane.orientation, dtype=float).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])


def check_alike(planes: Sequence[Plane]) -> None:
    """Refuses planes that differ in orientation or pixel spacing."""
    first = planes[0]
    for plane in planes[1:]:
        if _apart(plane.orientation, first.orientation) > ORIENTATION_TOLERANCE:
            raise RefusedError(
                f"{plane.name}: ImageOrientationPatient is {shorten(plane.orientation)}, but "
                f"{shorten(first.orientation)} in {first.name}; a series of several orientations is no "
                "volume, separate them"
            )
        if _apart(plane.spacing, first.spacing) > SPACING_TOLERANCE * min(first.spacing):
            raise RefusedError(
                f"{plane.name}: PixelSpacing is {shorten(plane.spacing)}, but {shorten(first.spacing)} in "
                f"{first.name}; a volume needs one pixel spacing, separate the images"
            )


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def order(planes: Sequence[Plane]) -> list[int]:
    """Indices of the planes, ascending along the normal."""
    normal = axes(planes[0])[2]
    heights = [float(normal @ np.asarray(plane.position)) for plane in planes]
    return sorted(range(len(planes)), key=heights.__getitem__)


def slice_step(planes: Sequence[Plane]) -> tuple[np.ndarray, list[str]]:
    """The vector from a slice to the next, for planes in spatial order, and warnings.

    Raises:
        RefusedError: positions are equal, uneven or off a straight line.
    """
    frame = axes(planes[0])
    positions = np.asarray([plane.position for plane in planes], dtype=float)
    heights = positions @ frame[2]
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    _check_gaps(planes, gaps, usual)
    rest = np.abs((positions - positions[0] - np.arange(len(planes))[:, None] * step) @ frame.T)
    sizes = np.array([planes[0].spacing[1], planes[0].spacing[0], abs(usual)])
    allowed = np.maximum(DRIFT_SHARE * sizes, np.minimum(DRIFT_MM, 0.25 * sizes))
    if (rest > allowed).any():
        worst = int(np.argmax((rest / allowed).max(axis=1)))
        raise RefusedError(
            f"{planes[worst].name}: ImagePositionPatient is {shorten(planes[worst].position)}, "
            f"{rest[worst].max():.3g} mm off the straight line through the slices; "
            "the slices are no regular grid, resample the series or leave the slice out"
        )
    shear = math.degrees(math.acos(min(1.0, float(step @ frame[2]) / float(np.linalg.norm(step)))))
    if shear > 60:
        raise RefusedError(
            f"{planes[0].name}: the slices are stacked at {shear:.1f} degrees to their normal; "
            "no scanner tilts that far, check ImagePositionPatient"
        )
    if shear > SHEAR_DEGREES:
        return step, [f"slices are sheared by {shear:.2f} degrees (gantry tilt), kept in the affine"]
    return step, []


def _check_gaps(planes: Sequence[Plane], gaps: np.ndarray, usual: float) -> None:
    tolerance = max(GAP_SHARE * usual, min(GAP_MM, 0.1 * usual))
    for index in np.flatnonzero(np.abs(gaps - usual) > tolerance).tolist():
        gap, before, after = float(gaps[index]), planes[index], planes[index + 1]
        lost = round(gap / usual) - 1 if usual > 0 else 0
        where = f"after z = {before.position[2]:.2f} mm"
        if lost >= 1 and abs(gap - (lost + 1) * usual) <= tolerance * (lost + 1):
            raise RefusedError(
                f"{after.name}: {lost} slice{'s' if lost > 1 else ''} missing {where}: "
                f"the gap is {gap:.4g} mm, elsewhere {usual:.4g} mm; fetch the series again"
            )
        raise RefusedError(
            f"{after.name}: uneven slice spacing {where}: ImagePositionPatient leaves a gap of {gap:.4g} mm, "
            f"elsewhere {usual:.4g} mm; resample the series to even spacing"
        )


def affine_ras(plane: Plane, step: np.ndarray) -> np.ndarray:
    """The 4 x 4 matrix from (column, row, slice) to RAS millimetres.

    Args:
        plane: the first slice.
        step: LPS vector in mm from a slice to the next.
    """
    frame = axes(plane)
    matrix = np.eye(4)
    matrix[:3, 0] = frame[0] * plane.spacing[1]
    matrix[:3, 1] = frame[1] * plane.spacing[0]
    matrix[:3, 2] = step
    matrix[:3, 3] = plane.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
