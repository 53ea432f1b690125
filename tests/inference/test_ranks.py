"""Several processes on one output folder: each case once, whoever is lost on the way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mcanet.scripts.inference import open_manifest

from ..conftest import ROOT
from .test_cohort import rows, run, save

COUNT = 12


def start(*arguments: object) -> "subprocess.Popen[str]":
    """A process that is told that it is one of two."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.inference.rank", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "WORLD_SIZE": "2"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(true: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until, "waited two minutes"
        time.sleep(0.05)


def entered(output: Path) -> int:
    return len(rows(output)) if (output / "manifest.csv").exists() else 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file locks")
@pytest.mark.parametrize("unfit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_others_take_over_the_case_of_a_lost_process(tmp_path: Path, unfit: bool) -> None:
    source, output, mark = tmp_path / "in", tmp_path / "out", tmp_path / "mark"
    source.mkdir()
    for i in range(COUNT):
        save(source, f"case_{i}.nii.gz")
    if unfit:
        (source / "case_7.nii.gz").write_bytes(b"no image")
    lost = start(source, output, mark)
    try:
        wait_for(mark.exists)
        left = start(source, output)
        wait_for(lambda: entered(output) == COUNT - 1)
        time.sleep(1.5)
        assert left.poll() is None, "it must wait for the case that the other still holds"
        assert entered(output) == COUNT - 1
        assert list(output.glob(".mcanet.ranks"))
    finally:
        lost.kill()
    _, words = left.communicate(timeout=120)
    assert left.returncode == unfit, words
    found = rows(output)
    assert len((output / "manifest.csv").read_text().splitlines()) == 1 + len(found) == 1 + COUNT
    assert sum(row["status"] == "done" for row in found.values()) == COUNT - unfit
    assert (f"1 of {COUNT} cases have no mask" in words) == unfit
    report = (output / "report.html").read_text()
    for name, row in found.items():
        assert name in report
        assert all((output / file).is_file() for file in row["outputs"].split(";") if row["outputs"])
    assert not list(output.glob(".partial*"))


def test_processes_with_other_input_or_weights_are_no_run_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    known = {"model_sha256": "a", "settings_sha256": "b"}
    first = open_manifest(tmp_path, known, "in")
    second = open_manifest(tmp_path, known, "in")
    for weights, source, reading in (("c", "in", ()), ("a", "elsewhere", ()), ("a", "in", ("split_pages",))):
        with pytest.raises(SystemExit, match=r"another run .* need the same input, weights and settings"):
            open_manifest(tmp_path, known | {"model_sha256": weights}, source, reading)
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(SystemExit, match=rf"another run \(process {os.getpid()}\) is writing"):
        open_manifest(tmp_path, known, "in")
    first.close()
    second.close()
    alone = open_manifest(tmp_path, known, "in")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    with pytest.raises(SystemExit, match="another run"):
        open_manifest(tmp_path, known, "in")
    alone.close()
    open_manifest(tmp_path, known, "in").close()


def test_a_run_of_several_goes_on_from_one_alone_and_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"one")
    save(source, "a.nii.gz")
    run(source, output, weights).finish()
    first = rows(output)["a"]
    save(source, "b.nii.gz")
    monkeypatch.setenv("WORLD_SIZE", "2")
    (output / "measurements.csv").unlink()
    (output / ".partial-b-1").mkdir()
    run(source, output, weights).finish()
    second = rows(output)
    assert second["a"] == first
    assert [line.split(",")[0] for line in (output / "measurements.csv").read_text().splitlines()[1:]] == [
        "a",
        "b",
    ]
    assert not (output / ".partial-b-1").exists()
    monkeypatch.delenv("WORLD_SIZE")
    run(source, output, weights).finish()
    assert rows(output) == second
