"""Every regular file under a folder, without leaving it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .case import RefusedError
from .limits import Limits

LOCK = ".mcanet.lock"  # a run writes it into its output folder, and leaves it there
WRITTEN = re.compile(r"manifest\.csv|history\.csv|\.partial-.*")  # what a run or a training writes first


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts ``slice2`` before ``slice10``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", text)
        if part
    ]


def walk(root: Path, limits: Limits) -> tuple[list[Path], list[str], list[tuple[Path, str]]]:
    """Files under ``root`` in natural order, notices on what was passed over, and folders that cannot be opened, with why.

    Raises:
        RefusedError: ``root`` holds the results of a run, or more files than the limit.
    """
    if result := _result_in(root):
        raise RefusedError(
            f"the input folder is the output folder of a run (it holds {LOCK} and {result}), whose masks would be taken "
            "for images; give the folder of the images, and another one for the results"
        )
    files: list[Path] = []
    notices: list[str] = []
    closed: list[tuple[Path, str]] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        for entry in _entries(folder, closed):
            path = Path(entry.path)
            shown = path.relative_to(root).as_posix()
            if entry.is_symlink():
                notices.append(f"{shown}: left out, a link {_leads(path, root)}")
            elif entry.is_dir() and _result_in(path):
                notices.append(f"{shown}: left out, the results of an earlier run")
            elif entry.is_dir():
                folders.append(path)
            elif not entry.is_file():
                notices.append(f"{shown}: left out, neither a file nor a folder")
            else:
                files.append(path)
                if len(files) > limits.max_files:
                    raise RefusedError(
                        f"more than max_files = {limits.max_files} files in the input folder; "
                        "give a smaller folder or raise the limit"
                    )
    files.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    return files, notices, closed


def _result_in(folder: Path) -> str:
    """What a run wrote into its output folder; a lock alone is that of one that was refused before it wrote."""
    if not os.path.exists(folder / LOCK):  # Path.exists may raise
        return ""
    return next((entry.name for entry in _entries(folder, []) if WRITTEN.fullmatch(entry.name)), "")


def _entries(folder: Path, closed: list[tuple[Path, str]]) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        closed.append((folder, error.strerror or type(error).__name__))


def _leads(path: Path, root: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "to nothing"
    if target.is_relative_to(root):
        return "to what is read at its own place"
    return "out of the input folder"
