"""Settings that hold for every test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Spinning OpenMP threads cost tenfold where several processes share few cores; set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each, or the workers wait for each other's threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundle"
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """A training in this process has the processor flush them, which Hypothesis refuses to draw floats under."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
