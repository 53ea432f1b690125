"""What a training that was killed goes on from."""

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch.distributed as dist
from ignite.engine import Engine, Events

from ..hashing import file_digest
from ..lock import keep, let_go
from ..networks.weights_file import load_whole
from ..plain_exit import plain_exit
from .saved import BEST, save_whole

logger = logging.getLogger(__name__)

LAST, BEFORE = "checkpoint.pt", "checkpoint_before.pt"
_OWN = ("progress", "best", "best_sha256", "settings", "cases", "ended")  # of a checkpoint, besides its parts
_HALF = re.compile(
    r"\.(history\.csv|curves\.png|report\.html|.+\.json|.+\.pt)(\.\d+)?\.tmp"
)  # what a kill leaves


class Stateful(Protocol):
    """Whatever can be saved and gone on with."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...


class Checkpoints:
    """Ignite handler of a trainer: killed at any moment, the same command goes on after the last whole epoch.

    Each epoch ends with ``checkpoint.pt``; the one before stays beside it, in case the last is damaged. When the
    training has ended, the last one says so: the same command then has nothing to do. A file that was broken may be
    mended meanwhile: an interrupted training goes on unless most cases are others.

    Args:
        output_dir: where they lie.
        parts: network, optimiser, schedule, …: attach them first, so that what is loaded stays.
        evaluator: its best metric goes along.
        settings: what must be as it was for the training to go on.
        resume: False starts anew, over what is there.
        save: False where another process saves.
        ckpt_dir: where the best weights lie, without which the training does not go on; None does not look, nor
            keep it from others.
        cases: of each case that trains or validates, what differs once it is replaced, see :func:`contents`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        parts: Mapping[str, Stateful],
        evaluator: Engine,
        settings: Mapping[str, Any],
        resume: bool = True,
        save: bool = True,
        ckpt_dir: str | Path | None = None,
        cases: Sequence[str] = (),
    ) -> None:
        self.best = None if ckpt_dir is None else Path(ckpt_dir) / BEST
        self.folder, self.parts, self.evaluator = Path(output_dir), parts, evaluator
        self.places = {Path(folder).resolve() for folder in (output_dir, ckpt_dir) if folder is not None}
        self.cases = [*cases]
        self.settings = {name: repr(value) for name, value in settings.items()}
        self.resume, self.save = resume, save
        self.last_is_whole = self.goes_on = False

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, and take hold of both folders.

        Raises:
            SystemExit: another process trains into one of them, or nothing can be written there.
        """
        if self.resume:
            engine.add_event_handler(Events.STARTED, self._load)
        if self.save:
            self._take()
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    @plain_exit("cannot train")
    def _take(self) -> None:
        """Keep the folders from other processes, and remove what a killed one left half written."""
        for place in sorted(self.places):
            keep(place)
            for file in place.glob(".*.tmp"):
                if _HALF.fullmatch(file.name):
                    file.unlink()

    def _content(self, engine: Engine) -> dict[str, Any]:
        state, best = engine.state, vars(self.evaluator.state)
        return {name: part.state_dict() for name, part in self.parts.items()} | {
            "progress": {"epoch": state.epoch, "iteration": state.iteration},
            "best": {name: best[name] for name in ("best_metric", "best_metric_epoch")},
            "best_sha256": self._best_sha256(),
            "settings": self.settings,
            "cases": self.cases,
            "ended": False,
        }

    def _save(self, engine: Engine) -> None:
        if self.last_is_whole:  # a damaged one takes no whole one's place
            os.replace(self.folder / LAST, self.folder / BEFORE)
        save_whole(self._content(engine), self.folder / LAST)
        if not self.goes_on:  # an earlier training's
            (self.folder / BEFORE).unlink(missing_ok=True)
        self.last_is_whole = self.goes_on = True

    def _load(self, engine: Engine) -> None:
        content = self._last_whole()
        _agree(content and content["progress"])
        if content is None:
            return
        another = self._changed(content["settings"])
        others = 0 if another else self._replaced(content["cases"])
        mended = (
            f"{others} of {len(self.cases)} cases are not those that it was trained with" if others else ""
        )
        if content["ended"] and (another or mended):
            logger.warning(
                "another training has ended in %s (%s): its weights are replaced",
                self.folder,
                another or mended,
            )
            return
        if another or 2 * others > len(self.cases):
            raise SystemExit(
                f"cannot go on: the interrupted training in {self.folder} was another one ({another or mended}): "
                "run it as it was, name another folder, or start anew with --resume false"
            )
        if self._restore(engine, content):
            engine.terminate()
            logger.warning(
                "nothing to do: ended after epoch %d in %s; --resume false trains anew",
                engine.state.epoch,
                self.folder,
            )
        else:
            logger.warning("goes on after epoch %d, from %s", engine.state.epoch, self.folder)
            if mended:
                logger.warning("%s: taken for mended ones", mended)

    def _restore(self, engine: Engine, content: Mapping[str, Any]) -> bool:
        """Put everything where a checkpoint has it, and say whether the training had ended there."""
        ended = content["ended"]
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
            # stopped early, it may have been killed before its end
            ended |= getattr(part, "counter", 0) >= getattr(part, "patience", math.inf)
        best = content["best"] if self._has_best(content, ended) else {}
        for state, values in ((engine.state, content["progress"]), (self.evaluator.state, best)):
            for name, value in values.items():
                setattr(state, name, value)
        self.goes_on = True
        return bool(ended)

    def _best_sha256(self) -> str:
        """Of the best weights; empty where there are none, or nobody looks."""
        return file_digest(self.best) if self.best is not None and self.best.is_file() else ""

    def _has_best(self, content: Mapping[str, Any], ended: bool) -> bool:
        """Whether the best weights are those that the checkpoint tells of.

        No other file holds them, and a worse epoch replaces none. A kill between a validation and its checkpoint
        leaves newer ones, which the same validation then makes again.

        Raises:
            SystemExit: they are missing or damaged, or others after the training's end.
        """
        epoch = content["best"]["best_metric_epoch"]
        if self.best is None or epoch < 1:
            return True
        try:
            load_whole(self.best)
        except (OSError, ValueError):
            raise SystemExit(
                f"cannot go on: {self.best} is missing or damaged, and no other file holds the best weights (of epoch "
                f"{epoch}): put it back, or start anew with --resume false"
            ) from None
        known = self._best_sha256() == content["best_sha256"]
        if ended and not known:
            raise SystemExit(
                f"cannot go on: {self.best} is not what this training ended with (the weights of epoch {epoch}): put "
                "it back, or start anew with --resume false"
            )
        if not known:
            logger.warning(
                "%s is not that of epoch %d, but of a later one or of another training: the next validation replaces it",
                self.best,
                epoch,
            )
        return known

    def _replaced(self, saved: Sequence[str]) -> int:
        """How many cases are not those that a training of as many had."""
        return sum(now != before for now, before in zip(self.cases, saved, strict=True))

    def _last_whole(self) -> Mapping[str, Any] | None:
        """The newest checkpoint that can be read; None: there is none.

        Raises:
            SystemExit: none can be read.
        """
        files = [file for name in (LAST, BEFORE) if (file := self.folder / name).exists()]
        for file in files:
            try:
                content = dict(load_whole(file))
                lacking = {*self.parts, *_OWN} - content.keys()
                if not lacking:
                    self.last_is_whole = file.name == LAST
                    return content
                logger.warning("%s is no checkpoint of this training: it lacks %s", file, ", ".join(lacking))
            except Exception as error:  # whatever half a file makes torch, zipfile or pickle raise
                logger.warning(
                    "%s is damaged (%s)", file, str(error).split("\n")[0][:300] or type(error).__name__
                )
        if files:
            raise SystemExit(
                f"cannot go on: no whole checkpoint in {self.folder}; start anew with --resume false"
            )
        return None

    def _changed(self, saved: Mapping[str, str]) -> str:
        """In words, the settings that are not those of another training."""
        return "; ".join(
            f"{name} was {saved.get(name)}, is {value}"
            for name, value in self.settings.items()
            if saved.get(name) != value
        )

    def _finish(self, engine: Engine) -> None:
        save_whole(self._content(engine) | {"ended": True}, self.folder / LAST)
        (self.folder / BEFORE).unlink(missing_ok=True)
        for place in self.places:
            let_go(place)


def _agree(progress: Mapping[str, int] | None) -> None:
    """Look whether every process of a training found the same checkpoint, or none.

    Raises:
        SystemExit: they did not, for the folder is not one and the same.
    """
    if not dist.is_initialized():
        return
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, progress)
    if any(other != found[0] for other in found):
        epochs = ", ".join("nothing" if one is None else f"epoch {one['epoch']}" for one in found)
        raise SystemExit(
            f"cannot go on: the processes, by rank, found {epochs} in the output folder: it must be one folder that "
            "all machines share"
        )
