"""MSCAN, the multi-scale convolutional attention encoder (SegNeXt, arXiv 2209.08575, section 3.1)."""

from collections.abc import Sequence

import torch
import torch.nn as nn
from monai.networks.layers import DropPath

from .norm import ChannelLayerNorm


class StripPair(nn.Sequential):
    """A 1 × k and then a k × 1 depthwise convolution: the reach of a k × k kernel for 2k weights."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, (1, size), padding=(0, size // 2), groups=channels),
            nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0), groups=channels),
        )


class MultiScaleConvAttention(nn.Module):
    """A gate from depthwise convolutions of several reaches (SegNeXt, equation 1).

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, channels: int, strip_sizes: Sequence[int] = (7, 11, 21)) -> None:
        super().__init__()
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.strips = nn.ModuleList(StripPair(channels, size) for size in strip_sizes)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = self.act(self.proj_in(x))
        local = self.local(value)
        gate = local
        for strip in self.strips:
            gate = gate + strip(local)
        return self.proj_out(self.mix(gate) * value) + x


class ConvMLP(nn.Module):
    """Two 1 × 1 convolutions with a 3 × 3 depthwise convolution and GELU between them."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden_channels, 1)
        self.depthwise = nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1, groups=hidden_channels)
        self.act = nn.GELU()
        self.project = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(self.act(self.depthwise(self.expand(x))))


class Block(nn.Module):
    """Attention and MLP, each normalised before, scaled per channel and dropped at random after.

    The scales begin at 0.1: at SegNeXt's 0.01, short trainings from scratch learn less (docs/training.md).

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, channels: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attention = MultiScaleConvAttention(channels)
        self.scale1 = nn.Parameter(torch.full((channels,), 0.1))
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = ConvMLP(channels, channels * mlp_ratio)
        self.scale2 = nn.Parameter(torch.full((channels,), 0.1))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop_path(self.scale1[:, None, None] * self.attention(self.norm1(x)))
        return x + self.drop_path(self.scale2[:, None, None] * self.mlp(self.norm2(x)))


def halving_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """3 × 3 convolution of stride 2 and BatchNorm; (B, C, H, W) to (B, C', ⌈H/2⌉, ⌈W/2⌉)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.BatchNorm2d(out_channels)
    )


def stem(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two halving convolutions; (B, C, H, W) to (B, C', ⌈H/4⌉, ⌈W/4⌉)."""
    half = out_channels // 2
    return nn.Sequential(*halving_conv(in_channels, half), nn.GELU(), *halving_conv(half, out_channels))


class MSCAN(nn.Module):
    """The encoder: four stages at 1/4, 1/8, 1/16 and 1/32 of the input's resolution.

    Args:
        in_channels: channels of the input.
        channels: channels of the four stages, published as ``out_channels``.
        depths: blocks in each stage.
        mlp_ratios: widening of the MLP in each stage.
        drop_path: stochastic depth rate of the last block; the rate grows linearly from 0.

    Shape: (B, in_channels, H, W) to a list of four (B, channels[i], ⌈H/s⌉, ⌈W/s⌉), s = 4, 8, 16, 32.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        depths: Sequence[int],
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_channels = tuple(channels)
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        inputs = (in_channels, *channels[:-1])
        self.downsamples = nn.ModuleList(
            stem(c_in, c_out) if i == 0 else halving_conv(c_in, c_out)
            for i, (c_in, c_out) in enumerate(zip(inputs, channels, strict=True))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, ratio, next(rates)) for _ in range(depth)))
            for width, depth, ratio in zip(channels, depths, mlp_ratios, strict=True)
        )
        self.norms = nn.ModuleList(ChannelLayerNorm(width) for width in channels)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = []
        for downsample, stage, norm in zip(self.downsamples, self.stages, self.norms):  # noqa: B905 (TorchScript)
            x = norm(stage(downsample(x)))
            features.append(x)
        return features
