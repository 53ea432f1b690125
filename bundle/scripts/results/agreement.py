"""How far several passes over one case (folds, flips) agree: a map and one figure a label."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .labels import Label
from .nifti import to_array, write_nifti, write_picture


def expected_dice(passes: Sequence[Any], table: Sequence[Label]) -> dict[int, float | None]:
    """The mean Dice of all pairs of passes, for every label.

    Args:
        passes: at least two label maps of one shape.
        table: the labels.

    Returns:
        Label value to a figure from 0 (no two passes overlap) to 1 (all equal); None where no pass has the
        label.

    Raises:
        ValueError: fewer than two passes.
    """
    if len(passes) < 2:
        raise ValueError(f"expected at least two passes to compare, got {len(passes)}")
    arrays = [to_array(labels) for labels in passes]
    figures: dict[int, float | None] = {}
    for label in table:
        masks = [array == label.value for array in arrays]
        sizes = [int(np.count_nonzero(mask)) for mask in masks]
        scores = [
            2 * int(np.count_nonzero(masks[i] & masks[j])) / (sizes[i] + sizes[j])
            for i, j in combinations(range(len(masks)), 2)
            if sizes[i] + sizes[j]
        ]
        empty_pairs = len(masks) * (len(masks) - 1) // 2 - len(scores)
        figures[label.value] = (sum(scores) + empty_pairs) / (len(scores) + empty_pairs) if scores else None
    return figures


def write_uncertainty(
    uncertainty: Any, affine: np.ndarray | None, path: Path, *, form: tuple[int, bool] = (1, False)
) -> None:
    """Write a map of disagreement in whole per cent (uint8): 0 where all passes agree.

    Args:
        uncertainty: (1, X, Y, Z) or (1, X, Y), from 0 to 1: the share of passes that do not give a voxel its
            final label.
        affine: (4, 4), index to RAS mm; None for a picture, which becomes a PNG.
        path: where to write.
        form: see :func:`write_nifti`.

    Raises:
        ValueError: a value outside 0 to 1.
    """
    share = to_array(uncertainty)[0]
    low, high = float(share.min()), float(share.max())
    if low < -1e-3 or not high <= 1 + 1e-3:
        raise ValueError(f"uncertainty must lie between 0 and 1, got {low} to {high}")
    percent = np.rint(share * 100).clip(0, 100).astype(np.uint8)
    if affine is None:
        write_picture(percent, path)
    else:
        write_nifti(percent, affine, path, form=form)
