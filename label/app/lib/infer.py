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

from .answer import answered

VOLUMES = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha")
PICTURES = (".png", ".tif", ".tiff")
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
        """Write eight bits, whatever is asked for, and never a lossy picture."""
        pred = data["pred"]
        mask = as_labels(pred, pred.ndim - 1)
        data["pred"] = MetaTensor(torch.from_numpy(mask), affine=pred.affine)
        suffix = suffix_of(mask.ndim, data["image_path"], extension or data.get("result_extension"))
        file, result = super().writer(data, suffix, "uint8")
        return file, {**result, "present": np.unique(mask).tolist()}


def suffix_of(dimensions: int, image: str, asked: str | None) -> str:
    """What the name of a mask's file ends in.

    Args:
        dimensions: of the mask.
        image: file or folder that was segmented; its format is taken where none is asked for, if it can hold a mask.
        asked: by the client; a lossy format stands for PNG.

    Raises:
        ValueError: what is asked for cannot hold the mask.
    """
    known = VOLUMES if dimensions == 3 else (*PICTURES, *VOLUMES)
    if not asked:
        return next((suffix for suffix in known if image.lower().endswith(suffix)), known[0])
    if dimensions == 2 and asked.lower() in LOSSY:
        return ".png"
    if asked.lower() not in known:
        raise ValueError(f"result_extension is {asked!r}: set it to one of {', '.join(known)} in the viewer")
    return asked


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
