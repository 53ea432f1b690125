"""The slice-wise inferer: a 2D network over volumes and pictures, eight-bit labels out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.inferers import Inferer, sliding_window_inference

from ..slices import in_plane, network_size, resize, spacing_of, with_context


class SlicewiseInferer(Inferer):
    """Segment volumes slice by slice, and pictures as volumes of one slice.

    Each slice is resized to the network's in-plane spacing, run, its logits resized back to the volume's own
    grid. With one plane and no flips only a batch of slices is ever held as logits, so that memory grows with
    the picture; several passes are averaged as probabilities, which holds classes × voxels in float32.

    Args:
        planes: axes (0, 1, 2 of the volume) that slices are taken across; several are averaged.
        context: neighbours on each side that a slice takes as channels.
        spacing: in-plane spacing in mm that the network was trained at; None keeps each slice's own grid.
        roi_size: (H, W) that the network was trained on: smaller slices are padded to it with zeros, larger
            ones go through overlapping windows of it. None gives the network whole slices.
        overlap: of the windows, as a fraction of ``roi_size``.
        sw_batch_size: slices (or windows) in a batch.
        flips: further passes on the volume flipped along these spatial axes, e.g. ``[[0]]``.

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
    ) -> None:
        super().__init__()
        if not planes or not set(planes) <= {0, 1, 2}:
            raise ValueError(f"planes must be some of 0, 1 and 2, got {planes!r}")
        if context < 0 or sw_batch_size < 1:
            raise ValueError(
                f"context must be at least 0 and sw_batch_size at least 1, got {context!r}, {sw_batch_size!r}"
            )
        self.planes = tuple(planes)
        self.context = context
        self.spacing = spacing
        self.roi_size = None if roi_size is None else tuple(roi_size)
        self.overlap = overlap
        self.sw_batch_size = sw_batch_size
        self.flips = ((), *(tuple(flip) for flip in flips))

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if inputs.ndim not in (4, 5):
            raise ValueError(f"expected (B, C, X, Y) or (B, C, X, Y, Z), got shape {tuple(inputs.shape)}")
        spacing = spacing_of(inputs, inputs.ndim - 2)
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if inputs.ndim == 4:
            volumes = volumes.unsqueeze(-1)
        with torch.no_grad():
            labels = torch.stack([self._segment(volume, spacing, network) for volume in volumes])
        labels = labels.squeeze(-1) if inputs.ndim == 4 else labels
        if isinstance(inputs, MetaTensor):  # Invertd skips a plain tensor with no more than a warning
            labels = MetaTensor(labels)
            labels.copy_meta_from(inputs, copy_attr=True)
        return labels

    def _segment(
        self, volume: torch.Tensor, spacing: Sequence[float], network: Callable[..., torch.Tensor]
    ) -> torch.Tensor:
        """Labels (1, X, Y, Z) of one volume (C, X, Y, Z)."""
        passes = [(axis, flip) for flip in self.flips for axis in self.planes]
        if len(passes) == 1:
            axis = self.planes[0]
            labels = torch.empty(volume.shape[1:], dtype=torch.uint8, device=volume.device)
            for start, logits in self._logits(volume, axis, spacing, network):
                labels.movedim(axis, 0)[start : start + len(logits)] = decide(logits)
            return labels[None]
        scores = self._scores(volume, (), spacing, network)
        for flip in self.flips[1:]:
            scores += self._scores(volume, flip, spacing, network)
        scores /= len(passes)
        return decide((scores - 0.5 if scores.shape[0] == 1 else scores)[None])

    def _scores(
        self,
        volume: torch.Tensor,
        flip: Sequence[int],
        spacing: Sequence[float],
        network: Callable[..., torch.Tensor],
    ) -> torch.Tensor:
        """Probabilities (classes, X, Y, Z) of the flipped volume, summed over the planes, flipped back."""
        axes = [1 + i for i in flip]
        flipped = volume.flip(axes)
        scores: torch.Tensor | None = None
        for axis in self.planes:
            for start, logits in self._logits(flipped, axis, spacing, network):
                if scores is None:
                    scores = torch.zeros((logits.shape[1], *volume.shape[1:]), device=volume.device)
                scores.movedim(1 + axis, 0)[start : start + len(logits)] += probabilities(logits)
        assert scores is not None  # a volume has at least one slice
        return scores.flip(axes)

    def _logits(
        self, volume: torch.Tensor, axis: int, spacing: Sequence[float], network: Callable[..., torch.Tensor]
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """(first slice, logits (N, classes, H, W) on the volume's own grid), batch after batch."""
        depth = volume.shape[1 + axis]
        own = [n for i, n in enumerate(volume.shape[1:]) if i != axis]
        size = network_size(own, in_plane(spacing, axis), self.spacing)
        for start in range(0, depth, self.sw_batch_size):
            indices = torch.arange(start, min(start + self.sw_batch_size, depth))
            slices = with_context(volume, axis, indices, self.context).float()
            logits = self._forward(resize(slices, size), network)
            yield start, resize(logits, own)

    def _forward(self, slices: torch.Tensor, network: Callable[..., torch.Tensor]) -> torch.Tensor:
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


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Softmax over the classes (N, classes, H, W), or a sigmoid where there is one."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def decide(scores: torch.Tensor) -> torch.Tensor:
    """uint8 labels (N, …) of scores (N, classes, …): the largest, or above 0 where there is one class.

    Raises:
        ValueError: a score is not finite, which would silently become background.
    """
    if not scores.isfinite().all():
        raise ValueError("the network's answer is not finite: check the weights, or run in float32")
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).to(torch.uint8)
    return scores.argmax(1).to(torch.uint8)
