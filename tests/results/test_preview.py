"""The preview shows the planes the right way up, with the colours and marks that it promises."""

import base64
import io
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mcanet.scripts.results import preview
from mcanet.scripts.results.display import resized_labels, view_of
from mcanet.scripts.results.sheet import slice_sheet
from monai.data import MetaTensor
from PIL import Image, ImageDraw
from scipy import ndimage

from .phantom import GEOMETRIES, blobs, table


def _volume(affine: np.ndarray, shape: tuple[int, int, int] = (40, 34, 9)) -> tuple[MetaTensor, MetaTensor]:
    matrix = torch.from_numpy(affine)
    noise = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    image = MetaTensor(torch.from_numpy(noise)[None], affine=matrix)
    return image, MetaTensor(torch.from_numpy(blobs(shape, (1, 2, 3)))[None], affine=matrix)


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("axial", ("R", "L", "A", "P")),
        ("sagittal", ("A", "P", "S", "I")),
        ("coronal", ("R", "L", "S", "I")),
        ("tilted", ("R", "L", "AS", "PI")),
    ],
)
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_the_patient_is_the_right_way_up(name: str, letters: tuple[str, ...], flip: tuple[int, ...]) -> None:
    affine = GEOMETRIES[name].affine @ np.diag([*flip, 1])
    image, _ = _volume(affine)
    view = view_of(image)
    assert view.letters == letters
    directions = {"R": (0, -1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    places = np.einsum("ij,j...->i...", affine[:3, :3], np.indices(image.shape[1:]))
    axis, _ = directions[letters[1][0]]
    sign = {"L": -1, "P": -1}[letters[1][0]]
    along = view.plane(places[axis] * sign, 2)
    assert (np.diff(along, axis=1) > 0).all()
    axis, sign = directions[letters[2][0]]
    assert (np.diff(view.plane(places[axis] * sign, 2), axis=0) < 0).all()


def test_slices_are_stacked_along_the_largest_spacing() -> None:
    image, _ = _volume(np.diag([3.0, 0.5, 0.5, 1.0]))
    assert view_of(image).axes[2] == 0
    image, _ = _volume(np.eye(4))
    assert view_of(image).axes[2] == 2


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_all_colours_are_drawn(tmp_path: Path, name: str) -> None:
    image, labels = _volume(GEOMETRIES[name].affine)
    preview(image, labels, table(), tmp_path / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3)
    for label in table():
        assert (pixels == label.colour).all(axis=1).sum() > 50
    assert Image.open(tmp_path / "p.png").width <= 1300


@pytest.mark.parametrize(
    "shape", [(3, 20, 30), (1, 20, 30), (1, 1, 1), (1, 4, 4, 1), (1, 1, 1, 5), (2, 9, 9, 9)]
)
def test_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = torch.rand(shape) * 255
    given = MetaTensor(image, affine=torch.eye(4)) if len(shape) == 4 else image
    for value in (0, 1):
        preview(given, torch.full((1, *shape[1:]), value, dtype=torch.uint8), table(), tmp_path / "p.png")
        assert Image.open(tmp_path / "p.png").format == "PNG"


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_of_one_value(tmp_path: Path, value: float) -> None:
    image = MetaTensor(torch.full((1, 8, 8, 4), value), affine=torch.eye(4))
    preview(image, torch.zeros(1, 8, 8, 4, dtype=torch.uint8), table(), tmp_path / "p.png")


def test_the_smallest_label_shows_and_one_that_fills_the_picture_has_an_outline(tmp_path: Path) -> None:
    image = MetaTensor(torch.rand(1, 512, 512, 6), affine=torch.diag(torch.tensor([1.0, 1, 4, 1])))
    labels = torch.zeros(1, 512, 512, 6, dtype=torch.uint8)
    places = [(101, 203), (102, 204), (300, 7), (511, 511), (64, 65), (399, 2)]
    for index, (x, y) in enumerate(places):
        labels[0, x, y, index] = 2
    sheet = slice_sheet(image, labels, table())
    png = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["mask"].split(",")[1]))))
    rows, columns = np.nonzero(png == 2)
    tiles = set(zip(rows // sheet["height"], columns // sheet["width"], strict=True))
    assert len(tiles) == len(places)
    preview(image, labels, table(), tmp_path / "p.png")
    colour = table()[1].colour
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    above = (pixels == colour).all(-1)[:-60]  # the legend
    assert (
        ndimage.label(ndimage.binary_dilation(above, iterations=3))[1] >= len(places) - 1
    )  # one in a corner
    preview(torch.rand(3, 60, 80), torch.full((1, 60, 80), 2, dtype=torch.uint8), table(), tmp_path / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))[:-60]
    assert (pixels == colour).all(-1).sum() > 400


def test_a_small_label_inside_a_large_one_shows() -> None:
    for value, around in ((1, 2), (2, 1)):
        for place in range(16):
            plane = np.zeros((128, 128), np.uint8)
            plane[8:120, 8:120] = around
            plane[40 + place : 46 + place, 70] = value
            assert (resized_labels(plane, (32, 32)) == value).any()
    assert resized_labels(np.array([[1, 0], [0, 2]], np.uint8), (4, 1)).shape == (1, 4)


def test_letters_keep_their_sides_where_there_is_room_and_are_left_out_elsewhere(tmp_path: Path) -> None:
    written: dict[str, list[tuple[float, float]]] = {}
    text = ImageDraw.ImageDraw.text

    def note(draw: Any, place: tuple[float, float], words: str, *args: Any, **kwargs: Any) -> None:
        written.setdefault(words, []).append(place)
        text(draw, place, words, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", note)
        for shape, shown in (((256, 256, 4), "RLAP"), ((8, 256, 4), "AP"), ((256, 8, 4), "RL")):
            written.clear()
            image = MetaTensor(torch.rand(1, *shape), affine=torch.diag(torch.tensor([1.0, 1, 4, 1])))
            preview(image, torch.zeros(1, *shape, dtype=torch.uint8), table(), tmp_path / "p.png")
            assert {word for word in written if word in "RLAP"} == set(shown)


def test_a_very_thin_picture_leaves_the_report_whole(tmp_path: Path) -> None:
    sheet = slice_sheet(torch.rand(3, 1, 30000), torch.zeros(1, 1, 30000, dtype=torch.uint8), table())
    assert sheet["aspect"] > 0


@pytest.mark.slow
def test_a_large_volume_is_quick(tmp_path: Path) -> None:
    image, labels = _volume(np.diag([0.7, 0.7, 1.5, 1.0]), (512, 512, 200))
    start = time.perf_counter()
    preview(image, labels, table(), tmp_path / "p.png")
    assert time.perf_counter() - start < 4  # under 2 s on a quiet machine


def test_a_large_plane_is_shrunk_without_eight_bytes_a_pixel() -> None:
    plane = np.zeros((3000, 4000), np.uint8)
    plane[7, 9] = 3
    plane[100:, 100:] = 2
    tracemalloc.start()
    found = resized_labels(plane, (300, 200))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == 3).sum() == 1
    assert set(np.unique(found)) == {0, 2, 3}
    assert peak < 2 * plane.nbytes
