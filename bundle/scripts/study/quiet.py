"""Libraries that quote a file's values in warnings are kept quiet while they read it."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning or log line of pydicom or Pillow while inside; one thread at a time."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "PIL")]
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = [logger.disabled for logger in loggers]
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, state in zip(loggers, before, strict=True):
                logger.disabled = state
