"""Settings that hold for every test."""

import os
from pathlib import Path

# Spinning OpenMP threads cost tenfold where several processes share few cores; set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "bundle"
DATA = ROOT.parent / "shared" / "data"
