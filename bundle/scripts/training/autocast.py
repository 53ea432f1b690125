"""Automatic mixed precision for training, on CPU and GPU alike."""

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer

from ..precision import bfloat16_is_faster


class AutocastInferer(SimpleInferer):
    """Run the network under bfloat16 autocast on the input's device; float32 logits.

    MONAI's own ``amp`` argument knows CUDA only; bfloat16 needs no loss scaling.

    Args:
        enabled: False runs in float32; None decides by :func:`bfloat16_is_faster`.
    """

    def __init__(self, enabled: bool | None = None) -> None:
        super().__init__()
        self.enabled = enabled

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        enabled = bfloat16_is_faster(inputs.device) if self.enabled is None else self.enabled
        plain = inputs.as_subclass(torch.Tensor)  # MONAI's MetaTensor passes every operation through Python
        with torch.autocast(plain.device.type, torch.bfloat16, enabled=enabled):
            return super().__call__(plain, network, *args, **kwargs).float()
