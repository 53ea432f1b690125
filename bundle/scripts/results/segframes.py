"""The frames of a binary DICOM SEG, encoded in bulk.

A SEG of many slices and segments holds thousands of nearly equal per-frame items. highdicom builds them for
one segment; the items of all segments are written as bytes from those, several times faster than one by one.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

_PER_FRAME_TAG = (0x5200, 0x9230)
_FRAME_CONTENT = (0x0020, 0x9111)
_DIMENSION_INDEX_VALUES = (0x0020, 0x9157)
_SEGMENT_IDENTIFICATION = (0x0062, 0x000A)
_REFERENCED_SEGMENT_NUMBER = (0x0062, 0x000B)
_PIXEL_DATA = (0x7FE0, 0x0010)
_LIMIT = 2**32 - 2  # bytes, of a DICOM element of known length


@dataclass(frozen=True)
class Frames:
    """Which frames a SEG holds, and their bits.

    Attributes:
        places: the frames in order, as (segment number, slice index) from 1 and from 0.
        bits: their pixels, one bit each, in parts.
    """

    places: list[tuple[int, int]]
    bits: list[bytes]


def slices_first(mask: np.ndarray) -> np.ndarray:
    """A mask (X, Y, Z) as contiguous (Z, Y, X), that is slice, row, column."""
    if mask.transpose(2, 1, 0).flags.c_contiguous:
        return mask.transpose(2, 1, 0)
    frames = np.empty(mask.shape[::-1], np.uint8)
    for row in range(mask.shape[1]):  # a row at a time, for the cache's sake
        frames[:, row, :] = mask[:, row, :].T
    return frames


def pack_frames(frames: np.ndarray, segments: int, order: Sequence[int], all_slices: bool) -> Frames:
    """Choose and pack the frames of a binary SEG.

    Args:
        frames: (slice, row, column) of segment numbers.
        segments: how many segments there are.
        order: the slices in the order in which they are to be written.
        all_slices: keep empty frames. A mask without any label keeps the empty frames of segment 1, since
            DICOM knows no image without frames.
    """
    places: list[tuple[int, int]] = []
    bits: list[bytes] = []
    pending: list[np.ndarray] = []
    whole_bytes = frames[0].size % 8 == 0
    keep = range(1, segments + 1) if all_slices else () if frames.any() else (1,)
    for number in range(1, segments + 1):
        for index in order:
            inside = frames[index] == number
            if number not in keep and not inside.any():
                continue
            places.append((number, index))
            pending.append(inside)
            if whole_bytes or len(pending) == 8:  # eight frames of any size fill whole bytes
                bits.append(_packed(pending))
                pending.clear()
    if pending:
        bits.append(_packed(pending))
    return Frames(places, bits)


def write_binary(skeleton: Dataset, frames: Frames, order: Sequence[int], path: Path) -> None:
    """Write a SEG whose head is a dataset and whose frames are given apart.

    Args:
        skeleton: a SEG of one segment (explicit little endian) with one frame a slice, in ``order``. Its
            per-frame items and pixels are taken out.
        frames: of all segments.
        order: slices of the skeleton's frames.
        path: where to write.

    Raises:
        ValueError: more than 4 GB of pixels, which DICOM cannot hold without compression.
    """
    size = sum(map(len, frames.bits))
    if size > _LIMIT:
        raise ValueError(f"a binary SEG holds at most {_LIMIT} bytes of pixels, got {size}: write a labelmap")
    shared = skeleton.SharedFunctionalGroupsSequence[0]
    shared.pop("SegmentIdentificationSequence", None)
    skeleton.pop("DimensionOrganizationType", None)
    skeleton.NumberOfFrames = len(frames.places)
    templates = dict(zip(order, skeleton.PerFrameFunctionalGroupsSequence, strict=True))
    del skeleton.PerFrameFunctionalGroupsSequence, skeleton.PixelData
    if max(skeleton.keys()) > _PER_FRAME_TAG:
        raise AssertionError(f"element {max(skeleton.keys())} of the SEG belongs behind the per-frame items")
    head = BytesIO()
    dcmwrite(head, skeleton, enforce_file_format=True)
    with open(path, "wb") as file:
        file.write(head.getbuffer())
        file.write(_sequence(_PER_FRAME_TAG, _items(frames.places, templates, order)))
        file.write(_element(_PIXEL_DATA, b"OB", size + size % 2))
        file.writelines(frames.bits)
        file.write(b"\0" * (size % 2))


def _packed(frames: Sequence[np.ndarray]) -> bytes:
    together = frames[0] if len(frames) == 1 else np.concatenate([frame.ravel() for frame in frames])
    return np.packbits(together, bitorder="little").tobytes()


def _items(
    places: Sequence[tuple[int, int]], templates: dict[int, Dataset], order: Sequence[int]
) -> Iterator[bytes]:
    """The per-frame items of all frames; their elements stand in the order of their tags."""
    used = {index for _, index in places}
    ranks = {index: rank for rank, index in enumerate((index for index in order if index in used), 1)}
    before = {index: _encoded(templates[index], ("DerivationImageSequence",)) for index in used}
    after = {index: _encoded(templates[index], ("PlanePositionSequence",)) for index in used}
    for number, index in places:
        indices = struct.pack("<II", number, ranks[index])
        content = _element(_DIMENSION_INDEX_VALUES, b"UL", len(indices)) + indices
        segment = _element(_REFERENCED_SEGMENT_NUMBER, b"US", 2) + struct.pack("<H", number)
        yield b"".join(
            (
                before[index],
                _sequence(_FRAME_CONTENT, [content]),
                after[index],
                _sequence(_SEGMENT_IDENTIFICATION, [segment]),
            )
        )


def _encoded(item: Dataset, keywords: Sequence[str]) -> bytes:
    part = Dataset()
    for keyword in keywords:
        if keyword in item:
            part[keyword] = item[keyword]
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, part)
    return stream.getvalue()


def _sequence(tag: tuple[int, int], items: Any) -> bytes:
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return _element(tag, b"SQ", len(body)) + body


def _element(tag: tuple[int, int], vr: bytes, length: int) -> bytes:
    """The head of an element in explicit little endian."""
    if vr in (b"OB", b"SQ"):
        return struct.pack("<HH2sHI", *tag, vr, 0, length)
    return struct.pack("<HH2sH", *tag, vr, length)
