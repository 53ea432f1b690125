"""What a training opens and takes; what it cannot ends the process with one sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..networks import start_from
from ..plain_exit import plain_exit
from .datalist import labelled_datalist

open_datalist = plain_exit("cannot use the data set")(labelled_datalist)
open_weights = plain_exit("cannot start from the weights")(start_from)

_SHRINKS = 32  # the side of what becomes one pixel in the encoder's last level


@plain_exit("cannot train")
def check_settings(
    at_least_one: Mapping[str, Any],
    at_least_zero: Mapping[str, Any],
    shares: Mapping[str, Any],
    ranges: Mapping[str, Any],
) -> None:
    """Look at settings before any work is done for them.

    Args:
        at_least_one: whole numbers, or lists of them, by name.
        at_least_zero: numbers by name.
        shares: numbers from 0 to 1 by name.
        ranges: numbers, or lists of them or of such lists, by name.

    Raises:
        SystemExit: naming a setting that is something else.
    """
    for name, value in at_least_one.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if type(number) is not int or number < 1:
                raise ValueError(f"{name} is {value!r}, expected whole numbers from 1")
    for settings, most in ((at_least_zero, math.inf), (shares, 1)):
        for name, value in settings.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise ValueError(
                    f"{name} is {value!r}, expected a number from 0{'' if most == math.inf else ' to 1'}"
                )
    for name, value in ranges.items():
        if not _is_range(value):
            raise ValueError(f"{name} is {value!r}, expected a number or a list of numbers")


def _is_range(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_range, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


@plain_exit("cannot train")
def check_batch(patches: int, roi_size: Sequence[int]) -> None:
    """Look whether the encoder's BatchNorms see more than one pixel a step, as they need in training.

    Args:
        patches: in a step.
        roi_size: (H, W) of each.

    Raises:
        SystemExit: one patch, of which a single pixel is left in the last level.
    """
    if patches == 1 and max(roi_size) <= _SHRINKS:
        raise ValueError(
            f"a batch of one patch of {roi_size[0]} x {roi_size[1]} pixels is too little to train on: give a larger "
            "--batch_size, --num_samples or --roi_size"
        )
