"""How a training went: a row an epoch, and at the end its curves and a page."""

import csv
import io
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch.optim import Optimizer
from tqdm import tqdm

from ..replacing import replacing
from .report import write_report

COLUMNS = ("epoch", "train_loss", "val_mean_dice", "learning_rate", "seconds")
Row = dict[str, Any]
logger = logging.getLogger("mcanet")


class History:
    """Ignite handler of a trainer: ``history.csv`` grows by a row an epoch, ``report.html`` ends it.

    Attach it behind the validation. What it remembers is part of a checkpoint, so that a training that goes on
    has one history.

    Args:
        output_dir: where the files go; made if it does not exist.
        evaluator: whose mean Dice is the epoch's, where it validated.
        optimizer: whose first learning rate is the epoch's.
        facts: of the run, by name, for the page.
    """

    def __init__(
        self, output_dir: str | Path, evaluator: Engine, optimizer: Optimizer, facts: Mapping[str, Any]
    ) -> None:
        self.folder, self.evaluator, self.optimizer = Path(output_dir), evaluator, optimizer
        self.facts = facts
        self.rows: list[Row] = []
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        engine.add_event_handler(Events.COMPLETED, self._report)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on behind the rows of a checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def _start(self, engine: Engine) -> None:
        self.started, self.losses = time.perf_counter(), []

    def _add(self, engine: Engine) -> None:
        self.losses.append(float(vars(engine.state)["output"][0][CommonKeys.LOSS]))

    def _end(self, engine: Engine) -> None:
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        validated = self.evaluator.state.epoch == engine.state.epoch
        values = (
            engine.state.epoch,
            sum(finite) / len(finite) if finite else None,
            self.evaluator.state.metrics.get("val_mean_dice") if validated else None,
            float(self.optimizer.param_groups[0]["lr"]),
            round(time.perf_counter() - self.started, 1),
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS)
        writer.writeheader()
        writer.writerows(self.rows)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / "history.csv") as temporary:
            temporary.write_text(table.getvalue(), encoding="utf-8", newline="")

    def _report(self, engine: Engine) -> None:
        write_report(self.folder, self.rows, self.facts)
        logger.info("the curves and settings of this training: %s", self.folder / "report.html")


class KeepLoss:
    """Ignite handler of a MONAI trainer: of a step only the loss is kept, in the form that MONAI's handlers read.

    MONAI's ``decollate`` does that by taking the batch apart picture by picture, which a GPU waits for.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer that does not decollate."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Drop pictures and logits."""
        state = vars(engine.state)
        state["output"] = [{CommonKeys.LOSS: state["output"][CommonKeys.LOSS].detach()}]


class RunProgress:
    """Ignite handler of a trainer: a bar over the whole run, with the time that is left."""

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        self.bar: tqdm | None = None
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._move)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.TERMINATE, self._close)

    def _open(self, engine: Engine) -> None:
        state = engine.state
        if self.bar is None:  # not at the start, for only then a checkpoint says where the run goes on
            total = (state.max_epochs or 1) * (state.epoch_length or 1)
            self.bar = tqdm(total=total, initial=state.iteration, smoothing=0.1, unit="step")
        self.bar.set_description(f"epoch {state.epoch} of {state.max_epochs}")

    def _move(self, engine: Engine) -> None:
        assert self.bar is not None  # the epoch has started
        self.bar.update()

    def _close(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.close()
