"""Layer normalisation over the channels of a picture."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channels at each position, in float32 whatever the input's precision.

    Args:
        channels: number of channels.
        bias: True subtracts the mean and adds a bias; False only divides by the standard deviation, the
            bias-free kind of Restormer (arXiv 2111.09881, section 3.1).

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.eps = 1e-5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.permute(0, 2, 3, 1)  # (B, H, W, C): free in channels-last memory
        if self.bias is not None:
            y = F.layer_norm(y, y.shape[-1:], self.weight.to(y.dtype), self.bias.to(y.dtype), self.eps)
        else:
            variance = y.float().var(-1, unbiased=False, keepdim=True)
            y = (y * torch.rsqrt(variance + self.eps)).to(x.dtype) * self.weight.to(x.dtype)
        return y.permute(0, 3, 1, 2)
