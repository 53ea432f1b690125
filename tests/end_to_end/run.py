"""Commands as a user types them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from ..conftest import BUNDLE

CONFIGS = BUNDLE / "configs"


def monai_bundle(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python -m monai.bundle …`` in ``cwd``."""
    return command(sys.executable, "-W", "ignore", "-m", "monai.bundle", *arguments, cwd=cwd)


def mcanet(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``mcanet …`` in ``cwd``."""
    return command(Path(sys.executable).parent / "mcanet", *arguments, cwd=cwd)


def launched(ranks: int) -> tuple[str, ...]:
    """The words before a module or script that start it in several processes on this machine."""
    return (
        sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"
    )  # fmt: skip


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Any command, with its output as text."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=500
    )
