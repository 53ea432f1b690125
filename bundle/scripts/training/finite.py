"""A step whose gradients are not finite never reaches the weights."""

import logging
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys

logger = logging.getLogger(__name__)


class OnlyFinite:
    """Ignite handler of a MONAI trainer: a batch with an infinite or undefined gradient stops it, or is skipped.

    The batch's cases are named either way.

    Args:
        network: that is trained; a skipped batch leaves its weights and its batch statistics as they were.
        skip: go on without the batch.
    """

    def __init__(self, network: torch.nn.Module, skip: bool = False) -> None:
        self.network, self.skip = network, skip
        self.statistics: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if self.skip:
            engine.add_event_handler(Events.ITERATION_STARTED, self._keep_statistics)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def _keep_statistics(self) -> None:
        self.statistics = [buffer.clone() for buffer in self.network.buffers()]

    def __call__(self, engine: Engine) -> None:
        """Look at the gradients, which all ranks share.

        Raises:
            SystemExit: they are not finite, and batches are not skipped.
        """
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        if torch.nn.utils.get_total_norm(gradients).isfinite():
            return
        loss = float(vars(engine.state)["output"][CommonKeys.LOSS].detach())
        what = f"epoch {engine.state.epoch}, a gradient is not finite (loss {loss}); cases {cases_of(engine.state.batch)}"
        if not self.skip:
            raise SystemExit(
                f"training stops: {what}. Look at them; a lower --learning_rate needs "
                "--resume false, and --skip_non_finite true goes on and leaves such batches out"
            )
        logger.warning("batch skipped: %s", what)
        for buffer, kept in zip(self.network.buffers(), self.statistics, strict=True):
            buffer.copy_(kept)
        for weight in self.network.parameters():
            weight.grad = None


def cases_of(batch: Any) -> list[str]:
    """The files that a batch was drawn from, each once."""
    image = batch[CommonKeys.IMAGE]
    names = image.meta.get("filename_or_obj", []) if isinstance(image, MetaTensor) else []
    return list(dict.fromkeys([names] if isinstance(names, str) else names))
