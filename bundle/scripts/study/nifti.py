"""Reads NIfTI-1 and NIfTI-2 files strictly: header first, then exactly the voxels it promises."""

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from .case import Case, RefusedError
from .fill import fill, whole
from .limits import Limits
from .nifti_affine import read_affine

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHER_TYPES = {
    1: "binary", 32: "complex64", 128: "RGB24", 1536: "float128", 1792: "complex128", 2048: "complex256",
    2304: "RGBA32",
}  # fmt: skip
_LARGEST_OFFSET = 2**28
_CHUNK = 2**20


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed to read the voxels.

    Attributes:
        shape: of a volume.
        volumes: how many there are, one behind the other.
        offset: byte where the voxels begin, after unpacking.
        affine: voxel index to RAS millimetres.
        packed: whether the file is gzip.
        code: of the form that the affine is of, what its space is aligned to.
        flat: whether the file has two dimensions, and the one slice is ours.
    """

    name: str
    shape: tuple[int, ...]
    volumes: int
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray
    packed: bool
    warnings: tuple[str, ...]
    code: int
    flat: bool

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice as stored."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_nifti_header(file: Path, name: str, limits: Limits) -> NiftiHeader:
    """Checks a NIfTI file's header.

    Raises:
        RefusedError: the header is damaged, ambiguous or describes no single 3D volume.
    """
    try:
        size = file.stat().st_size
        limits.check_file(size, name)
        with open(file, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        if packed != file.name.lower().endswith(".gz"):
            raise RefusedError(
                f"{name}: the content is {'gzip' if packed else 'not gzip'}, but the name says otherwise; "
                "rename or fetch it again"
            )
        with _open(file, packed) as stream:
            header = _parse(stream.read(540), name)
        return _check(header, name, None if packed else size, limits)
    except RefusedError:
        raise
    except PermissionError as error:
        raise RefusedError(f"{name}: cannot be opened ({error.strerror}); change its permissions") from None
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedError(f"{name}: damaged or truncated ({type(error).__name__}); fetch it again") from None
    except Exception as error:
        raise RefusedError(
            f"{name}: no readable NIfTI file ({type(error).__name__}); convert it again"
        ) from None


def _open(file: Path, packed: bool) -> BinaryIO:
    return gzip.open(file, "rb") if packed else open(file, "rb")  # type: ignore[return-value]


def _parse(block: bytes, name: str) -> Nifti1Header:
    """The header's fields, by its own size and magic."""
    little, big = int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")
    for size, kind, magic in ((348, Nifti1Header, slice(344, 348)), (540, Nifti2Header, slice(4, 8))):
        if size not in (little, big) or len(block) < size:
            continue
        found = block[magic]
        if found[:3] in (b"ni1", b"ni2") or not found.strip(b"\0"):
            raise RefusedError(
                f"{name}: magic is {found!r}, one half of a pair or Analyze; convert it to one .nii.gz file"
            )
        if found[:3] not in (b"n+1", b"n+2"):
            raise RefusedError(f"{name}: magic is {found!r}, expected b'n+1' or b'n+2'; convert it again")
        return kind(block[:size], endianness="<" if size == little else ">", check=False)
    raise RefusedError(
        f"{name}: sizeof_hdr is {little} in {len(block)} bytes, expected 348 or 540; "
        "it is truncated or no NIfTI file"
    )


def _check(header: Nifti1Header, name: str, size: int | None, limits: Limits) -> NiftiHeader:
    """Turns fields into what reading needs.

    Args:
        header: the parsed fields.
        name: the file in messages.
        size: bytes of the file, None where it is packed.
        limits: caps.
    """
    shape, volumes = _shape(header, name, limits.nifti_volumes)
    limits.check_voxels((*shape, volumes), name)
    dtype = _dtype(header, name)
    offset = _offset(header, name)
    end = offset + math.prod(shape) * volumes * dtype.itemsize
    if size is None:
        limits.check_unpacked(end, name)
    elif end != size:
        problem = "truncated" if end > size else "longer than its header says"
        raise RefusedError(f"{name}: {problem}: {size} bytes, expected {end}; fetch the file again")
    slope, intercept = _scaling(header, name)
    affine, warnings = read_affine(header, shape, name)
    code, flat = int(header["sform_code"]) or int(header["qform_code"]), int(header["dim"][0]) == 2
    packed = size is None
    return NiftiHeader(
        name, shape, volumes, dtype, offset, slope, intercept, affine, packed, tuple(warnings), code, flat
    )


def _shape(header: Nifti1Header, name: str, most: int) -> tuple[tuple[int, ...], int]:
    """Of a volume, and how many there are: one, or ``most``."""
    dims = [int(extent) for extent in header["dim"]]
    if not 1 <= dims[0] <= 7:
        raise RefusedError(f"{name}: dim[0] is {dims[0]}, expected 1 to 7; correct the header")
    shape = tuple(dims[1 : dims[0] + 1])
    if min(shape) <= 0:
        raise RefusedError(f"{name}: dim is {dims}, expected sizes above 0; correct the header")
    volumes = math.prod(shape[3:])
    if volumes not in (1, most) or len(shape) < 2:
        raise RefusedError(
            f"{name}: dim is {shape}, {len(shape)}D with intent_code {int(header['intent_code'])}; "
            "expected one 3D volume, split the file"
            + (
                f", or {most} volumes as channels"
                if most > 1
                else ", or say how many channels it holds (limits nifti_volumes; modality in dataset.json)"
            )
        )
    return (*shape[:3], 1)[:3], volumes


def _dtype(header: Nifti1Header, name: str) -> np.dtype:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _TYPES:
        raise RefusedError(
            f"{name}: datatype is {code} ({_OTHER_TYPES.get(code, 'unknown')}), expected whole or real "
            "numbers; convert the file"
        )
    dtype = np.dtype(_TYPES[code]).newbyteorder(header.endianness)
    if bits != dtype.itemsize * 8:
        raise RefusedError(
            f"{name}: bitpix is {bits}, expected {dtype.itemsize * 8} for datatype {code}; correct the header"
        )
    return dtype


def _offset(header: Nifti1Header, name: str) -> int:
    offset = float(header["vox_offset"])
    least = 544 if isinstance(header, Nifti2Header) else 352
    if not math.isfinite(offset) or offset != int(offset) or not least <= offset <= _LARGEST_OFFSET:
        raise RefusedError(
            f"{name}: vox_offset is {offset!r}, expected a whole number from {least}; correct the header"
        )
    return int(offset)


def _scaling(header: Nifti1Header, name: str) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or nan says that the values are stored as they are."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    unscaled = slope == 0 or math.isnan(slope)
    contradicted = math.isnan(slope) and not math.isnan(intercept) and intercept != 0
    if math.isinf(slope) or math.isinf(intercept) or contradicted or (not unscaled and math.isnan(intercept)):
        raise RefusedError(
            f"{name}: scl_slope is {slope!r} and scl_inter {intercept!r}, expected two finite numbers; "
            "correct the header"
        )
    return (1.0, 0.0) if unscaled else (slope, intercept)


def read_nifti(case: Case, limits: Limits) -> tuple[np.ndarray, NiftiHeader, list[str]]:
    """Reads a file's voxels.

    Returns:
        Array (volumes, X, Y, Z), the header it was read by, and warnings.
    """
    file = case.files[0]
    header = read_nifti_header(file, case.relative(file), limits)
    warnings = list(header.warnings)
    integers = header.dtype.kind in "iu" and whole(header.slope, header.intercept)
    columns, rows, depth = header.shape
    slices = fill((header.volumes * depth, rows, columns), integers, lambda: _slices(file, header))
    if slices.dtype.kind == "f":
        _check_finite(slices, header, limits, warnings)
    volumes = slices.reshape(header.volumes, depth, rows, columns)
    return volumes.transpose(0, 3, 2, 1), header, warnings


def _check_finite(volume: np.ndarray, header: NiftiHeader, limits: Limits, warnings: list[str]) -> None:
    """Refuses or fills NaN and infinite voxels."""
    count = sum(int(part.size - np.count_nonzero(np.isfinite(part))) for part in volume)
    if not count:
        return
    if limits.fill_nonfinite is None:
        raise RefusedError(
            f"{header.name}: {count} voxels are NaN or infinite; clean the file, or set fill_nonfinite "
            "(--limits \"{'fill_nonfinite': 0}\")"
        )
    for part in volume:
        part[~np.isfinite(part)] = limits.fill_nonfinite
    warnings.append(f"{count} voxels were NaN or infinite and set to {limits.fill_nonfinite:g}")


def _slices(file: Path, header: NiftiHeader) -> Iterator[tuple[np.ndarray, float, float, str]]:
    """Every slice's stored values with slope, intercept and name; then the end of the file is checked."""
    data = bytearray(header.slice_bytes)
    stored = np.frombuffer(data, header.dtype).reshape(header.shape[1], header.shape[0])
    try:
        with _open(file, header.packed) as stream:
            stream.seek(header.offset)
            for _ in range(header.volumes * header.shape[2]):
                if stream.readinto(data) < len(data):  # type: ignore[attr-defined]
                    raise EOFError
                yield stored, header.slope, header.intercept, header.name
            _read_to_end(stream, header)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedError(
            f"{header.name}: damaged or truncated ({type(error).__name__}); fetch the file again"
        ) from None


def _read_to_end(stream: BinaryIO, header: NiftiHeader) -> None:
    """Reads on, so that gzip compares its checksum; refuses a slice or more beyond what dim promises."""
    rest = 0
    while got := len(stream.read(_CHUNK)):
        rest += got
        if rest >= header.slice_bytes:
            raise RefusedError(
                f"{header.name}: holds more data than dim promises, {header.shape}; correct the header"
            )
