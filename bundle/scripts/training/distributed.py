"""Several processes: one device a rank, one writer."""

from collections.abc import Sequence, Sized
from typing import Any

import torch
import torch.distributed as dist
from monai.handlers import StatsHandler

from ..device import local_device
from .batch_norm import synchronise
from .history import History, RunProgress
from .saved import SaveBest, SaveLast
from .whole_batch import WholeBatchLoss, share_draws

__all__ = [
    "WholeBatchLoss",
    "handlers_of_rank",
    "join",
    "leave",
    "local_device",
    "share_of_rank",
    "share_of_validation",
    "wrap",
]

WRITERS = (
    History,
    RunProgress,
    SaveBest,
    SaveLast,
    StatsHandler,
)


def join() -> None:
    """Join the processes that ``torchrun`` started, unless the caller has: nccl where there are GPUs, else gloo."""
    local_device()  # nccl gathers by the current GPU, which is else the first for all
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def wrap(
    network: torch.nn.Module, device: torch.device, patches: int
) -> torch.nn.parallel.DistributedDataParallel:
    """The network with gradients, batch statistics and draws of all ranks together.

    Args:
        network: as one process trains it.
        device: of this rank.
        patches: that a batch holds of each case.
    """
    share_draws(network, patches)
    if device.type == "cuda":
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    else:
        synchronise(network)
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return torch.nn.parallel.DistributedDataParallel(network, [device] if device.type == "cuda" else None)


def share_of_rank(dataset: Sized) -> range:
    """The cases that this rank measures: the ranks' shares one behind the other are all cases in their order."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    return range(len(dataset) * rank // ranks, len(dataset) * (rank + 1) // ranks)


def share_of_validation(dataset: Sized) -> range:
    """The cases that validate on this rank.

    Raises:
        SystemExit: there are fewer cases than ranks.
    """
    ranks = dist.get_world_size()
    if len(dataset) < ranks:
        raise SystemExit(
            f"cannot train: {len(dataset)} cases validate, and each of {ranks} processes needs one: start fewer "
            "processes, or let more cases validate, as --folds 5 does"
        )
    return share_of_rank(dataset)


def handlers_of_rank(handlers: Sequence[Any]) -> list[Any]:
    """All handlers on rank 0; elsewhere those that write or print nothing.

    TensorBoard's open their files when they are made, so that train.json itself has them on rank 0 alone.
    MetricsSaver gathers from every rank and writes on the first by itself, so it stays.
    """
    if dist.get_rank() == 0:
        return list(handlers)
    return [handler for handler in handlers if not isinstance(handler, WRITERS)]
