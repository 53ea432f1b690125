"""Bundles to check: the one in the repository, its default task exported, and a task of our own exported."""

import json
from pathlib import Path

import pytest
import torch
from mcanet.scripts.cli import main
from mcanet.scripts.networks import MCANet

LABELS = {1: "nucleus", 2: "rim", 3: "debris"}


def write_task(folder: Path, **changes: object) -> Path:
    """A task that differs from the default one in every setting that a task has, with seeded weights."""
    (folder / "other.pt").parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(MCANet(in_channels=1, out_channels=4).state_dict(), folder / "other.pt")
    codes = {
        "category": ["91723000", "SCT", "Anatomical Structure"],
        "type": ["5366008", "SCT", "Hippocampus"],
    }
    task = {
        "_meta_": {
            "name": "MCANet other",
            "task": "Segmentation of three made-up things in CT",
            "data_source": "made by a test",
            "data_license": "Public domain.",
            "eval_metrics": {"mean_dice": 0.5, "hausdorff_mm": 3.0},
            "references": ["The third reference"],
        },
        "notes": "planned from volumes in /home/somebody/data",
        "ckpt_path": str(folder / "other.pt"),
        "in_channels": 1,
        "out_channels": 4,
        "context": 0,
        "planes": [2],
        "spacing": 1.0,
        "roi_size": [64, 64],
        "lowest": -100,
        "intensity": {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": "@lowest",
            "a_max": 700,
            "b_min": 0,
            "b_max": 1,
        },
        "fitness_rules": {"modality": ["CT"], "channels": 1, "spatial_dims": 3},
        "labels": [
            {"value": value, "name": name, "colour": [60 * value, 0, 0], **codes}
            for value, name in LABELS.items()
        ],
        **changes,
    }
    file = folder / "other.json"
    file.write_text(json.dumps(task))
    return file


@pytest.fixture(scope="session")
def hippocampus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default task, exported."""
    folder = tmp_path_factory.mktemp("exported") / "mcanet_hippocampus"
    main(["export", "--task", "hippocampus", "-o", str(folder)])
    return folder


@pytest.fixture(scope="session")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="session")
def other(task_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task of our own, exported."""
    folder = tmp_path_factory.mktemp("exported") / "mcanet_other"
    main(["export", "--task", str(task_file), "-o", str(folder)])
    return folder
