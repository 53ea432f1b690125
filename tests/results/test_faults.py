"""Killed processes, full disks, read-only folders, rivals: nothing half-written, lost or untrue."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcanet.scripts.results import (
    LockedError,
    Manifest,
    ResultsWriter,
    read_manifest,
    read_measurements,
    write_report,
)

from .child import CASES, MODEL, hold, make_cases, write_for_ever
from .phantom import GEOMETRIES, table, write_series

NIFTI = {"segmentation.nii.gz", "preview.png", "measurements.json", ".slices.json"}
FILES = {"a": NIFTI, "b": NIFTI, "c": NIFTI | {"segmentation.dcm"}}

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["highdicom", "nibabel", "monai.data", "mcanet.scripts.results"])


def _wait_for(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def _check(out: Path) -> None:
    """What must hold at any moment, before anything is repaired."""
    measured = {row["case_id"] for row in read_measurements(out)}
    for row in read_manifest(out):
        assert row["status"] == "done"
        assert row["case_id"] in measured
        assert {Path(name).name for name in row["outputs"].split(";")} | {".slices.json"} == FILES[
            row["case_id"]
        ]
        for name in row["outputs"].split(";"):
            assert (out / name).stat().st_size > 0
        account = json.loads((out / row["case_id"] / "measurements.json").read_text())
        assert account["input_sha256"] == row["input_sha256"]
    for folder in out.iterdir():
        if folder.name in CASES:
            assert {path.name for path in folder.iterdir()} == FILES[folder.name]


def _kill_at_random_moments(folder: Path, times: int) -> None:
    phantoms = make_cases(folder / "in")
    out = folder / "out"
    seed = random.Random(11)
    for _ in range(times):
        process = _processes.Process(target=write_for_ever, args=(phantoms, out))
        before = read_manifest(out)
        process.start()
        _wait_for(lambda before=before: read_manifest(out) != before)  # it works, past its start
        time.sleep(seed.uniform(0, 1.2))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        _check(out)
    with Manifest(out, {"model_sha256": MODEL}) as manifest:
        left = {path.name for path in out.iterdir() if path.name.startswith(".")}
        assert left == {".mcanet.lock"}
        for row in manifest.rows:
            assert manifest.whole(row["case_id"], "input_sha256", row["input_sha256"])
        assert manifest.rows


def test_killed_at_random_moments(tmp_path: Path) -> None:
    _kill_at_random_moments(tmp_path, 4)


@pytest.mark.slow
def test_killed_at_many_random_moments(tmp_path: Path) -> None:
    _kill_at_random_moments(tmp_path, 60)


@pytest.mark.parametrize("stage", ["half built", "old one set aside", "new one in place"])
def test_what_a_killed_swap_leaves_is_repaired(tmp_path: Path, stage: str) -> None:
    (phantom, *_) = make_cases(tmp_path / "in")
    out = tmp_path / "out"
    with Manifest(out, {"model_sha256": MODEL}) as manifest:
        writer = ResultsWriter(out, table(), provenance={"model_sha256": MODEL})
        files = writer.write(phantom.case, phantom.image, phantom.labels, input_sha256="old")
        manifest.record(phantom.case, "done", outputs=files, input_sha256="old")
    if stage == "half built":
        (out / ".partial-a-1").mkdir()
        (out / ".partial-a-1" / "preview.png").write_bytes(b"half")
    elif stage == "old one set aside":
        (out / "a").rename(out / ".old-a")
    else:
        ResultsWriter(out, table(), provenance={"model_sha256": MODEL}).write(
            phantom.case, phantom.image, phantom.labels, input_sha256="new"
        )
    with Manifest(out, {"model_sha256": MODEL}) as manifest:
        assert bool(manifest.whole("a", "input_sha256", "old")) == (stage != "new one in place")
        assert not manifest.whole("a", "input_sha256", "new")
        assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {".mcanet.lock"}
        assert {path.name for path in (out / "a").iterdir()} == NIFTI


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    process = _processes.Process(target=hold, args=(tmp_path,))
    process.start()
    _wait_for(lambda: (tmp_path / ".mcanet.lock").exists() and (tmp_path / ".mcanet.lock").read_text())
    with pytest.raises(LockedError, match=rf"process {process.pid}\) is writing to '{tmp_path.name}'"):
        Manifest(tmp_path)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    Manifest(tmp_path).close()


def test_a_forked_worker_does_not_keep_the_folder(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
        os._exit(0)
    manifest.close()
    try:
        Manifest(tmp_path).close()
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True, capture_output=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    small = write_series(tmp_path / "in" / "s", GEOMETRIES["axial"], case_id="small", shape=(12, 12, 2))
    large = write_series(tmp_path / "in" / "l", GEOMETRIES["axial"], case_id="large", shape=(128, 128, 40))
    provenance = {"model_sha256": MODEL}
    with Manifest(small_disk, provenance) as manifest:
        writer = ResultsWriter(small_disk, table(), provenance=provenance, save_image=True, manifest=manifest)
        files = writer.write(small.case, small.image, small.labels, input_sha256="1")
        manifest.record(small.case, "done", outputs=files, input_sha256="1")
        before = {path: path.read_bytes() for path in (small_disk / "small").iterdir()}
        with pytest.raises(OSError, match="the disk of the output folder is full") as caught:
            writer.write(large.case, large.image, large.labels, input_sha256="2")
        manifest.record(large.case, "failed", reason=str(caught.value), input_sha256="2")
        assert {path: path.read_bytes() for path in (small_disk / "small").iterdir()} == before
        assert not (small_disk / "large").exists()
        assert [path for path in small_disk.iterdir() if path.name.startswith((".partial", ".old"))] == []
        assert {row["case_id"]: row["status"] for row in read_manifest(small_disk)} == {
            "small": "done",
            "large": "failed",
        }
        _remount(small_disk, "size=40m")
        files = writer.write(large.case, large.image, large.labels, input_sha256="2")
        manifest.record(large.case, "done", outputs=files, input_sha256="2")
        assert manifest.whole("small", "input_sha256", "1")
        assert manifest.whole("large", "input_sha256", "2")


def test_a_disk_so_full_that_the_manifest_cannot_grow(tmp_path: Path, small_disk: Path) -> None:
    small = write_series(tmp_path / "in" / "s", GEOMETRIES["axial"], case_id="small", shape=(12, 12, 2))
    with Manifest(small_disk) as manifest:
        manifest.record(small.case, "refused", reason="no reason")
        before = (small_disk / "manifest.csv").read_bytes()
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(bytes(10**6))
        with pytest.raises(OSError, match="disk of the output folder is full"):
            manifest.record(small.case, "failed", reason="x" * 9000)
        assert (small_disk / "manifest.csv").read_bytes() == before
        (small_disk / "ballast").unlink()
        manifest.record(small.case, "failed", reason="later")
        assert read_manifest(small_disk)[0]["reason"] == "later"


def test_a_full_disk_keeps_the_earlier_result(tmp_path: Path, small_disk: Path) -> None:
    phantom = write_series(tmp_path / "in" / "s", GEOMETRIES["axial"], case_id="x", shape=(12, 12, 2))
    larger = write_series(tmp_path / "in" / "l", GEOMETRIES["axial"], case_id="x", shape=(128, 128, 40))
    with Manifest(small_disk) as manifest:
        writer = ResultsWriter(small_disk, table(), save_image=True, manifest=manifest)
        files = writer.write(phantom.case, phantom.image, phantom.labels, input_sha256="1")
        manifest.record(phantom.case, "done", outputs=files, input_sha256="1")
        with pytest.raises(OSError, match="full"):
            writer.write(larger.case, larger.image, larger.labels, input_sha256="2")
        assert manifest.whole("x", "input_sha256", "1")
        manifest.record(larger.case, "failed", reason="disk full", input_sha256="2")
        (row,) = manifest.rows
        assert row["warnings"] == "the case's folder still holds the result of an earlier run"
        assert all((small_disk / name).is_file() for name in files)
        assert read_measurements(small_disk) == []


def test_a_read_only_output(tmp_path: Path, small_disk: Path) -> None:
    phantom = write_series(tmp_path / "in" / "s", GEOMETRIES["axial"], case_id="x", shape=(12, 12, 2))
    writer = ResultsWriter(small_disk, table())
    files = writer.write(phantom.case, phantom.image, phantom.labels)
    _remount(small_disk, "ro")
    with pytest.raises(OSError, match="the output folder is read-only"):
        writer.write(phantom.case, phantom.image, phantom.labels)
    with pytest.raises(OSError, match="the output folder is read-only"):
        Manifest(small_disk)
    with pytest.raises(OSError, match="the output folder is read-only"):
        write_report(small_disk)
    with pytest.raises(OSError, match="the output folder is read-only"):
        ResultsWriter(small_disk / "deeper", table()).write(phantom.case, phantom.image, phantom.labels)
    assert all((small_disk / name).is_file() for name in files)


def test_a_source_that_vanishes_harms_no_other_case(tmp_path: Path) -> None:
    first, _, second = make_cases(tmp_path / "in")
    out = tmp_path / "out"
    with Manifest(out) as manifest:
        writer = ResultsWriter(out, table(), manifest=manifest)
        manifest.record(
            first.case, "done", outputs=writer.write(first.case, first.image, first.labels, input_sha256="1")
        )
        second.case.files[0].unlink()
        with pytest.raises(FileNotFoundError, match=r"vanished while its case was worked on") as caught:
            writer.write(second.case, second.image, second.labels)
        manifest.record(second.case, "failed", reason=str(caught.value))
    assert not (out / "c").exists()
    assert {row["case_id"]: row["status"] for row in read_manifest(out)} == {"a": "done", "c": "failed"}
    assert str(tmp_path) not in (out / "manifest.csv").read_text()
