"""Several processes: one device a rank, one writer."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from monai.data import DistributedSampler
from monai.handlers import StatsHandler

from ..device import local_device
from .batch_norm import synchronise
from .checkpoints import SaveBest, SaveLast
from .history import History, RunProgress
from .whole_batch import WholeBatchLoss, share_draws

__all__ = [
    "WholeBatchLoss",
    "handlers_of_rank",
    "join",
    "leave",
    "local_device",
    "validation_sampler",
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


def validation_sampler(dataset: Any) -> DistributedSampler:
    """Shares the cases that validate out among the ranks, each to one of them.

    Raises:
        SystemExit: there are fewer cases than ranks.
    """
    ranks = dist.get_world_size()
    if len(dataset) < ranks:
        raise SystemExit(
            f"cannot train: {len(dataset)} cases validate, and each of {ranks} processes needs one: start fewer "
            "processes, or let more cases validate, as --folds 5 does"
        )
    return DistributedSampler(dataset, even_divisible=False, shuffle=False)


def handlers_of_rank(handlers: Sequence[Any]) -> list[Any]:
    """All handlers on rank 0; elsewhere those that write or print nothing.

    TensorBoard's open their files when they are made, so that train.json itself has them on rank 0 alone.
    MetricsSaver gathers from every rank and writes on the first by itself, so it stays.
    """
    if dist.get_rank() == 0:
        return list(handlers)
    return [handler for handler in handlers if not isinstance(handler, WRITERS)]
