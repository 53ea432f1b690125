"""One picture of a case for people: planes with coloured outlines, legend, letters and a scale bar."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ..replacing import replacing
from .display import View, pixels_of, resized_labels, view_of, window_of
from .labels import Label
from .nifti import as_labels, to_array

_WIDTH = 1200  # px, of the whole picture
_PLANES = 12
_GAP = 6
_LINE = 22
_LETTERED = 40  # px of a side, from which on its two letters have room
_BACKGROUND = (16, 18, 22)
_TEXT = (236, 238, 242)
_DIM = (168, 174, 184)
_BAR_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def preview(image: Any, labels: Any, table: Sequence[Label], path: Path) -> None:
    """Write the preview of a case as PNG.

    Volumes show up to twelve planes spread evenly over those that hold a label (all planes where none
    does), turned to the radiological convention; pictures show the picture.

    Args:
        image: MetaTensor (C, X, Y, Z) or picture (C, X, Y), as it was read.
        labels: (1, X, Y, Z) or (1, X, Y) on the same grid.
        table: names and colours of the labels.
        path: where to write; ends in ``.png``.
    """
    array = to_array(image)
    mask = as_labels(labels, array.ndim - 1)
    view = view_of(image)
    chosen = _chosen(mask, view)
    columns = _columns(len(chosen))
    window = window_of(array)
    tiles = [_tile(array, mask, view, index, window, table, columns) for index in chosen]
    with replacing(path) as temporary:
        _montage(tiles, columns, mask, table, view, chosen).save(temporary, format="PNG", compress_level=4)


def _chosen(mask: np.ndarray, view: View) -> list[int]:
    """Indices of the planes to show, in the order of the patient's axis."""
    if view.axes[2] is None:
        return [0]
    others = tuple(axis for axis in range(3) if axis != view.axes[2])
    present = np.flatnonzero(mask.any(axis=others))
    first, last = (present[0], present[-1]) if present.size else (0, mask.shape[view.axes[2]] - 1)
    count = min(_PLANES, last - first + 1)
    return sorted(set(np.linspace(first, last, count).round().astype(int).tolist()))


def _columns(count: int) -> int:
    return count if count < 4 else 3 if count <= 6 else 4


def _tile(
    array: np.ndarray,
    mask: np.ndarray,
    view: View,
    index: int,
    window: np.ndarray,
    table: Sequence[Label],
    columns: int,
) -> Image.Image:
    """One plane in colour, scaled to its place in the montage, with the outlines of its labels."""
    size = _tile_size(view, mask.shape, columns)
    pixels = pixels_of(array, view, index, window)
    tile = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    values = resized_labels(view.plane(mask, index), size)
    painted = np.array(tile)
    thickness = 2 if columns > 1 else 3
    for label in table:
        inside = values == label.value
        if inside.any():
            painted[ndimage.binary_dilation(inside) & (values == 0)] = 0  # sets the colour off from any image
            inner = ndimage.binary_erosion(inside, iterations=thickness, border_value=0)
            painted[inside & ~inner] = label.colour
    return Image.fromarray(painted)


def _tile_size(view: View, shape: Sequence[int], columns: int) -> tuple[int, int]:
    """Width and height in px of a plane in the montage; a true picture grows four times at most."""
    width = shape[view.axes[0]] * view.spacing[0]
    height = shape[view.axes[1]] * view.spacing[1]
    room = (_WIDTH - (columns + 1) * _GAP) / columns
    scale = min(room / width, max(room, 300) / height)
    if not view.patient:
        scale = min(scale, 4.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _montage(
    tiles: Sequence[Image.Image],
    columns: int,
    mask: np.ndarray,
    table: Sequence[Label],
    view: View,
    chosen: Sequence[int],
) -> Image.Image:
    """Lay the tiles out, write on each where it is, and put the scale bar and the legend below."""
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    total = max(columns * (width + _GAP) + _GAP, 420)
    legend = _legend(table, mask, total)
    top = rows * (height + _GAP) + _GAP
    canvas = Image.new("RGB", (total, top + _LINE + _GAP + legend.height), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    left = (total - columns * (width + _GAP) - _GAP) // 2 + _GAP
    for number, (tile, index) in enumerate(zip(tiles, chosen, strict=True)):
        x = left + (number % columns) * (width + _GAP)
        y = _GAP + (number // columns) * (height + _GAP)
        canvas.paste(tile, (x, y))
        _annotate(draw, (x, y, x + width, y + height), view, index, view.count(mask.shape))
    _scale_bar(draw, (left, top), width / (mask.shape[view.axes[0]] * view.spacing[0]), view)
    canvas.paste(legend, (0, top + _LINE + _GAP))
    return canvas


def _annotate(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], view: View, index: int, count: int
) -> None:
    """Orientation letters at the sides that are not too close, the plane's number in the corner."""
    left, top, right, bottom = box
    outlined: Any = {"font": _font(14), "fill": _TEXT, "stroke_width": 2, "stroke_fill": (0, 0, 0)}
    if view.letters:
        middle, centre = (top + bottom) // 2, (left + right) // 2
        if right - left >= _LETTERED:
            draw.text((left + 4, middle), view.letters[0], anchor="lm", **outlined)
            draw.text((right - 4, middle), view.letters[1], anchor="rm", **outlined)
        if bottom - top >= _LETTERED:
            draw.text((centre, top + 3), view.letters[2], anchor="ma", **outlined)
            draw.text((centre, bottom - 3), view.letters[3], anchor="md", **outlined)
    if count > 1:
        draw.text((left + 4, top + 3), f"{index + 1}/{count}", anchor="la", **outlined | {"font": _font(12)})


def _scale_bar(draw: ImageDraw.ImageDraw, place: tuple[int, int], scale: float, view: View) -> None:
    """A bar of a round length, about 100 px long.

    Args:
        draw: the canvas.
        place: left end and top of the line it stands on, in px.
        scale: px of the canvas a mm (pictures: a px of the picture).
        view: whether lengths are mm.
    """
    length = min(_BAR_MM if view.patient else (*_BAR_MM, 1000, 2000), key=lambda mm: abs(mm * scale - 100))
    left, top = place
    right, middle = left + max(1, round(length * scale)), top + _LINE // 2
    draw.line((left, middle, right, middle), fill=_TEXT, width=3)
    for x in (left, right):
        draw.line((x, middle - 5, x, middle + 5), fill=_TEXT, width=2)
    window = "grey window for orientation only, " if view.patient else ""
    note = f"{length} {'mm' if view.patient else 'px'}     {window}not for diagnosis"
    draw.text((right + 10, middle), note, anchor="lm", font=_font(12), fill=_DIM)


def _legend(table: Sequence[Label], mask: np.ndarray, width: int) -> Image.Image:
    """Colour and name of every label, in as many lines as they need; absent labels say so."""
    present = {label.value for label in table if any(label.value in plane for plane in mask.T)}
    entries = [
        (label.colour, label.name if label.value in present else f"{label.name} (absent)") for label in table
    ]
    places, x, y = [], _GAP, 0
    for _, text in entries:
        wide = 26 + int(_font(14).getlength(text)) + 18
        if x > _GAP and x + wide > width:
            x, y = _GAP, y + _LINE
        places.append((x, y))
        x += wide
    legend = Image.new("RGB", (width, y + _LINE + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(legend)
    for (colour, text), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 4, x + 16, y + 16), fill=colour, outline=_DIM)
        draw.text((x + 24, y + 10), text, anchor="lm", font=_font(14), fill=_TEXT)
    return legend


@cache
def _font(size: int) -> Any:
    """DejaVu Sans, which has the letters of most languages, from matplotlib's files; else Pillow's own."""
    package = find_spec("matplotlib")
    if package and package.origin:
        file = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)
