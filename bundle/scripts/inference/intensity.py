"""Intensities normalised slice by slice, so that no whole volume is ever held in float32."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.transforms import Identityd, NormalizeIntensity, NormalizeIntensityd, ScaleIntensityRanged
from monai.utils import convert_to_tensor

Transform = Callable[[Any], Any]
Normalise = Callable[[torch.Tensor], torch.Tensor]
_PART = 64  # planes of a volume that are held in float64 at a time


def by_slice(intensity: Transform) -> Callable[[torch.Tensor], Normalise] | None:
    """What makes, of a volume (C, X, Y, Z), the function that normalises its slices (N, any · C, H, W).

    Args:
        intensity: MONAI's dictionary transform of the image.

    Returns:
        None where the transform has to see the volume at once.
    """
    if isinstance(intensity, ScaleIntensityRanged):
        return lambda volume: lambda slices: convert_to_tensor(intensity.scaler(slices))
    if isinstance(intensity, NormalizeIntensityd) and _is_plain(intensity.normalizer):
        return lambda volume: _standardise(intensity.normalizer, volume)
    return None


def at_once(intensity: Transform, inferer: Any) -> Transform:
    """The transform itself, or nothing where the inferer normalises its slices."""
    return Identityd("image") if getattr(inferer, "intensity", None) else intensity


def _is_plain(normalizer: NormalizeIntensity) -> bool:
    """Whether one pair of numbers, of the whole or of each channel, is all that it needs."""
    given = (normalizer.subtrahend, normalizer.divisor)
    numbers = normalizer.channel_wise or all(value is None or np.ndim(value) == 0 for value in given)
    return numbers and not normalizer.nonzero


def _standardise(normalizer: NormalizeIntensity, volume: torch.Tensor) -> Normalise:
    """Subtract and divide as MONAI's transform does over the whole volume."""
    subtrahend, divisor = normalizer.subtrahend, normalizer.divisor
    if subtrahend is None or divisor is None:
        mean, std = _mean_std(volume, normalizer.channel_wise)
        subtrahend = mean if subtrahend is None else subtrahend
        divisor = std if divisor is None else divisor
    shift, scale = (
        torch.as_tensor(value, dtype=torch.float32, device=volume.device).reshape(-1, 1, 1)
        for value in (subtrahend, divisor)
    )
    scale = torch.where(scale == 0, 1.0, scale)

    def normalise(slices: torch.Tensor) -> torch.Tensor:
        by_channel = slices.unflatten(1, (-1, len(volume)))  # a slice's neighbours are channels, too
        return ((by_channel - shift) / scale).flatten(1, 2)

    return normalise


def _mean_std(volume: torch.Tensor, channel_wise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, or of all."""
    axes = tuple(range(1 if channel_wise else 0, volume.ndim))
    count = volume.numel() // (len(volume) if channel_wise else 1)
    parts = volume.split(_PART, dim=1)
    mean = sum(part.double().sum(axes) for part in parts) / count
    offset = mean.reshape(-1, *[1] * (volume.ndim - 1))
    return mean, (sum((part.double() - offset).square().sum(axes) for part in parts) / count).sqrt()
