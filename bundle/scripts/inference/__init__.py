"""From the cases of an input to labels: the run, its engine, the slice-wise inferer."""

from ..described import described
from ..device import local_device
from .cohort import Cohort
from .disagreement import Disagreement
from .engines import open_engine
from .evaluator import CaseEvaluator, SaveResults
from .intensity import at_once, by_slice
from .layout import LayOut
from .slicewise import SlicewiseInferer
from .start import may_store, open_input, open_labels, open_manifest, open_network, provenance

__all__ = [
    "CaseEvaluator",
    "Cohort",
    "Disagreement",
    "LayOut",
    "SaveResults",
    "SlicewiseInferer",
    "at_once",
    "by_slice",
    "described",
    "local_device",
    "may_store",
    "open_engine",
    "open_input",
    "open_labels",
    "open_manifest",
    "open_network",
    "provenance",
]
