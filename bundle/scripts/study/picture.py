"""Reads PNG, JPEG, TIFF and BMP pictures as one would see them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .case import Case, RefusedError
from .decode import WORKER
from .fill import EXACT_FLOAT32
from .header import shorten
from .limits import Limits
from .quiet import quiet

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_SUFFIXES = {"PNG": (".png",), "TIFF": (".tif", ".tiff"), "BMP": (".bmp",)}
_GREY = ("L", "LA", "La", "1", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_COLOUR = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr")
MOST_PAGES = 1000
_ORIENTATION = 0x0112
_LARGEST_EXIF = 2**16  # bytes, as in JPEG
_BITS, _PHOTOMETRIC, _DESCRIPTION, _SAMPLE_FORMAT = 258, 262, 270, 339  # tags of TIFF
_TURNED = (5, 6, 7, 8)


@dataclass(frozen=True)
class PictureHeader:
    """Size, channels and pages of a picture file.

    Attributes:
        shape: width and height as one sees the picture.
        grey: whether it has one channel.
        pages: pages to be split; 1 where the file is one picture.
        orientation: EXIF's, 1 where the stored pixels are upright; they are turned by it.
        unsigned: whether it says that no value is below 0.
    """

    shape: tuple[int, int]
    grey: bool
    pages: int
    orientation: int
    unsigned: bool
    warnings: tuple[str, ...]


def read_picture_header(
    file: Path, name: str, limits: Limits, *, split_pages: bool = False, page: int = 0
) -> PictureHeader:
    """Checks a picture file's header, which tells of one of its pages.

    Raises:
        RefusedError: the file is no readable picture, too large or holds several pages.
    """
    try:
        limits.check_file(file.stat().st_size, name)
        with quiet(), _unlimited(), Image.open(file, formats=_FORMATS) as image:
            pages = _count_pages(image)
            if pages > 1 and not split_pages:
                raise RefusedError(
                    f"{name}: holds {pages} pages, expected 1; save a volume as one .nii.gz (and its label; set "
                    "file_ending in nnU-Net's dataset.json), pictures as a file each (segment and check take "
                    "--split_pages true)"
                )
            if pages > MOST_PAGES:
                raise RefusedError(f"{name}: holds more than {MOST_PAGES} pages; split the file")
            return _check(image, file, name, limits, pages, page)
    except RefusedError:
        raise
    except UnidentifiedImageError:
        raise RefusedError(
            f"{name}: no readable {', '.join(_FORMATS)}: of another format, or damaged; fetch it again, or save it as PNG"
        ) from None
    except Exception as error:
        raise RefusedError(
            f"{name}: no readable picture ({type(error).__name__}); save it again as PNG"
        ) from None


@contextmanager
def _unlimited() -> Iterator[None]:
    """Lifts Pillow's own cap while a header is read: ours is checked right after."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check(image: Image.Image, file: Path, name: str, limits: Limits, pages: int, page: int) -> PictureHeader:
    for each in range(pages if image.format == "TIFF" else 0):
        image.seek(each)
        _check_tags(image.tag_v2, image.mode, pages, name)  # type: ignore[attr-defined]
    image.seek(page)
    if image.mode not in _GREY + _COLOUR:
        raise RefusedError(
            f"{name}: its mode is {shorten(image.mode)}, expected grey or RGB; save it again as PNG"
        )
    grey = image.mode in _GREY
    limits.check_voxels((1 if grey else 3, *image.size), name)
    size, orientation = _upright(image, file)
    unsigned = image.format == "TIFF" and _sample_format(image.tag_v2) == 1  # type: ignore[attr-defined]
    return PictureHeader(size, grey, pages, orientation, unsigned, tuple(_warnings(image, file)))


def _check_tags(tags: Any, mode: str, pages: int, name: str) -> None:
    """Refuses a page of a TIFF whose values Pillow takes for others.

    Raises:
        RefusedError: white is zero, bytes have a sign, or ImageJ wrote more images than there are pages.
    """
    bits = max(tags.get(_BITS, (1,)))
    if tags.get(_PHOTOMETRIC) == 0 and mode not in ("1", "L"):
        raise RefusedError(
            f"{name}: PhotometricInterpretation is 0 (white) at {bits} bits, expected 1 (black); save it again as PNG"
        )
    if _sample_format(tags) == 2 and bits <= 8:
        raise RefusedError(f"{name}: its bytes have a sign (SampleFormat 2); save it again with 16 bits")
    stack = re.match(r"ImageJ=.*?^images=(\d+)", str(tags.get(_DESCRIPTION, "")), re.DOTALL | re.MULTILINE)
    if stack and int(stack[1]) > pages:
        raise RefusedError(
            f"{name}: a stack of ImageJ, {stack[1]} images behind one header; save them as single files"
        )


def _sample_format(tags: Any) -> int:
    return max(tags.get(_SAMPLE_FORMAT, (1,)))


def _count_pages(image: Image.Image) -> int:
    """Pages of a TIFF, frames of a PNG, up to one more than are read."""
    if image.format == "PNG":
        return getattr(image, "n_frames", 1)
    if image.format != "TIFF":
        return 1
    pages = 1
    while pages <= MOST_PAGES:
        try:
            image.seek(pages)
        except EOFError:
            break
        pages += 1
    image.seek(0)
    return pages


def _upright(image: Image.Image, file: Path) -> tuple[tuple[int, int], int]:
    """Width and height once EXIF's orientation is applied, and the orientation; Pillow applies a TIFF's itself."""
    width, height = image.size
    exif = _exif_of_png(file) if image.format == "PNG" else image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    turned = orientation in _TURNED and image.format != "TIFF"
    return (height, width) if turned else (width, height), orientation if orientation in range(1, 9) else 1


def _exif_of_png(file: Path) -> Image.Exif:
    """What a PNG holds in its chunk eXIf, which may stand behind its pixels; Pillow reads one before them alone."""
    exif = Image.Exif()
    with open(file, "rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                exif.load(b"Exif\0\0" + stream.read(min(length, _LARGEST_EXIF)))
                break
            stream.seek(length + 4, os.SEEK_CUR)
    return exif


def _warnings(image: Image.Image, file: Path) -> list[str]:
    found = []
    if image.format in ("JPEG", "MPO"):
        found.append("JPEG: the picture was compressed with loss")
    suffixes = _SUFFIXES.get(image.format or "", (".jpg", ".jpeg"))
    if not file.name.lower().endswith(suffixes):
        found.append(f"the name ends as {file.suffix!r}, but the content is {image.format}")
    deep = False
    if image.format == "PNG":
        with open(file, "rb") as stream:
            head = stream.read(26)
        deep = head[24] == 16 and head[25] != 0
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(_BITS, (1,)))  # type: ignore[attr-defined]
        deep = image.mode not in ("I;16", "I;16B", "I;16L", "I", "F") and bits > 8
    if deep:
        found.append("16 bits a colour channel, read as 8")
    return found


def read_picture(case: Case, limits: Limits) -> tuple[np.ndarray, PictureHeader]:
    """Reads a picture, (C, X, Y): decoded in the worker process, upright, palette and alpha resolved.

    Raises:
        RefusedError: the picture is damaged or its values cannot be held exactly.
    """
    file, name = case.files[0], case.relative(case.files[0])
    page = case.page or 0
    header = read_picture_header(file, name, limits, split_pages=case.page is not None, page=page)
    request = {"path": str(file), "formats": _FORMATS, "page": page, "grey": _GREY}
    request["orientation"] = header.orientation
    size = header.shape[0] * header.shape[1] * (8 if header.grey else 3)
    array, _ = WORKER.ask(request, b"", name, limits, size, widen=True)
    if array.shape[:2] != header.shape[::-1] or array.size != array.shape[0] * array.shape[1] * (
        1 if header.grey else 3
    ):
        raise RefusedError(f"{name}: decodes to {array.shape}, expected {header.shape[::-1]}; fetch it again")
    if header.unsigned and array.dtype.kind == "i" and array.min() < 0:
        raise RefusedError(
            f"{name}: holds values from 2147483648 on, which are not read; renumber its values"
        )
    array = array.reshape(*array.shape[:2], -1)
    return _exact(array, name).transpose(2, 1, 0), header


def _exact(array: np.ndarray, name: str) -> np.ndarray:
    """int16 where that holds every value, else float32."""
    if array.dtype.kind == "b":
        return array.astype(np.int16)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise RefusedError(f"{name}: holds values that are not finite; save it again")
        return array.astype(np.float32)
    low, high = int(array.min()), int(array.max())
    if low >= -(2**15) and high < 2**15:
        return array.astype(np.int16, copy=False)
    if max(-low, high) > EXACT_FLOAT32:
        raise RefusedError(
            f"{name}: holds the value {high if high > -low else low}, which float32 cannot hold exactly; "
            "renumber its values"
        )
    return array.astype(np.float32)
