"""Training and evaluation in two processes on one machine (gloo)."""

import sys
from pathlib import Path

import pytest
import torch

from . import hippocampi
from .run import BUNDLE, CONFIGS, command, mcanet

pytestmark = pytest.mark.slow


def torchrun(config_files: list[str], *arguments: object, cwd: Path) -> str:
    files = repr([str(CONFIGS / name) for name in config_files])
    run = command(
        sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "monai.bundle", "run", "--config_file", files, *arguments, cwd=cwd,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_two_ranks_train_and_one_writes(tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 16)  # two to validate: each rank needs one
    torchrun(
        ["train.json", "multi_gpu_train.json"], "--dataset_dir", dataset, "--ckpt_dir", "out", "--output_dir", "out",
        "--max_epochs", 1, "--val_interval", 1, "--num_workers", 0, "--batch_size", 2, cwd=tmp_path,
    )  # fmt: skip
    logs = [file.stat().st_size for file in (tmp_path / "out").glob("events*")]
    assert sum(size > 100 for size in logs) == 2, (
        logs
    )  # trainer's and validator's of one rank; others hold no event
    best = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in best)


def test_two_ranks_measure_what_one_does(tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 5)
    common = ("--ckpt_path", BUNDLE / "models" / "model.pt", "--subset", "all")
    alone = mcanet("evaluate", dataset, "one", *common, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    torchrun(
        ["evaluate.json", "multi_gpu_evaluate.json"], "--dataset_dir", dataset, "--output_dir", "two", *common,
        cwd=tmp_path,
    )  # fmt: skip
    one, two = (float((tmp_path / f / "metrics.csv").read_text().split(",")[1]) for f in ("one", "two"))
    assert two == pytest.approx(one, abs=1e-6)
