"""Multi-scale cross-axis attention and its decoder (MCANet, arXiv 2312.08866, section 3)."""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops.layers.torch import Rearrange

from .norm import ChannelLayerNorm

GROUPS = 32  # of every GroupNorm in the decoder


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """L2-normalise the last axis, in float32: half precision overflows, and 0 / 0 in constant regions."""
    return F.normalize(x.float(), dim=-1).to(x.dtype)


def attend(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Attention over lines with unit queries and keys; values are the keys before normalisation.

    Shape: query and key (B, heads, lines, length) to (B, heads, lines, length).
    """
    unit_query = unit_rows(query)
    weights = (unit_query @ unit_rows(key).transpose(-2, -1)).softmax(dim=-1)
    return weights @ key + unit_query


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
        self.horizontal = nn.ModuleList(
            nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2), groups=channels) for k in strip_sizes
        )
        self.vertical = nn.ModuleList(
            nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0), groups=channels) for k in strip_sizes
        )
        self.project = nn.Conv2d(channels, channels, 1)  # before and after the attention: one set of weights
        per_head = channels // num_heads
        self.to_rows = Rearrange("b (head c) h w -> b head h (w c)", head=num_heads)
        self.from_rows = Rearrange("b head h (w c) -> b (head c) h w", c=per_head)
        self.to_columns = Rearrange("b (head c) h w -> b head w (h c)", head=num_heads)
        self.from_columns = Rearrange("b head w (h c) -> b (head c) h w", c=per_head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        along_rows = torch.zeros_like(y)
        for conv in self.horizontal:
            along_rows = along_rows + conv(y)
        along_columns = torch.zeros_like(y)
        for conv in self.vertical:
            along_columns = along_columns + conv(y)
        along_rows, along_columns = self.project(along_rows), self.project(along_columns)
        rows = attend(self.to_rows(along_columns), self.to_rows(along_rows))
        columns = attend(self.to_columns(along_rows), self.to_columns(along_columns))
        return self.project(self.from_rows(rows)) + self.project(self.from_columns(columns)) + x


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

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        if self.size is None:
            size, first = list(features[0].shape[-2:]), features[0]
        else:
            size, first = self.size, self.resize(features[0], self.size)
        x = self.squeeze(torch.cat([self.resize(level, size) for level in features[1:]], dim=1))
        x = self.attention(x)
        x = self.bottleneck(torch.cat([x, first], dim=1))
        return self.classifier(self.dropout(self.align(x)))
