"""The files for clusters are such as Slurm and Kubernetes take, and name what the bundle has."""

import json
import os
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ..conftest import BUNDLE, ROOT

SBATCH = sorted((ROOT / "deploy" / "slurm").glob("*.sbatch"))
YAML = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
SCHEMA = json.loads(Path(__file__).with_name("kubernetes.json").read_text())
OPTIONS = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "gpus-per-task": r"\d+",
    "gpus-per-node": r"\d+",
    "mem": r"\d+[KMGT]",
    "mem-per-cpu": r"\d+[KMGT]",
    "time": r"\d+:\d\d:\d\d",
    "output": r"\S+",
    "open-mode": r"append|truncate",
    "requeue": "",
}


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("file", SBATCH, ids=name)
def test_batch_scripts_are_bash_with_options_of_sbatch(file: Path, tmp_path: Path) -> None:
    checked = subprocess.run(["bash", "-n", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    options = re.findall(r"^#{1,2}SBATCH --([\w-]+)=?(.*)$", file.read_text(), re.MULTILINE)
    assert options
    for option, value in options:
        assert re.fullmatch(OPTIONS[option], value), f"--{option}={value}"
    usage = subprocess.run(["bash", file, "IN"], capture_output=True, text=True, cwd=tmp_path)
    assert (usage.returncode, usage.stderr.split(":")[0]) == (2, "usage")


def test_trainings_on_one_head_node_meet_at_ports_of_their_own(tmp_path: Path) -> None:
    for name, text in (("scontrol", "echo node1"), ("srun", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (script,) = [file for file in SBATCH if file.stem == "train"]

    def port(job: str) -> int:
        job_of = {f"SLURM_{name}": "1" for name in ("CPUS_PER_TASK", "JOB_NODELIST", "NNODES")}
        job_of |= {"SLURM_JOB_ID": job, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", script, "IN", "OUT"], capture_output=True, text=True, check=True, env=job_of
        )
        (found,) = re.findall(r"--rdzv_endpoint=node1:(\d+) ", done.stdout)
        return int(found)

    ports = {port(job) for job in ("7", "8", "4194303")}
    assert len(ports) == 3
    assert all(1024 <= port < 32768 for port in ports)  # below those that systems give away


@pytest.mark.parametrize("file", YAML, ids=name)
def test_who_asks_for_a_gpu_has_the_image_for_it(file: Path) -> None:
    for template in templates(yaml.safe_load(file.read_text())):
        for container in template["containers"]:
            tag = (
                "mcanet:0.1.0-cuda"
                if "nvidia.com/gpu" in container["resources"]["limits"]
                else "mcanet:0.1.0"
            )
            assert container["image"] == tag
            builds = re.findall(
                "docker build .*", file.read_text() + (ROOT / "docs" / "pipelines.md").read_text()
            )
            assert any(f"--tag {tag} " in line for line in builds)


@pytest.mark.skipif(not shutil.which("sbatch"), reason="needs Slurm's sbatch (Debian: slurm-client)")
@pytest.mark.parametrize("file", SBATCH, ids=name)
def test_sbatch_takes_the_options(file: Path, tmp_path: Path) -> None:
    """Without a cluster sbatch reads the options, and then says that no controller answers."""
    (tmp_path / "slurm.conf").write_text(
        "ClusterName=none\nSlurmctldHost=localhost\nSlurmctldPort=9\nAuthType=auth/none\nCryptoType=crypto/none\n"
        "MessageTimeout=2\nGresTypes=gpu\nSelectType=select/cons_tres\nNodeName=none\nPartitionName=none Nodes=none\n"
    )

    def refusal(script: str) -> str:
        (tmp_path / "a.sbatch").write_text(script)
        return subprocess.run(
            ["sbatch", "--test-only", "a.sbatch"], capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")},
        ).stderr  # fmt: skip

    script = file.read_text().replace("##SBATCH", "#SBATCH")
    assert "Unable to contact slurm controller" in refusal(script)
    assert "unrecognized option" in refusal(script.replace("--nodes", "--nodez"))


def settings(words: list[str]) -> set[str]:
    return {word[2:] for word in words if word.startswith("--")}


@pytest.mark.parametrize("file", YAML, ids=name)
def test_kubernetes_takes_the_files(file: Path) -> None:
    found = yaml.safe_load(file.read_text())
    jsonschema.validate(found, SCHEMA)
    for template in templates(found):
        claimed = {volume["name"] for volume in template["volumes"]}
        for container in template["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == claimed
            command = container["command"]
            verb = next(word for word in command if word in ("segment", "train"))
            config = "inference" if verb == "segment" else verb
            assert settings(command) <= json.loads((BUNDLE / "configs" / f"{config}.json").read_text()).keys()


def templates(found: dict[str, Any]) -> list[dict[str, Any]]:
    spec = found["spec"]
    replicas = spec.get("pytorchReplicaSpecs", {"": spec})
    return [replica["template"]["spec"] for replica in replicas.values()]


def test_the_counts_agree() -> None:
    job, training = (
        yaml.safe_load((ROOT / "deploy" / "kubernetes" / f"{name}.yaml").read_text())["spec"]
        for name in ("segment", "train")
    )
    told = {entry["name"]: entry["value"] for entry in templates({"spec": job})[0]["containers"][0]["env"]}
    assert int(told["WORLD_SIZE"]) == job["completions"] == job["parallelism"] > 1
    assert (
        training["elasticPolicy"]["minReplicas"] == training["pytorchReplicaSpecs"]["Worker"]["replicas"] == 2
    )


def test_the_schema_refuses_what_kubernetes_would() -> None:
    job = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "segment.yaml").read_text())
    misspelt, counted, restarted = deepcopy(job), deepcopy(job), deepcopy(job)
    misspelt["spec"]["completion"] = 4
    counted["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = 4
    restarted["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    for wrong in (misspelt, counted, restarted):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
