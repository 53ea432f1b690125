"""A plan of a data set that it never saw trains to something sensible, without an edit, in a few minutes."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ..conftest import DATA
from ..end_to_end.run import mcanet


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "epochs", "least"),
    [("hippocampus", 8, 0.6), ("acdc", 8, 0.3), ("dsb2018", 2, 0.6)],
)
def test_a_short_training_finds_most_of_what_is_labelled(
    name: str, epochs: int, least: float, tmp_path: Path
) -> None:
    if not (DATA / name).is_dir():
        pytest.skip("needs the labelled data beside the repository")
    budget = ("--max_epochs", epochs, "--val_interval", epochs)
    for words in (
        ("plan", DATA / name, "-o", "task.json"),
        ("train", DATA / name, "--task", "task.json", *budget),
        ("evaluate", DATA / name, "figures", "--task", "task.json"),
    ):
        run = mcanet(*words, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    with (tmp_path / "figures" / "mean_dice_raw.csv").open(newline="") as file:
        dice = np.nanmean([float(row["mean"]) for row in csv.DictReader(file)])
    print(f"{name}: mean Dice {dice:.3f} after {epochs} epochs")
    assert dice >= least
