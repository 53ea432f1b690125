"""What is measured of every label: size, intensity, place, parts, and whether it is cut off."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .components import Components
from .labels import Label
from .nifti import affine_of, as_labels, to_array

COLUMNS = (
    "label",
    "name",
    "voxels",
    "volume_ml",
    "area_px",
    "mean",
    "std",
    "min",
    "max",
    "components",
    "touches_border",
    "agreement",
    "space",
    "centroid_x",
    "centroid_y",
    "centroid_z",
    "bbox_min_x",
    "bbox_min_y",
    "bbox_min_z",
    "bbox_max_x",
    "bbox_max_y",
    "bbox_max_z",
)

Measurement = dict[str, Any]
_CHUNK = 2**20  # values, so that a large label takes no memory to speak of


def measure(
    labels: Any, image: Any, table: Sequence[Label], each: Callable[..., Iterable[Measurement]] = map
) -> list[Measurement]:
    """Measure every label of the table, present or not.

    Args:
        labels: (1, X, Y, Z) or, for a picture, (1, X, Y); whole numbers from 0 to 255.
        image: MetaTensor (C, X, Y, Z) with a RAS affine, or a picture (C, X, Y), as it was read. Several
            channels are averaged before the intensity is measured.
        table: the labels that the mask may hold.
        each: ``map``, or that of an executor whose threads share the labels.

    Returns:
        One row a label, with the keys of ``COLUMNS``. Volumes are in ml, places in patient RAS mm (``space``
        says so; pictures: column and row in px). The box spans the centres of the outermost voxels. What an
        absent label has not (mean, place) is None, and so is ``agreement``, which several passes give.

    Raises:
        ValueError: the mask does not fit the image or holds a value outside the table.
    """
    intensity = to_array(image)
    mask = as_labels(labels, intensity.ndim - 1)
    if mask.shape != intensity.shape[1:]:
        raise ValueError(f"the mask's grid {mask.shape} is not the image's {intensity.shape[1:]}")
    affine = None
    if mask.ndim == 3:  # slice by slice, as volumes lie in memory: all axes the other way round
        mask, intensity, affine = mask.T, intensity.transpose(0, 3, 2, 1), affine_of(image)[:, [2, 1, 0, 3]]
    boxes: list[Any] = ndimage.find_objects(mask)
    undescribed = sorted({i + 1 for i, box in enumerate(boxes) if box} - {label.value for label in table})
    if undescribed:
        raise ValueError(f"the mask holds the values {undescribed}, which the label table does not describe")
    boxes += [None] * (255 - len(boxes))
    return list(each(lambda label: _row(label, boxes[label.value - 1], mask, intensity, affine), table))


def _row(
    label: Label, box: Any, mask: np.ndarray, intensity: np.ndarray, affine: np.ndarray | None
) -> Measurement:
    """Measure one label inside the box that holds it (None: it is absent)."""
    row: Measurement = dict.fromkeys(COLUMNS)
    row |= {"label": label.value, "name": label.name, "space": "px" if affine is None else "RAS mm"}
    inside = mask[box] == label.value if box else np.zeros((0,) * mask.ndim, bool)
    voxels = int(np.count_nonzero(inside))
    row["voxels"] = voxels
    if affine is None:
        row["area_px"] = voxels
    else:
        row["volume_ml"] = rounded(voxels * abs(np.linalg.det(affine[:3, :3])) / 1000)
    row["components"] = 0
    row["touches_border"] = False
    if not box:
        return row
    row["components"] = len(Components(inside).sizes)
    row["touches_border"] = any(
        size > 1 and (part.start == 0 or part.stop == size)
        for part, size in zip(box, mask.shape, strict=True)
    )
    row |= _intensity([channel[box] for channel in intensity], inside)
    origin = np.array([part.start for part in box])
    row |= _place(inside, origin, affine)
    return row


def _intensity(values: Sequence[np.ndarray], inside: np.ndarray) -> Measurement:
    """Mean, standard deviation (of the population) and range of the finite values inside."""
    count, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    for part in _parts(values, inside):
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        # the squares about the mean of two parts, from those of each (Chan, Golub, LeVeque 1979)
        own = float(part.mean(dtype=np.float64))
        squares += float(np.square(part - own, dtype=np.float64).sum())
        squares += (own - mean) ** 2 * count * part.size / (count + part.size)
        count += part.size
        mean += (own - mean) * part.size / count
    if not count:
        return {}
    return {
        "mean": rounded(mean),
        "std": rounded((squares / count) ** 0.5),
        "min": rounded(low),
        "max": rounded(high),
    }


def _parts(values: Sequence[np.ndarray], inside: np.ndarray) -> Iterator[np.ndarray]:
    """The finite values inside, of several channels their mean, some planes at a time."""
    planes = max(1, _CHUNK // inside[:1].size)
    for start in range(0, len(inside), planes):
        part = slice(start, start + planes)
        chosen = [channel[part][inside[part]] for channel in values]
        found: np.ndarray = chosen[0]
        if len(chosen) > 1:
            found = np.asarray(chosen, np.float64).mean(axis=0)
        found = found[np.isfinite(found)]
        if found.size:
            yield found


def _place(inside: np.ndarray, origin: np.ndarray, affine: np.ndarray | None) -> Measurement:
    """Centroid and bounding box, in patient mm or, without an affine, in px."""
    linear = np.eye(inside.ndim) if affine is None else affine[:3, :3]
    offset = linear @ origin + (0 if affine is None else affine[:3, 3])
    across = np.zeros(inside.shape[1:], np.int64)
    for plane in inside:
        across += plane
    profiles = [np.array([np.count_nonzero(plane) for plane in inside])]
    profiles += [across.sum(axis=tuple({*range(across.ndim)} - {axis})) for axis in range(across.ndim)]
    centre = np.array([np.average(np.arange(len(profile)), weights=profile) for profile in profiles])
    ends = _line_ends(inside) @ linear.T + offset
    place: Measurement = {}
    for axis, letter in enumerate("xyz"[: inside.ndim]):
        place[f"centroid_{letter}"] = rounded((linear @ centre + offset)[axis])
        place[f"bbox_min_{letter}"] = rounded(ends[:, axis].min())
        place[f"bbox_max_{letter}"] = rounded(ends[:, axis].max())
    return place


def _line_ends(inside: np.ndarray) -> np.ndarray:
    """Indices (N, ndim) of the first and last voxel on every line along the first axis.

    A linear function of the index, such as a patient coordinate, has its extremes among them.
    """
    first, last = np.full((2, *inside.shape[1:]), -1)
    for index, plane in enumerate(inside):
        np.copyto(last, index, where=plane)
    for index in reversed(range(len(inside))):
        np.copyto(first, index, where=inside[index])
    lines = np.nonzero(last >= 0)
    return np.concatenate([np.stack([end[lines], *lines], axis=1) for end in (first, last)])


def rounded(value: float | None) -> float | None:
    """Nine significant digits: no noise of the arithmetic, and adding 0 turns -0.0 into 0.0."""
    return None if value is None else float(f"{value:.9g}") + 0.0
