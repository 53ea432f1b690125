"""Learning rates and weight decay for each parameter (arXiv 2312.08866, section 4.1)."""

from typing import Any

import torch.nn as nn


def parameter_groups(
    network: nn.Module, learning_rate: float, weight_decay: float, head_multiplier: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for an optimiser: vectors (norms, biases, layer scales) do not decay, the decoder learns faster.

    Args:
        network: an :class:`MCANet`.
        learning_rate: of the encoder.
        weight_decay: of convolution weights.
        head_multiplier: the decoder's learning rate over the encoder's.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("decoder."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (head_multiplier if in_decoder else 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (in_decoder, decays), parameters in groups.items()
    ]
