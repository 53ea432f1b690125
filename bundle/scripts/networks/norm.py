"""Layer normalisation over the channels of a picture."""

import torch
import torch.nn as nn


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channels at each position, in float32 whatever the input's precision.

    What is so large that its squares are infinite becomes NaN, and no 0, which would pass for a constant.

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
            weight, bias = self.weight.to(y.dtype), self.bias.to(y.dtype)
            y, _, factor = torch.native_layer_norm(y, y.shape[-1:], weight, bias, self.eps)
        else:
            variance = y.float().var(-1, unbiased=False, keepdim=True)
            factor = torch.rsqrt(variance + self.eps)
            y = (y * factor).to(x.dtype) * self.weight.to(x.dtype)
        return y.masked_fill(~(factor > 0), torch.nan).permute(0, 3, 1, 2)
