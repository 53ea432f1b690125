"""Processes beside this one, and threads that are good neighbours to them."""

import multiprocessing
import os

BUSY_PER_CENT = 25.0  # of all cores
MOST_LOADERS = 12  # draw some 1,200 patches of 112 x 112 a second, about what an H200 trains on


def started_together() -> bool:
    """Whether torchrun, srun or a person says that this process is one of several."""
    count = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or "1"
    return count != "1"


def in_a_process_group() -> bool:
    """Whether a launcher such as torchrun has told this process where the others of its training meet."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def share_cores() -> None:
    """Have waiting threads sleep where other processes work on the same cores; a setting of the user's stays.

    To be called before PyTorch is imported, and with it OpenMP. Its threads spin while they wait: a third faster where
    they are alone, and ten times slower where they are not, for they spin on the cores that others wait for.
    """
    if "OMP_WAIT_POLICY" not in os.environ and (started_together() or _others_work()):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def loader_processes(device: str) -> int:
    """How many processes load a training's batches: for a GPU this process's share of the cores, else one.

    On a CPU the network needs the cores itself.

    Args:
        device: the one that trains, as ``str(torch.device)`` gives it.
    """
    if not device.startswith("cuda"):
        return 1
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method != "fork":
        return 1  # each would import PyTorch and be handed the cases
    share = cores() // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(1, min(MOST_LOADERS, share - 1))


def _others_work() -> bool:
    """Whether the cores are at work at this moment, while this process sleeps."""
    import psutil  # here, since most commands need none of this

    return psutil.cpu_percent(interval=0.3) > BUSY_PER_CENT
