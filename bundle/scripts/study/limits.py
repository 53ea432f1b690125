"""How much one input may claim before any memory is taken for it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .case import RefusedError


@dataclass(frozen=True)
class Limits:
    """Caps on untrusted input; each is checked before the memory is taken.

    Attributes:
        max_files: files under the searched folder.
        max_file_bytes: size of one file on disk.
        max_header_bytes: bytes of a DICOM file that may be read before its pixel data.
        max_header_reads: reads of a DICOM header, about three an element: bounds the time that nesting takes.
        max_voxels: voxels (picture: pixels) of one case, over all its files and channels.
        max_unpacked_bytes: bytes that one gzip file may unfold to; its header is asked first.
        max_deflated_bytes: bytes that one deflated DICOM file may unfold to, all held at once.
        decode_seconds: time that one compressed frame or picture may compute; waiting, ten times that.
        decode_bytes: address space of the process that decodes, above what it needs to start.
        nifti_volumes: volumes that a NIfTI file of four dimensions may hold, which become channels: so many, or one.
        fill_nonfinite: value put in place of NaN and infinite voxels, with a warning; None refuses them.
    """

    max_files: int = 200_000
    max_file_bytes: int = 8 * 2**30
    max_header_bytes: int = 64 * 2**20
    max_header_reads: int = 400_000
    max_voxels: int = 2**31
    max_unpacked_bytes: int = 8 * 2**30
    max_deflated_bytes: int = 2**29
    decode_seconds: float = 60.0
    decode_bytes: int = 4 * 2**30
    nifti_volumes: int = 1
    fill_nonfinite: float | None = None

    def check_file(self, size: int, name: str) -> None:
        """Refuses a file of ``size`` bytes that is empty or too large."""
        if not size:
            raise RefusedError(f"{name}: the file is empty; fetch it again")
        if size > self.max_file_bytes:
            raise RefusedError(
                f"{name}: the file has {size} bytes, more than max_file_bytes = {self.max_file_bytes}; "
                "raise the limit if the file is trusted"
            )

    def check_voxels(self, shape: tuple[int, ...], name: str) -> None:
        """Refuses an array of ``shape`` that has too many voxels."""
        count = 1
        for extent in shape:
            count *= int(extent)
        if count > self.max_voxels:
            raise RefusedError(
                f"{name}: {' x '.join(map(str, shape))} = {count} voxels, more than max_voxels = "
                f"{self.max_voxels}; raise the limit if the file is trusted"
            )

    def check_unpacked(self, size: int, name: str, limit: str = "max_unpacked_bytes") -> None:
        """Refuses compressed content that unfolds to ``size`` bytes."""
        if size > getattr(self, limit):
            raise RefusedError(
                f"{name}: it unfolds to {size} bytes or more, above {limit} = {getattr(self, limit)}; "
                "raise the limit if the file is trusted"
            )


def limits_of(settings: Mapping[str, Any] | None) -> Limits:
    """The limits with some of them set, by name.

    Raises:
        ValueError: there is no such limit, or its value is no number.
    """
    known = [field.name for field in fields(Limits)]
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"limits must be a dictionary of some of {', '.join(known)}, got {settings!r}")
    for name, value in (settings or {}).items():
        if name not in known:
            raise ValueError(f"limits: there is no {name!r}, expected some of {', '.join(known)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (name == "fill_nonfinite" and value is None):
            raise ValueError(f"limits: {name} is {value!r}, expected a number")
    return Limits(**(settings or {}))


DEFAULT_LIMITS = Limits()
