"""Whether what forbids commercial use follows the weights, and is said of no others."""

from pathlib import Path

import pytest
from mcanet.scripts.networks import hand_on_license, license_of, tell_license

from ..conftest import BUNDLE

TASKS = BUNDLE / "models" / "tasks"


def test_it_is_said_of_the_weights_that_it_binds(caplog: pytest.LogCaptureFixture) -> None:
    tell_license(None)
    tell_license([TASKS / "nuclei.pt", BUNDLE / "models" / "model.pt"])
    assert caplog.text == ""
    tell_license([TASKS / "nuclei.pt", TASKS / "cardiac.pt"])
    assert "may not be used commercially, their training data are CC BY-NC-SA 4.0 (ACDC)" in caplog.text


def test_it_goes_on_to_what_is_trained_from_them_and_no_further(tmp_path: Path) -> None:
    hand_on_license(TASKS / "polyp.pt", tmp_path / "one")
    hand_on_license([tmp_path / "one" / "model.pt", TASKS / "cardiac.pt"], tmp_path / "two")
    assert license_of(tmp_path / "two" / "model.pt") == (
        "for research and education only (Kvasir-SEG, CVC-ClinicDB); CC BY-NC-SA 4.0 (ACDC)"
    )
    hand_on_license(TASKS / "nuclei.pt", tmp_path / "two")
    assert license_of(tmp_path / "two" / "model.pt") == ""


def test_one_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_on_license(TASKS / "cardiac.pt", tmp_path)

    def fail(*names: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(SystemExit, match="cannot write the licence of the weights"):
        hand_on_license(TASKS / "polyp.pt", tmp_path)
    assert license_of(tmp_path / "model.pt") == "CC BY-NC-SA 4.0 (ACDC)"
