"""What the headers of a fit case tell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Info:
    """Shape, spacing and warnings before any voxel is read.

    Attributes:
        shape: spatial shape.
        spacing: mm along each axis; 1 for pictures.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    warnings: tuple[str, ...]
    modality: str = ""
    channels: int = 1
