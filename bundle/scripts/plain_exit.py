"""Errors of bad input as one sentence on standard error and a non-zero status, not as a traceback."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

FORESEEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    ImportError,
    pickle.UnpicklingError,
)


@contextmanager
def plain_exit(what: str) -> Iterator[None]:
    """End the process with ``what`` and the error's own words; also a decorator.

    Raises:
        SystemExit: with status 1, in place of a foreseen error.
    """
    try:
        yield
    except FORESEEN as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise SystemExit(f"{what}: {words}") from None
