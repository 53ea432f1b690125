"""A task's settings merged into a workflow's configuration, as MONAI merges several files, unevaluated."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from monai.bundle import ConfigParser

from .. import BUNDLE_ROOT

CONFIGS = BUNDLE_ROOT / "configs"
WORKFLOWS = ("train", "evaluate", "inference")
# Folders and weights of whoever wrote the task; those of the exported bundle are its own.
PLACES = ("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "ckpt_path", "init_path")


def task_settings(task_file: Path) -> dict[str, Any]:
    """A task's overlay as it is written, its metadata under ``_meta_``.

    Raises:
        ValueError: it is no JSON or YAML mapping.
    """
    try:
        settings = ConfigParser.load_config_file(task_file)
    except ValueError as error:
        raise ValueError(f"{str(task_file)!r}: {error}") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("_meta_", {}), dict):
        raise ValueError(f"{str(task_file)!r}: expected a mapping of settings, and one under '_meta_'")
    return settings


def flat_config(workflow: str, task_file: Path | None = None) -> dict[str, Any]:
    """A workflow's configuration with a task's settings in it: one file that stands alone.

    What the overlay adds that the workflow neither has nor refers to is left out: notes, and the settings of
    other workflows.

    Args:
        workflow: one of :data:`WORKFLOWS`.
        task_file: the task's overlay; None for the default task.

    Raises:
        ValueError: the overlay goes into a section that the workflow lacks, or holds a path of this machine.
    """
    file = CONFIGS / f"{workflow}.json"
    base = ConfigParser.load_config_file(file)
    if task_file is None:
        return base
    task_settings(task_file)
    try:
        merged = ConfigParser.load_config_files([file, task_file])
    except KeyError as error:
        raise ValueError(
            f"{str(task_file)!r} goes into a section that {file.name} lacks ({error.args[0]}): a task sets "
            "whole top-level settings, so that every workflow can take it"
        ) from None
    merged.pop("_meta_", None)
    merged = {**merged, **{place: base[place] for place in PLACES if place in base}}
    for name in merged.keys() - base.keys():
        if name in PLACES or not re.search(rf"[@%]{re.escape(name)}\b", json.dumps(merged)):
            del merged[name]
    refuse_paths({name: value for name, value in merged.items() if value != base.get(name)}, task_file)
    return merged


def refuse_paths(settings: Mapping[str, Any], task_file: Path) -> None:
    """Let nothing into an exported file that is only on this machine.

    Raises:
        ValueError: naming the path, or the file that a ``%`` macro would read.
    """
    for text in _texts(settings):
        macro = text.startswith("%") and ConfigParser.split_path_id(text[1:])[0]
        words = re.findall(r"['\"]([^'\"]+)", text) if text.startswith("$") else text.split()
        if not text.startswith("$") and len(words) > 1:
            words = [word for word in words if re.search(r".[/\\]", word)]  # /core is a word like any other
        if macro or any(_is_path(word) for word in words):
            raise ValueError(
                f"{str(task_file)!r} holds a path, which no other machine has: {text!r}; take it out"
            )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a configuration's value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _is_path(word: str) -> bool:
    """Whether a word is a path of any system from its root or from a home."""
    absolute = PurePosixPath(word).is_absolute() or PureWindowsPath(word).is_absolute()
    return word.startswith("~/") or (absolute and word != "/")
