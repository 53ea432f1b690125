"""Networks and losses that only the ablation needs: parts of ours left out or added, another start, other targets."""

import math
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mcanet.scripts.networks import MCANet
from mcanet.scripts.networks.mca import CrossAxisAttention, conv_norm_relu
from mcanet.scripts.networks.mscan import Block
from monai.networks import one_hot
from monai.networks.layers import GaussianFilter

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


class HalfResolution(nn.Module):
    """MCANet that answers at 1/2: its features at 1/4 are joined with those between the stem's two convolutions.

    Shape: (B, in_channels, H, W) to (B, out_channels, H, W).
    """

    def __init__(self, out_channels: int, **settings: Any) -> None:
        super().__init__()
        network = MCANet(out_channels=out_channels, **settings)
        self.encoder, self.decoder = network.encoder, network.decoder
        quarter = network.decoder.classifier.in_channels
        half = network.encoder.downsamples[0][0].out_channels
        self.decoder.classifier = nn.Identity()  # type: ignore[assignment]
        self.join = conv_norm_relu(quarter + half, quarter, 3)
        self.classifier = nn.Conv2d(quarter, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.encoder.downsamples[0][:3](x)
        quarter = self.decoder.resize(self.decoder(self.encoder(x)), list(half.shape[-2:]))
        logits = self.classifier(self.join(torch.cat([quarter, half], dim=1)))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


class MaskedPictures(MCANet):
    """MCANet that learns, without a label, what three in five squares of a picture hide (arXiv 2111.09886).

    In training its answer is by how much it misses the hidden part at 1/4 of the resolution, 0 where nothing was
    hidden; the loss is :class:`MeanError`. It needs as many classes as channels.

    Shape: (B, C, H, W), H and W multiples of 16, to (B, C, H / 4, W / 4) in training, else (B, C, H, W).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        squares = torch.rand(len(x), 1, x.shape[2] // 16, x.shape[3] // 16, device=x.device) > 0.6
        seen = squares.to(x.dtype).repeat_interleave(16, 2).repeat_interleave(16, 3)
        return (self.forward_features(x * seen) - F.avg_pool2d(x, 4)) * (1 - F.avg_pool2d(seen, 4))


class MeanError(nn.Module):
    """Mean absolute value of what a :class:`MaskedPictures` network answers; the labels are not looked at."""

    def forward(self, missed: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return missed.abs().mean()


class Distilled(MCANet):
    """MCANet that is taught by larger ones: in training their mean answer follows as further channels.

    Args:
        teachers: files of weights of the small variant (else as this network), for :class:`TaughtLoss`.

    Shape: (B, C, H, W) to (B, 2 · out_channels, H, W) in training, logits and probabilities; else (B, out_channels, H, W).
    """

    def __init__(self, teachers: list[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.teachers = []  # a list, so that they are no part of this network's weights
        for path in teachers:
            teacher = MCANet(**settings | {"variant": "small"})
            teacher.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            self.teachers.append(teacher.eval())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        if not self.training:
            return logits
        with torch.no_grad():
            answers = torch.stack([teacher.to(x.device)(x).softmax(1) for teacher in self.teachers])
        return torch.cat([logits, answers.mean(0)], dim=1)


class TaughtLoss(nn.Module):
    """The mean of a loss against the labels and of the cross-entropy against what a :class:`Distilled`'s teachers say.

    Args:
        loss: of logits and labels.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, answers: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits, taught = answers.chunk(2, dim=1)
        return (self.loss(logits, label) + F.cross_entropy(logits, taught)) / 2


class SoftBorders(nn.Module):
    """A loss against labels that are blurred, and so uncertain at their borders alone.

    Args:
        loss: of logits and shares of the classes, both (B, C, H, W).
        sigma: of the blur, in pixels.
    """

    def __init__(self, loss: nn.Module, sigma: float = 0.7) -> None:
        super().__init__()
        self.loss, self.blur = loss, GaussianFilter(2, sigma)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.loss(logits, self.blur(one_hot(label, logits.shape[1])))


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
