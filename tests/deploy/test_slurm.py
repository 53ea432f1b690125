"""The batch scripts on a Slurm cluster of this machine alone (Debian 12: slurmctld, slurmd, slurm-client)."""

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..end_to_end import hippocampi
from ..end_to_end.run import command

SEGMENT, TRAIN = (ROOT / "deploy" / "slurm" / f"{name}.sbatch" for name in ("segment", "train"))
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [name for name in ("slurmctld", "slurmd", "sbatch", "ip") if not shutil.which(name, path=PATH)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(MISSING), reason=f"needs Slurm and iproute2: no {', '.join(MISSING)}"),
]
# Two nodes that are this machine, and two of the size that train.sbatch asks for, which are never switched on.
CONFIG = """
ClusterName=mcanet
SlurmctldHost={host}(127.0.0.1)
MessageTimeout=5
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
GresTypes=gpu
SuspendProgram=/bin/true
ResumeProgram=/bin/true
NodeName={host} NodeAddr=127.0.0.1 Port=6821 CPUs=16 RealMemory=40000 Gres=gpu:1
NodeName={host}-b NodeHostname={host} NodeAddr=127.0.0.1 Port=6822 CPUs=16 RealMemory=40000 Gres=gpu:1
NodeName=large[1-2] NodeAddr=127.0.0.1 CPUs=16 RealMemory=70000 Gres=gpu:4 State=CLOUD
PartitionName=here Nodes={host},{host}-b Default=YES
PartitionName=large Nodes=large[1-2]
"""
GPUS = "NodeName={host},{host}-b Name=gpu File=/dev/null\n"  # to be counted, not to compute
# an empty folder instead of the machine's control groups, which stay as they are
CGROUPS = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nCgroupMountpoint={folder}/cgroup\n"

Slurm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def network() -> Iterator[list[str]]:
    """What runs a command in a network of its own, which has a loopback device alone."""
    name = f"mcslurm{os.getpid()}"
    # Slurm looks addresses up with AI_ADDRCONFIG, which finds none where there are only those of 127.0.0.0/8
    address = f"-n {name} address add 10.199.78.1/32 dev lo"
    try:
        for words in (f"netns add {name}", f"-n {name} link set lo up", address):
            done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture(scope="module")
def slurm(network: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Runs a command on the cluster, which is there as long as the tests of this file."""
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for name in ("state", "cgroup", host, f"{host}-b"):
        (folder / name).mkdir()
    for name, text in (("slurm.conf", CONFIG), ("gres.conf", GPUS), ("cgroup.conf", CGROUPS)):
        (folder / name).write_text(text.format(host=host, folder=folder))
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(*words: object, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*network, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
        )

    log = folder / "daemons.log"
    daemons = []
    try:
        for words in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host], ["slurmd", "-D", "-N", f"{host}-b"]):
            with log.open("a") as text:
                daemons.append(
                    subprocess.Popen([*network, *words], env=environment, stdout=text, stderr=text)
                )
        wait_until_idle(call, daemons, log)
        yield call
        call("scancel", "--user=root")
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=60)


def wait_until_idle(call: Slurm, daemons: "list[subprocess.Popen[bytes]]", log: Path) -> None:
    """Return once both nodes are idle; fail if the cluster does not come up."""
    for _ in range(60):
        if call("sinfo", "--noheader", "--partition=here", "--format=%D %t").stdout.strip() == "2 idle":
            return
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(1)
    pytest.fail(f"the cluster did not come up:\n{log.read_text()[-4000:]}")


@pytest.mark.parametrize(
    ("file", "partition"), [(SEGMENT, "here"), (TRAIN, "large")], ids=["segment", "train"]
)
def test_the_controller_takes_the_script(slurm: Slurm, file: Path, partition: str, tmp_path: Path) -> None:
    test = ("sbatch", "--test-only", f"--partition={partition}")
    taken = slurm(*test, file, "IN", "OUT")
    assert taken.returncode == 0, taken.stderr
    assert "to start at" in taken.stderr
    broken = tmp_path / file.name
    broken.write_text(file.read_text().replace("--nodes=2", "--nodes=3"))
    refused = slurm(*test, broken, "IN", "OUT")
    assert refused.returncode != 0
    assert "Requested node configuration is not available" in refused.stderr


def test_two_nodes_share_the_demo(slurm: Slurm, tmp_path: Path) -> None:
    made = command(sys.executable, ROOT / "demo" / "make_study.py", "IN", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    job = slurm("sbatch", "--wait", SEGMENT, "IN", "OUT", cwd=tmp_path)
    (log,) = tmp_path.glob("mcanet-segment-*.log")
    assert job.returncode == 0, log.read_text()[-3000:]
    with (tmp_path / "OUT" / "manifest.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "done"]
    assert log.read_text().count("2 cases: 2 done") == 2 * 4  # tasks, each of which speaks for all


def test_two_nodes_train(slurm: Slurm, tmp_path: Path) -> None:
    hippocampi.decathlon(tmp_path / "DATA", 20)  # each rank needs one to validate
    small = ("--gpus-per-node=1", "--cpus-per-task=1", "--mem=4G")
    brief = (
        "--max_epochs", 1, "--val_interval", 1, "--num_workers", 0, "--batch_size", 2, "--planes", "[2]",
    )  # fmt: skip
    job = slurm("sbatch", "--wait", *small, TRAIN, "DATA", "OUT", *brief, cwd=tmp_path)
    (log,) = tmp_path.glob("mcanet-train-*.log")
    assert job.returncode == 0, log.read_text()[-3000:]
    assert (tmp_path / "OUT" / "model.pt").is_file()
