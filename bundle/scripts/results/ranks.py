"""The processes of one run on an output folder: which case each of them holds, and what they have finished."""

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".mcanet.ranks"


class Ranks:
    """One file for all processes (ranks) of a run, on one machine or on many.

    A case is held by locking a byte of the file, so the kernel, or the file server, lets it go when its holder
    ends, however that ends: no claim outlives its process, and nothing needs a clock. The file's lines tell what
    is finished: a lock on a file is what makes network file systems show all ranks the same bytes of it.

    Args:
        folder: an existing, writable folder that all ranks see.

    Raises:
        OSError: the file cannot be written, or there are no file locks here.
    """

    def __init__(self, folder: Path) -> None:
        if fcntl is None:
            raise OSError("several processes on one output folder need file locks, which this system lacks")
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        self._read = 0
        self._entered: dict[str, list[str]] = {}

    def close(self) -> None:
        """Let all cases go."""
        os.close(self._file)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other rank has the turn; only who has it may write what all ranks share."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, 0)
        except OSError as error:
            raise _no_locks(error) from None
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 0)

    def claim(self, name: str) -> bool:
        """Take hold of a case, unless another rank has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except (BlockingIOError, PermissionError):  # which of the two is the system's choice
            return False
        return True

    def release(self, name: str) -> None:
        """Let a case go."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(name))

    def begin(self) -> None:
        """Forget what an earlier run finished; with the turn only, by the first rank."""
        os.ftruncate(self._file, 0)

    def enter(self, name: str, case_ids: Sequence[str] = ()) -> None:
        """Tell the others that a claim is finished; with the turn only.

        Args:
            name: that was claimed.
            case_ids: the cases that it turned out to hold.

        Raises:
            OSError: the disk is full.
        """
        line, end = f"{' '.join((name, *case_ids))}\n".encode(), os.lseek(self._file, 0, os.SEEK_END)
        if os.write(self._file, line) < len(line):  # the disk is full; half a line would join the next one
            os.ftruncate(self._file, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def entered(self) -> dict[str, list[str]]:
        """What any rank of this run has finished, the latest last, and the cases that each claim held."""
        while more := os.pread(self._file, 1 << 16, self._read):
            lines = more[: more.rfind(b"\n") + 1]  # the rest was cut off by a kill, or by the buffer
            if not lines:
                break
            self._read += len(lines)
            for name, *case_ids in (line.split() for line in lines.decode().splitlines()):
                self._entered.pop(name, None)
                self._entered[name] = case_ids
        return self._entered


def _place(name: str) -> int:
    """The byte that stands for a case; byte 0 is the turn."""
    return 1 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def _no_locks(error: OSError) -> OSError:
    return OSError(
        f"the file system of the output folder gives no file locks ({error.strerror}), which several processes "
        "need: mount it with locks (NFS 4; Lustre with -o flock), or run one process"
    )
