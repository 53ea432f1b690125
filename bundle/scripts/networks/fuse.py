"""The same function with fewer operations: what a trained network may be rewritten to for inference."""

import copy

import torch
import torch.nn as nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .mca import CrossAxisAttention
from .mcanet import MCANet
from .mscan import MSCAN, Block, StripPair


def fuse(network: MCANet) -> MCANet:
    """An equal network for inference, exact in real arithmetic; ``network`` itself is left as it is.

    Every BatchNorm becomes part of a convolution, the layer scales become part of the projections before
    them, the strips of each axis of the attention become one convolution, and the attention normalises its
    scores instead of its tokens.

    Shape: as the network, (B, in_channels, H, W) to (B, out_channels, H, W).

    Raises:
        ValueError: the network is in training mode, where BatchNorm depends on the batch, or fused already.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be fused: call network.eval() first")
    if isinstance(network.decoder.attention, FusedAttention):
        raise ValueError("the network is fused already")
    fused = copy.deepcopy(network).requires_grad_(False)
    _fuse_encoder(fused.encoder)
    fused.decoder.attention = FusedAttention(fused.decoder.attention)  # type: ignore[assignment]
    for module in fused.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return fused


def _fuse_encoder(encoder: MSCAN) -> None:
    """BatchNorm into the halving convolutions, and each block fused, in place."""
    sequences = (
        m for m in encoder.modules() if isinstance(m, nn.Sequential) and not isinstance(m, StripPair)
    )
    for sequence in list(sequences):
        for i, layer in enumerate(sequence):
            if isinstance(layer, nn.BatchNorm2d):
                sequence[i - 1] = fuse_conv_bn_eval(sequence[i - 1], layer)  # type: ignore[type-var]
                sequence[i] = nn.Identity()
            elif isinstance(layer, Block):
                sequence[i] = FusedBlock(layer)


class FusedBlock(nn.Module):
    """A block without norms and scales of its own.

    The attention adds its *normalised* input a·x + b, scaled by s: with the outer shortcut that is
    x·(1 + s·a) + s·b, a product, and a constant that goes into a bias.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    shortcut: torch.Tensor  # (C, 1, 1)

    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, scale1, scale2 = block.attention, block.scale1, block.scale2
        a, b = _as_affine(block.norm1)
        self.proj_in = _after_affine(attention.proj_in, a, b)
        self.local, self.strips, self.mix = attention.local, attention.strips, attention.mix
        self.proj_out = _scaled(attention.proj_out, scale1)
        assert self.proj_out.bias is not None
        self.proj_out.bias.add_(scale1 * b)
        self.register_buffer("shortcut", (1 + scale1 * a)[:, None, None])
        self.mlp = block.mlp
        self.mlp.expand = _after_affine(self.mlp.expand, *_as_affine(block.norm2))
        self.mlp.project = _scaled(self.mlp.project, scale2)
        self.act = attention.act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = self.act(self.proj_in(x))
        local = self.local(value)
        gate = local
        for strip in self.strips:
            gate = gate + strip(local)
        x = torch.addcmul(self.proj_out(self.mix(gate) * value), x, self.shortcut)
        return x + self.mlp(x)


class FusedAttention(nn.Module):
    """Cross-axis attention with one convolution an axis, and norms taken of scores instead of tokens.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, attention: CrossAxisAttention) -> None:
        super().__init__()
        self.norm = attention.norm
        self.horizontal = attention.horizontal.as_conv()
        self.vertical = attention.vertical.as_conv()
        self.project_in = attention.project
        self.project_out = copy.deepcopy(attention.project)
        assert self.project_out.bias is not None
        self.project_out.bias.mul_(2)  # each axis is projected, and both are added
        self.to_rows, self.from_rows = attention.to_rows, attention.from_rows
        self.to_columns, self.from_columns = attention.to_columns, attention.from_columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        along_rows = self.project_in(self.horizontal(y)).permute(0, 2, 3, 1)
        along_columns = self.project_in(self.vertical(y)).permute(0, 2, 3, 1)
        rows = attend_by_scores(self.to_rows(along_columns), self.to_rows(along_rows))
        columns = attend_by_scores(self.to_columns(along_rows), self.to_columns(along_columns))
        both = (self.from_rows(rows) + self.from_columns(columns)).permute(0, 3, 1, 2)
        return self.project_out(both) + x


def attend_by_scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """:func:`attend`, with the norms divided out of the scores (lines × lines), which are far fewer.

    Shape: query and key (B, heads, lines, length) to (B, heads, lines, length).
    """
    query_norm, key_norm = (
        torch.linalg.vector_norm(t, dim=-1, keepdim=True).clamp_min(1e-12) for t in (query, key)
    )
    scores = (query @ key.transpose(-2, -1)) / (query_norm * key_norm.transpose(-2, -1))
    return scores.softmax(-1) @ key + query / query_norm


def _as_affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """(C,) factor and offset that a BatchNorm amounts to in evaluation mode."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


def _after_affine(conv: nn.Conv2d, factor: torch.Tensor, offset: torch.Tensor) -> nn.Conv2d:
    """A 1 × 1 convolution, in place, that takes x where it took factor · x + offset."""
    assert conv.bias is not None
    conv.bias.add_(conv.weight[:, :, 0, 0] @ offset)
    conv.weight.mul_(factor[:, None, None])
    return conv


def _scaled(conv: nn.Conv2d, scale: torch.Tensor) -> nn.Conv2d:
    """A convolution, in place, whose outputs are multiplied by ``scale`` (C,)."""
    assert conv.bias is not None
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias.mul_(scale)
    return conv
