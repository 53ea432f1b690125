"""Evaluation: what is measured of each case, its account, and pictures of the worst."""

from ..results.tables import guarded
from .gallery import DrawCases
from .merge import merge_summaries
from .metrics import FIGURES, open_metrics
from .predictions import SavePredictions, place_cases
from .summary import WriteSummary

__all__ = [
    "FIGURES",
    "DrawCases",
    "SavePredictions",
    "WriteSummary",
    "guarded",
    "merge_summaries",
    "open_metrics",
    "place_cases",
]
