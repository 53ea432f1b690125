"""A run that is killed at any moment loses nothing and leaves no half result."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from . import hippocampi
from .run import mcanet


@pytest.mark.slow
def test_kill_9_and_run_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(5):
        nibabel.save(hippocampi.volume(i)[0], tmp_path / "in" / f"case_{i}.nii.gz")
    words = [Path(sys.executable).parent / "mcanet", "segment", "in", "out"]
    for done in (1, 3):
        run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 200
        while len(list((tmp_path / "out").glob("case_*"))) < done and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        table = tmp_path / "out" / "manifest.csv"  # killed before its first row, a run leaves none
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
        assert done - 1 <= len(rows) <= 5
        for row in rows:
            assert row["status"] == "done"
            assert all((tmp_path / "out" / name).is_file() for name in row["outputs"].split(";"))
    final = mcanet("segment", "in", "out", cwd=tmp_path)
    assert final.returncode == 0, final.stderr
    for i in range(5):
        mask = nibabel.load(tmp_path / "out" / f"case_{i}" / "segmentation.nii.gz")
        assert np.asarray(mask.dataobj).shape == (36, 44, 32)
    assert not list((tmp_path / "out").glob(".partial*"))
