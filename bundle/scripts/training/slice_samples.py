"""Slices drawn at random from volumes, for training."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable

from ..slices import in_plane, network_size, resize, with_context


class RandSliceSamplesd(Randomizable, MapTransform):
    """Draw slices of a labelled volume, as the slice-wise inferer will show them to the network.

    Args:
        keys: the image (C, X, Y, Z) and the label (1, X, Y, Z); pictures (C, X, Y) count as one slice.
        planes: axes that slices are taken across; each draw chooses one.
        context: neighbours on each side that an image's slice takes as channels.
        spacing: in-plane spacing in mm; None keeps the volume's own grid.
        num_samples: draws from a volume.
        foreground: chance that a draw must hold a labelled voxel, if the volume has one.

    Returns:
        a list of dictionaries with the image's slice ((2 · context + 1) · C, H, W) and the label's (1, H, W).
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        planes: Sequence[int] = (2,),
        context: int = 0,
        spacing: float | None = None,
        num_samples: int = 1,
        foreground: float = 0.75,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.image_key, self.label_key = self.keys
        self.planes = tuple(planes)
        self.context = context
        self.spacing = spacing
        self.num_samples = num_samples
        self.foreground = foreground

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, torch.Tensor]]:
        spacing = _spacing(data[self.image_key])
        image, label = (_as_volume(data[key]) for key in (self.image_key, self.label_key))
        return [self._draw(image, label, spacing) for _ in range(self.num_samples)]

    def _draw(
        self, image: torch.Tensor, label: torch.Tensor, spacing: Sequence[float]
    ) -> dict[Hashable, torch.Tensor]:
        axis = int(self.R.choice(self.planes))
        index = self._index(label, axis)
        size = network_size(
            [n for i, n in enumerate(image.shape[1:]) if i != axis], in_plane(spacing, axis), self.spacing
        )
        slices = with_context(image, axis, index, self.context).float()
        labels = with_context(label, axis, index, 0).float()
        return {
            self.image_key: MetaTensor(resize(slices, size)[0]),
            self.label_key: MetaTensor(resize(labels, size, mode="nearest-exact")[0]),
        }

    def _index(self, label: torch.Tensor, axis: int) -> torch.Tensor:
        """(1,) position of a slice, in the foreground or anywhere."""
        candidates = torch.arange(label.shape[1 + axis])
        if self.R.rand() < self.foreground:
            labelled = (label[0] > 0).movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
            candidates = labelled if len(labelled) else candidates
        return candidates[self.R.randint(len(candidates))][None]


def _as_volume(item: torch.Tensor) -> torch.Tensor:
    """(C, X, Y, Z) without its metadata."""
    tensor = item.as_tensor() if isinstance(item, MetaTensor) else item
    return tensor if tensor.ndim == 4 else tensor.unsqueeze(-1)


def _spacing(image: torch.Tensor) -> list[float]:
    """The three spacings in mm; pictures and plain tensors count as 1 mm."""
    if not isinstance(image, MetaTensor) or image.ndim != 4:
        return [1.0, 1.0, 1.0]
    return torch.linalg.vector_norm(image.affine[:3, :3].double(), dim=0).tolist()
