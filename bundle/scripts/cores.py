"""Processes beside this one, and threads that are good neighbours to them."""

import os


def started_together() -> bool:
    """Whether torchrun, srun or a person says that this process is one of several."""
    count = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or "1"
    return count != "1"


def share_cores() -> None:
    """Have waiting threads sleep where other processes work on the same cores; a setting of the user's stays.

    To be called before PyTorch is imported, and with it OpenMP. Its threads spin while they wait: a third faster where
    they are alone, and ten times slower where they are not, for they spin on the cores that others wait for.
    """
    if started_together() or _load() > 0.5 * (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _load() -> float:
    """Processes that ran or waited in the last minute; Windows does not count them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
