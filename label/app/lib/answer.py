"""What a server answers when something foreseen goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from mcanet.scripts.plain_exit import FORESEEN


@contextmanager
def answered() -> Iterator[None]:
    """Answer a foreseen error by its own words, which MONAI Label would keep to itself; also a decorator."""
    try:
        yield
    except FORESEEN as error:
        raise HTTPException(500, detail=f"{type(error).__name__}: {error}") from error
