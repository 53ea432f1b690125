"""Values into one preallocated array: int16 where that is exact, else float32."""

from collections.abc import Callable, Iterator

import numpy as np

from .case import RefusedError

_INT16 = np.iinfo(np.int16)
EXACT_FLOAT32 = 2**24


class OverflowedError(Exception):
    """A value does not fit int16: start again with float32."""


def whole(slope: float, intercept: float) -> bool:
    """Whether whole numbers stay whole."""
    return slope == int(slope) and intercept == int(intercept)


def scale_into(out: np.ndarray, stored: np.ndarray, slope: float, intercept: float, name: str) -> None:
    """Writes ``stored * slope + intercept`` into ``out``.

    Raises:
        OverflowedError: ``out`` is int16 and a value does not fit.
        RefusedError: ``out`` is float32 and a whole number would be rounded, or a value is out of range.
    """
    if out.dtype == np.int16:
        _scale_int16(out, stored, slope, intercept)
        return
    if stored.dtype.kind in "iu" and stored.dtype.itemsize > 2 and whole(slope, intercept):
        top = max(_ends(stored, slope, intercept), key=abs)
        if abs(top) > EXACT_FLOAT32:
            raise RefusedError(
                f"{name}: holds whole numbers up to {top}, which float32 cannot hold exactly "
                f"(limit {EXACT_FLOAT32}); renumber the values"
            )
    if slope == 1 and intercept == 0:
        np.copyto(out, stored, casting="unsafe")
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(out, stored.astype(np.float64) * slope + intercept, casting="unsafe")


def _ends(stored: np.ndarray, slope: float, intercept: float) -> tuple[int, int]:
    """What the least and greatest stored number become, exactly."""
    low, high = int(stored.min()), int(stored.max())
    return low * int(slope) + int(intercept), high * int(slope) + int(intercept)


def _scale_int16(out: np.ndarray, stored: np.ndarray, slope: float, intercept: float) -> None:
    ends = _ends(stored, slope, intercept)
    if min(ends) < _INT16.min or max(ends) > _INT16.max:
        raise OverflowedError
    if slope == 1 and intercept == 0:
        np.copyto(out, stored, casting="unsafe")
    else:
        wide = stored.astype(np.int64)
        np.copyto(out, wide * int(slope) + int(intercept), casting="unsafe")


def fill(
    shape: tuple[int, ...],
    integers: bool,
    parts: Callable[[], Iterator[tuple[np.ndarray, float, float, str]]],
) -> np.ndarray:
    """Fills a new array part by part along its first axis.

    Args:
        shape: of the result.
        integers: whether to try int16 first.
        parts: begins a pass over the parts: stored values, slope, intercept and name each.
    """
    if integers:
        out = np.empty(shape, np.int16)
        try:
            for target, part in zip(out, parts(), strict=True):
                scale_into(target, *part)
            return out
        except OverflowedError:
            del out, target, part
    out = np.empty(shape, np.float32)
    for target, part in zip(out, parts(), strict=True):
        scale_into(target, *part)
    return out
