"""Networks and a loss that only the ablation needs: parts of ours left out, begun otherwise, or supervised deeply."""

import math
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mcanet.scripts.networks import MCANet
from mcanet.scripts.networks.mca import CrossAxisAttention
from mcanet.scripts.networks.mscan import Block

WEIGHTS = (1.0, 0.5, 0.25)  # of the answers of a deeply supervised network


class _MultiScaleStrips(CrossAxisAttention):
    """The sums of the strips of both axes, without attention."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return self.project(self.horizontal(y) + self.vertical(y)) + x


class _Changed(nn.Module):
    """MCANet with another attention; no MCANet itself, so that no engine rewrites it."""

    def __init__(self, attention: CrossAxisAttention, **settings: Any) -> None:
        super().__init__()
        network = MCANet(**settings)
        network.decoder.attention = attention
        self.encoder, self.decoder = network.encoder, network.decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(
            self.decoder(self.encoder(x)), size=x.shape[-2:], mode="bilinear", align_corners=False
        )


class NoCrossAxis(_Changed):
    """The strips of three sizes alone."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(_MultiScaleStrips(64), **settings)


class OneScale(_Changed):
    """Cross-axis attention over strips of one size, that in the middle."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(CrossAxisAttention(64, strip_sizes=(11,)), **settings)


class SegNeXtStart(MCANet):
    """MCANet as SegNeXt begins: He's rule over the fan-out of a group, layer scales of 0.01."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                module.weight.data *= math.sqrt(module.groups)  # PyTorch's fan is of all groups
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, Block):
                nn.init.constant_(module.scale1, 0.01)
                nn.init.constant_(module.scale2, 0.01)


class DeeplySupervised(nn.Module):
    """MCANet whose levels at 1/8 and 1/16 answer, too, while it trains: their logits follow as further channels.

    Shape: (B, in_channels, H, W) to (B, 3 · out_channels, H, W) in training, else (B, out_channels, H, W).
    """

    def __init__(self, out_channels: int, **settings: Any) -> None:
        super().__init__()
        network = MCANet(out_channels=out_channels, **settings)
        self.encoder, self.decoder = network.encoder, network.decoder
        self.auxiliary = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in (64, 160))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = self.encoder(x)
        answers = [self.decoder(levels)]
        if self.training:
            answers += [head(level) for head, level in zip(self.auxiliary, levels[1:3], strict=True)]
        return torch.cat(
            [F.interpolate(one, size=x.shape[-2:], mode="bilinear", align_corners=False) for one in answers],
            dim=1,
        )


class DeepLoss(nn.Module):
    """A loss over the answers of a :class:`DeeplySupervised` network.

    Args:
        loss: of one answer.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        answers = logits.chunk(len(WEIGHTS), dim=1)
        return sum(w * self.loss(one, label) for w, one in zip(WEIGHTS, answers, strict=True)) / sum(WEIGHTS)
