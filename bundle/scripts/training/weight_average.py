"""The running average of the weights, which is what is validated and saved."""

import os
from collections.abc import Sized
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler


class WeightAverage(EMAHandler):
    """Ignite's EMAHandler, started from the weights that the first iteration sees.

    Ignite copies them when the handler is made, before a CheckpointLoader (MONAI Label adds one) has loaded any:
    the average would begin at random weights. Arguments as for EMAHandler.
    """

    def attach(self, engine: Engine, *args: Any, **kwargs: Any) -> None:
        """Attach behind whatever loads weights when the training starts."""
        engine.add_event_handler(Events.STARTED, self._start)
        super().attach(engine, *args, **kwargs)

    def _start(self, engine: Engine) -> None:
        if engine.state.iteration == 0:  # a resumed training brings its average along
            self.ema_model.load_state_dict(self.model.state_dict())


def save_unvalidated(network: torch.nn.Module, ckpt_dir: str | Path, cases: Sized) -> None:
    """Save ``model.pt`` after a training without a case to validate on, which no other handler would.

    Args:
        network: whose weights.
        ckpt_dir: made if it does not exist.
        cases: that the training was validated on; with any, the best weights are saved already.
    """
    if len(cases):
        return
    path = Path(ckpt_dir) / "model.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(network.state_dict(), temporary)
    os.replace(temporary, path)
