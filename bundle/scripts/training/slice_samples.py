"""Slices drawn at random from volumes, for training."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable

from ..slices import check_sizes, in_plane, network_size, resize, spacing_of, with_context

MARGIN = 1.5  # of a crop over roi_size, for what a rotation turns in
JITTER = 0.25  # how far off the crop's centre a labelled voxel may lie, as a share of roi_size


class RandSliceSamplesd(Randomizable, MapTransform):
    """Draw slices of a labelled volume, as the slice-wise inferer will show them to the network.

    Args:
        keys: the image (C, X, Y, Z) and the label (1, X, Y, Z); pictures (C, X, Y) count as one slice.
        planes: axes that slices are taken across; each draw chooses one.
        context: neighbours on each side that an image's slice takes as channels.
        spacing: in-plane spacing in mm (of pictures: pixels); None keeps the volume's own grid.
        num_samples: draws from a volume.
        foreground: chance that a draw is centred on a label, each one that the volume has as likely as the next.
        roi_size: (H, W) of the patches to be cropped from the slices' centres: a slice comes as a window that
            is half as large again, padded with zeros. None gives whole slices.
        spatial_size: (H, W) that every slice is squashed to; then ``spacing`` is None.

    A call gives a list of dictionaries with the image's slice ((2 · context + 1) · C, H, W) and the label's (1, H, W).
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        planes: Sequence[int] = (2,),
        context: int = 0,
        spacing: float | None = None,
        num_samples: int = 1,
        foreground: float = 0.75,
        roi_size: Sequence[int] | None = None,
        spatial_size: Sequence[int] | None = None,
    ) -> None:
        MapTransform.__init__(self, keys)
        check_sizes(spacing, roi_size, spatial_size)
        self.image_key, self.label_key = self.keys
        self.planes = tuple(planes)
        self.context = context
        self.spacing = spacing
        self.num_samples = num_samples
        self.foreground = foreground
        self.roi_size = None if roi_size is None else tuple(roi_size)
        self.spatial_size = None if spatial_size is None else tuple(spatial_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, MetaTensor]]:
        spacing = spacing_of(data[self.image_key], data[self.image_key].ndim - 1)
        image, label = (_as_volume(data[key]) for key in (self.image_key, self.label_key))
        planes = self.planes if data[self.image_key].ndim == 4 else (2,)
        draws = [
            self._draw(image, label, spacing, int(self.R.choice(planes))) for _ in range(self.num_samples)
        ]
        file = getattr(data[self.image_key], "meta", {}).get("filename_or_obj", "")
        for draw in draws:
            draw[self.image_key].meta["filename_or_obj"] = file  # which case to name
        return draws

    def _draw(
        self, image: torch.Tensor, label: torch.Tensor, spacing: Sequence[float], axis: int
    ) -> dict[Hashable, MetaTensor]:
        index, centre = self._place(label, axis)
        own = [n for i, n in enumerate(image.shape[1:]) if i != axis]
        size = network_size(own, in_plane(spacing, axis), self.spacing, self.spatial_size)
        slices = resize(with_context(image, axis, index, self.context).float(), size)
        labels = resize(with_context(label, axis, index, 0).float(), size, mode="nearest-exact")
        if self.roi_size is not None:
            place = [(c + 0.5) * n / old for c, n, old in zip(centre, size, own, strict=True)]
            pad = self._window(place, size, self.roi_size)
            slices, labels = F.pad(slices, pad), F.pad(labels, pad)
        return {self.image_key: MetaTensor(slices[0]), self.label_key: MetaTensor(labels[0])}

    def _place(self, label: torch.Tensor, axis: int) -> tuple[torch.Tensor, list[int]]:
        """(1,) position of a slice, and a place in it: of a label, or anywhere."""
        if self.R.rand() < self.foreground:
            for value in self.R.permutation(int(label.max())) + 1:
                labelled = (label[0] == value).movedim(axis, 0)
                held = labelled.flatten(1).any(1).nonzero()[:, 0]
                if len(held):
                    index = held[self.R.randint(len(held))]
                    places = labelled[index].nonzero()
                    return index[None], places[self.R.randint(len(places))].tolist()
        index, *place = (self.R.randint(n) for n in label[0].movedim(axis, 0).shape)
        return torch.tensor([index]), place

    def _window(self, place: Sequence[float], size: Sequence[int], roi_size: Sequence[int]) -> list[int]:
        """Padding (left, right, top, bottom; negative crops) that puts a patch near ``place`` into the middle."""
        pad: list[int] = []
        for centre, n, roi in zip(place, size, roi_size, strict=True):
            shifted = centre + self.R.uniform(-JITTER, JITTER) * roi
            middle = n / 2 if n <= roi else min(max(shifted, roi / 2), n - roi / 2)
            window = round(MARGIN * roi)
            before = round(window / 2 - middle)
            pad = [before, window - n - before, *pad]  # F.pad begins with the last axis
        return pad


def _as_volume(item: torch.Tensor) -> torch.Tensor:
    """(C, X, Y, Z) without its metadata."""
    tensor = item.as_tensor() if isinstance(item, MetaTensor) else item
    return tensor if tensor.ndim == 4 else tensor.unsqueeze(-1)
