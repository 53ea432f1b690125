"""Libraries that quote a file's values in warnings are kept quiet while they work with it."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LOUD = [logging.getLogger(name) for name in ("pydicom", "PIL")]
_lock = threading.Lock()
_inside = 0  # threads
_restore = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning or log line of pydicom or Pillow while any thread is inside.

    Filters and loggers are the whole process's: the first thread in silences them, the last one out restores them.
    """
    global _inside
    with _lock:
        if _inside == 0:
            _silence()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore.close()


def _silence() -> None:
    _restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    for logger in _LOUD:
        _restore.callback(setattr, logger, "disabled", logger.disabled)
        logger.disabled = True
