"""What is measured of a case, label by label, on its own grid.

A measure takes two masks, ours and the truth, bool (1, 1, X, Y, Z) or (1, 1, X, Y), the spacing along their axes, in
mm for volumes and 1 for pictures, and the tolerance of a surface in the same unit. A volume of one slice is measured
as the picture that it is, for in three dimensions all of its voxels are surface. A label that neither mask holds has
no figure: NaN, left out of means.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import (
    CumulativeIterationMetric,
    compute_confusion_matrix_metric,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from ..plain_exit import plain_exit
from ..slices import spacing_of

Measure = Callable[[torch.Tensor, torch.Tensor, Sequence[float], float], torch.Tensor]


class LabelMetric(CumulativeIterationMetric):
    """A measure of every label of every case, each with the spacing of its own truth.

    For ``monai.handlers.IgniteMetricHandler``; MONAI's own handlers take one spacing for all cases. One label is
    a mask at a time, so that memory does not grow with the labels.

    Args:
        measure: a function of this module.
        num_classes: with the background, which is not measured.
        tolerance: of a surface.

    Shape: labels (1, 1, X, Y[, Z]) twice to (1, num_classes - 1, …), as the measure's figures are.
    """

    def __init__(self, measure: Measure, num_classes: int, tolerance: float) -> None:
        super().__init__()
        self.measure = measure
        self.num_classes = num_classes
        self.tolerance = tolerance

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        assert y is not None  # the handler gives both
        spacing = spacing_of(y, y.ndim - 2)[: y.ndim - 2]
        ours, truth = (mask.as_tensor() if isinstance(mask, MetaTensor) else mask for mask in (y_pred, y))
        wide = [axis for axis in range(truth.ndim - 2) if truth.shape[axis + 2] > 1]
        if len(wide) == 2:
            spacing = [spacing[axis] for axis in wide]
            ours, truth = (
                mask.reshape(1, 1, *(truth.shape[axis + 2] for axis in wide)) for mask in (ours, truth)
            )
        figures = [
            self.measure(ours == value, truth == value, spacing, self.tolerance)
            for value in range(1, self.num_classes)
        ]
        return torch.stack(figures)[None]

    def aggregate(self) -> torch.Tensor:
        """The mean over cases, then over labels, as nnU-Net's ``foreground_mean``."""
        return self.get_buffer().nanmean(0).nanmean(0)


def voxel_counts(
    ours: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float], tolerance: float
) -> torch.Tensor:
    """True positives, false positives, true negatives and false negatives (4,).

    In float64: MONAI's are float32, which cannot count beyond 16.7 million voxels.
    """
    both, n_pred, n_ref = (ours & truth).sum(), ours.sum(), truth.sum()
    return torch.stack([both, n_pred - both, ours.numel() - n_pred - n_ref + both, n_ref - both]).double()


def _overlap(name: str) -> Measure:
    """A figure of :func:`voxel_counts`, by MONAI's name; 0 where only one mask holds the label."""
    return lambda *masks: compute_confusion_matrix_metric(name, voxel_counts(*masks)[None])[0]


def hausdorff_95(
    ours: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float], tolerance: float
) -> torch.Tensor:
    """95 % Hausdorff distance, the larger of both directions; NaN where a mask is empty: there is no distance."""
    if not (ours.any() and truth.any()):
        return torch.tensor(math.nan, device=ours.device)
    return compute_hausdorff_distance(
        ours, truth, include_background=True, percentile=95, spacing=list(spacing)
    )[0, 0]


def surface_dice(
    ours: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float], tolerance: float
) -> torch.Tensor:
    """Share of both surfaces' voxels that lie within ``tolerance`` of the other; 0 where only one mask is empty."""
    if ours.any() != truth.any():
        return torch.tensor(0.0, device=ours.device)
    if not ours.any():
        return torch.tensor(math.nan, device=ours.device)
    within = tolerance * (1 + 1e-5)  # a distance of the tolerance itself counts, however it is rounded
    return compute_surface_dice(ours, truth, [within], include_background=True, spacing=list(spacing))[0, 0]


class Figure(NamedTuple):
    """A measure as the summary names it, and as people read it."""

    name: str  # nnU-Net's where it has one
    head: str  # of a column; unit and tolerance are filled in
    measure: Measure


# by the evaluator's name; the first is the key metric
FIGURES = {
    "mean_dice": Figure("Dice", "Dice", _overlap("f1 score")),
    "mean_iou": Figure("IoU", "IoU", _overlap("threat score")),
    "hausdorff_95": Figure("HD95", "HD95 ({unit})", hausdorff_95),
    "surface_dice": Figure("SurfaceDice", "surface Dice ({tolerance:g} {unit})", surface_dice),
}


@plain_exit("cannot measure")
def open_metrics(num_classes: int, tolerance: float) -> dict[str, IgniteMetricHandler]:
    """The metrics of an evaluator: FIGURES, and the voxel counts behind them.

    Raises:
        SystemExit: the tolerance is not a number of at least 0.
    """
    if isinstance(tolerance, str | bool) or not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a number of mm (pictures: pixels) from 0, got {tolerance!r}")
    measures = {name: figure.measure for name, figure in FIGURES.items()} | {"voxel_counts": voxel_counts}
    return {
        name: IgniteMetricHandler(
            metric_fn=LabelMetric(measure, num_classes, float(tolerance)),
            output_transform=from_engine(["pred", "label"]),
        )
        for name, measure in measures.items()
    }
