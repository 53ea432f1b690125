"""Training: which cases, which slices of them, at which rates."""

from .autocast import AutocastInferer
from .datalist import decathlon_datalist
from .parameter_groups import parameter_groups
from .slice_samples import RandSliceSamplesd
from .start import open_datalist, open_weights

__all__ = [
    "AutocastInferer",
    "RandSliceSamplesd",
    "decathlon_datalist",
    "open_datalist",
    "open_weights",
    "parameter_groups",
]
