"""Memory that is freed and taken again a moment later, and the search for what can be freed."""

import atexit
import ctypes
import gc
import os
import platform

GLIBC = platform.libc_ver()[0] == "glibc"
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's numbers for them
KEPT = 2**28  # bytes that may lie free at the end of a heap
COLLECT_AFTER = 50_000  # objects; Python's own number is 700 or 2,000
TAKEN_APART = 2**25  # bytes that are mapped on their own, and unmapped when freed; glibc allows no more


def keep_freed_memory() -> None:
    """Have glibc keep the memory of tensors that are freed for those that follow; a setting of the user's stays.

    Else it gives it back to the system, which clears each page before it is taken again: a tenth of a training's time on
    a CPU. It is a process's own matter, so that a command calls this, and no import does.
    """
    own = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    if GLIBC and not own:
        libc = ctypes.CDLL(None)
        libc.mallopt(TRIM_THRESHOLD, KEPT)
        libc.mallopt(MMAP_THRESHOLD, TAKEN_APART)


def collect_rarely() -> None:
    """Have Python look less often for objects that hold each other, and no more when the process ends.

    Each search goes through all that was imported: half a second of a command's start, and one of its end.
    """
    gc.set_threshold(COLLECT_AFTER)
    atexit.register(gc.freeze)  # the searches at the end pass over what is frozen


def give_back_freed_memory() -> None:
    """Have glibc give the system what it kept, where what follows takes other memory, as a large case's results do."""
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
