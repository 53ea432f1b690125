"""Evaluation: what is measured of each case, its account, and pictures of the worst."""

from .gallery import DrawCases
from .merge import merge_summaries
from .metrics import LabelMetric, dice, hausdorff_95, iou, surface_dice, voxel_counts
from .predictions import SavePredictions, place_cases
from .start import open_labels
from .summary import WriteSummary

__all__ = [
    "DrawCases",
    "LabelMetric",
    "SavePredictions",
    "WriteSummary",
    "dice",
    "hausdorff_95",
    "iou",
    "merge_summaries",
    "open_labels",
    "place_cases",
    "surface_dice",
    "voxel_counts",
]
