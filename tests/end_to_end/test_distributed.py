"""Training and evaluation in two and four processes on one machine (gloo)."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import MCANet

from ..planning import layouts
from . import hippocampi
from .run import CONFIGS, command, launched, mcanet

pytestmark = pytest.mark.slow


def torchrun(config_files: list[str], *arguments: object, cwd: Path, ranks: int = 2) -> str:
    run = started(config_files, *arguments, cwd=cwd, ranks=ranks)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def started(
    config_files: list[str], *arguments: object, cwd: Path, ranks: int = 2
) -> subprocess.CompletedProcess[str]:
    files = repr([str(CONFIGS / name) for name in config_files])
    return command(
        *launched(ranks), "-m", "monai.bundle", "run", "--config_file", files, *arguments, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "cases"), [(2, 16), (4, 40)]
)  # two and four to validate: each rank needs one
def test_ranks_train_and_one_writes(tmp_path: Path, ranks: int, cases: int) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", cases)
    torchrun(
        ["train.json", "multi_gpu_train.json"], "--dataset_dir", dataset, "--ckpt_dir", "out", "--output_dir", "out",
        "--max_epochs", 1, "--val_interval", 1, "--num_workers", 0, "--batch_size", 2, "--spacing", 2,
        "--roi_size", "[32,32]", "--planes", "[2]", cwd=tmp_path, ranks=ranks,
    )  # fmt: skip
    logs = [file.stat().st_size for file in (tmp_path / "out").glob("events*")]
    # curves of both engines and pictures, of one rank
    assert len(logs) == sum(size > 100 for size in logs) == 3, logs
    assert len((tmp_path / "out" / "history.csv").read_text().splitlines()) == 2
    best = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in best)


def test_ranks_that_do_not_share_the_output_folder_do_not_go_on(tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 16)
    own = "$'out_' + __import__('os').environ['RANK']"
    words = (
        "--dataset_dir", dataset, "--ckpt_dir", own, "--output_dir", own, "--max_epochs", 1, "--val_interval", 1,
        "--num_workers", 0, "--batch_size", 2, "--spacing", 2, "--roi_size", "[32,32]", "--planes", "[2]",
    )  # fmt: skip
    torchrun(["train.json", "multi_gpu_train.json"], *words, cwd=tmp_path)
    run = started(["train.json", "multi_gpu_train.json"], *words, cwd=tmp_path)
    assert run.returncode != 0
    assert "the processes, by rank, found epoch 1, nothing in the output folder" in run.stderr


def test_ranks_train_and_measure_a_task_of_ones_own(tmp_path: Path) -> None:
    dataset = layouts.pictures(tmp_path / "data", count=16)
    assert mcanet("plan", dataset, "-o", "mine.json", cwd=tmp_path).returncode == 0

    def together(*words: object) -> None:
        run = command(*launched(2), "-m", "mcanet.scripts.cli", *words, cwd=tmp_path)
        assert run.returncode == 0, run.stderr[-3000:]

    brief = ("--max_epochs", 1, "--num_workers", 0, "--roi_size", "[64,64]", "--batch_size", 2)
    together("train", dataset, "--task", "mine.json", *brief)
    trained = tmp_path / "mine_training"
    assert len([*trained.glob("events*")]) == 3  # both engines and pictures, of one rank
    together("evaluate", dataset, "--task", "mine.json")
    summary = json.loads((tmp_path / "mine_evaluation" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == 16 - sum(
        len(part) for part in json.loads((trained / "split.json").read_text()).values()
    )
    other = mcanet("train", dataset, "--task", "mine.json", *brief, "--fold", 1, cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "mine_training_fold1" / "model.pt").is_file()


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_measure_what_one_process_does(tmp_path: Path, ranks: int) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 5)
    torch.manual_seed(0)  # the shipped weights find nothing in these volumes, and nothing would be compared
    torch.save(MCANet(in_channels=3, out_channels=3).state_dict(), tmp_path / "model.pt")
    common = (
        "--ckpt_path",
        tmp_path / "model.pt",
        "--subset",
        "all",
        "--planes",
        "[2]",
        "--keep_largest",
        "false",
        "--mixed_precision",  # bfloat16 rounds otherwise with fewer threads
        "false",
    )
    alone = mcanet("evaluate", dataset, "one", *common, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    torchrun(
        ["evaluate.json", "multi_gpu_evaluate.json"], "--dataset_dir", dataset, "--output_dir", "two", *common,
        cwd=tmp_path, ranks=ranks,
    )  # fmt: skip
    one, two = (json.loads((tmp_path / folder / "summary.json").read_text()) for folder in ("one", "two"))
    for case in (*one["metric_per_case"], *two["metric_per_case"]):
        file = Path(case.pop("prediction_file"))
        assert file.is_file()
        assert file.parents[1].name in ("one", "two")
    assert json.dumps(one) == json.dumps(two)  # case by case, the means and their intervals
    for table in ("mean_dice_raw.csv", "mean_iou_raw.csv"):
        assert (tmp_path / "one" / table).read_text() == (tmp_path / "two" / table).read_text()
    assert len(one["metric_per_case"]) == 5
    assert one["foreground_mean"]["Dice"] > 0
    assert (tmp_path / "two" / "worst.png").is_file()


def test_more_ranks_than_cases_is_one_sentence(tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 1)  # new to the weights: all of it is the test part
    run = started(
        ["evaluate.json", "multi_gpu_evaluate.json"],
        "--dataset_dir",
        dataset,
        "--output_dir",
        "out",
        cwd=tmp_path,
    )
    assert run.returncode != 0
    assert "cannot evaluate: 1 cases cannot be shared by 2 processes; start at most 1" in run.stderr
