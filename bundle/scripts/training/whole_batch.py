"""What a step draws and loses as that of all ranks' batches together, so that several processes do what one does."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from monai.networks.layers import DropPath


class WholeBatchLoss(nn.Module):
    """A loss of all ranks' pictures, on each of them: the Dice of a batch is not the mean of its parts'.

    Args:
        loss: of logits and labels, whose gradients the ranks average.

    Shape: logits (B, out_channels, H, W) and labels (B, 1, H, W) of this rank, B the same on each.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        whole: torch.Tensor = _OfAllRanks.apply(logits.as_subclass(torch.Tensor))  # type: ignore[no-untyped-call]
        # in float32, for gloo knows no int16
        return self.loss(whole, _gathered(labels.as_subclass(torch.Tensor).float()))  # type: ignore[no-any-return]


class _OfAllRanks(torch.autograd.Function):
    """All ranks' tensors (B, …) one behind the other, (ranks · B, …)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _gathered(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # each rank loses the same, and the mean of the ranks' gradients is to be that of the whole
        return gradient.chunk(dist.get_world_size())[dist.get_rank()] * dist.get_world_size()


def _gathered(x: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class SharedDropPath(DropPath):
    """MONAI's DropPath, drawn for all ranks' pictures.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    patches: int  # of a case, in the order of a batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_prob == 0:
            return x
        return x * _own_draws(x, 1, 1 - self.drop_prob, self.patches)


class SharedDropout2d(nn.Dropout2d):
    """PyTorch's Dropout2d, drawn for all ranks' pictures.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    patches: int

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        return x * _own_draws(x, x.shape[1], 1 - self.p, self.patches)


def _own_draws(x: torch.Tensor, channels: int, keep: float, patches: int) -> torch.Tensor:
    """This rank's part (B, channels, 1, 1) of what one process would draw: the sampler deals the cases in turn."""
    ranks = dist.get_world_size()
    whole = x.new_empty((ranks * len(x), channels, 1, 1)).bernoulli_(keep).div_(keep)
    return whole.unflatten(0, (-1, patches))[dist.get_rank() :: ranks].flatten(0, 1)


def share_draws(network: nn.Module, patches: int) -> nn.Module:
    """Let every DropPath and Dropout2d of a network draw for all ranks.

    Args:
        network: of this rank.
        patches: that a batch holds of each case.
    """
    shared: dict[type[nn.Module], type[nn.Module]] = {DropPath: SharedDropPath, nn.Dropout2d: SharedDropout2d}
    for module in network.modules():
        if type(module) in shared:
            module.__class__ = shared[type(module)]
            module.patches = patches  # type: ignore[assignment]
    return network
