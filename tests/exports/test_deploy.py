"""The MONAI Deploy application, with the SDK itself; it needs an environment of its own, see docs/exports.md."""

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest

from ..conftest import BUNDLE, ROOT
from ..end_to_end.run import command

APP = ROOT / "deploy" / "app.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("holoscan") is None, reason="needs monai-deploy-app-sdk"),
    pytest.mark.skipif(find_spec("nilearn") is None, reason="needs nilearn's template"),
]


def test_a_study_becomes_seg(tmp_path: Path) -> None:
    made = command(sys.executable, ROOT / "demo" / "make_study.py", "study", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    run = command(sys.executable, APP, "-i", "study", "-o", "out", "-m", BUNDLE, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "done"]
    read = {pydicom.dcmread(file).SeriesInstanceUID for file in (tmp_path / "study").rglob("*.dcm")}
    segmentations = [pydicom.dcmread(file) for file in (tmp_path / "out").glob("*/segmentation.dcm")]
    assert {seg.Modality for seg in segmentations} == {"SEG"}
    assert {seg.ReferencedSeriesSequence[0].SeriesInstanceUID for seg in segmentations} == read


@pytest.mark.parametrize(
    ("model", "words"), [(BUNDLE, "nothing to read"), (BUNDLE / "docs", "expected one bundle at")]
)
def test_what_cannot_run_ends_with_a_status_and_a_sentence(model: Path, words: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = command(sys.executable, APP, "-i", "empty", "-o", "out", "-m", model, cwd=tmp_path)
    assert run.returncode == 1
    assert words in run.stderr
