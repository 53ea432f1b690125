"""How a grid is shown: which planes, which way up, how large a pixel is, and which grey is black."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .nifti import affine_of, to_array

_SHOWN = 4096  # pixels along a side
_BAND = 2**20  # pixels of a plane of labels that are ranked at a time
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
# Where the left-to-right and the top-to-bottom of the screen point in RAS, by the axis that is looked along.
_SCREEN = {0: (1, 2, -1, -1), 1: (0, 2, -1, -1), 2: (0, 1, -1, -1)}


@dataclass(frozen=True)
class View:
    """The planes of a volume as a reader expects them, or a picture as it is.

    Attributes:
        axes: array axes that run right, down and through the planes; the last is None for a picture.
        flips: whether the right and the down axis run against the array's index.
        spacing: size of a pixel to the right and down, and the step between planes, in mm (pictures: 1 px).
        letters: which way of the patient is at the left, right, top and bottom; empty for a picture.
    """

    axes: tuple[int, int, int | None]
    flips: tuple[bool, bool]
    spacing: tuple[float, float, float]
    letters: tuple[str, str, str, str] | tuple[()] = ()

    @property
    def patient(self) -> bool:
        """Whether the grid lies in a patient and sizes are in mm."""
        return bool(self.letters)

    def count(self, shape: Sequence[int]) -> int:
        """How many planes an array of this spatial shape has."""
        return 1 if self.axes[2] is None else shape[self.axes[2]]

    def plane(self, array: np.ndarray, index: int) -> np.ndarray:
        """Plane ``index`` of a spatial array, rows first, as the screen shows it; a view."""
        right, down, through = self.axes
        plane = array if through is None else np.moveaxis(array, through, 0)[index]
        if right < down:
            plane = plane.T
        return plane[:: -1 if self.flips[1] else 1, :: -1 if self.flips[0] else 1]


def view_of(image: Any) -> View:
    """Choose the view of an image.

    Planes are those of the acquisition: they are stacked along the axis of a single one, else of the largest spacing,
    the last one among equals. They are turned and mirrored, never resampled, to the radiological convention (the
    patient's right at the left of the screen, anterior or superior up).

    Args:
        image: MetaTensor (C, X, Y, Z), or a picture (C, X, Y).
    """
    if len(image.shape) == 3:
        return View((0, 1, None), (False, False), (1.0, 1.0, 1.0))
    affine = affine_of(image)[:3, :3]
    spacing = np.linalg.norm(affine, axis=0)
    through = max(
        range(3), key=lambda axis: (image.shape[1 + axis] == 1, round(float(spacing[axis]), 3), axis)
    )
    directions = affine / spacing
    looked_along = int(np.abs(directions[:, through]).argmax())
    right_world, down_world, right_sign, down_sign = _SCREEN[looked_along]
    first, second = (axis for axis in range(3) if axis != through)
    if abs(directions[right_world, first]) < abs(directions[right_world, second]):
        first, second = second, first
    flip_right = bool(directions[right_world, first] * right_sign < 0)
    flip_down = bool(directions[down_world, second] * down_sign < 0)
    to_right = directions[:, first] * (-1 if flip_right else 1)
    to_bottom = directions[:, second] * (-1 if flip_down else 1)
    return View(
        (first, second, through),
        (flip_right, flip_down),
        (float(spacing[first]), float(spacing[second]), float(spacing[through])),
        (letters(-to_right), letters(to_right), letters(-to_bottom), letters(to_bottom)),
    )


def letters(direction: np.ndarray) -> str:
    """The way a RAS direction points, most important letter first, at most two: ``"R"``, ``"PS"``."""
    order = [axis for axis in np.argsort(-np.abs(direction)) if abs(direction[axis]) > 0.2]
    return "".join(_LETTERS[axis][int(direction[axis] > 0)] for axis in order[:2])


def window_of(image: Any) -> np.ndarray:
    """The grey window to show an image in: for orientation, not for reading a diagnosis from.

    It runs from the 0.5th to the 99.5th percentile of at most about a million samples.

    Args:
        image: (C, X, Y, Z) or (C, X, Y).

    Returns:
        The pair (black, white) in the image's units, float32.
    """
    array = to_array(image)
    step = max(1, int((array.size / 1e6) ** (1 / (array.ndim - 1))))
    sample = array[:, ::step, ::step, ::step] if array.ndim == 4 else array[:, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.array([0.0, 1.0], np.float32)
    low, high = np.percentile(sample, [0.5, 99.5])
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return np.array([low, high if high > low else low + 1], np.float32)


def to_grey(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
    """A plane as uint8, black at or below ``window[0]`` and white at or above ``window[1]``."""
    low, high = window
    scaled = (plane.astype(np.float32) - low) * (255 / (high - low))
    if plane.dtype.kind == "f":
        scaled = np.nan_to_num(scaled, copy=False, nan=0.0)
    return scaled.clip(0, 255).astype(np.uint8)


def pixels_of(array: np.ndarray, view: View, index: int, window: np.ndarray) -> np.ndarray:
    """A plane as uint8 to be shown: a picture's three colours (rows, columns, 3), else the first channel's grey.

    Of a plane with far more pixels than a screen, every nth.

    Args:
        array: (C, X, Y, Z) or (C, X, Y).
        view: of the array.
        index: of the plane.
        window: see :func:`window_of`.
    """
    planes = [view.plane(channel, index) for channel in array]
    step = -(-max(planes[0].shape) // _SHOWN)
    planes = [plane[::step, ::step] for plane in planes]
    if not view.patient and len(planes) >= 3:
        return np.stack([plane.clip(0, 255).astype(np.uint8) for plane in planes[:3]], axis=-1)
    return to_grey(planes[0], window)


def resized_labels(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane of labels (rows, columns), uint8, as ``size`` (width, height); what shrinks shows its rarest labels."""
    rows, columns = min(size[1], plane.shape[0]), min(size[0], plane.shape[1])
    if (rows, columns) != plane.shape and plane.any():
        plane = _rarest(plane, rows, columns)
    found = _image(plane)
    return np.asarray(found if found.size == size else found.resize(size, Image.Resampling.NEAREST))


def _rarest(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A plane of labels, shrunk: of the labels that fall on a pixel, the one with the fewest pixels in the plane.

    Band by band: NumPy's own counts and tables hold eight bytes a pixel, gigabytes of a whole slide.
    """
    band = max(1, _BAND * rows // plane.size)
    edges = np.arange(rows + 1) * len(plane) // rows
    places = [edges[start : start + band + 1] for start in range(0, rows, band)]
    counts = np.sum([_image(plane[place[0] : place[-1]]).histogram() for place in places], axis=0)
    counts[0] = plane.size  # the background gives way to any label
    common = np.argsort(-counts, kind="stable").astype(np.uint8)  # ascending rarity
    rank = np.argsort(common).tolist()
    ranks = (_image(plane[place[0] : place[-1]]).point(rank) for place in places)
    narrow = [_largest(np.asarray(part), place - place[0]) for part, place in zip(ranks, places, strict=True)]
    across = np.ascontiguousarray(np.concatenate(narrow).T)
    return common[_largest(across, np.arange(columns + 1) * len(across) // columns).T]


def _image(plane: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(plane))


def _largest(ranks: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The largest of each run of rows between two edges; twenty times as fast as maximum.reduceat."""
    starts, stops = edges[:-1], edges[1:]
    found = ranks[starts]
    for step in range(1, int((stops - starts).max())):
        np.maximum(found, ranks[np.minimum(starts + step, stops - 1)], out=found)
    return found
