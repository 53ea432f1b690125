"""The network: nothing here knows of files other than weights."""

from .mcanet import VARIANTS, MCANet
from .pretrained import convert_mmseg_state_dict, load_pretrained, load_weights

__all__ = ["VARIANTS", "MCANet", "convert_mmseg_state_dict", "load_pretrained", "load_weights"]
