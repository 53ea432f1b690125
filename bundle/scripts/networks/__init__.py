"""The network: nothing here knows of files other than weights, and the licence beside them."""

from .data_license import hand_on_license, license_of, tell_license
from .ensemble import Ensemble
from .fuse import fuse
from .mcanet import VARIANTS, MCANet
from .pretrained import convert_mmseg_state_dict, load_pretrained, load_weights, start_from

__all__ = [
    "VARIANTS",
    "Ensemble",
    "MCANet",
    "convert_mmseg_state_dict",
    "fuse",
    "hand_on_license",
    "license_of",
    "load_pretrained",
    "load_weights",
    "start_from",
    "tell_license",
]
