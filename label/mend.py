"""Loaded by Python at its start (through a .pth file): lets MONAI Label 0.8.5 import beside today's packages.

torchvision of the index is linked to CUDA and looks for its operators at import, which a CPU torch does not have;
Label uses it for plotting only. pydicom-seg 0.4.1 looks for a module that pydicom 3 folded into ``pydicom.uid``.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def register_operators() -> None:
    """Declare torchvision's operators where its own library did not load."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    KEPT.append(library)  # the declarations live as long as it


def alias_storage_classes() -> None:
    """Offer ``pydicom._storage_sopclass_uids`` again."""
    sys.modules["pydicom._storage_sopclass_uids"] = importlib.import_module("pydicom.uid")


KEPT: list[object] = []
MENDS: dict[str, Callable[[], None]] = {
    "torchvision": register_operators,
    "pydicom_seg": alias_storage_classes,
}


class Mender(importlib.abc.MetaPathFinder):
    """Runs the mend of a package right before its first import; finds nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None, so that the ordinary finders go on."""
        mend = MENDS.pop(name, None)
        if mend is not None:
            mend()
        return None


sys.meta_path.insert(0, Mender())
