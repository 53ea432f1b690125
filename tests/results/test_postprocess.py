"""Post-processing changes what it is asked to, and nothing else."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mcanet.scripts.results import PostProcess, PostProcessd
from monai.data import MetaTensor


def _random(seed: int, ndim: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 3, (1, *[4] * ndim), np.uint8)
    return np.kron(coarse, np.ones((1, *[2] * ndim), np.uint8))


def test_off_by_default() -> None:
    labels = _random(0)
    assert np.array_equal(PostProcess()(labels), labels)


def _flood(inside: np.ndarray, start: tuple[int, ...], corners: bool) -> set[tuple[int, ...]]:
    """All indices that hang together with ``start``, the slow and plain way."""
    steps = [
        s for s in product((-1, 0, 1), repeat=inside.ndim) if any(s) and (corners or sum(map(abs, s)) == 1)
    ]
    found, queue = {start}, [start]
    while queue:
        here = queue.pop()
        for step in steps:
            there = tuple(a + b for a, b in zip(here, step, strict=True))
            within = all(0 <= a < size for a, size in zip(there, inside.shape, strict=True))
            if within and there not in found and inside[there]:
                found.add(there)
                queue.append(there)
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ndim=st.sampled_from([2, 3]))
def test_the_largest_component_stays(seed: int, ndim: int) -> None:
    labels = _random(seed, ndim)
    inside = labels[0] == 1
    components: list[set[tuple[int, ...]]] = []
    for at in map(tuple, np.argwhere(inside).tolist()):
        if not any(at in component for component in components):
            components.append(_flood(inside, at, corners=True))
    result = PostProcess(keep_largest=[1])(labels)
    left = set(map(tuple, np.argwhere(result[0] == 1).tolist()))
    assert not components or left in [c for c in components if len(c) == max(map(len, components))]
    assert np.array_equal(result == 2, labels == 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), ndim=st.sampled_from([2, 3]))
def test_holes_are_what_the_outside_does_not_reach(seed: int, ndim: int) -> None:
    labels = (_random(seed, ndim) > 0).astype(np.uint8)
    outside = np.pad(labels[0] == 0, 1, constant_values=True)
    reached = np.zeros_like(outside)
    for at in _flood(outside, (0,) * ndim, corners=False):
        reached[at] = True
    expected = ~reached[(slice(1, -1),) * ndim]
    assert np.array_equal(PostProcess(fill_holes=True)(labels)[0] == 1, expected)


def test_small_components_go_by_label() -> None:
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[0, 0:2, 0:2] = 1
    labels[0, 5:9, 5:9] = 1
    labels[0, 0, 9] = 2
    cleaned = PostProcess(min_voxels={"1": 5})(labels)
    assert (cleaned == 1).sum() == 16
    assert (cleaned == 2).sum() == 1
    assert (PostProcess(min_voxels=5)(labels) == 2).sum() == 0


def test_a_label_inside_a_hole_stays() -> None:
    labels = np.ones((1, 7, 7, 7), np.uint8)
    labels[0, 2:5, 2:5, 2:5] = 0
    labels[0, 3, 3, 3] = 2
    filled = PostProcess(fill_holes=[1])(labels)
    assert filled[0, 3, 3, 3] == 2
    assert (filled == 0).sum() == 0


def test_keeps_the_kind_and_the_input() -> None:
    labels = MetaTensor(torch.from_numpy(_random(3)), affine=torch.eye(4) * 2)
    before = labels.clone()
    result = PostProcessd("pred", keep_largest=True)({"pred": labels, "image": 1})["pred"]
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, labels.affine)
    assert torch.equal(labels, before)
    assert result.dtype == torch.uint8


def test_labels_of_one_piece_leave_what_lies_apart_from_it() -> None:
    labels = np.zeros((1, 12, 12, 3), np.uint8)
    labels[0, 1:7, 1:7] = 1
    labels[0, 3:5, 3:5] = 2  # the smaller component of its label, yet inside the piece
    labels[0, 9:12, 9:12] = 2
    alone = PostProcess(keep_largest=True)(labels)
    assert (alone[0, 9:12, 9:12] == 2).all()
    assert not (alone[0, 3:5, 3:5] == 2).any()
    result = PostProcess(keep_largest=[[1, 2], 1, 2])(labels)
    assert np.array_equal(result[0, :8, :8], labels[0, :8, :8])
    assert not result[0, 8:].any()
    assert np.array_equal(PostProcess(keep_largest=[[3, 4]])(labels), labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_largest": [0]}, "keep_largest .* got 0"),
        ({"keep_largest": [[1, 256]]}, "keep_largest .* got 256"),
        ({"keep_largest": [1.5]}, "keep_largest .* got 1.5"),
        ({"fill_holes": [256]}, "got 256"),
        ({"min_voxels": -1}, "got -1"),
        ({"min_voxels": {0: 5}}, "got 0"),
    ],
)
def test_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PostProcess(**arguments)  # type: ignore[arg-type]
