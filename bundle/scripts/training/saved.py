"""The weights that a training leaves: the best, the last, each file whole."""

import contextlib
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..networks import hand_on_license
from ..replacing import replacing
from .parts import Parts, read_parts, write_parts

BEST, FINAL = "model.pt", "last.pt"


class SaveBest:
    """Ignite handler of a MONAI evaluator: ``model.pt`` holds the weights of the best key metric so far.

    MONAI's CheckpointSaver does the same, but leaves half a file where it is killed while it writes.

    Args:
        network: whose weights.
        ckpt_dir: made if it does not exist.
        parts: see :func:`write_parts`.
        init_path: weights that the training began with; what their licence forbids is said of the new ones.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        ckpt_dir: str | Path,
        parts: Parts,
        init_path: str | Path | None = None,
    ) -> None:
        self.network, self.ckpt_dir, self.parts, self.init_path = network, Path(ckpt_dir), parts, init_path

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save, if this validation was the best."""
        if vars(engine.state)["best_metric_epoch"] == engine.state.epoch:
            _save_model(self.network, self.ckpt_dir, self.parts, self.init_path)


class SaveLast:
    """Ignite handler of a trainer: ``last.pt`` holds the weights that it ends with.

    MONAI's CheckpointSaver does the same, but leaves half a file on a full disk.

    Args:
        network: whose weights.
        output_dir: made if it does not exist.
    """

    def __init__(self, network: torch.nn.Module, output_dir: str | Path) -> None:
        self.network, self.output_dir = network, Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self) -> None:
        """Save."""
        save_whole(self.network.state_dict(), self.output_dir / FINAL)


def save_unvalidated(
    network: torch.nn.Module,
    ckpt_dir: str | Path,
    parts: Parts,
    cases: Sized,
    init_path: str | Path | None = None,
) -> None:
    """Save ``model.pt`` after a training without a case to validate on, which no other handler would.

    Args:
        network: whose weights.
        ckpt_dir: made if it does not exist.
        parts: see :func:`write_parts`.
        cases: that the training was validated on; with any, the best weights are saved already.
        init_path: see :class:`SaveBest`.
    """
    if not len(cases):
        _save_model(network, Path(ckpt_dir), parts, init_path)


def _save_model(network: torch.nn.Module, ckpt_dir: Path, parts: Parts, init_path: str | Path | None) -> None:
    """``model.pt``, and beside it which cases it comes from and what their licence forbids.

    While they are replaced, both files speak of the earlier weights, too: a kill leaves none without their own.
    """
    best = ckpt_dir / BEST
    ckpt_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(ValueError):  # a damaged one says nothing
        earlier = read_parts(best)
        write_parts({part: sorted({*names, *earlier[part]}) for part, names in parts.items()}, ckpt_dir)
    hand_on_license([path for path in (init_path, best) if path is not None], ckpt_dir)
    save_whole(network.state_dict(), best)
    hand_on_license(init_path, ckpt_dir)
    write_parts(parts, ckpt_dir)


def save_whole(content: Mapping[str, Any], path: Path) -> None:
    """Write a file of weights that is whole or, on any failure, as it was.

    Raises:
        SystemExit: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # of torch's archive, whose words say nothing
        reason = error if isinstance(error, OSError) else "the disk is full, or does not take the file"
        raise SystemExit(
            f"cannot write {path}: {reason}; what was saved before is whole: make room, and run the same command"
        ) from None
