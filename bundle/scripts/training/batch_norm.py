"""Batch normalisation over all ranks where PyTorch's own needs a GPU."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn


class _SumOfRanks(torch.autograd.Function):
    """The sum of all ranks' tensors, and of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _SumOfRanks.forward(ctx, gradient)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics are those of all ranks' batches together, on any backend.

    torch.nn.SyncBatchNorm does the same on GPUs only.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        dtype = x.dtype
        x = x.as_subclass(torch.Tensor)  # MONAI's MetaTensor would look for a batch in the sums
        x = x.to(self.weight.dtype)  # PyTorch's computes in float32 under autocast, too
        variance, mean = (part.double() for part in torch.var_mean(x, (0, 2, 3), correction=0))
        count = mean.new_tensor([x.numel() / x.shape[1]])
        sums = _SumOfRanks.apply(torch.cat([mean * count, (variance + mean.square()) * count, count]))
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        variance = square - mean.square()  # in double, where the difference of large squares is harmless
        mean, variance, n = mean.to(x.dtype), variance.to(x.dtype), float(sums[-1])
        with torch.no_grad():
            momentum = self.momentum or 0.1
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * n / (n - 1), momentum)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(dtype)


def synchronise(network: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d in a network by :class:`SyncBatchNorm2d`, weights and all."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d  # the same parameters and buffers, another forward
    return network
