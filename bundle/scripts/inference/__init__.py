"""From the cases of an input to labels: the run, its engine, the slice-wise inferer."""

from .cohort import Cohort
from .disagreement import Disagreement
from .evaluator import CaseEvaluator, SaveResults
from .slicewise import SlicewiseInferer
from .start import open_input, open_manifest, open_network, provenance

__all__ = [
    "CaseEvaluator",
    "Cohort",
    "Disagreement",
    "SaveResults",
    "SlicewiseInferer",
    "open_input",
    "open_manifest",
    "open_network",
    "provenance",
]
