"""Whether memory that is freed stays for what is taken next, counted in the pages that the system has to clear."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from mcanet.scripts.heap import keep_freed_memory
keep_freed_memory()
def some_layers():
    tensors = [torch.ones(2 * 2**20) for _ in range(8)]  # of 8 MiB
for _ in range(3):
    some_layers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    some_layers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 10 * 8 * 2**23 // os.sysconf("SC_PAGE_SIZE")


def pages_cleared(**variables: str) -> int:
    """In a process of its own, with some of the environment set."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    return int(subprocess.check_output([sys.executable, "-c", CODE], env=environment | variables, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc is meant")
def test_freed_memory_stays_unless_the_user_says_otherwise() -> None:
    theirs = pages_cleared(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert theirs > PAGES / 2
    assert pages_cleared() < PAGES / 20
