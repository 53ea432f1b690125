"""What the headers of a fit case tell."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Info:
    """Shape, spacing and warnings before any voxel is read.

    Attributes:
        shape: spatial shape.
        spacing: mm along each axis; 1 for pictures.
        affine: voxel index to RAS mm; the identity for pictures.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    warnings: tuple[str, ...]
    modality: str = ""
    channels: int = 1
    affine: np.ndarray = field(default_factory=lambda: np.eye(4), compare=False)
