"""Several networks as one, such as those of a cross-validation's folds."""

from collections.abc import Sequence

import torch
import torch.nn as nn


class Ensemble(nn.Module):
    """The mean of several networks' probabilities, as logits.

    Args:
        members: networks of equal inputs and outputs.

    Shape: that of the members.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.stack([member(x) for member in self.members])
        logits = logits + 0 * logits  # NaN where one is infinite, which the mean would hide
        if logits.shape[2] == 1:
            return logits.sigmoid().mean(0).logit(eps=1e-6)
        return logits.log_softmax(2).logsumexp(0)
