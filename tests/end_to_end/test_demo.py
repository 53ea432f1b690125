"""The demo: both hippocampi of the MNI152 template, from DICOM to volumes."""

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..conftest import ROOT
from .run import CONFIGS, command, monai_bundle


@pytest.mark.skipif(find_spec("nilearn") is None, reason="needs nilearn's template, which make env installs")
def test_both_sides_of_a_symmetric_brain_have_the_same_volume(tmp_path: Path) -> None:
    made = command(sys.executable, ROOT / "demo" / "make_study.py", "study", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    run = monai_bundle(
        "run", "--config_file", CONFIGS / "inference.json", "--dataset_dir", "study", "--output_dir", "out",
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    volumes: dict[str, float] = {}
    with (tmp_path / "out" / "measurements.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            volumes[row["case_id"]] = volumes.get(row["case_id"], 0.0) + float(row["volume_ml"])
    one, other = volumes.values()
    assert 3 < min(one, other) <= max(one, other) < 5
    assert abs(one - other) < 0.1 * max(one, other)
    shown = command(sys.executable, ROOT / "demo" / "show_volumes.py", "out", cwd=tmp_path)
    assert "left" in shown.stdout
    assert "preview.png" in shown.stdout
