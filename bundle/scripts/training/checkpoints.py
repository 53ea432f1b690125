"""What a training leaves on the disk, each file whole: its best weights, and all that it needs to go on."""

import logging
import os
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events

from ..networks.weights_file import load_whole

logger = logging.getLogger(__name__)

LAST, BEFORE = "checkpoint.pt", "checkpoint_before.pt"


class Stateful(Protocol):
    """Whatever can be saved and gone on with."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...


class Checkpoints:
    """Ignite handler of a trainer: killed at any moment, the same command goes on after the last whole epoch.

    Each epoch ends with ``checkpoint.pt``; the one before stays beside it, in case the last is damaged. When the
    training ends, both go: the same command starts anew.

    Args:
        output_dir: where they lie.
        parts: network, optimiser, schedule, …: attach them first, so that what is loaded stays.
        evaluator: its best metric goes along.
        settings: what must be as it was for the training to go on.
        resume: False starts anew, over what is there.
        save: False where another process saves.
    """

    def __init__(
        self,
        output_dir: str | Path,
        parts: Mapping[str, Stateful],
        evaluator: Engine,
        settings: Mapping[str, Any],
        resume: bool = True,
        save: bool = True,
    ) -> None:
        self.folder, self.parts, self.evaluator = Path(output_dir), parts, evaluator
        self.settings = {name: repr(value) for name, value in settings.items()}
        self.resume, self.save = resume, save

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if self.resume:
            engine.add_event_handler(Events.STARTED, self._load)
        if self.save:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
            engine.add_event_handler(Events.COMPLETED, self._remove)

    def _save(self, engine: Engine) -> None:
        state, best = engine.state, vars(self.evaluator.state)
        content = {name: part.state_dict() for name, part in self.parts.items()} | {
            "progress": {"epoch": state.epoch, "iteration": state.iteration},
            "best": {name: best[name] for name in ("best_metric", "best_metric_epoch")},
            "settings": self.settings,
        }
        if (self.folder / LAST).exists():
            os.replace(self.folder / LAST, self.folder / BEFORE)
        save_whole(content, self.folder / LAST)

    def _load(self, engine: Engine) -> None:
        content = self._last_whole()
        if content is None:
            return
        self._refuse_other_settings(content["settings"])
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        for state, values in ((engine.state, content["progress"]), (self.evaluator.state, content["best"])):
            for name, value in values.items():
                setattr(state, name, value)
        logger.warning("goes on after epoch %d, from %s", engine.state.epoch, self.folder)

    def _last_whole(self) -> Mapping[str, Any] | None:
        """The newest checkpoint that can be read; None: there is none.

        Raises:
            SystemExit: none can be read.
        """
        files = [file for name in (LAST, BEFORE) if (file := self.folder / name).exists()]
        for file in files:
            try:
                return dict(load_whole(file))
            except Exception as error:  # whatever half a file makes torch, zipfile or pickle raise
                logger.warning("%s is damaged (%s)", file, str(error).split("\n")[0][:300])
        if files:
            raise SystemExit(
                f"cannot go on: no whole checkpoint in {self.folder}; delete {LAST} to start anew"
            )
        return None

    def _refuse_other_settings(self, saved: Mapping[str, str]) -> None:
        """Raise SystemExit if the training that was interrupted was another one."""
        changed = [
            f"{name} was {saved.get(name)}, is {value}"
            for name, value in self.settings.items()
            if saved.get(name) != value
        ]
        if changed:
            raise SystemExit(
                f"cannot go on: the interrupted training in {self.folder} was another one ({'; '.join(changed)}): "
                "run it as it was, name another folder, or start anew with --resume false"
            )

    def _remove(self) -> None:
        for name in (LAST, BEFORE):
            (self.folder / name).unlink(missing_ok=True)


class SaveBest:
    """Ignite handler of a MONAI evaluator: ``model.pt`` holds the weights of the best key metric so far.

    MONAI's CheckpointSaver does the same, but leaves half a file where it is killed while it writes.

    Args:
        network: whose weights.
        ckpt_dir: made if it does not exist.
    """

    def __init__(self, network: torch.nn.Module, ckpt_dir: str | Path) -> None:
        self.network, self.ckpt_dir = network, Path(ckpt_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save, if this validation was the best."""
        if vars(engine.state)["best_metric_epoch"] == engine.state.epoch:
            save_whole(self.network.state_dict(), self.ckpt_dir / "model.pt")


def save_unvalidated(network: torch.nn.Module, ckpt_dir: str | Path, cases: Sized) -> None:
    """Save ``model.pt`` after a training without a case to validate on, which no other handler would.

    Args:
        network: whose weights.
        ckpt_dir: made if it does not exist.
        cases: that the training was validated on; with any, the best weights are saved already.
    """
    if not len(cases):
        save_whole(network.state_dict(), Path(ckpt_dir) / "model.pt")


def save_whole(content: Mapping[str, Any], path: Path) -> None:
    """Write a file of weights that is whole or, on any failure, as it was.

    Raises:
        SystemExit: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # RuntimeError: of torch's archive, on a full disk
        temporary.unlink(missing_ok=True)
        raise SystemExit(
            f"cannot write {path}: {error}; what was saved before is whole: make room, and run the same command"
        ) from None
