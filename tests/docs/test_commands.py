"""What the pages tell to type can be typed: it parses, and names files and settings that there are."""

import ast
from pathlib import Path

import monai.bundle
import pytest
from mcanet.scripts.cli import CONFIGS, parser, refuse_unknown, task_file

from ..conftest import BUNDLE, ROOT
from .commands import PAGES, Command, commands

ALL = [command for page in PAGES for command in commands(page)]
OWN_TASKS = ("mytask.json",)  # files of the reader


def test_the_pages_show_commands() -> None:
    assert len({command.page for command in ALL}) > 10
    assert len(ALL) > 50


@pytest.mark.parametrize(
    "command", [c for c in ALL if c.words[0] == "mcanet"], ids=lambda c: " ".join(c.words)[:60]
)
def test_mcanet_takes_it(command: Command) -> None:
    arguments, overrides = parser().parse_known_args(list(command.words[1:]))
    if arguments.command in ("plan", "merge", "verify", "export"):
        assert not overrides
        return
    overlay = None if arguments.task in OWN_TASKS else task_file(arguments.task)
    refuse_unknown(overrides, [CONFIGS / arguments.config, *([overlay] if overlay else [])])


@pytest.mark.parametrize(
    "command", [c for c in ALL if c.words[0] == "monai.bundle"], ids=lambda c: " ".join(c.words)[:60]
)
def test_monai_bundle_takes_it(command: Command) -> None:
    _, verb, *rest = command.words
    assert hasattr(monai.bundle, verb)
    given = dict(zip(rest[::2], rest[1::2], strict=True))
    for option in ("--config_file", "--meta_file", "--args_file"):
        named = given.get(option, "[]")
        for file in ast.literal_eval(named) if named.startswith("[") else [named]:
            assert (ROOT / file).is_file() or (BUNDLE / file).is_file(), file
    if verb == "run":
        named = given.pop("--config_file")
        files = ast.literal_eval(named) if named.startswith("[") else [named]
        refuse_unknown(list(given), [CONFIGS / Path(file).name for file in files])
