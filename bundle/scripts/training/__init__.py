"""Training: which cases, which slices of them, at which rates."""

from ..cores import loader_processes
from ..described import described
from ..hashing import digest
from .autocast import AutocastInferer
from .checkpoints import Checkpoints
from .datalist import contents, labelled_datalist, signature
from .draws import SeedDraws, WholeBatches
from .finite import OnlyFinite
from .history import History, KeepLoss, RunProgress
from .layouts import Layout, Pair, read_layout
from .map_labels import MapLabelsd, one_channel
from .measured_dice import MeasuredDice
from .parameter_groups import parameter_groups
from .parts import names_of_parts
from .refusals import NameRefused, open_dataset
from .saved import SaveBest, SaveLast, save_unvalidated
from .slice_samples import RandSliceSamplesd
from .start import check_batch, check_settings, open_datalist, open_weights

__all__ = [
    "AutocastInferer",
    "Checkpoints",
    "History",
    "KeepLoss",
    "Layout",
    "MapLabelsd",
    "MeasuredDice",
    "NameRefused",
    "OnlyFinite",
    "Pair",
    "RandSliceSamplesd",
    "RunProgress",
    "SaveBest",
    "SaveLast",
    "SeedDraws",
    "WholeBatches",
    "check_batch",
    "check_settings",
    "contents",
    "described",
    "digest",
    "labelled_datalist",
    "loader_processes",
    "names_of_parts",
    "one_channel",
    "open_datalist",
    "open_dataset",
    "open_weights",
    "parameter_groups",
    "read_layout",
    "save_unvalidated",
    "signature",
]
