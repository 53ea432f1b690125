"""A network whose answer is known: the image holds the labels that it shall give, and a workflow around it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow

from ..conftest import BUNDLE
from ..nifti import save

CONFIGS = BUNDLE / "configs"
SETTINGS = {
    "in_channels": 1,
    "context": 0,
    "planes": [2],
    "spacing": None,
    "roi_size": None,
    "keep_largest": False,
    "intensity": {"_target_": "Identityd", "keys": "image"},
    "network": {"_target_": "tests.evaluation.known.Echo"},
    "subset": "all",
}


class Echo(torch.nn.Module):
    """Logits whose largest is the class that the image (N, 1, H, W) names."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(x - torch.arange(3.0).view(1, 3, 1, 1)).square()


def dataset(folder: Path, cases: dict[str, tuple[np.ndarray, np.ndarray]], affine: np.ndarray) -> Path:
    """A data set in the Decathlon layout, of (what the network shall answer, truth) by name."""
    pairs = []
    for name, (ours, truth) in cases.items():
        save(ours.astype(np.int16), folder / "imagesTr" / f"{name}.nii.gz", affine)
        save(truth.astype(np.uint8), folder / "labelsTr" / f"{name}.nii.gz", affine)
        pairs.append({"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"})
    (folder / "dataset.json").write_text(json.dumps({"training": pairs}))
    return folder


def evaluate(data: Path, out: Path, **settings: Any) -> ConfigWorkflow:
    """The evaluation workflow from start to end."""
    sys.path.insert(0, str(BUNDLE))
    try:
        workflow = ConfigWorkflow(
            workflow_type="evaluation",
            config_file=str(CONFIGS / "evaluate.json"),
            dataset_dir=str(data),
            output_dir=str(out),
            **{**SETTINGS, **settings},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    finally:
        sys.path.remove(str(BUNDLE))
    return workflow


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())
