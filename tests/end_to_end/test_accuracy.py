"""The shipped weights on volumes that they never saw, as they are and mirrored."""

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from mcanet.scripts.training import labelled_datalist

from ..conftest import DATA
from .run import BUNDLE, mcanet

HIPPOCAMPUS = DATA / "hippocampus"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.data,
    pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="needs the labelled data beside the repository"),
]


def mirrored(file: str, target: Path) -> None:
    """The same voxels as the other side of the body: left and right exchanged, the affine kept."""
    image = nibabel.load(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine, image.header), target)


@pytest.mark.parametrize("side", ["as they are", "mirrored"])
def test_mean_dice_on_unseen_volumes_of_either_side(side: str, tmp_path: Path) -> None:
    pairs = []
    for pair in labelled_datalist(HIPPOCAMPUS, "test"):
        name = Path(pair["image"]).name
        pairs.append({"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"})
        for key in ("image", "label"):
            target = tmp_path / "data" / pairs[-1][key]
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copyfile if side == "as they are" else mirrored)(pair[key], target)
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"training": pairs}))
    run = mcanet(
        "evaluate", tmp_path / "data", "out", "--subset", "all",
        "--ckpt_path", BUNDLE / "models" / "model.pt", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with (tmp_path / "out" / "mean_dice_raw.csv").open(newline="") as file:
        dice = [float(row["mean"]) for row in csv.DictReader(file)]
    assert len(dice) == 34
    print(f"{side}: mean Dice {np.mean(dice):.4f}")
    assert np.mean(dice) >= 0.885  # the shipped weights reach 0.891 and 0.892


def test_the_recorded_split_is_the_one_that_is_cut() -> None:
    recorded = json.loads((BUNDLE / "docs" / "hippocampus_split.json").read_text())
    for subset, names in recorded.items():
        assert [Path(pair["image"]).name for pair in labelled_datalist(HIPPOCAMPUS, subset)] == names
