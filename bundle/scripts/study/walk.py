"""Every regular file under a folder, without leaving it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..lock import NAME as LOCK
from .case import RefusedError
from .limits import Limits

_WITHIN = "to what is read at its own place"
CASE = "measurements.json"  # of each case's folder
BIDS_MASK = re.compile(r"sub-.*_(dseg|probseg|mask)\.nii(\.gz)?", re.IGNORECASE)  # suffixes of derivatives
WRITTEN = re.compile(r"manifest\.csv|history\.csv|\.partial-.*")  # what a run or a training writes first


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts ``slice2`` before ``slice10``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", text)
        if part
    ]


@dataclass(frozen=True)
class Walked:
    """What lies under a folder.

    Attributes:
        files: regular files, in natural order.
        notices: on what was passed over, a sentence each.
        closed: folders that cannot be opened, with why.
        astray: links that lead out of the folder, or to nothing.
    """

    files: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    closed: list[tuple[Path, str]] = field(default_factory=list)
    astray: list[Path] = field(default_factory=list)


def walk(root: Path, limits: Limits) -> Walked:
    """What lies under ``root``.

    Raises:
        RefusedError: ``root`` holds the results of a run, or more files than the limit.
    """
    result = _result_in(root) or (os.path.exists(root / CASE) and _result_in(root.parent))
    if result:
        raise RefusedError(
            f"the input folder is the output folder of a run or a case in one (there are {LOCK} and {result}), whose masks "
            "would be taken for images; give the folder of the images, and another one for the results"
        )
    found, folders = Walked(), [root]
    while folders:
        folder = folders.pop()
        for entry in _entries(folder, found.closed):
            path = Path(entry.path)
            shown = path.relative_to(root).as_posix()
            if entry.is_symlink():
                leads = _leads(path, root)
                found.notices.append(f"{shown}: left out, a link {leads}")
                found.astray.extend([] if leads == _WITHIN else [path])
            elif entry.is_dir() and _result_in(path):
                found.notices.append(f"{shown}: left out, the results of an earlier run")
            elif entry.is_dir():
                folders.append(path)
            elif not entry.is_file():
                found.notices.append(f"{shown}: left out, neither a file nor a folder")
            elif BIDS_MASK.fullmatch(entry.name):
                found.notices.append(f"{shown}: left out, a mask and no image by its BIDS name")
            else:
                found.files.append(path)
                if len(found.files) > limits.max_files:
                    raise RefusedError(
                        f"more than max_files = {limits.max_files} files in the input folder; "
                        "give a smaller folder or raise the limit"
                    )
    found.files.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    return found


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
        return _WITHIN
    return "out of the input folder"
