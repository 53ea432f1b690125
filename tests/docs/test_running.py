"""Every command of the pages is run, page by page, as it stands there, on small data made for it.

A training lasts one epoch, and sees small pictures. What another test runs, or what needs a machine that is not at
hand, is on the list ELSEWHERE with the reason.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ..conftest import BUNDLE, ROOT
from ..end_to_end import hippocampi
from ..planning import layouts
from .commands import PAGES, typed

ELSEWHERE = {  # a pattern: who runs it
    r"make (?!env)": "CI, or a person: demo, test, docs, label and others are targets of the Makefile",
    r"pip install": "the packages that it names are in the environment, or in one of the Makefile's",
    r"dicomweb\+https": "tests/end_to_end/test_dicomweb.py, on a real server",
    r"sbatch|srun": "tests/deploy/test_slurm.py",
    r"docker|podman": "tests/deploy/test_container.py",
    r"snakemake": "tests/deploy/test_snakemake.py",
    r"inference_trt": "needs a GPU",
    r"NODE1": "tests/end_to_end/test_nodes.py, on two network namespaces",
    r"flock": "takes a minute, and two machines",
    r"deploy/app\.py": "tests/exports/test_deploy.py",
    r"^git |source ": "nothing of ours",
}
SMALL = ["--planes", "[2]", "--spacing", "2", "--spatial_size", "$None", "--roi_size", "[64,64]"]
SHIM = """#!{python}
import os, sys
words, small = sys.argv[1:], {small}
if words[:1] == ["train"] or any("configs/train.json" in word for word in words):
    words += ["--max_epochs", "1", "--val_interval", "1", "--num_workers", "0", *small]
elif words[:1] == ["evaluate"] or any("configs/evaluate.json" in word for word in words):
    words += small
os.execv({real!r}, [{real!r}, *words])
"""
WITH_COMMANDS = [page for page in PAGES if typed(page)]


def elsewhere(command: str) -> bool:
    """Whether a command is on the list."""
    return any(re.search(pattern, _bare(command), re.MULTILINE) for pattern in ELSEWHERE)


def _bare(command: str) -> str:
    """Without its comments."""
    return re.sub(r"\s#.*", "", command)


def shims(folder: Path) -> None:
    """``mcanet``, ``python``, ``torchrun`` and ``make`` as the commands find them, brief where that is needed."""
    folder.mkdir(parents=True)
    real = Path(sys.executable).parent
    for name in ("mcanet", "python", "torchrun"):
        (folder / name).write_text(SHIM.format(python=sys.executable, small=SMALL, real=str(real / name)))
    (folder / "make").write_text('#!/bin/sh\ntest "$*" = env\n')  # the environment is there
    for shim in folder.iterdir():
        shim.chmod(0o755)


def abdomen(folder: Path) -> None:
    """RawData/Training with the challenge's numbers, and one CT."""
    label = np.zeros((160, 160, 24), np.uint8)
    for value in range(14):
        label[11 * value : 11 * value + 11, 40:120, 4:20] = value
    for number in (*range(1, 11), *range(21, 41)):
        for kind, data in (("img", label.astype(np.int16) * 20), ("label", label)):
            layouts.save(
                data, folder / "RawData" / "Training" / kind / f"{kind}{number:04}.nii.gz", (1.2, 1.2, 5.0)
            )
    (folder / "CT").mkdir()
    shutil.copy(folder / "RawData" / "Training" / "img" / "img0001.nii.gz", folder / "CT")


def prepare(folder: Path) -> None:
    """What the pages take for given."""
    shims(folder / "bin")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(folder / "bin")
    shutil.copytree(BUNDLE, folder / "bundle", ignore=shutil.ignore_patterns("__pycache__", "runs"))
    (folder / "BUNDLE").symlink_to(folder / "bundle")
    hippocampi.decathlon(folder / "hippocampi", 40)  # four ranks validate
    for name in ("DATA", "Task04_Hippocampus"):
        (folder / name).symlink_to(folder / "hippocampi")
    for name in ("STUDY", "IN"):
        (folder / name).mkdir()
        shutil.copy(folder / "hippocampi" / "imagesTr" / "case_0.nii.gz", folder / name)
    for name in ("STUDY", "Task04_Hippocampus"):
        (folder / "bundle" / name).symlink_to(folder / name)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    (folder / "OUT").mkdir()
    shutil.copy(BUNDLE / "models" / "model.pt", folder / "OUT")
    planned = {"notes": {"data": "of an earlier plan"}, "ckpt_path": str(folder / "OUT" / "model.pt")}
    (folder / "mytask.json").write_text(json.dumps(planned))


def take_data(folder: Path, command: str) -> None:
    """Let DATA be what the task of a command is about."""
    task = re.search(r"--task (nuclei|skin_lesion|polyp|cardiac)\b", command)
    if not task:
        return
    data = folder / task[1]
    if not data.is_dir():
        layouts.decathlon(data, 12) if task[1] == "cardiac" else layouts.pictures(data, 12, size=128)
    (folder / "DATA").unlink()
    (folder / "DATA").symlink_to(data)


def test_the_list_of_exceptions_names_nothing_that_is_gone() -> None:
    everything = "".join(command for page in WITH_COMMANDS for command in typed(page))
    assert [pattern for pattern in ELSEWHERE if not re.search(pattern, everything, re.MULTILINE)] == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_tells_to_type_runs(page: Path, tmp_path: Path) -> None:
    mine = [command for command in typed(page) if not elsewhere(command)]
    if not mine:
        pytest.skip("all of its commands are run elsewhere")
    prepare(tmp_path)
    if page.name == "tasks.md":
        abdomen(tmp_path)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "2"}
    environment |= {"PYTHONPATH": str(tmp_path / "bundle"), "PYTHONWARNINGS": "ignore"}
    for command in mine:
        take_data(tmp_path, command)
        from_root = re.search("(?<!bundle/)configs/", command)
        cwd = tmp_path / "bundle" if from_root else tmp_path
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout[-1500:]}\n{run.stderr[-3000:]}"
