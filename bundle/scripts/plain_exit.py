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
        cause = first_cause(error)
        words = cause.args[0] if isinstance(cause, KeyError) and cause.args else str(cause)
        if isinstance(cause, ImportError):
            words = words.split("\n")[0]  # MONAI quotes the traceback behind it
        raise SystemExit(f"{what}: {words}") from None


def first_cause(error: Exception) -> Exception:
    """The error of a transform or a setting, which MONAI raises a RuntimeError from."""
    while type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
