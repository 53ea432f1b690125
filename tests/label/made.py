"""What the servers are given: a bundle with a second task, on colour pictures, and images of both tasks."""

import json
from pathlib import Path

import nibabel
import numpy as np
import torch
from mcanet.scripts.networks import MCANet
from PIL import Image

from demo.make_study import CENTRE_AS, SIDES, crop, template_path
from label.prepare import add_app, add_task

from ..conftest import BUNDLE

CODE = ["49755003", "SCT", "Morphologically abnormal structure"]
DISCS = {
    "labels": [
        {"value": 1, "name": "Red disc", "colour": [255, 0, 0], "category": CODE, "type": CODE},
        {"value": 2, "name": "Green disc", "colour": [0, 255, 0], "category": CODE, "type": CODE},
        {"value": 3, "name": "Blue disc", "colour": [0, 0, 255], "category": CODE, "type": CODE},
    ],
    "in_channels": 3,
    "out_channels": 4,
    "planes": [2],
    "context": 0,
    "spacing": None,
    "roi_size": [64, 64],
    "fitness_rules": {"channels": 3, "spatial_dims": 2},
    "keep_largest": False,
}


def app_of_two_tasks(folder: Path) -> Path:
    """The app with the bundle's own task and one on pictures, whose weights are random."""
    overlay, weights = folder / "discs.json", folder / "discs.pt"
    folder.mkdir(parents=True, exist_ok=True)
    overlay.write_text(json.dumps(DISCS))
    torch.manual_seed(0)
    torch.save(MCANet(in_channels=3, out_channels=4).state_dict(), weights)
    app = add_app(folder)
    add_task(app, "hippocampus")
    add_task(app, "discs", overlay, weights)
    return app


def volume(seed: int) -> nibabel.Nifti1Image:
    """A hippocampus of the MNI152 template, its crop moved a little by ``seed``."""
    side = list(SIDES.values())[seed % 2]
    template = nibabel.load(template_path())
    return nibabel.Nifti1Image(*crop(template, (side + seed, *CENTRE_AS)))


def volumes(folder: Path, count: int) -> Path:
    """NIfTI files ``case_0``, …, as the bundle's own task takes them."""
    folder.mkdir(parents=True)
    for seed in range(count):
        nibabel.save(volume(seed), folder / f"case_{seed}.nii.gz")
    return folder


def discs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) of two discs in noise, and their labels (H, W), 1 and 3."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:72, :90]
    labels = np.zeros((72, 90), np.uint8)
    labels[(rows - 25) ** 2 + (columns - 30 - 5 * seed) ** 2 < 150] = 1
    labels[(rows - 45) ** 2 + (columns - 60) ** 2 < 150] = 3
    picture = random.integers(0, 60, (72, 90, 3))
    picture[..., 0] += 180 * (labels == 1)
    picture[..., 2] += 180 * (labels == 3)
    return picture.astype(np.uint8), labels


def pictures(folder: Path, count: int) -> Path:
    """Pictures ``case_0``, …, the first a JPEG and the others PNG."""
    folder.mkdir(parents=True)
    for seed in range(count):
        Image.fromarray(discs(seed)[0]).save(folder / f"case_{seed}.{'png' if seed else 'jpg'}")
    return folder


def apart(weights: Path) -> float:
    """How far weights lie from the shipped ones, at most."""
    given, shipped = (
        torch.load(file, weights_only=True) for file in (weights, BUNDLE / "models" / "model.pt")
    )
    names = [name for name in shipped if name.endswith(("weight", "bias"))]
    return max(float((given[name] - shipped[name]).abs().max()) for name in names)
