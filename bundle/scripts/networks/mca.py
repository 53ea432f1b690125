"""Multi-scale cross-axis attention and its decoder (MCANet, arXiv 2312.08866, section 3)."""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops.layers.torch import Rearrange

from .norm import ChannelLayerNorm

GROUPS = 32  # of every GroupNorm in the decoder


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """L2-normalise the last axis, at least in float32: half precision overflows, and 0 / 0 in constant regions."""
    y = x if x.dtype == torch.float64 else x.float()
    return F.normalize(y, dim=-1).to(x.dtype)


def attend(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Attention over lines with unit queries and keys; values are the keys before normalisation.

    Shape: query and key (B, heads, lines, length) to (B, heads, lines, length).
    """
    unit_query = unit_rows(query)
    weights = (unit_query @ unit_rows(key).transpose(-2, -1)).softmax(dim=-1)
    return weights @ key + unit_query


class SummedStrips(nn.Sequential):
    """The sum of parallel 1 × k, or k × 1, depthwise convolutions, as one convolution.

    All see the same input, so their kernels, padded to the longest (the last), may be added first.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, channels: int, sizes: Sequence[int], vertical: bool) -> None:
        kernels = [(size, 1) if vertical else (1, size) for size in sorted(sizes)]
        super().__init__(
            *(
                nn.Conv2d(
                    channels, channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=channels
                )
                for kernel in kernels
            )
        )
        self.padding = [kernels[-1][0] // 2, kernels[-1][1] // 2]

    def kernel(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the one convolution."""
        height, width = self.padding
        weights: list[torch.Tensor] = []
        biases: list[torch.Tensor] = []
        for conv in self:
            weight: torch.Tensor = conv.weight  # type: ignore[assignment]
            dh, dw = height - weight.shape[2] // 2, width - weight.shape[3] // 2
            weights.append(F.pad(weight, [dw, dw, dh, dh]))
            bias: torch.Tensor | None = conv.bias  # type: ignore[assignment]
            assert bias is not None  # for TorchScript
            biases.append(bias)
        bias_sum = biases[0]
        for more in biases[1:]:  # stacked and summed, they would share the memory of one gradient
            bias_sum = bias_sum + more
        return torch.stack(weights).sum(0), bias_sum

    def as_conv(self) -> nn.Conv2d:
        """The one convolution, with weights of its own."""
        weight, bias = self.kernel()
        channels, _, height, width = weight.shape
        size, padding = (height, width), (height // 2, width // 2)
        conv = nn.Conv2d(channels, channels, size, padding=padding, groups=channels, device="meta")
        conv.weight = nn.Parameter(weight.detach(), weight.requires_grad)
        conv.bias = nn.Parameter(bias.detach(), bias.requires_grad)
        return conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.kernel()
        return F.conv2d(x, weight, bias, padding=self.padding, groups=x.shape[1])


class CrossAxisAttention(nn.Module):
    """Multi-scale cross-axis attention (section 3.2, figure 3).

    Each axis has the sum of its strip convolutions as features. Rows attend to rows with queries from the
    vertical strips, columns to columns with queries from the horizontal ones; a line of a head, all its
    positions and channels, is one token.

    Args:
        channels: channels of input and output.
        num_heads: attention heads; must divide ``channels``.
        norm_bias: kind of the channel LayerNorm, see :class:`ChannelLayerNorm`.

    Shape: (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: if ``num_heads`` does not divide ``channels``.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        norm_bias: bool = True,
        strip_sizes: Sequence[int] = (7, 11, 21),
    ) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            allowed = [n for n in range(1, channels + 1) if channels % n == 0]
            raise ValueError(
                f"num_heads must divide the {channels} channels (one of {allowed}), got {num_heads!r}"
            )
        self.norm = ChannelLayerNorm(channels, bias=norm_bias)
        self.horizontal = SummedStrips(channels, strip_sizes, vertical=False)
        self.vertical = SummedStrips(channels, strip_sizes, vertical=True)
        self.project = nn.Conv2d(channels, channels, 1)  # before and after the attention: one set of weights
        per_head = channels // num_heads
        # from channels last, the layout that it computes in: other forms make OpenVINO leave it and come back
        self.to_rows = Rearrange("b h w (head c) -> b head h (w c)", head=num_heads)
        self.from_rows = Rearrange("b head h (w c) -> b h w (head c)", c=per_head)
        self.to_columns = Rearrange("b h w (head c) -> b head w (h c)", head=num_heads)
        self.from_columns = Rearrange("b head w (h c) -> b h w (head c)", c=per_head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        along_rows = self.project(self.horizontal(y)).permute(0, 2, 3, 1)
        along_columns = self.project(self.vertical(y)).permute(0, 2, 3, 1)
        rows = attend(self.to_rows(along_columns), self.to_rows(along_rows))
        columns = attend(self.to_columns(along_rows), self.to_columns(along_columns))
        both = (self.from_rows(rows) + self.from_columns(columns)).permute(0, 3, 1, 2)
        bias = self.project.bias
        assert bias is not None  # for TorchScript
        # the sum of both projections: projected once, the bias counts twice
        return self.project(both) + bias[:, None, None] + x


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, GroupNorm and ReLU; keeps H and W."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False
        ),
        nn.GroupNorm(GROUPS, out_channels),
        nn.ReLU(),
    )


def separable_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """3 × 3 depthwise and then 1 × 1 convolution, each with GroupNorm and ReLU; keeps H and W."""
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, 3, groups=in_channels),
        conv_norm_relu(in_channels, out_channels),
    )


class MCADecoder(nn.Module):
    """From the encoder's four levels to logits at the decoder's resolution (section 3.1, figure 2).

    Args:
        in_channels: channels of the four levels.
        attention_channels: channels of the cross-axis attention.
        hidden_channels: channels of the two separable convolutions.
        out_channels: classes.
        num_heads: heads of the attention.
        norm_bias: kind of the attention's LayerNorm.
        size: (H, W) at which the decoder works; None takes the first level's, 1/4 of the input.
        dropout: rate of the channel dropout before the classifier.

    Shape: list of four (B, in_channels[i], H_i, W_i) to (B, out_channels, H_0, W_0), or ``size``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        attention_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_heads: int = 8,
        norm_bias: bool = True,
        size: tuple[int, int] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        first = in_channels[0]
        self.size = None if size is None else list(size)
        self.level_channels = list(in_channels[1:])
        self.squeeze = conv_norm_relu(sum(in_channels[1:]), attention_channels)
        self.attention = CrossAxisAttention(attention_channels, num_heads, norm_bias)
        self.bottleneck = nn.Sequential(
            separable_conv(first + attention_channels, hidden_channels),
            separable_conv(hidden_channels, hidden_channels),
        )
        self.align = conv_norm_relu(hidden_channels, first)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(first, out_channels, 1)

    def resize(self, x: torch.Tensor, size: list[int]) -> torch.Tensor:
        """Bilinear, to ``size`` (H, W)."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def squeezed(self, levels: list[torch.Tensor], size: list[int]) -> torch.Tensor:
        """The squeeze of the concatenated, upsampled levels; both are linear, so few channels are upsampled."""
        weight: torch.Tensor = self.squeeze[0].weight  # type: ignore[assignment]
        weights = weight.split(self.level_channels, dim=1)
        x = self.resize(F.conv2d(levels[0], weights[0]), size)
        for level, part in zip(levels[1:], weights[1:]):  # noqa: B905 (TorchScript)
            x = x + self.resize(F.conv2d(level, part), size)
        return self.squeeze[2](self.squeeze[1](x))  # type: ignore[operator]

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        if self.size is None:
            size, first = list(features[0].shape[-2:]), features[0]
        else:
            size, first = self.size, self.resize(features[0], self.size)
        x = self.attention(self.squeezed(features[1:], size))
        x = self.bottleneck(torch.cat([x, first], dim=1))
        return self.classifier(self.dropout(self.align(x)))
