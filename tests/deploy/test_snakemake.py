"""The example workflow, run by Snakemake itself: pip install snakemake, in an environment of its own."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ..conftest import ROOT
from ..end_to_end.run import command

SNAKEFILE = ROOT / "deploy" / "snakemake" / "Snakefile"
SNAKEMAKE = os.environ.get("SNAKEMAKE") or shutil.which("snakemake")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SNAKEMAKE, reason="needs Snakemake, on PATH or named by the variable SNAKEMAKE"),
]
FAILED_CASE = r"printf 'case_id,status,reason\na,failed,disk full\n' > $3/manifest.csv"


def workflow(folder: Path, **config: object) -> subprocess.CompletedProcess[str]:
    """The workflow on ``folder/IN``, with an ``mcanet`` on PATH."""
    given = [f"{name}={value}" for name, value in {"studies": "IN", "results": "OUT", **config}.items()]
    words = [
        str(SNAKEMAKE),
        "--snakefile",
        str(SNAKEFILE),
        "--cores",
        "2",
        "--keep-going",
        "--config",
        *given,
    ]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "OUT" / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(1800)
def test_refused_studies_are_rows_and_the_rest_is_done(tmp_path: Path) -> None:
    made = command(sys.executable, ROOT / "demo" / "make_study.py", "IN/=demo", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    for study in ("coarse", "notes alone"):
        (tmp_path / "IN" / study).mkdir()
    (tmp_path / "IN" / "notes alone" / "notes.txt").write_text("no image")
    coarse = nibabel.Nifti1Image(np.ones((4, 4, 4), np.int16), np.diag([9, 9, 9, 1]))
    nibabel.save(coarse, tmp_path / "IN" / "coarse" / "t1.nii.gz")
    run = workflow(tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    found = rows(tmp_path)
    assert [(row["study"], row["input"], row["status"]) for row in found] == [
        ("'=demo", "left", "done"),
        ("'=demo", "right", "done"),
        ("coarse", "t1.nii.gz", "refused"),
        ("notes alone", "", "refused"),
    ]
    assert "spacing is 9" in found[2]["reason"]
    assert "nothing to read" in found[3]["reason"]
    for row in found[:2]:
        assert all(
            (tmp_path / "OUT" / "studies" / "=demo" / name).is_file() for name in row["outputs"].split(";")
        )
    again = workflow(tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'mcanet: error: unknown'; exit 2", "mcanet ended with status 2: mcanet: error: unknown"),
        ("echo 'cannot load the weights'; exit 1", "mcanet ended with status 1: cannot load the weights"),
        ("kill -9 $$", "mcanet ended with status -9"),
        (f"{FAILED_CASE}; echo '1 of 1 cases have no mask'; exit 1", "a failed: disk full"),
    ],
    ids=["command line", "start", "killed", "failed case"],
)
def test_a_fault_fails_the_workflow_and_spares_the_other_studies(
    script: str, said: str, tmp_path: Path
) -> None:
    """With a stand-in for mcanet that has an earlier run's manifest before it."""
    for study in ("faulty", "good"):
        (tmp_path / "IN" / study).mkdir(parents=True)
        (tmp_path / "OUT" / "studies" / study).mkdir(parents=True)
        (tmp_path / "OUT" / "studies" / study / "manifest.csv").write_text("case_id,status,reason\na,done,\n")
    (tmp_path / "mcanet").write_text(f"[ $2 = IN/good ] && exit 0\n{script}\n")
    run = workflow(tmp_path, mcanet="'bash mcanet'")
    assert run.returncode != 0
    assert f"faulty: {said}" in run.stderr + run.stdout
    assert [table.name for table in (tmp_path / "OUT" / "manifests").glob("*.csv")] == ["good.csv"]
    assert not (tmp_path / "OUT" / "manifest.csv").exists()


@pytest.mark.parametrize(("finished", "status"), [("2020-01-01T00:00:00.000+00:00", 0), ("2999-01-01", 1)])
def test_a_case_that_failed_and_is_gone_is_no_fault(finished: str, status: int, tmp_path: Path) -> None:
    """Its row stays in the study's manifest; a case that is there is tried again, and has a new one."""
    (tmp_path / "IN" / "study").mkdir(parents=True)
    row = f"case_id,status,reason,finished\\na,failed,disk full,{finished}\\nb,done,,2020-01-01"
    (tmp_path / "mcanet").write_text(f"mkdir -p $3; printf '{row}\\n' > $3/manifest.csv\n")
    run = workflow(tmp_path, mcanet="'bash mcanet'")
    assert run.returncode == status, run.stderr[-2000:]
    if not status:
        assert [found["case_id"] for found in rows(tmp_path)] == ["b"]


def test_files_beside_the_studies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "IN" / "study").mkdir(parents=True)
    (tmp_path / "IN" / "IM0001.dcm").touch()
    run = workflow(tmp_path)
    assert run.returncode != 0
    assert "'IM0001.dcm': put each study into a folder" in run.stderr + run.stdout
    assert not (tmp_path / "OUT").exists()
