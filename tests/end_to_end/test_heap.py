"""Whether memory that is freed stays for what is taken next, counted in the pages that the system has to clear."""

import os
import platform
import subprocess
import sys

import pytest

START = """
import resource
import psutil
import torch
from mcanet.scripts.heap import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
def some_layers():
    tensors = [torch.ones(2 * 2**20) for _ in range(8)]  # of 8 MiB
for _ in range(3):
    some_layers()
"""
CLEARED = """
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    some_layers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GIVEN_BACK = """
before = psutil.Process().memory_info().rss
give_back_freed_memory()
print(before - psutil.Process().memory_info().rss)
"""
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc is meant")
PAGES = 10 * 8 * 2**23 // os.sysconf("SC_PAGE_SIZE")


def measured(what: str, **variables: str) -> int:
    """In a process of its own that has freed memory, with some of the environment set."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    return int(
        subprocess.check_output([sys.executable, "-c", START + what], env=environment | variables, text=True)
    )


def test_freed_memory_stays_unless_the_user_says_otherwise() -> None:
    theirs = measured(CLEARED, MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert theirs > PAGES / 2
    assert measured(CLEARED) < PAGES / 20


def test_what_stayed_is_given_back_when_asked_for() -> None:
    assert measured(GIVEN_BACK) > 6 * 2**23


def test_what_was_imported_is_not_searched_when_a_command_ends() -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))  # the first that is told is the last that is asked\n"
        "from mcanet.scripts.heap import collect_rarely\n"
        "collect_rarely()\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) > 1000
