"""What the headers of a fit case tell."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Info:
    """Shape, place and warnings before any voxel is read.

    Attributes:
        shape: spatial shape.
        affine: voxel index to RAS mm; the identity for pictures.
    """

    shape: tuple[int, ...]
    warnings: tuple[str, ...]
    modality: str = ""
    channels: int = 1
    affine: np.ndarray = field(default_factory=lambda: np.eye(4), compare=False)

    @property
    def spacing(self) -> tuple[float, ...]:
        """mm along each axis; 1 for pictures."""
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0).tolist()[: len(self.shape)])
