"""The reference network's parity vectors: weights made by rule, an input, and its logits."""

import json
import zlib
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent / "parity"


def made_weight(name: str, shape: list[int]) -> torch.Tensor:
    """The tensor that the reference had under a published name."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return torch.rand(shape, generator=generator) + 0.5
    return torch.randn(shape, generator=generator) * 0.08


def load(vector: str) -> tuple[dict[str, Any], dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """(specification, published state dict, input, logits) of a vector."""
    spec = json.loads((FOLDER / f"{vector}.json").read_text())
    weights = {name: made_weight(name, shape) for name, shape in spec["state_dict"].items()}
    image = torch.randn(spec["input"], generator=torch.Generator().manual_seed(spec["input_seed"]))
    return spec, weights, image, torch.load(FOLDER / f"{vector}.logits.pt", weights_only=True)
