"""``mcanet train``, killed and started again; the same seed twice; two processes against one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mcanet.scripts.lock import FolderLock

from ..conftest import BUNDLE
from . import hippocampi
from .run import CONFIGS, command, launched, mcanet

pytestmark = pytest.mark.slow

BRIEF = ("--spacing", 2, "--roi_size", "[32,32]", "--max_epochs", 4, "--batch_size", 4, "--num_samples", 2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "last.pt", weights_only=True))


def test_killed_at_any_moment_it_ends_with_the_weights_of_an_unbroken_training(tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 8)
    unbroken = mcanet("train", dataset, "unbroken", *BRIEF, cwd=tmp_path)
    assert unbroken.returncode == 0, unbroken.stderr[-2000:]
    words = [Path(sys.executable).parent / "mcanet", "train", dataset, "broken", *BRIEF]
    for saved in ("checkpoint.pt", "checkpoint_before.pt"):
        run = subprocess.Popen(
            [str(word) for word in words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 200
        while not (tmp_path / "broken" / saved).exists():
            assert run.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    last = mcanet("train", dataset, "broken", *BRIEF, cwd=tmp_path)
    assert last.returncode == 0, last.stderr[-2000:]
    assert "goes on after epoch" in last.stdout + last.stderr
    expected = weights(tmp_path / "unbroken")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "broken").items())
    assert [file.name for file in (tmp_path / "broken").glob("*checkpoint*")] == ["checkpoint.pt"]


def test_a_refused_training_changes_nothing_and_lost_weights_are_missed(tmp_path: Path) -> None:
    dataset, out = hippocampi.decathlon(tmp_path / "data", 8), tmp_path / "out"
    begin = ("--init_path", BUNDLE / "models" / "tasks" / "cardiac.pt", "--max_epochs", 1)
    run = mcanet("train", dataset, "out", *BRIEF, *begin, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    kept = {
        file.name: file.read_bytes() for file in out.glob("*.*") if not file.name.startswith(("events", "."))
    }
    assert {"model.pt", "last.pt", "split.json", "data_license.txt"} <= kept.keys()
    lock = FolderLock(out)
    run = mcanet("train", dataset, "out", *BRIEF, cwd=tmp_path)
    lock.close()
    assert run.returncode == 1
    assert "another run" in run.stderr
    assert all((out / name).read_bytes() == content for name, content in kept.items())
    (out / "model.pt").unlink()
    run = mcanet("train", dataset, "out", *BRIEF, *begin, cwd=tmp_path)
    assert run.returncode == 1
    assert "model.pt is missing or damaged" in run.stderr


LOSSES = """
import json, os, sys
import torch
import monai
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
files, dataset, out, batch_size, optimizer = json.loads(sys.argv[1]), *sys.argv[2:6]
descent = {"_target_": "torch.optim.SGD", "params": "$@network_def.parameters()", "lr": "@learning_rate"}
workflow = ConfigWorkflow(
    workflow_type="train", config_file=files, dataset_dir=dataset, ckpt_dir=out, output_dir=out,
    batch_size=int(batch_size), num_workers=0, mixed_precision=False,
    **({"optimizer": descent} if optimizer == "descent" else {}),
)
if "RANK" in os.environ:
    torch.distributed.init_process_group("gloo")
monai.utils.set_determinism(0)  # the trainer is made here, ahead of the run that sets it
workflow.initialize()
losses = []
trainer = workflow.trainer
trainer.add_event_handler(
    Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
)
trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10), trainer.terminate)
workflow.run()
rank = os.environ.get("RANK", "0")
json.dump(losses, open(f"{out}/losses_{rank}.json", "w"))
workflow.finalize()
"""


@pytest.mark.parametrize(
    ("optimizer", "tolerance", "cases"),
    [("descent", 1e-4, 21), ("shipped", 1e-3, 21), ("descent", 1e-4, 18)],
)
def test_two_ranks_at_half_the_batch_lose_what_one_does_at_the_whole(
    optimizer: str, tolerance: float, cases: int, tmp_path: Path
) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", cases)  # 16 train, two whole batches, or 13
    (tmp_path / "losses.py").write_text(LOSSES)
    means = {}
    for name, words, names, batch in (
        ("one", [sys.executable], ["train.json"], 8),
        ("two", launched(2), ["train.json", "multi_gpu_train.json"], 4),
    ):
        files = json.dumps([str(CONFIGS / file) for file in names])
        run = command(*words, "losses.py", files, dataset, name, batch, optimizer, cwd=tmp_path)
        assert run.returncode == 0, run.stderr[-3000:]
        ranks = [json.loads(file.read_text()) for file in (tmp_path / name).glob("losses_*.json")]
        assert all(
            losses == pytest.approx(ranks[0], abs=1e-6) for losses in ranks
        )  # of the whole batch, on each
        means[name] = ranks[0]
    assert len(means["one"]) == 10
    assert means["two"] == pytest.approx(means["one"], abs=tolerance)
