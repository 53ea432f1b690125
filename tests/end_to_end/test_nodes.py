"""Training and evaluation over two nodes: two network namespaces, joined by a cable (veth), each with its torchrun."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import MCANet

from . import hippocampi
from .run import CONFIGS, mcanet

pytestmark = pytest.mark.slow


@dataclass
class Node:
    """A network namespace with one address."""

    name: str
    cable: str
    address: str

    def start(
        self, host: str, processes: int, config_files: list[str], *arguments: object, cwd: Path
    ) -> "subprocess.Popen[str]":
        """Its torchrun, whose processes meet the other's at ``host``."""
        files = repr([str(CONFIGS / file) for file in config_files])
        words = [
            "ip", "netns", "exec", self.name, sys.executable, "-W", "ignore", "-m", "torch.distributed.run",
            "--nnodes=2", f"--nproc_per_node={processes}", "--rdzv_backend=c10d", f"--rdzv_endpoint={host}:29500",
            "--rdzv_id=two", f"--rdzv_conf=is_host={self.address == host}", f"--local_addr={self.address}",
            "-m", "monai.bundle", "run", "--config_file", files, *map(str, arguments),
        ]  # fmt: skip
        log = (cwd / f"{self.name}.log").open("w")
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": self.cable}
        return subprocess.Popen(words, cwd=cwd, env=environment, stdout=log, stderr=log, text=True)


def ip(*words: str) -> None:
    """``ip …``; skips the test where that is not permitted."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no network namespaces here: ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    if not shutil.which("ip"):
        pytest.skip("needs the program ip (Linux, iproute2)")
    tag = f"mc{os.getpid()}"
    pair = [Node(f"{tag}{end}", f"{tag}{end}", f"10.199.77.{i}") for i, end in enumerate("ab", 1)]
    try:
        for node in pair:
            ip("netns", "add", node.name)
        ip("link", "add", pair[0].cable, "type", "veth", "peer", "name", pair[1].cable)
        for node in pair:
            ip("link", "set", node.cable, "netns", node.name)
            ip("-n", node.name, "addr", "add", f"{node.address}/24", "dev", node.cable)
            ip("-n", node.name, "link", "set", node.cable, "up")
            ip("-n", node.name, "link", "set", "lo", "up")
        yield pair
    finally:
        for node in pair:
            subprocess.run(["ip", "netns", "delete", node.name], capture_output=True)
        subprocess.run(["ip", "link", "delete", pair[0].cable], capture_output=True)


def run_on_both(
    nodes: list[Node], config_files: list[str], *arguments: object, cwd: Path, processes: int = 1
) -> None:
    runs = [node.start(nodes[0].address, processes, config_files, *arguments, cwd=cwd) for node in nodes]
    try:
        for node, process in zip(nodes, runs, strict=True):
            assert process.wait(timeout=500) == 0, (cwd / f"{node.name}.log").read_text()[-3000:]
    finally:
        for process in runs:
            process.terminate()


@pytest.mark.parametrize("processes", [1, 2])
def test_two_nodes_train_and_one_rank_writes(nodes: list[Node], tmp_path: Path, processes: int) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 20 * processes)  # each rank needs one to validate
    run_on_both(
        nodes, ["train.json", "multi_gpu_train.json"], "--dataset_dir", dataset, "--ckpt_dir", "out",
        "--output_dir", "out", "--max_epochs", 1, "--val_interval", 1, "--num_workers", 0, "--batch_size", 2,
        "--planes", "[2]", cwd=tmp_path, processes=processes,
    )  # fmt: skip
    best = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert best.keys() == MCANet(in_channels=3, out_channels=3).state_dict().keys()
    logs = [file.stat().st_size for file in (tmp_path / "out").glob("events*")]
    assert sum(size > 100 for size in logs) == 3, logs  # curves of both engines and pictures, of one rank


def test_two_nodes_measure_what_one_does(nodes: list[Node], tmp_path: Path) -> None:
    dataset = hippocampi.decathlon(tmp_path / "data", 5)
    torch.manual_seed(0)  # the shipped weights find nothing in these volumes, and nothing would be compared
    torch.save(MCANet(in_channels=3, out_channels=3).state_dict(), tmp_path / "model.pt")
    common = (
        "--ckpt_path", tmp_path / "model.pt", "--subset", "all", "--planes", "[2]", "--keep_largest", "false",
        "--mixed_precision", "false",
    )  # fmt: skip
    alone = mcanet("evaluate", dataset, "one", *common, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    run_on_both(
        nodes, ["evaluate.json", "multi_gpu_evaluate.json"], "--dataset_dir", dataset, "--output_dir", "two", *common,
        cwd=tmp_path,
    )  # fmt: skip
    one, two = ((tmp_path / folder / "mean_dice_raw.csv").read_text() for folder in ("one", "two"))
    assert sorted(two.splitlines()) == sorted(one.splitlines())
    assert len(one.splitlines()) == 1 + 5
    assert any(0 < float(cell) < 1 for line in one.splitlines()[1:] for cell in line.split(",")[1:])
