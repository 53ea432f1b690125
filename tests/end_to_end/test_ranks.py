"""A cohort shared out among processes, by the commands that users type; some are lost on the way."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import pytest

from . import hippocampi
from .run import CONFIGS, command, launched

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no such file locks")]

FAST = ("--planes", "[0]")


def cohort(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        nibabel.save(hippocampi.volume(i)[0], folder / f"case_{i}.nii.gz")
    return folder


def table(output: Path) -> list[dict[str, str]]:
    path = output / "manifest.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_for_rows(output: Path, count: int) -> None:
    until = time.monotonic() + 300
    while len(table(output)) < count:
        assert time.monotonic() < until, "waited five minutes"
        time.sleep(0.05)


def check_whole(output: Path, count: int) -> None:
    """Each case once, in both tables and the report, with all its files."""
    rows = table(output)
    assert sorted(row["case_id"] for row in rows) == sorted(f"case_{i}" for i in range(count))
    report = (output / "report.html").read_text()
    for row in rows:
        assert row["status"] == "done"
        assert row["case_id"] in report
        assert all((output / name).stat().st_size for name in row["outputs"].split(";"))
    with (output / "measurements.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * count
    assert not list(output.glob(".partial*"))
    assert not list(output.glob(".old*"))


@pytest.mark.parametrize("processes", [2, 4])
def test_srun_and_the_loss_of_a_process(tmp_path: Path, processes: int) -> None:
    count = 8 * processes
    cohort(tmp_path / "in", count)
    words = [Path(sys.executable).parent / "mcanet", "segment", "in", "out", *FAST]
    ranks = []
    for rank in range(processes):
        slurm = {
            "SLURM_NTASKS": str(processes),
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
        }
        with (tmp_path / f"{rank}.log").open("w") as log:
            ranks.append(
                subprocess.Popen(words, cwd=tmp_path, env={**os.environ, **slurm}, stdout=log, stderr=log)
            )
    wait_for_rows(tmp_path / "out", processes)
    ranks[0].kill()
    assert len(table(tmp_path / "out")) < count, "the process was not lost in the middle"
    for rank, process in enumerate(ranks[1:], 1):
        words = (tmp_path / f"{rank}.log").read_text
        assert process.wait(timeout=500) == 0, words()
        assert f"{count} cases: {count} done" in words()
    assert ranks[0].wait() != 0
    check_whole(tmp_path / "out", count)


def torchrun(*options: str) -> list[str]:
    return [
        *launched(2), *options,
        "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / "inference.json"), "--dataset_dir", "in",
        "--output_dir", "out", *FAST,
    ]  # fmt: skip


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds torchrun's processes in /proc")
def test_torchrun_ends_all_when_one_is_lost_and_the_same_command_does_the_rest(tmp_path: Path) -> None:
    cohort(tmp_path / "in", 10)
    (tmp_path / "in" / "case_3.nii.gz").write_bytes(b"no image")
    run = subprocess.Popen(torchrun(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_rows(tmp_path / "out", 3)
    os.kill(children(run.pid)[0], 9)
    assert run.wait(timeout=300) != 0
    before = {row["case_id"]: row for row in table(tmp_path / "out") if row["status"] == "done"}
    assert 0 < len(before) < 10
    unfit = command(*torchrun(), cwd=tmp_path)
    assert unfit.returncode == 1
    assert "1 of 10 cases have no mask" in unfit.stderr
    assert "case_3.nii.gz" in (tmp_path / "out" / "report.html").read_text()
    nibabel.save(hippocampi.volume(3)[0], tmp_path / "in" / "case_3.nii.gz")
    final = command(*torchrun(), cwd=tmp_path)
    assert final.returncode == 0, final.stderr
    check_whole(tmp_path / "out", 10)
    after = {row["case_id"]: row for row in table(tmp_path / "out")}
    assert before == {name: after[name] for name in before}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds torchrun's processes in /proc")
def test_torchrun_may_start_them_again_by_itself(tmp_path: Path) -> None:
    cohort(tmp_path / "in", 10)
    run = subprocess.Popen(
        torchrun("--max-restarts=1"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_rows(tmp_path / "out", 3)
    os.kill(children(run.pid)[0], 9)
    assert run.wait(timeout=500) == 0
    check_whole(tmp_path / "out", 10)
