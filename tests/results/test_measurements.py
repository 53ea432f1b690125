"""Measurements agree with what is known of simple shapes, in patient coordinates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mcanet.scripts.results import measure
from monai.data import MetaTensor

from .phantom import GEOMETRIES, table


def _image(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


def test_a_box_on_a_plain_grid() -> None:
    affine = np.diag([-0.5, -0.5, 2.0, 1.0])
    affine[:3, 3] = 10, 20, -30
    labels = np.zeros((1, 20, 16, 12), np.uint8)
    labels[0, 4:8, 6:12, 3:5] = 1
    values = np.arange(20 * 16 * 12, dtype=np.float32).reshape(1, 20, 16, 12) - 1000
    row = measure(labels, _image(values, affine), table())[0]
    inside = values[labels == 1]
    assert row["voxels"] == 48
    assert row["volume_ml"] == pytest.approx(48 * 0.5 / 1000)
    assert row["area_px"] is None
    assert row["mean"] == pytest.approx(inside.mean())
    assert row["std"] == pytest.approx(inside.std())
    assert (row["min"], row["max"]) == (inside.min(), inside.max())
    assert [row[f"centroid_{a}"] for a in "xyz"] == pytest.approx([10 - 2.75, 20 - 4.25, -30 + 7.0])
    assert [row[f"bbox_min_{a}"] for a in "xyz"] == pytest.approx([10 - 3.5, 20 - 5.5, -24])
    assert [row[f"bbox_max_{a}"] for a in "xyz"] == pytest.approx([10 - 2.0, 20 - 3.0, -22])
    assert row["space"] == "RAS mm"
    assert row["components"] == 1
    assert row["touches_border"] is False


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(GEOMETRIES)))
def test_equals_a_plain_computation_over_all_voxels(seed: int, name: str) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 9, 3))
    labels = (random.random((1, *shape)) < 0.3).astype(np.uint8) * random.integers(
        1, 4, (1, *shape), np.uint8
    )
    values = random.normal(size=(1, *shape)).astype(np.float32)
    affine = GEOMETRIES[name].affine
    for row in measure(labels, _image(values, affine), table()):
        indices = np.argwhere(labels[0] == row["label"])
        assert row["voxels"] == len(indices)
        if not len(indices):
            assert row["volume_ml"] == 0
            assert row["mean"] is row["centroid_x"] is row["bbox_max_z"] is None
            assert row["touches_border"] is False
            continue
        places = indices @ affine[:3, :3].T + affine[:3, 3]
        for axis, letter in enumerate("xyz"):
            assert row[f"centroid_{letter}"] == pytest.approx(places[:, axis].mean(), abs=1e-6)
            assert row[f"bbox_min_{letter}"] == pytest.approx(places[:, axis].min(), abs=1e-6)
            assert row[f"bbox_max_{letter}"] == pytest.approx(places[:, axis].max(), abs=1e-6)
        ends = [(0, size - 1) for size in shape if size > 1]
        part = indices[:, [axis for axis in range(3) if shape[axis] > 1]]
        assert row["touches_border"] == any(
            int(i) in end for at in part for i, end in zip(at, ends, strict=True)
        )
        assert row["mean"] == pytest.approx(values[labels == row["label"]].mean(), rel=1e-5, abs=1e-6)


def test_a_cut_off_label_says_so_and_keeps_its_volume() -> None:
    labels = np.zeros((1, 8, 8, 8), np.uint8)
    labels[0, 0:3, 2:4, 2:4] = 2
    row = measure(labels, _image(np.ones((1, 8, 8, 8), np.float32), np.eye(4)), table())[1]
    assert row["touches_border"] is True
    assert row["volume_ml"] == pytest.approx(0.012)


def test_components_hang_together_by_corners() -> None:
    labels = np.zeros((1, 8, 8, 8), np.uint8)
    labels[0, 2, 2, 2] = labels[0, 3, 3, 3] = labels[0, 6, 6, 6] = 1
    image = _image(np.ones((1, 8, 8, 8), np.float32), np.eye(4))
    assert measure(labels, image, table())[0]["components"] == 2


def test_a_picture_is_measured_in_pixels() -> None:
    labels = np.zeros((1, 30, 20), np.uint8)
    labels[0, 3:7, 10:12] = 3
    picture = torch.stack([torch.full((30, 20), float(v)) for v in (30, 60, 90)])
    row = measure(labels, picture, table())[2]
    assert row["area_px"] == 8
    assert row["volume_ml"] is None
    assert row["space"] == "px"
    assert row["mean"] == 60
    assert (row["centroid_x"], row["centroid_y"], row["centroid_z"]) == (4.5, 10.5, None)
    assert (row["bbox_min_x"], row["bbox_max_y"]) == (3, 11)


def test_voxels_that_are_no_number_do_not_spoil_the_mean() -> None:
    values = np.full((1, 4, 4, 4), 5, np.float32)
    values[0, 1, 1, 1] = np.nan
    labels = np.ones((1, 4, 4, 4), np.uint8)
    assert measure(labels, _image(values, np.eye(4)), table())[0]["mean"] == 5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((1, 4, 4, 4), 9, np.uint8), r"values \[9\]"),
        (np.zeros((1, 4, 4, 5), np.uint8), "is not the image's"),
        (np.zeros((2, 4, 4, 4), np.uint8), "one channel"),
        (np.full((1, 4, 4, 4), 1.5), "whole numbers"),
        (np.full((1, 4, 4, 4), 300), "0 to 255"),
    ],
)
def test_refuses(labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(labels, _image(np.ones((1, 4, 4, 4), np.float32), np.eye(4)), table())
