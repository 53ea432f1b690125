"""The words that a run's settings are hashed by: the same in every process, others for other settings."""

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from mcanet.scripts.inference import described
from monai.transforms import Lambdad


class Window:
    def __init__(self, width: float) -> None:
        self.width = width

    def map(self, x: Any) -> Any:
        return x / self.width


def around(width: float) -> Callable[[Any], Any]:
    return lambda x: x / width


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: x / 255, lambda x: x / 2000),
        (lambda x: x + 1, lambda x: x - 1),
        (lambda x: x.sin(), lambda x: x.cos()),
        (lambda x: [y / 2 for y in x], lambda x: [y / 3 for y in x]),
        (around(1.0), around(2.0)),
        (partial(np.clip, a_min=0, a_max=1), partial(np.clip, a_min=0, a_max=500)),
        (Window(1.0).map, Window(2.0).map),
        (math.sqrt, math.exp),
        (torch.log1p, torch.expm1),
        ([1].index, [2].index),
    ],
)
def test_functions_that_do_something_else_have_other_words(first: Any, second: Any) -> None:
    transforms = [Lambdad("image", function) for function in (first, second)]
    assert described(transforms[0]) != described(transforms[1])
    assert described(transforms[0]) == described(Lambdad("image", first))


def test_what_has_no_words_of_its_own_does_not_end_a_run() -> None:
    def outer() -> Callable[[], Any]:
        def inner() -> Any:
            return later

        if outer is None:
            later = 1
        return inner

    assert described(outer()).startswith("test_what")
    generator = np.random.default_rng(0)
    assert " at 0x" not in described(lambda x: generator.normal(x))


def test_words_are_the_same_in_every_process() -> None:
    code = (
        "import math, torch, numpy; from functools import partial; from monai.transforms import Lambdad; "
        "from mcanet.scripts.inference import described; "
        "print([described(Lambdad('image', f)) for f in "
        "(torch.log1p, math.sqrt, numpy.clip, numpy.log1p, lambda x: x / 255, partial(torch.clip, min=0))])"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    assert first.stdout == second.stdout != ""
