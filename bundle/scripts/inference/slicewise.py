"""The slice-wise inferer: a 2D network over volumes and pictures, eight-bit labels out."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.inferers import Inferer, sliding_window_inference

from ..slices import check_sizes, in_plane, network_size, resize, spacing_of, with_context
from .intensity import Normalise

Network = Callable[..., torch.Tensor]
Place = tuple[slice, slice, slice]  # of channels, rows, columns
_BATCH_PIXELS = 2**16  # of a slice, up to which a batch is full
_TILE = 2048  # pixels along a side, above which a picture is segmented in tiles
_PART = 2**20  # pixels of a picture squashed as a whole that are held as numbers at a time
_MARGIN = 128  # the network's pixels around a tile, seen and not kept


@dataclass(frozen=True)
class _Volume:
    voxels: torch.Tensor  # (C, X, Y, Z)
    spacing: Sequence[float]
    normalise: Normalise


class SlicewiseInferer(Inferer):
    """Segment volumes slice by slice, and pictures as volumes of one slice.

    Each slice is resized to the network's in-plane spacing, run, its logits resized back to the volume's own
    grid. With one plane and no flips only a batch of slices is ever held as logits, and of a picture of more
    than 2048 x 2048 pixels one of its overlapping tiles; several passes are averaged as probabilities, which
    holds classes × voxels in float32.

    Args:
        planes: axes (0, 1, 2 of the volume) that slices are taken across; several are averaged.
        context: neighbours on each side that a slice takes as channels.
        spacing: in-plane spacing in mm that the network was trained at; None keeps each slice's own grid.
        roi_size: (H, W) that the network was trained on: smaller slices are padded to it with zeros, larger
            ones go through overlapping windows of it. None gives the network whole slices.
        spatial_size: (H, W) that every slice is squashed to, whatever its own size; then ``spacing`` is None.
        overlap: of the windows, as a fraction of ``roi_size``.
        sw_batch_size: slices (or windows) in a batch; fewer of slices of more than 256 x 256.
        flips: further passes on the volume flipped along these spatial axes, e.g. ``[[0]]``.
        intensity: makes the function that normalises slices of a volume, as ``by_slice`` gives it; None where
            the image comes normalised.

    Shape: (B, C, X, Y, Z) or (B, C, X, Y) to uint8 labels (B, 1, X, Y, Z) or (B, 1, X, Y).
    """

    def __init__(
        self,
        planes: Sequence[int] = (2,),
        context: int = 0,
        spacing: float | None = None,
        roi_size: Sequence[int] | None = None,
        overlap: float = 0.25,
        sw_batch_size: int = 16,
        flips: Sequence[Sequence[int]] = (),
        intensity: Callable[[torch.Tensor], Normalise] | None = None,
        spatial_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(planes, Sequence) or not planes or not _are_axes(planes):
            raise ValueError(f"planes must be some of 0, 1 and 2, got {planes!r}")
        if type(context) is not int or context < 0 or type(sw_batch_size) is not int or sw_batch_size < 1:
            raise ValueError(
                "context must be a whole number of at least 0 and sw_batch_size one of at least 1, "
                f"got {context!r}, {sw_batch_size!r}"
            )
        if type(overlap) not in (int, float) or not 0 <= overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {overlap!r}")
        check_sizes(spacing, roi_size, spatial_size)
        if not isinstance(flips, Sequence) or not all(
            isinstance(flip, Sequence) and _are_axes(flip) and len({*flip}) == len(flip) for flip in flips
        ):
            raise ValueError(f"flips must be lists of the axes 0, 1 and 2, such as [[0]], got {flips!r}")
        self.planes = tuple(planes)
        self.context = context
        self.spacing = spacing
        self.roi_size = None if roi_size is None else tuple(roi_size)
        self.spatial_size = None if spatial_size is None else tuple(spatial_size)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size
        self.flips = ((), *(tuple(flip) for flip in flips))
        self.intensity = intensity

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        if inputs.ndim not in (4, 5):
            raise ValueError(f"expected (B, C, X, Y) or (B, C, X, Y, Z), got shape {tuple(inputs.shape)}")
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if inputs.ndim == 4:
            volumes = volumes.unsqueeze(-1)
        with torch.no_grad():
            found = [
                self._labels(volume, spacing_of(inputs, inputs.ndim - 2, i), network)
                for i, volume in enumerate(volumes)
            ]
        labels = torch.stack(found) if len(found) > 1 else found[0][None]  # a large volume's are not copied
        labels = labels.squeeze(-1) if inputs.ndim == 4 else labels
        if isinstance(inputs, MetaTensor):  # Invertd skips a plain tensor with no more than a warning
            labels = MetaTensor(labels)
            labels.copy_meta_from(inputs, copy_attr=True)
        return labels

    def _labels(self, volume: torch.Tensor, spacing: Sequence[float], network: Network) -> torch.Tensor:
        """Labels (1, X, Y, Z) of one volume (C, X, Y, Z), of large pictures tile by tile."""
        normalise = self.intensity(volume) if self.intensity else _as_it_is
        large = volume.shape[-1] == 1 and volume[0].numel() > _TILE**2
        if not large or (self.spatial_size and self.planes != (2,)):
            return self._segment(_Volume(volume, spacing, normalise), network)
        if self.spatial_size:
            return self._squashed(volume, normalise, network)
        labels = torch.empty_like(volume[:1], dtype=torch.uint8)  # laid out as it is: written without a copy
        shrunk = self.spacing / min(spacing[:2]) if self.spacing else 1.0  # voxels in the network's pixel
        for seen, kept, place in tiles(volume.shape[1:3], math.ceil(_MARGIN * shrunk)):
            labels[place] = self._segment(_Volume(volume[seen], spacing, normalise), network)[kept]
        return labels

    def _squashed(self, picture: torch.Tensor, normalise: Normalise, network: Network) -> torch.Tensor:
        """Labels (1, X, Y, 1) of a large picture (C, X, Y, 1) that is squashed to ``spatial_size``.

        Rows and columns are resized one after the other, which is the same, and the larger ones part by part.
        """
        assert self.spatial_size is not None
        height, width = picture.shape[1:3]
        rows, one = max(1, _PART // width), torch.zeros(1, dtype=torch.int64)
        # at once: what is kept of each part would lie in the memory that the next one needs
        channels = len(picture) * (2 * self.context + 1)
        narrow = torch.empty(1, channels, height, self.spatial_size[1], device=picture.device)
        for part, place in zip(picture.split(rows, 1), narrow.split(rows, 2), strict=True):
            place[:] = resize(normalise(with_context(part, 2, one, self.context).float()), place.shape[2:])
        seen, tall = resize(narrow, self.spatial_size), []
        for flip in self.flips:
            axes = [2 + axis for axis in flip if axis < 2]
            logits = self._forward(seen.flip(axes), network).flip(axes)
            tall.append(resize(logits, (height, self.spatial_size[1])).split(rows, 2))
        labels = torch.empty_like(picture[:1], dtype=torch.uint8)
        for place, *passes in zip(labels.split(rows, 1), *tall, strict=True):
            scores = torch.stack([probabilities(resize(logits, place.shape[1:3])) for logits in passes])
            place[..., 0] = decide_mean(scores.mean(0))
        return labels

    def _segment(self, volume: _Volume, network: Network) -> torch.Tensor:
        """Labels (1, X, Y, Z) of one volume (C, X, Y, Z)."""
        passes = [(axis, flip) for flip in self.flips for axis in self.planes]
        voxels = volume.voxels
        if len(passes) == 1:
            axis = self.planes[0]
            labels = torch.empty_like(voxels[0], dtype=torch.uint8)  # laid out as the voxels are
            for start, logits in self._logits(volume, axis, network):
                labels.movedim(axis, 0)[start : start + len(logits)] = decide(logits)
            return labels[None]
        scores = self._scores(volume, (), network)
        for flip in self.flips[1:]:
            scores += self._scores(volume, flip, network)
        scores /= len(passes)
        return decide_mean(scores[None])

    def _scores(self, volume: _Volume, flip: Sequence[int], network: Network) -> torch.Tensor:
        """Probabilities (classes, X, Y, Z) of the flipped volume, summed over the planes, flipped back."""
        axes = [1 + i for i in flip]
        flipped = replace(volume, voxels=volume.voxels.flip(axes))
        scores: torch.Tensor | None = None
        for axis in self.planes:
            for start, logits in self._logits(flipped, axis, network):
                if scores is None:
                    shape = (logits.shape[1], *volume.voxels.shape[1:])
                    scores = torch.zeros(shape, device=logits.device)
                scores.movedim(1 + axis, 0)[start : start + len(logits)] += probabilities(logits)
        assert scores is not None  # a volume has at least one slice
        return scores.flip(axes)

    def _logits(self, volume: _Volume, axis: int, network: Network) -> Iterator[tuple[int, torch.Tensor]]:
        """(first slice, logits (N, classes, H, W) on the volume's own grid), batch after batch."""
        voxels = volume.voxels
        depth = voxels.shape[1 + axis]
        own = [n for i, n in enumerate(voxels.shape[1:]) if i != axis]
        size = network_size(own, in_plane(volume.spacing, axis), self.spacing, self.spatial_size)
        batch = max(1, min(self.sw_batch_size, self.sw_batch_size * _BATCH_PIXELS // (own[0] * own[1])))
        for start in range(0, depth, batch):
            indices = torch.arange(start, min(start + batch, depth))
            slices = volume.normalise(with_context(voxels, axis, indices, self.context).float())
            yield start, resize(self._forward(resize(slices, size), network), own)

    def _forward(self, slices: torch.Tensor, network: Network) -> torch.Tensor:
        """Logits of slices (N, C, H, W), through padding or windows where ``roi_size`` asks for them."""
        if self.roi_size is None:
            return network(slices).float()
        height, width = slices.shape[-2:]
        if height > self.roi_size[0] or width > self.roi_size[1]:
            logits = sliding_window_inference(
                slices, self.roi_size, self.sw_batch_size, network, overlap=self.overlap, mode="gaussian"
            )
            return cast(torch.Tensor, logits).float()
        top, left = (self.roi_size[0] - height) // 2, (self.roi_size[1] - width) // 2
        bottom, right = self.roi_size[0] - height - top, self.roi_size[1] - width - left
        logits = network(F.pad(slices, (left, right, top, bottom)))
        return logits[..., top : top + height, left : left + width].float()


def _are_axes(numbers: Sequence[Any]) -> bool:
    return all(type(number) is int and 0 <= number <= 2 for number in numbers)


def tiles(size: Sequence[int], margin: int) -> Iterator[tuple[Place, Place, Place]]:
    """Cut a picture into tiles.

    Args:
        size: its pixels along each axis.
        margin: of pixels around each tile, cut at the picture's border.

    Returns:
        of each tile: what of the picture it sees, what of that it keeps, and where that lies in the picture.
    """
    whole = slice(None)
    axes = [range(0, length, _TILE) for length in size]
    for start in product(*axes):
        stop = [min(low + _TILE, length) for low, length in zip(start, size, strict=True)]
        first = [max(low - margin, 0) for low in start]
        last = [min(high + margin, length) for high, length in zip(stop, size, strict=True)]
        seen = (slice(low, high) for low, high in zip(first, last, strict=True))
        kept = (slice(low - edge, high - edge) for low, high, edge in zip(start, stop, first, strict=True))
        place = (slice(low, high) for low, high in zip(start, stop, strict=True))
        yield (whole, *seen), (whole, *kept), (whole, *place)  # type: ignore[misc]


def _as_it_is(slices: torch.Tensor) -> torch.Tensor:
    return slices


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the classes (N, classes, H, W), or a sigmoid where there is one.

    Raises:
        ValueError: a logit is not finite, which an average would hide.
    """
    _refuse_infinite(logits)
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def decide(scores: torch.Tensor) -> torch.Tensor:
    """uint8 labels (N, …) of scores (N, classes, …): the largest, or above 0 where there is one class.

    Raises:
        ValueError: a score is not finite, which would silently become background.
    """
    _refuse_infinite(scores)
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).to(torch.uint8)
    return scores.max(1).indices.to(torch.uint8)  # argmax is six times slower on channels that lie apart


def decide_mean(scores: torch.Tensor) -> torch.Tensor:
    """uint8 labels (N, …) of the mean of several passes' probabilities (N, classes, …)."""
    return decide(scores - 0.5 if scores.shape[1] == 1 else scores)


def _refuse_infinite(scores: torch.Tensor) -> None:
    if not scores.sum().isfinite():  # one that is not makes the sum so, and no copy is made
        raise ValueError("the network's answer is not finite: check the weights, or run in float32")
