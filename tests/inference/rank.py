"""One of the processes of a run: ``python -m tests.inference.rank IN OUT [MARK]`` with WORLD_SIZE set.

With MARK it stops at its first case, as if that took for ever, and makes the file MARK.
"""

import sys
import time
from pathlib import Path

import torch

from .test_cohort import Threshold, run


class Endless(Threshold):
    """Threshold that comes to no end."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mark.touch()
        time.sleep(600)
        return super().forward(x)


if __name__ == "__main__":
    source, output, *mark = map(Path, sys.argv[1:])
    run(source, output, network=Endless(*mark) if mark else None).finish()
