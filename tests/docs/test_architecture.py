"""The map of the architecture page and the tree agree."""

import re

import pytest

from ..conftest import BUNDLE, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE = PAGE.split("```")[1]
ANSWERS = re.findall(r"^\| (an? .+) \| .*?`([^`]+)`.* \|$", PAGE, re.MULTILINE)
SCRIPTS = BUNDLE / "scripts"


@pytest.mark.parametrize(("what", "file"), ANSWERS)
def test_what_to_change_is_one_file_that_is_there(what: str, file: str) -> None:
    assert (SCRIPTS / file).exists() or (BUNDLE / file).exists(), f"{what}: {file}"


def test_there_are_answers() -> None:
    wanted = ("DICOM", "task", "engine", "column", "metric")
    assert not [word for word in wanted if not any(word in what for what, _ in ANSWERS)]


def test_every_module_is_on_the_map() -> None:
    named = set(re.findall(r"\w+", TREE))
    modules = {file.stem for file in SCRIPTS.rglob("*.py") if not file.stem.startswith("__")}
    assert not modules - named


def test_every_room_is_on_the_map() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    kept = {line.split("/")[0] for line in (ROOT / ".gitignore").read_text().split()}
    assert not {room for room in rooms - kept if f"{room}/" not in TREE and not room.endswith(".egg-info")}
