"""MCANet as the authors' code computes it, operation by operation: what the fused network is measured against."""

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mcanet.scripts.networks import MCANet
from mcanet.scripts.networks.mca import CrossAxisAttention, MCADecoder, SummedStrips, attend


class StraightStrips(nn.Module):
    """Three strip convolutions, one after another, and their sum."""

    def __init__(self, strips: SummedStrips) -> None:
        super().__init__()
        self.convs = nn.ModuleList(strips)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum((conv(x) for conv in self.convs[1:]), start=self.convs[0](x))


class StraightAttention(nn.Module):
    """Each axis projected by itself; see :class:`CrossAxisAttention`."""

    def __init__(self, attention: CrossAxisAttention) -> None:
        super().__init__()
        self.inner = attention
        self.horizontal, self.vertical = (
            StraightStrips(attention.horizontal),
            StraightStrips(attention.vertical),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner, y = self.inner, self.inner.norm(x)
        along_rows = inner.project(self.horizontal(y)).permute(0, 2, 3, 1)
        along_columns = inner.project(self.vertical(y)).permute(0, 2, 3, 1)
        rows = attend(inner.to_rows(along_columns), inner.to_rows(along_rows))
        columns = attend(inner.to_columns(along_rows), inner.to_columns(along_columns))
        both = (part.permute(0, 3, 1, 2) for part in (inner.from_rows(rows), inner.from_columns(columns)))
        return sum(map(inner.project, both), x)


class StraightDecoder(nn.Module):
    """Levels upsampled and concatenated before they are squeezed; see :class:`MCADecoder`."""

    def __init__(self, decoder: MCADecoder) -> None:
        super().__init__()
        self.inner = decoder
        self.attention = StraightAttention(decoder.attention)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        inner, first = self.inner, features[0]
        size = list(first.shape[-2:])
        x = inner.squeeze(torch.cat([inner.resize(level, size) for level in features[1:]], dim=1))
        x = inner.bottleneck(torch.cat([self.attention(x), first], dim=1))
        return inner.classifier(inner.dropout(inner.align(x)))


class StraightMCANet(nn.Module):
    """The straight implementation, with the weights of ``network``.

    Shape: (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(self, network: MCANet) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.decoder = StraightDecoder(network.decoder)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.decoder(self.encoder(x))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
