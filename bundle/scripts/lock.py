"""One run at a time on an output folder, of one process or of several."""

import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock: there, two runs on one folder are the user's to avoid
    fcntl = None  # type: ignore[assignment]

NAME = ".mcanet.lock"  # stays there: by it a search knows an output folder
_SAME = " (processes of one run need the same input, weights and settings)"


class LockedError(OSError):
    """Another process writes to the output folder."""


class FolderLock:
    """A hold on a folder, from construction to ``close``: of one process alone, or of the processes of one run.

    The kernel drops the hold when the process ends, however it ends: a lock never outlives its holder.

    Args:
        folder: an existing, writable folder.
        run: what the processes of one run have in common; ``""`` keeps the folder for this one.

    Raises:
        LockedError: another run, or another object of this process, holds the folder.
        OSError: the lock file cannot be written.
    """

    def __init__(self, folder: Path, run: str = "") -> None:
        self._file = open(folder / NAME, "a+", encoding="ascii")  # noqa: SIM115
        try:
            self.first = self.alone()
            if not self.first and not (run and self._joins(run)):
                raise LockedError(
                    f"another run (process {self._holder()[0]}) is writing to {folder.name!r}: wait for it, end "
                    f"it, or choose another output folder{_SAME if run else ''}"
                )
        except BaseException:
            self._file.close()
            raise
        if self.first:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} {run}".strip() + "\n")
            self._file.flush()
        _held.add(self)

    def alone(self) -> bool:
        """Whether no other process holds the folder; then it is kept for this one."""
        return self._locked(fcntl.LOCK_EX) if fcntl else True

    def share(self) -> bool:
        """Let the other processes of the run in; False if another run came between."""
        return self._locked(fcntl.LOCK_SH)

    def close(self) -> None:
        """Let the folder go."""
        self._file.close()

    def _joins(self, run: str) -> bool:
        return self.share() and self._holder()[1:] == [run]

    def _holder(self) -> list[str]:
        """The process that holds the folder, or came first of several, and their run."""
        self._file.seek(0)
        return self._file.read().split() or ["unknown"]

    def _locked(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_held: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()
_kept: dict[Path, FolderLock] = {}


def keep(folder: Path) -> None:
    """Hold a folder, made if it does not exist, until :func:`let_go` or the end of this process; once is enough.

    Raises:
        LockedError: another process holds it.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() not in _kept:
        _kept[folder.resolve()] = FolderLock(folder)


def let_go(folder: Path) -> None:
    """Let a folder go that this process keeps."""
    _kept.pop(folder.resolve()).close()


def _let_go_in_child() -> None:
    """A forked worker must not keep the folder locked after its parent was killed."""
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
