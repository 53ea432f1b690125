"""Inference in MONAI Label: strict weights, right names, masks that keep their values."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mcanet.scripts.networks import tell_license
from mcanet.scripts.results import label_table
from mcanet.scripts.results.nifti import as_labels
from monai.data import MetaTensor
from monai.transforms import AsDiscreted
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.utils.others.generic import file_ext

from .answer import answered

LOSSY = (".jpg", ".jpeg")
LOCK = threading.RLock()  # Label imports a bundle's `scripts` anew for each part of a run, in several threads


class Infer(BundleInferTask):
    """A bundle's inference.

    Args:
        folder: of the bundle.
        conf: the app's.

    Raises:
        SystemExit: the bundle has no weights.
    """

    def __init__(self, folder: Path, conf: dict[str, str], **settings: Any) -> None:
        super().__init__(str(folder), conf, load_strict=True, add_post_restore=False, **settings)
        if not self.valid:
            raise SystemExit(f"{folder}: cannot be served without models/model.pt; train the task first")
        tell_license(folder / "models" / "model.pt")
        table = label_table(self.bundle_config["labels"])
        self.labels = {label.name: label.value for label in table}
        self.dimension = self.bundle_config["fitness_rules"].get("spatial_dims", 3)

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> tuple[Any, dict[str, Any]]:
        """Run, and answer what is foreseen to go wrong with its reason.

        3D Slicer gives the names to the values in the mask by their order, so it is told of those alone.
        """
        with answered():
            file, result = super().__call__(request, callbacks)
        present = result.pop("present", None)
        if present is not None:
            result["label_names"] = {name: value for name, value in self.labels.items() if value in present}
        return file, result

    def pre_transforms(self, data: Any = None) -> Sequence[Any]:
        with LOCK:
            return super().pre_transforms(data)

    def inferer(self, data: Any = None) -> Any:
        with LOCK:
            return super().inferer(data)

    def post_transforms(self, data: Any = None) -> Sequence[Any]:
        with LOCK:
            return super().post_transforms(data)

    def writer(self, data: dict[str, Any], extension: Any = None, dtype: Any = None) -> tuple[Any, Any]:
        """Write eight bits, and never a lossy picture."""
        pred = data["pred"]
        mask = as_labels(pred, pred.ndim - 1)
        data["pred"] = MetaTensor(torch.from_numpy(mask), affine=pred.affine)
        wanted = data.get("result_extension") or file_ext(data["image_path"])
        if mask.ndim == 2 and wanted.lower() in LOSSY:
            wanted = ".png"
        file, result = super().writer(data, extension or wanted, dtype or data.get("result_dtype") or "uint8")
        return file, {**result, "present": np.unique(mask).tolist()}


class Votes(Infer):
    """Passes with dropout on, whose labels count as votes for the epistemic score."""

    def __init__(self, folder: Path, conf: dict[str, str]) -> None:
        dropout = float(conf.get("epistemic_dropout", "0.2"))
        super().__init__(folder, conf, skip_writer=True, dropout=dropout)

    def _get_network(self, device: Any, data: Any) -> torch.nn.Module:
        network = super()._get_network(device, data)
        for module in network.modules():
            if "Dropout" in type(module).__name__:
                module.train()
        return network

    def post_transforms(self, data: Any = None) -> Sequence[Any]:
        return [AsDiscreted(keys="pred", to_onehot=max(self.labels.values()) + 1)]
