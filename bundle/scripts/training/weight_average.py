"""The running average of the weights, which is what is validated and saved."""

from typing import Any

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

    def state_dict(self) -> dict[str, Any]:
        """The average, and how far its momentum has come."""
        step = self.momentum_scheduler.event_index if self.momentum_scheduler else 0
        return {"model": self.ema_model.state_dict(), "step": step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with an average that was saved."""
        self.ema_model.load_state_dict(state_dict["model"])
        if self.momentum_scheduler:
            self.momentum_scheduler.event_index = state_dict["step"]
