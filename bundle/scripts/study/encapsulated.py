"""Where the frames of encapsulated pixel data lie."""

import os
from typing import BinaryIO

from .case import RefusedError
from .pixels import UNDEFINED, element_header
from .source import Pixels
from .syntax import RLE

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
MOST_FRAGMENTS = 2**20
Span = tuple[int, int]


def find_frames(stream: BinaryIO, pixels: Pixels, name: str) -> list[list[Span]]:
    """Start and length of every fragment, one list a frame.

    Raises:
        RefusedError: the items are truncated or do not make NumberOfFrames frames.
    """
    table, spans = _items(stream, pixels, name)
    if len(spans) == pixels.frames:
        return [[span] for span in spans]
    if pixels.frames == 1 and spans:
        if pixels.syntax == RLE:
            raise RefusedError(
                f"{name}: PixelData has {len(spans)} fragments, expected 1 for NumberOfFrames 1"
            )
        return [spans]
    frames = _by_table(table, spans) if len(table) == pixels.frames else _by_marker(stream, spans)
    if len(frames) != pixels.frames:
        raise RefusedError(
            f"{name}: PixelData has {len(frames)} compressed frames, expected NumberOfFrames "
            f"{pixels.frames}; fetch the file again"
        )
    return frames


def _items(stream: BinaryIO, pixels: Pixels, name: str) -> tuple[list[int], list[Span]]:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(pixels.offset)
    length, _ = element_header(stream, big=False)
    if length != UNDEFINED:
        raise RefusedError(
            f"{name}: PixelData is not encapsulated, but TransferSyntaxUID says compressed; "
            "export the file again"
        )
    table: list[int] | None = None
    spans: list[Span] = []
    while True:
        head = stream.read(8)
        tag, count = head[:4], int.from_bytes(head[4:], "little")
        if tag == _END and len(head) == 8:
            return table or [], spans
        here = stream.tell()
        if tag != _ITEM or len(head) < 8 or here + count > size or len(spans) > MOST_FRAGMENTS:
            raise RefusedError(
                f"{name}: PixelData is truncated after {len(spans)} fragments; fetch the file again"
            )
        if table is None:
            data = stream.read(count)
            table = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        else:
            spans.append((here, count))
            stream.seek(count, os.SEEK_CUR)


def _by_table(table: list[int], spans: list[Span]) -> list[list[Span]]:
    """Groups fragments by the basic offset table, which counts from the first fragment's item tag."""
    base = spans[0][0] - 8 if spans else 0
    starts = {offset + base + 8 for offset in table}
    frames: list[list[Span]] = []
    for span in spans:
        if span[0] in starts or not frames:
            frames.append([])
        frames[-1].append(span)
    return frames


def _by_marker(stream: BinaryIO, spans: list[Span]) -> list[list[Span]]:
    """Groups fragments by the end-of-image marker of the JPEG family."""
    frames: list[list[Span]] = [[]]
    for start, length in spans:
        frames[-1].append((start, length))
        stream.seek(start + max(0, length - 16))
        if stream.read(min(length, 16)).rstrip(b"\0").endswith(b"\xff\xd9"):
            frames.append([])
    return frames if frames[-1] else frames[:-1]
