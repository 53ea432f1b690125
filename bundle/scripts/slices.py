"""Slices of a volume as the network sees them: the one place that training and inference share.

A volume is (C, X, Y, Z). A slice across ``axis`` keeps the other two axes in their order, and takes its
``context`` neighbours on each side as further channels, the edge slices repeated.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.data import MetaTensor

SPACING_TOLERANCE = 0.01  # relative; below it a slice keeps its own grid


def with_context(volume: torch.Tensor, axis: int, indices: torch.Tensor, context: int) -> torch.Tensor:
    """The slices at ``indices``, each with its neighbours.

    Args:
        volume: (C, X, Y, Z).
        axis: 0, 1 or 2, the axis that the slices are taken across.
        indices: (N,) positions on that axis.
        context: neighbours on each side.

    Returns:
        (N, (2 · context + 1) · C, H, W), channels ordered by offset first.
    """
    offsets = torch.arange(-context, context + 1)
    near = (indices[:, None] + offsets).clamp(0, volume.shape[1 + axis] - 1)  # (N, 2 · context + 1)
    taken = volume.index_select(1 + axis, near.flatten().to(volume.device)).movedim(1 + axis, 0)
    return taken.unflatten(0, near.shape).flatten(1, 2)


def spacing_of(image: torch.Tensor, spatial_dims: int, item: int = 0) -> list[float]:
    """The three spacings in mm of a volume, or of one in a batch.

    Args:
        image: (…, C, X, Y, Z), or (…, C, X, Y).
        spatial_dims: 2 or 3; pictures, like plain tensors, count as 1 mm.
        item: which of the batch.
    """
    if spatial_dims == 2 or not isinstance(image, MetaTensor):
        return [1.0, 1.0, 1.0]
    affine = image.affine[item] if image.affine.ndim == 3 else image.affine
    return torch.linalg.vector_norm(affine[:3, :3].double(), dim=0).tolist()


def in_plane(values: Sequence[float], axis: int) -> tuple[float, float]:
    """The two of three per-axis values that lie in the plane of a slice."""
    first, second = (value for i, value in enumerate(values) if i != axis)
    return first, second


def network_size(
    size: Sequence[int],
    spacing: Sequence[float],
    target: float | None,
    spatial_size: Sequence[int] | None = None,
) -> tuple[int, int]:
    """(H, W) at which the network sees a slice.

    Args:
        size: (H, W) of the slice on its own grid.
        spacing: its two spacings in mm.
        target: the network's in-plane spacing in mm; None keeps the slice's own grid.
        spatial_size: (H, W) that every slice is squashed to; None goes by the spacing.
    """
    if spatial_size is not None:
        return spatial_size[0], spatial_size[1]
    height, width = (
        n if target is None or abs(mm / target - 1) <= SPACING_TOLERANCE else max(1, round(n * mm / target))
        for n, mm in zip(size, spacing, strict=True)
    )
    return height, width


def check_sizes(
    spacing: float | None, roi_size: Sequence[int] | None, spatial_size: Sequence[int] | None
) -> None:
    """Raise ValueError for what says how the network sees slices, and cannot."""
    if spacing is not None and (type(spacing) not in (int, float) or not 0 < spacing < math.inf):
        raise ValueError(f"spacing must be a number of mm above 0, or null, got {spacing!r}")
    for name, size in (("roi_size", roi_size), ("spatial_size", spatial_size)):
        if size is not None and (
            not isinstance(size, Sequence) or [*map(type, size)] != [int, int] or min(size) < 1
        ):
            raise ValueError(f"{name} must be two whole numbers, or null, got {size!r}")
    if spacing is not None and spatial_size is not None:
        raise ValueError(
            f"slices go by their spacing or to one spatial_size, not both: got spacing {spacing!r} and spatial_size "
            f"{list(spatial_size)!r}; set one of them to null"
        )


def resize(slices: torch.Tensor, size: Sequence[int], mode: str = "bilinear") -> torch.Tensor:
    """Resize slices (N, C, H, W) to ``size``; bilinear is antialiased where it makes the slice smaller."""
    if tuple(slices.shape[-2:]) == tuple(size):
        return slices
    if size[1] == 1 < size[0]:  # PyTorch 2.13 repeats an antialiased column's first pixel
        return resize(slices.mT, size[::-1], mode).mT
    if mode == "bilinear":
        shrinks = size[0] < slices.shape[-2] or size[1] < slices.shape[-1]
        return F.interpolate(slices, tuple(size), mode=mode, align_corners=False, antialias=shrinks)
    return F.interpolate(slices, tuple(size), mode=mode)
