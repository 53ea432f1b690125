"""Broken pairs that turn up while a training or evaluation runs, as one sentence."""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ignite.engine import Engine, Events

from ..study import RefusedError
from .draws import SeededDataset

PATIENCE = 60  # seconds, with a thread that reads


@contextmanager
def plain_refusals() -> Iterator[None]:
    """End the process with the sentence of a refused pair, however many errors MONAI wraps it in.

    Raises:
        SystemExit: with status 1, in place of an error that a :class:`RefusedError` caused.
    """
    try:
        yield
    except Exception as error:
        sentence = refusal_in(error)
        if sentence is None:
            raise
        raise SystemExit(f"cannot use the data set: {sentence}") from None


def refusal_in(error: BaseException) -> str | None:
    """The sentence of the refusal that caused an error, if one did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedError):
            return str(cause)
        if sentence := _sentence(str(cause)):
            return sentence
        cause = cause.__cause__
    return None


def _sentence(traceback: str) -> str | None:
    """That of the refusal in a traceback: of a loader process, torch hands on no more than its text."""
    told = re.search(r"RefusedError: (.+)", traceback)
    return told[1] if told else None


@contextmanager
def _readers_ended() -> Iterator[None]:
    """Wait, on an error, for the threads begun meanwhile: one that is inside torch when Python ends aborts the process."""
    before = set(threading.enumerate())
    try:
        yield
    except BaseException:
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
        raise


def _told_plainly(record: logging.LogRecord) -> bool:
    """Let a loader process's traceback be no more in the log than the sentence of the refusal in it."""
    if sentence := _sentence(record.getMessage()):
        record.msg, record.args = sentence, ()
    return True


class NameRefused:
    """Ignite handler: a refused pair ends the run with its sentence. Attach it before any StatsHandler."""

    def attach(self, engine: Engine) -> None:
        """Attach to the engine's errors, and to its log of them."""
        engine.logger.addFilter(_told_plainly)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self)

    def __call__(self, engine: Engine, error: BaseException) -> None:
        """Raise the error again, or its sentence."""
        with plain_refusals():
            raise error


def open_dataset(
    data: Sequence[Any],
    transform: Callable[..., Any],
    cache_rate: float = 1.0,
    seed: int = 0,
    read_all: bool = False,
) -> SeededDataset:
    """The cases as a training or validation draws them; other arguments as :class:`SeededDataset`'s.

    Args:
        read_all: also read, once, what is not cached: what will not be drawn for hours is refused now.

    Raises:
        SystemExit: a pair is refused while it is read.
    """
    with plain_refusals(), _readers_ended():
        dataset = SeededDataset(data, transform, cache_rate, seed)
        for item in data[dataset.cache_num :] if read_all else ():
            transform(item)
        return dataset
