"""What every pair of a data set is like. (MONAI's DataAnalyzer reads neither strictly nor pictures.)"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monai.transforms import Orientationd
from scipy import ndimage

from ..slices import spacing_of
from ..study import Limits, LoadStudyd, RefusedError
from ..training import MapLabelsd, Pair
from .values import Classes

KEYS = ("image", "label")
SAMPLE = 2000  # foreground voxels kept of a case
WHOLE = 0.98  # share of a label's voxels in one piece


@dataclass(frozen=True)
class Facts:
    """Measurements of a pair in RAS orientation.

    Attributes:
        kind: "nifti" or "picture".
        shape: voxels along each axis.
        spacing: mm along each axis; pixels count as 1.
        voxels: of each class, the background first.
        extent: voxels that the labels together span along each axis; empty where there are none.
        in_one_piece: of each label that is there, whether it is a single piece but for crumbs.
        objects: the largest side, in voxels, of each connected piece.
        thickness: of each label of a picture, in pixels: a strip's width, three quarters of a disc's radius.
        mean: of each channel; likewise ``std``.
        lowest: value of the image.
        zeros: share of voxels that are exactly 0.
        sample: (N, channels) values of labelled voxels.
    """

    case: str
    kind: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    voxels: tuple[int, ...]
    extent: tuple[int, ...]
    in_one_piece: Mapping[int, bool]
    objects: tuple[int, ...]
    thickness: Mapping[int, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lowest: float
    zeros: float
    sample: np.ndarray

    @property
    def channels(self) -> int:
        """Of the image."""
        return len(self.mean)

    @property
    def labels(self) -> Collection[int]:
        """That the mask holds."""
        return self.in_one_piece.keys()


def facts_of(pair: Pair, classes: Classes, limits: Limits) -> Facts:
    """Read a pair strictly, as training will with these limits, and measure it.

    Raises:
        RefusedError: naming the file, where one is unreadable, the two do not lie on one grid, the mask holds
            a value without a class, or the image is constant.
    """
    item = MapLabelsd("label", len(classes.names) + 1, classes.label_map)(
        LoadStudyd(KEYS, limits=limits)(pair.item())
    )
    kind = str(item["image"].meta["kind"])
    if item["label"].ndim == 4:
        item = Orientationd(KEYS, axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(item)
    image, label = item["image"].numpy(), item["label"].numpy()[0].astype(np.uint8)
    flat = image.reshape(len(image), -1)
    blank = np.ptp(flat, axis=1) == 0
    if blank.all() or (blank.any() and kind != "picture"):  # a picture may leave a colour out
        name = Path(item["image"].meta["filename_or_obj"]).name
        raise RefusedError(
            f"{name}: every voxel of a channel is {flat[blank.argmax(), 0]:g}; export it again, or take the case out"
        )
    labelled = flat[:, label.reshape(-1) > 0]
    step = max(1, labelled.shape[1] // SAMPLE)
    extent, in_one_piece, objects, thickness = _shapes(label)
    return Facts(
        case=pair.case,
        kind=kind,
        shape=label.shape,
        spacing=tuple(spacing_of(item["image"], label.ndim)[: label.ndim]),
        voxels=tuple(np.bincount(label.reshape(-1), minlength=len(classes.names) + 1).tolist()),
        extent=extent,
        in_one_piece=in_one_piece,
        objects=objects,
        thickness=thickness,
        mean=tuple(flat.mean(1, dtype=np.float64).tolist()),
        std=tuple(flat.std(1, dtype=np.float64).tolist()),
        lowest=float(flat.min()),
        zeros=float((flat == 0).all(0).mean()),
        sample=labelled[:, ::step].T.copy(),
    )


def _shapes(
    label: np.ndarray,
) -> tuple[tuple[int, ...], dict[int, bool], tuple[int, ...], dict[int, float]]:
    """Extent of all labels, whether each is in one piece, every piece's largest side, how thick each is in a picture."""
    box = ndimage.find_objects((label > 0).astype(np.uint8))
    if not box:
        return (), {}, (), {}
    inside = label[box[0]]
    whole, objects, thickness = dict[int, bool](), [], dict[int, float]()
    for value in np.unique(inside[inside > 0]).tolist():
        there = inside == value
        pieces, _ = ndimage.label(there)
        sizes = np.bincount(pieces.reshape(-1))[1:]
        whole[value] = bool(sizes.max() >= WHOLE * sizes.sum())
        objects += [max(side.stop - side.start for side in piece) for piece in ndimage.find_objects(pieces)]
        if label.ndim == 2:
            thickness[value] = _thickness(there)
    return inside.shape, whole, tuple(objects), thickness


def _thickness(there: np.ndarray) -> float:
    """Twice the pixels over the sides that bound them: of what is long and thin, its width."""
    padded = np.pad(there, 1)
    sides = sum(np.count_nonzero(np.diff(padded, axis=axis)) for axis in range(there.ndim))
    return 2 * np.count_nonzero(there) / sides
