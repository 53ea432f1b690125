"""Whether waiting threads spin or sleep, as OpenMP itself tells it to a command; how many processes load batches."""

import os
import subprocess
import sys

import pytest
from mcanet.scripts.cores import MOST_LOADERS, loader_processes

SLEEPS = "GOMP_SPINCOUNT = '0'"
CODE = """
import psutil
psutil.cpu_percent = lambda interval: {busy}
from mcanet.scripts.cores import share_cores
share_cores()
import torch
"""


def told(busy: float, **variables: str) -> str:
    """What OpenMP says of its settings when PyTorch brings it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))
    }
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(busy=busy)],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"} | variables,
        capture_output=True,
        text=True,
    )
    assert "GOMP_SPINCOUNT" in run.stderr, run.stderr
    return run.stderr


@pytest.mark.parametrize(
    ("busy", "variables", "sleeps"),
    [
        (0.0, {}, False),
        (90.0, {}, True),
        (0.0, {"WORLD_SIZE": "2"}, True),
        (90.0, {"OMP_WAIT_POLICY": "ACTIVE"}, False),
    ],
)
def test_threads_sleep_only_where_others_work(busy: float, variables: dict[str, str], sleeps: bool) -> None:
    assert (SLEEPS in told(busy, **variables)) == sleeps


@pytest.mark.parametrize(
    ("device", "cores", "processes", "loaders"),
    [
        ("cpu", 16, 1, 1),
        ("cuda", 9, 1, 8),
        ("cuda:1", 64, 8, 7),
        ("cuda", 64, 1, MOST_LOADERS),
        ("cuda", 1, 1, 1),
    ],
)
def test_a_gpu_is_fed_by_its_share_of_the_cores(
    device: str, cores: int, processes: int, loaders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loader_processes(device) == loaders
