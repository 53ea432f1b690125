"""A case's folder appears whole or not at all: built under a hidden name, then put in place by renaming."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..study.kinds import DESKTOP_FILES

PARTIAL = ".partial-"
OLD = ".old-"
TABLES = ("manifest.csv", "measurements.csv", "report.html")
_OURS = re.compile(
    r"(segmentation|image|uncertainty)\.(nii\.gz|png|dcm)|measurements\.(json|dcm)|preview\.png|\.slices\.json"
)
_REPORT_MARK = b"<title>Segmentation report</title>"
RESERVED = (*TABLES, "dataset_description.json", "dseg.tsv")  # those of BIDS stand there, too


def case_folder(output_dir: Path, case_id: str) -> Path:
    """Where a case's results go, always directly under the output folder.

    Raises:
        ValueError: ``case_id`` is no safe name, or a link stands in its place.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", case_id) or case_id in RESERVED:
        raise ValueError(
            "a case id must be 1 to 64 letters, digits, '.', '_' or '-', no '.' first, and not be one of "
            f"{', '.join(RESERVED)}; got {case_id!r}"
        )
    folder = output_dir / case_id
    if folder.is_symlink() or folder.resolve().parent != output_dir.resolve():
        raise ValueError(f"{case_id!r} in the output folder is a link: results are written to no other place")
    return folder


def refuse_foreign(folder: Path) -> None:
    """Nothing that a run did not write is ever replaced.

    Args:
        folder: as ``case_folder`` gives it; it need not exist.

    Raises:
        ValueError: it holds something else than the results of the case.
    """
    if not folder.exists():
        return
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    expected = [name for name in held if _OURS.fullmatch(name) or name.lower() in DESKTOP_FILES]
    foreign = [name for name in held if name not in expected or not folder.is_dir()]
    if held and not foreign and not holds_results(folder):
        foreign = held
    if foreign:
        raise ValueError(
            f"{folder.name!r} in the output folder holds what no run wrote ({', '.join(foreign[:3])}), and would be "
            "replaced: move it away, or choose another output folder"
        )


def refuse_foreign_report(output_dir: Path) -> None:
    """Nor is a report of someone else's.

    Raises:
        ValueError: report.html is none of a run.
    """
    path = output_dir / "report.html"
    if path.is_file() and _REPORT_MARK not in path.read_bytes():
        raise ValueError(
            "report.html in the output folder is not ours: move it away, or choose another folder"
        )


def holds_results(folder: Path) -> bool:
    """Whether a folder holds a result, of the case that it is named for."""
    try:
        account = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(account, dict) and account.get("case_id") == folder.name


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a hidden, empty folder; on success it takes the place of ``folder``, else it is removed.

    Every file is on the disk (synced) before the swap, so that a full disk shows here.

    Args:
        folder: the case's folder, as ``case_folder`` gives it.

    Raises:
        OSError: the output is full, read-only or gone; ``folder`` is as it was before.
    """
    partial = folder.with_name(f"{PARTIAL}{folder.name}-{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        for file in partial.iterdir():
            _sync(file)
        _sync(partial)
        _swap(partial, folder)
    except OSError as error:
        raise explained(error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def recover(output_dir: Path) -> None:
    """Clear what a killed run left: half-built folders go, a result that was being replaced comes back."""
    for path in output_dir.glob(f"{OLD}*"):
        folder = output_dir / path.name.removeprefix(OLD)
        if folder.exists():
            _remove(path)
        else:
            path.rename(folder)
    leftovers = [f"{PARTIAL}*", *(f".{name}.*.tmp" for name in RESERVED)]
    for path in [path for pattern in leftovers for path in output_dir.glob(pattern)]:
        _remove(path)


def explained(error: OSError) -> OSError:
    """The same kind of error, saying what the user can do about it."""
    advice = {
        errno.ENOSPC: "the disk of the output folder is full: free space and run again",
        errno.EDQUOT: "the disk quota of the output folder is used up: free space and run again",
        errno.EROFS: "the output folder is read-only: choose another one",
        errno.EACCES: "the output folder may not be written to: change its permissions or choose another one",
    }.get(error.errno or 0)
    return type(error)(error.errno, advice) if advice else error


def _swap(partial: Path, folder: Path) -> None:
    """Put ``partial`` in the place of ``folder``; a result that stood there goes once the new one stands."""
    old = folder.with_name(f"{OLD}{folder.name}")
    if folder.exists():
        _remove(old)
        folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    _sync(folder.parent)
    _remove(old)


def _sync(path: Path) -> None:
    """Have the kernel write a file or folder to the disk now (Windows syncs no folders)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove a file or folder that may not be there; links are removed, never followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
