"""The stored frames of a plan, one at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .decode import PackedFrames
from .limits import Limits
from .pixels import NativeFrames
from .source import Source
from .syntax import PACKED


def iterate_frames(wanted: Iterable[tuple[Source, int]], limits: Limits) -> Iterator[tuple[np.ndarray, str]]:
    """Each wanted frame as stored, and the PhotometricInterpretation it has after decoding."""
    reader: NativeFrames | PackedFrames | None = None
    opened: Path | None = None
    try:
        for source, index in wanted:
            if source.file != opened or reader is None:
                if reader is not None:
                    reader.close()
                packed = source.pixels is not None and source.pixels.syntax in PACKED
                reader = PackedFrames(source, limits) if packed else NativeFrames(source, limits)
                opened = source.file
            yield reader.read(index), reader.colour
    finally:
        if reader is not None:
            reader.close()
