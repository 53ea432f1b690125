"""Cleaning a label map: components and holes, label by label."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from scipy import ndimage

from .components import Components

KeepLargest = bool | Collection[int | Collection[int]]


class PostProcess(Transform):
    """Cleans the labels of an integer map, each in its own bounding box.

    The steps run in this order: of labels that make one piece together, all but the largest go; components
    below ``min_voxels`` go, all but the largest component go, holes are filled. Components hang together by
    faces, edges or corners. A hole is background that the label encloses on all sides; other labels inside it
    stay. All steps are off by default; a task whose labels hold many instances (nuclei, polyps) must leave
    ``keep_largest`` off.

    Args:
        keep_largest: True for every label, or the values of those to treat; a list among them holds labels that
            make one piece together, as the chambers and the wall of a heart do. Of equal components, the one with
            the lowest index along the first axis stays.
        min_voxels: voxels (pixels) that a component must have, for every label or by value.
        fill_holes: True for every label, or the values of those to treat.

    Raises:
        ValueError: a label value outside 1 to 255, or a negative size.
    """

    def __init__(
        self,
        keep_largest: KeepLargest = False,
        min_voxels: int | Mapping[Any, int] = 0,
        fill_holes: bool | Collection[int] = False,
    ) -> None:
        chosen = [] if isinstance(keep_largest, bool) else list(keep_largest)
        self.pieces = [_values("keep_largest", piece) for piece in chosen if isinstance(piece, Collection)]
        alone = [value for value in chosen if not isinstance(value, Collection)]
        self.keep_largest = _values("keep_largest", keep_largest if isinstance(keep_largest, bool) else alone)
        self.fill_holes = _values("fill_holes", fill_holes)
        by_value = min_voxels if isinstance(min_voxels, Mapping) else dict.fromkeys(range(1, 256), min_voxels)
        self.min_voxels = {int(value): size for value, size in by_value.items()}  # JSON has keys of text
        _values("min_voxels", list(self.min_voxels))
        wrong = [size for size in self.min_voxels.values() if type(size) is not int or size < 0]
        if wrong:
            raise ValueError(f"min_voxels must be whole numbers of at least 0, got {wrong[0]!r}")
        by_label = self.keep_largest or self.fill_holes or any(self.min_voxels.values())
        self.by_label, self.idle = bool(by_label), not by_label and not self.pieces

    def __call__(self, labels: Any) -> Any:
        """Clean a label map.

        Args:
            labels: whole numbers (1, X, Y, Z) or (1, X, Y); tensor, MetaTensor or array.

        Returns:
            The same kind, uint8; the input is not changed, and is given back where nothing is to be cleaned.
        """
        if self.idle and labels.dtype in (torch.uint8, np.uint8):
            return labels  # a whole slide's copy is 400 MB
        tensor = isinstance(labels, torch.Tensor)
        given = labels.detach().cpu().numpy() if tensor else np.asarray(labels)
        cleaned = given.astype(np.uint8)
        for piece in self.pieces:
            components = Components(np.isin(cleaned[0], list(piece)))
            cleaned[0][components.only(~components.largest)] = 0
        if self.by_label:
            for value, box in enumerate(ndimage.find_objects(cleaned[0]), 1):
                if box is not None:
                    self._clean(cleaned[0][box], value)
        if not tensor:
            return cleaned
        result = torch.from_numpy(cleaned).to(labels.device)
        return MetaTensor(result, meta=labels.meta) if isinstance(labels, MetaTensor) else result

    def _clean(self, part: np.ndarray, value: int) -> None:
        """Clean one label in place, in the box that holds all of it."""
        smallest = self.min_voxels.get(value, 0)
        if smallest > 1 or value in self.keep_largest:
            components = Components(part == value)
            keep = components.sizes >= max(smallest, 1)
            if value in self.keep_largest:
                keep &= components.largest
            part[components.only(~keep)] = 0
        if value in self.fill_holes:
            part[ndimage.binary_fill_holes(part == value) & (part == 0)] = value


class PostProcessd(MapTransform):
    """``PostProcess`` for the entries ``keys`` of a dictionary."""

    def __init__(
        self,
        keys: KeysCollection,
        keep_largest: KeepLargest = False,
        min_voxels: int | Mapping[Any, int] = 0,
        fill_holes: bool | Collection[int] = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.process = PostProcess(keep_largest, min_voxels, fill_holes)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Clean each entry; the dictionary given is not changed."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.process(result[key])
        return result


def _values(name: str, chosen: bool | Collection[int]) -> frozenset[int]:
    if isinstance(chosen, bool):
        return frozenset(range(1, 256)) if chosen else frozenset()
    wrong = [value for value in chosen if type(value) is not int or not 1 <= value <= 255]
    if wrong:
        raise ValueError(f"{name} must hold label values from 1 to 255, got {wrong[0]!r}")
    return frozenset(chosen)
