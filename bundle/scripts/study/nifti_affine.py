"""The one affine of a NIfTI header, or the reason why there is none."""

import math

import numpy as np
from nibabel.nifti1 import Nifti1Header

from .case import RefusedError
from .geometry import SHEAR_DEGREES
from .grid import AGREEMENT, farthest
from .header import shorten

UNITS = {1: "metres", 2: "millimetres", 3: "microns"}
SHORTEST_AXIS = 1e-6
LEAST_VOLUME = 1e-2


def read_affine(header: Nifti1Header, shape: tuple[int, ...], name: str) -> tuple[np.ndarray, list[str]]:
    """The matrix from voxel index to RAS millimetres, and warnings.

    Raises:
        RefusedError: no form is coded, a coded one is damaged, or the two differ.
    """
    warnings = []
    unit = int(header["xyzt_units"]) & 7
    if unit not in (0, 2):
        raise RefusedError(
            f"{name}: xyzt_units is {unit} ({UNITS.get(unit, 'unknown')}), expected 2 (millimetres); "
            "convert it"
        )
    if unit == 0:
        warnings.append("xyzt_units names no unit, millimetres assumed")
    found: dict[str, np.ndarray] = {}
    for kind in ("sform", "qform"):
        code = int(header[f"{kind}_code"])
        if not 0 <= code <= 5:
            raise RefusedError(f"{name}: {kind}_code is {code}, expected 0 to 5; correct the header")
        if code:
            found[kind] = _sform(header, name) if kind == "sform" else _qform(header, name)
    if not found:
        raise RefusedError(
            f"{name}: sform_code and qform_code are 0, so the place of the voxels is unknown; set one of them"
        )
    if len(found) == 2:
        _check_agreement(found["sform"], found["qform"], shape, name)
    affine = found.get("sform", found.get("qform"))
    assert affine is not None
    return affine, warnings + _affine_warnings(header, affine)


def _sform(header: Nifti1Header, name: str) -> np.ndarray:
    return _usable(np.asarray(header.get_sform(), dtype=float), "sform", name)


def _qform(header: Nifti1Header, name: str) -> np.ndarray:
    sizes = [float(size) for size in header["pixdim"][1:4]]
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        raise RefusedError(
            f"{name}: pixdim is {shorten(sizes)}, expected sizes above 0 mm; correct the header"
        )
    header = header.copy()
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    if header["pixdim"][0] not in (-1, 1):
        raise RefusedError(
            f"{name}: pixdim[0] is {float(header['pixdim'][0])!r}, expected 1 or -1; correct it"
        )
    try:
        matrix = np.asarray(header.get_qform(), dtype=float)
    except Exception:
        turn = [float(header[f"quatern_{letter}"]) for letter in "bcd"]
        raise RefusedError(f"{name}: quatern_b, c, d is {turn}, no rotation; correct the header") from None
    return _usable(matrix, "qform", name)


def _usable(matrix: np.ndarray, kind: str, name: str) -> np.ndarray:
    """Refuses a matrix that is not finite or cannot be inverted."""
    if not np.isfinite(matrix).all():
        raise RefusedError(f"{name}: {kind} holds values that are not finite; correct the header")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = matrix[:3, :3] / np.maximum(lengths, SHORTEST_AXIS)
    if lengths.min() < SHORTEST_AXIS or abs(np.linalg.det(directions)) < LEAST_VOLUME:
        raise RefusedError(
            f"{name}: {kind} is singular, axes of {lengths.round(6).tolist()} mm; correct the header"
        )
    return matrix


def _check_agreement(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Refuses forms that place a corner of the volume more than a tenth of a voxel apart."""
    apart = farthest(sform, qform, shape)
    if apart > AGREEMENT * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
        raise RefusedError(
            f"{name}: sform and qform place a corner {apart:.4g} mm apart; "
            "keep the right one and set the other's code to 0"
        )


def _affine_warnings(header: Nifti1Header, affine: np.ndarray) -> list[str]:
    warnings = []
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / lengths
    shear = math.degrees(math.asin(min(1.0, float(np.abs(directions.T @ directions - np.eye(3)).max()))))
    if shear > SHEAR_DEGREES:
        warnings.append(f"axes are sheared by {shear:.2f} degrees, kept in the affine")
    sizes = np.asarray(header["pixdim"][1:4], dtype=float)
    if not np.allclose(sizes, lengths, rtol=0.01):
        warnings.append(
            f"pixdim is {shorten(sizes.tolist())}, but sform has voxels of {lengths.round(4).tolist()} mm; "
            "sform used"
        )
    return warnings
