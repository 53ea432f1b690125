"""Stored DICOM pixels to numbers: uncompressed bytes, unused bits, signs."""

import os
from typing import BinaryIO, Literal

import numpy as np

from .case import RefusedError
from .limits import Limits
from .opening import open_dataset
from .source import Pixels, Source
from .syntax import BIG_ENDIAN

UNDEFINED = 0xFFFFFFFF


class NativeFrames:
    """The frames of one uncompressed file, each read when asked for.

    Args:
        source: the file's header.
        limits: caps.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        assert source.pixels is not None
        self.source, self.pixels = source, source.pixels
        self.colour = source.pixels.photometric
        self.stream, _, _ = open_dataset(source.file, source.name, limits)
        try:
            self.dtype, self.start, self.swap = self._locate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self.stream.close()

    def _locate(self) -> tuple[np.dtype, int, bool]:
        """Element type, first byte, and whether bytes are swapped in pairs; checks the length."""
        pixels, name = self.pixels, self.source.name
        self.stream.seek(pixels.offset)
        big = pixels.syntax == BIG_ENDIAN
        length, vr = element_header(self.stream, big)
        if length == UNDEFINED:
            raise RefusedError(
                f"{name}: PixelData is encapsulated, but TransferSyntaxUID says uncompressed; "
                "export the file again"
            )
        kind = "f" if pixels.real else "i" if pixels.signed else "u"
        dtype = np.dtype(f"{'>' if big else '<'}{kind}{pixels.allocated // 8}")
        expected = pixels.frame_bytes * pixels.frames
        here = self.stream.tell()
        held = min(length, self.stream.seek(0, os.SEEK_END) - here)
        if held < expected:
            raise RefusedError(
                f"{name}: PixelData is truncated: {held} bytes, expected {expected}; fetch the file again"
            )
        if length - expected >= max(pixels.frame_bytes, 2):
            raise RefusedError(
                f"{name}: PixelData has {length} bytes, expected {expected} for Rows, Columns and "
                "NumberOfFrames; the header does not describe the pixels, export the file again"
            )
        return dtype, here, big and vr == b"OW" and dtype.itemsize == 1

    def read(self, index: int) -> np.ndarray:
        """Frame ``index`` as stored, shape (rows, columns) or (rows, columns, samples)."""
        size = self.pixels.frame_bytes
        first = index * size
        if not self.swap:
            return _arrange(self._bytes(first, size), self.pixels)
        before = first % 2
        words = self._bytes(first - before, size + before + (size + before) % 2)
        return _arrange(words.reshape(-1, 2)[:, ::-1].reshape(-1)[before : before + size], self.pixels)

    def _bytes(self, first: int, size: int) -> np.ndarray:
        self.stream.seek(self.start + first)
        data = bytearray(size)
        if self.stream.readinto(data) != size:  # type: ignore[attr-defined]
            raise RefusedError(f"{self.source.name}: PixelData is truncated; fetch the file again")
        return np.frombuffer(data, self.dtype)


def _arrange(stored: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Flat samples of a frame in rows, columns and channels."""
    rows, columns, samples = pixels.rows, pixels.columns, pixels.samples
    if samples == 1:
        return stored.reshape(rows, columns)
    if pixels.photometric == "YBR_FULL_422":
        pairs = stored.reshape(rows, columns // 2, 4)
        chroma = np.repeat(pairs[..., 2:], 2, axis=1)
        return np.concatenate([pairs[..., :2].reshape(rows, columns, 1), chroma], axis=2)
    if pixels.planar:
        return np.moveaxis(stored.reshape(samples, rows, columns), 0, 2)
    return stored.reshape(rows, columns, samples)


def element_header(stream: BinaryIO, big: bool) -> tuple[int, bytes]:
    """Length and value representation of the pixel data element that begins here."""
    order: Literal["big", "little"] = "big" if big else "little"
    rest = stream.read(8)[4:]
    if rest[:2] in (b"OB", b"OW", b"OF", b"OD", b"UN"):
        return int.from_bytes(stream.read(4), order), rest[:2]
    return int.from_bytes(rest, order), b"OW"


def clean(stored: np.ndarray, pixels: Pixels) -> tuple[np.ndarray, bool]:
    """Clears bits outside BitsStored (overlays, garbage) and restores the sign.

    Args:
        stored: integers of BitsAllocated; floats pass.
        pixels: how they were stored.

    Returns:
        The values, and whether bits above BitsStored had to be cleared.
    """
    if stored.dtype.kind == "f" or pixels.stored == pixels.allocated:
        return stored, False
    size = stored.dtype.itemsize * 8
    left = np.array(size - 1 - pixels.high_bit, dtype=stored.dtype)
    right = np.array(size - pixels.stored, dtype=stored.dtype)
    values = (stored << left) >> right
    if pixels.high_bit != pixels.stored - 1:
        return values, False
    below = stored & np.array((1 << pixels.stored) - 1, dtype=stored.dtype)
    return values, bool(((values != stored) & (below != stored)).any())  # a sign need not be extended
