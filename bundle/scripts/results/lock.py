"""One run at a time on an output folder."""

import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: there, two runs on one folder are the user's to avoid
    fcntl = None  # type: ignore[assignment]

NAME = ".mcanet.lock"


class LockedError(OSError):
    """Another process writes to the output folder."""


class FolderLock:
    """An exclusive hold on a folder, from construction to ``close``.

    The kernel drops the hold when the process ends, however it ends: a lock never outlives its holder.

    Args:
        folder: an existing, writable folder.

    Raises:
        LockedError: another process, or another object of this one, holds the folder.
        OSError: the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = open(folder / NAME, "a+", encoding="ascii")  # noqa: SIM115
        try:
            if fcntl:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise LockedError(
                f"another run (process {holder}) is writing to {folder.name!r}: wait for it, end it, or "
                "choose another output folder"
            ) from None
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        _held.add(self)

    def close(self) -> None:
        """Let the folder go."""
        self._file.close()


_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked worker must not keep the folder locked after its parent was killed."""
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
