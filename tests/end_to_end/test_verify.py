"""``mcanet verify``: what was changed in a bundle is named."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..conftest import ROOT
from .run import BUNDLE, command, mcanet


def test_this_bundle_is_as_listed(tmp_path: Path) -> None:
    run = mcanet("verify", cwd=tmp_path)
    assert run.returncode == 0, f"{run.stderr}\nafter a change of configs, code or weights: make checksums"
    assert "files of" in run.stdout


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_list_is_one_of_sha256sum(tmp_path: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "sha256sums.txt"],
        cwd=BUNDLE,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_package_holds_all_that_is_listed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(BUNDLE, source / "bundle", ignore=shutil.ignore_patterns("__pycache__", "runs"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    built = command(*pip, "--wheel-dir", tmp_path, source, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listed = [line.split()[1] for line in (BUNDLE / "sha256sums.txt").read_text().splitlines()]
    assert {f"mcanet/{name}" for name in listed} <= set(zipfile.ZipFile(wheel).namelist())


def test_what_differs_is_missing_or_new_is_named(tmp_path: Path) -> None:
    copy = shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__", "runs"))
    (copy / "configs" / "train.json").write_text("{}")
    (copy / "models" / "model.pt").unlink()
    for name in ("__init__.py", "scripts/more.py", "scripts/slices.SO", "configs/train.yaml"):
        (copy / name).write_text("")
    run = mcanet("verify", copy, cwd=tmp_path)
    assert run.returncode == 1
    for sentence in (
        "configs/train.json: its content is not the listed one",
        "models/model.pt: listed, but not there",
        "__init__.py: its content is not the listed one",
        "scripts/more.py: there, but not listed",
        "scripts/slices.SO: there, but not listed",
        "configs/train.yaml: there, but not listed",
    ):
        assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 8, run.stderr


def test_a_folder_without_a_list_is_a_sentence(tmp_path: Path) -> None:
    run = mcanet("verify", tmp_path, cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("cannot verify")
    assert "expected a bundle's folder, the one that holds configs" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mcanet.scripts.cli import main; main(['verify']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
