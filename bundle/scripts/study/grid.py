"""Whether two images lie on one grid, and a picture as its mask does."""

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor

from .case import RefusedError

AGREEMENT = 0.1  # of a voxel


def farthest(one: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """How far in mm, along one axis, two affines (n + 1, n + 1) place a corner of a grid of n axes apart."""
    corners = np.array([(*corner, 1.0) for corner in np.ndindex(*[2] * len(shape))]) * (*shape, 1.0)
    return float(np.abs(corners @ (one - other).T).max())


def check_same_grid(first: MetaTensor, other: MetaTensor) -> None:
    """Compare shapes and affines.

    Raises:
        RefusedError: they differ by more than a tenth of a voxel.
    """
    names = f"{other.meta['filename_or_obj']} and {first.meta['filename_or_obj']}"
    if first.shape[1:] != other.shape[1:]:
        raise RefusedError(
            f"{names}: shapes are {tuple(other.shape[1:])} and {tuple(first.shape[1:])}, expected the same "
            "grid; resample one to the other"
        )
    a, b = np.asarray(first.affine, dtype=float), np.asarray(other.affine, dtype=float)
    apart = farthest(a, b, np.resize(first.shape[1:], len(a) - 1).tolist())
    if apart > AGREEMENT * float(np.linalg.norm(a[:-1, :-1], axis=0).min()):
        raise RefusedError(
            f"{names}: their affines lie {apart:.4g} mm apart; resample one to the other's grid"
        )


def check_turned_alike(image: MetaTensor, mask: MetaTensor) -> None:
    """Compare what EXIF says of a picture and its mask, for whoever drew the mask may not have seen the picture turned.

    Raises:
        RefusedError: it turns one of them otherwise.
    """
    turns = [one.meta.get("exif_orientation", 1) for one in (image, mask)]
    if turns[0] != turns[1]:
        raise RefusedError(
            f"{mask.meta['filename_or_obj']} and {image.meta['filename_or_obj']}: EXIF's orientation is {turns[1]} and "
            f"{turns[0]}, so that one of them may lie turned; save the picture as its mask lies, without the tag"
        )
