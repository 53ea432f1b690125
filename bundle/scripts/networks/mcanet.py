"""MCANet: an MSCAN encoder and a multi-scale cross-axis attention decoder, in three sizes."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from .mca import MCADecoder
from .mscan import MSCAN


@dataclass(frozen=True)
class Variant:
    """Widths and depths of one size of the network."""

    channels: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    attention_channels: int
    hidden_channels: int


VARIANTS = {
    "tiny": Variant((32, 64, 160, 256), (3, 3, 5, 2), 64, 256),
    "small": Variant((64, 128, 320, 512), (2, 2, 4, 2), 128, 512),
    "base": Variant((64, 128, 320, 512), (3, 3, 12, 3), 128, 512),
}


class MCANet(nn.Module):
    """MCANet (arXiv 2312.08866), 4.05 M (tiny), 14.00 M (small) or 26.83 M (base) parameters.

    Args:
        in_channels: channels of the input.
        out_channels: classes, the background included.
        variant: "tiny", "small" or "base".
        spatial_dims: 2, the only number of dimensions that the network has.
        num_heads: heads of the cross-axis attention.
        norm_bias: kind of the attention's LayerNorm, with (True) or without bias.
        decoder_size: (H, W) or one number for both, at which the decoder works; None is 1/4 of the input.
        drop_path: stochastic depth rate of the encoder's last block.
        dropout: rate of the channel dropout before the classifier.

    Shape: (B, in_channels, H, W), any H and W from 32, to logits (B, out_channels, H, W).

    Raises:
        ValueError: if an argument is not one of the allowed values.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        variant: str = "tiny",
        spatial_dims: int = 2,
        num_heads: int = 8,
        norm_bias: bool = True,
        decoder_size: int | tuple[int, int] | None = None,
        drop_path: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {sorted(VARIANTS)}, got {variant!r}")
        if spatial_dims != 2:
            raise ValueError(
                f"spatial_dims must be 2 (volumes go through slice by slice), got {spatial_dims!r}"
            )
        for name, number in (("in_channels", in_channels), ("out_channels", out_channels)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number!r}")
        for name, rate in (("drop_path", drop_path), ("dropout", dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {rate!r}")
        self.hidden = f"{norm_bias=}, {decoder_size=}, {drop_path=}"
        size = VARIANTS[variant]
        self.encoder = MSCAN(in_channels, size.channels, size.depths, drop_path=drop_path)
        self.decoder = MCADecoder(
            size.channels,
            size.attention_channels,
            size.hidden_channels,
            out_channels,
            num_heads=num_heads,
            norm_bias=norm_bias,
            size=_pair(decoder_size),
            dropout=dropout,
        )

    def extra_repr(self) -> str:
        """The arguments that no part of it shows."""
        return self.hidden

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, ⌈H/4⌉, ⌈W/4⌉), or of ``decoder_size``, before the last resizing."""
        return self.decoder(self.encoder(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.forward_features(x)
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(H, W) from one number or two."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"decoder_size must be None, a positive number or (H, W), got {size!r}")
    return pair[0], pair[1]
