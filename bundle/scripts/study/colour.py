"""Colour DICOM frames to RGB."""

import numpy as np

from .case import RefusedError
from .header import shorten
from .source import Source


def to_rgb(frame: np.ndarray, kind: str, source: Source) -> np.ndarray:
    """A frame as RGB.

    Args:
        frame: (rows, columns[, samples]) as decoded, without unused bits.
        kind: the PhotometricInterpretation it has after decoding.
        source: the file's header.

    Returns:
        (rows, columns, 3), int16 where that holds every value, else float32.
    """
    if kind in ("RGB", "YBR_RCT", "YBR_ICT"):
        rgb = frame
    elif kind in ("YBR_FULL", "YBR_FULL_422") and frame.dtype.itemsize == 1:
        rgb = _from_ybr(frame)
    elif kind == "PALETTE COLOR":
        rgb = _from_palette(frame, source)
    else:
        raise RefusedError(
            f"{source.name}: PhotometricInterpretation is {shorten(kind)} at {frame.dtype.itemsize * 8} bits, "
            "expected RGB, PALETTE COLOR or YBR_FULL of 8 bits; export the picture as RGB"
        )
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise RefusedError(
            f"{source.name}: SamplesPerPixel is {frame.shape[2:]}, expected 3; export it as RGB"
        )
    return rgb.astype(np.int16 if rgb.max() < 2**15 else np.float32)


def _from_ybr(frame: np.ndarray) -> np.ndarray:
    luma, blue, red = np.moveaxis(frame.astype(np.float32), 2, 0)
    blue, red = blue - 128, red - 128
    channels = luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue
    return np.clip(np.rint(np.stack(channels, axis=2)), 0, 255)


def _from_palette(frame: np.ndarray, source: Source) -> np.ndarray:
    """Looks every index up; tables of 16 bits are cut to their upper 8."""
    tables = [_table(colour, source) for colour in ("Red", "Green", "Blue")]
    highest = max((int(table.max()) for table, _ in tables if table.itemsize > 1), default=0)
    if 0 < highest < 256:
        raise source.header.refusal(
            "RedPaletteColorLookupTableData",
            f"and the others have entries of 16 bits of which none is above {highest}, which is black; export the "
            "picture as RGB",
        )
    return np.stack([_looked_up(frame, table, first) for table, first in tables], axis=2)


def _looked_up(index: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    found = table[np.clip(index.astype(np.int64) - first, 0, len(table) - 1)]
    return found >> 8 if found.itemsize > 1 else found


def _table(colour: str, source: Source) -> tuple[np.ndarray, int]:
    """A colour's entries as stored, and the index of the first."""
    assert source.pixels is not None
    header, keyword = source.header, f"{colour}PaletteColorLookupTable"
    descriptor = header.numbers(f"{keyword}Descriptor", 3, source.pixels.signed)
    data, little = header.raw_bytes(f"{keyword}Data")
    if not descriptor or data is None:
        raise header.refusal(f"{keyword}Data", "is missing; export the picture as RGB")
    entries, first, bits = (int(number) for number in descriptor)
    entries = entries & 0xFFFF or 2**16
    if bits not in (8, 16) or len(data) not in (entries * bits // 8, entries * bits // 8 + 1):
        raise header.refusal(
            f"{keyword}Data",
            f"has {len(data)} bytes for {entries} entries of {bits} bits; export the picture as RGB",
        )
    return np.frombuffer(data, "u1" if bits == 8 else "<u2" if little else ">u2", entries), first
