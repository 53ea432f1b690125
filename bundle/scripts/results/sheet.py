"""All planes of a case as two compact pictures (grey levels, mask), for the report's viewer."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from .display import pixels_of, resized_labels, view_of, window_of
from .labels import Label
from .nifti import as_labels, to_array

_LONGEST = 256  # px, of a plane's longer side
_LONGEST_PICTURE = 768
_MOST_PLANES = 256
_IMAGE_BYTES = 1_500_000
_MASK_BYTES = 450_000
_QUALITIES = (72, 50, 35)


def slice_sheet(image: Any, labels: Any, table: Sequence[Label]) -> dict[str, Any]:
    """The planes of a case side by side, small enough for the report.

    At most 256 planes are taken, evenly; they shrink until both pictures keep their limits (together less
    than 2.7 MB as text).

    Args:
        image: MetaTensor (C, X, Y, Z) or picture (C, X, Y), as it was read.
        labels: (1, X, Y, Z) or (1, X, Y) on the same grid.
        table: names and colours.

    Returns:
        What the report's script needs, ready for JSON: ``image`` and ``mask`` as data URLs of sheets with
        ``columns`` tiles of ``width`` × ``height`` px, ``numbers`` of the planes (from 1) of ``count``,
        ``start`` (place of the one with most of the mask), ``aspect`` (width over height as shown),
        ``letters`` (left, right, top, bottom) and ``labels``.
    """
    array = to_array(image)
    mask = as_labels(labels, array.ndim - 1)
    view = view_of(image)
    count = view.count(mask.shape)
    step = -(-count // _MOST_PLANES)
    numbers = list(range(0, count, step))
    shape = mask.shape[view.axes[0]], mask.shape[view.axes[1]]
    longest = _LONGEST if view.patient else _LONGEST_PICTURE
    scale = min(1.0, longest / max(shape))
    window = window_of(array)
    size = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    grey = [_resized(pixels_of(array, view, index, window), size) for index in numbers]
    found = [resized_labels(view.plane(mask, index), size) for index in numbers]
    while True:
        picture, outline = _jpeg(_sheet(grey)), _png(_sheet(found), table)
        if (len(picture) <= _IMAGE_BYTES and len(outline) <= _MASK_BYTES) or max(size) <= 48:
            break
        kept = min(1.0, _IMAGE_BYTES / len(picture), _MASK_BYTES / len(outline))  # of the pixels, about
        smaller = min(0.75, kept**0.5)
        size = max(1, round(size[0] * smaller)), max(1, round(size[1] * smaller))
        grey = [_resized(tile, size) for tile in grey]
        found = [resized_labels(tile, size) for tile in found]
    return {
        "image": _url("image/jpeg", picture),
        "mask": _url("image/png", outline),
        "columns": _columns(len(numbers)),
        "width": size[0],
        "height": size[1],
        "start": int(np.argmax([np.count_nonzero(tile) for tile in found])),
        "numbers": [index + 1 for index in numbers],
        "count": count,
        "aspect": float(f"{shape[0] * view.spacing[0] / (shape[1] * view.spacing[1]):.4g}"),
        "letters": list(view.letters),
        "labels": [{"value": e.value, "name": e.name, "colour": list(e.colour)} for e in table],
    }


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tile = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(tile if tile.size == size else tile.resize(size, Image.Resampling.BILINEAR))


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles laid out in rows, from the left and the top."""
    columns = _columns(len(tiles))
    height, width, *rest = tiles[0].shape
    sheet = np.zeros((-(-len(tiles) // columns) * height, columns * width, *rest), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _jpeg(pixels: np.ndarray) -> bytes:
    """JPEG at the best quality that keeps the limit, or at the lowest one."""
    data = b""
    for quality in _QUALITIES:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
        data = stream.getvalue()
        if len(data) <= _IMAGE_BYTES:
            break
    return data


def _png(values: np.ndarray, table: Sequence[Label]) -> bytes:
    """Palette PNG of label values, the background transparent."""
    palette = np.zeros((256, 3), np.uint8)
    for label in table:
        palette[label.value] = label.colour
    picture = Image.fromarray(values)
    picture.putpalette(palette.tobytes())
    stream = io.BytesIO()
    # level 7 takes six times as long, for a seventh less
    picture.save(stream, format="PNG", transparency=0, compress_level=4)
    return stream.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
