"""``--tracking mlflow``, as MONAI has it: in a file of its own, and on a real server."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import hippocampi
from .run import CONFIGS, command, monai_bundle

pytestmark = pytest.mark.slow
mlflow = pytest.importorskip("mlflow")

BRIEF = ("--spacing", 2, "--roi_size", "[32,32]", "--max_epochs", 2, "--val_interval", 1, "--planes", "[0]")


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of an MLflow server, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        address.split(":")[-1],
    ]
    words += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < until, (folder / "server.log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        subprocess.run(["pkill", "-g", str(process.pid)], check=False)  # its workers too
        process.wait(30)


@pytest.mark.parametrize("name", ["monai_experiment", "nights"])
def test_the_settings_are_kept_with_the_run(name: str, tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 6)
    words = ["train", dataset, "out", *BRIEF, "--tracking", "mlflow"]
    if name == "nights":
        words += ["--experiment_name", name, "--run_name", "first", "--tracking_uri", "sqlite:///named.db"]
    run = command(sys.executable, "-m", "mcanet.scripts.cli", *words, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    file = tmp_path / ("named.db" if name == "nights" else "out/mlruns.db")
    client = mlflow.MlflowClient(f"sqlite:///{file}")
    (experiment,) = (found for found in client.search_experiments() if found.name == name)
    kept = [
        entry.path
        for found in client.search_runs([experiment.experiment_id])
        for entry in client.list_artifacts(found.info.run_id)
    ]
    assert [name[:7] for name in kept] == ["config_"]


@pytest.mark.parametrize("remote", [False, True])
def test_a_training_is_recorded(tmp_path: Path, remote: bool) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 6)
    words = ["run", "--config_file", CONFIGS / "train.json", "--dataset_dir", dataset, *BRIEF]
    words += [
        "--ckpt_dir",
        "out",
        "--output_dir",
        "out",
        "--tracking",
        "mlflow",
        "--experiment_name",
        "nights",
    ]
    if remote:
        with server(tmp_path) as address:
            run = monai_bundle(*words, "--tracking_uri", address, cwd=tmp_path)
            assert run.returncode == 0, run.stderr[-3000:]
            check(address)
        assert not (tmp_path / "out" / "mlruns.db").exists()
    else:
        run = monai_bundle(*words, cwd=tmp_path)
        assert run.returncode == 0, run.stderr[-3000:]
        check(f"sqlite:///{tmp_path}/out/mlruns.db")


def check(address: str) -> None:
    """The experiment holds the losses of two epochs and the Dice of two validations."""
    client = mlflow.MlflowClient(address)
    (experiment,) = (found for found in client.search_experiments() if found.name == "nights")
    runs = client.search_runs([experiment.experiment_id])
    metrics = {name for run in runs for name in run.data.metrics}
    assert {"train_loss", "val_mean_dice"} <= metrics, metrics
    dice = [entry for run in runs for entry in client.get_metric_history(run.info.run_id, "val_mean_dice")]
    assert len(dice) == 2
