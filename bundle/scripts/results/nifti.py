"""Masks and images as files: NIfTI for volumes, PNG for pictures, each whole or absent."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from ..replacing import replacing


def to_array(data: Any) -> np.ndarray:
    """A tensor or array as a NumPy array, without a copy where that is possible."""
    if hasattr(data, "detach"):
        data = data.detach().cpu()
        data = data.as_tensor() if hasattr(data, "as_tensor") else data
        return data.numpy()
    return np.asarray(data)


def affine_of(image: Any) -> np.ndarray:
    """The affine (voxel index to patient RAS mm) of a MetaTensor, as float64 (4, 4)."""
    affine = getattr(image, "affine", None)
    if affine is None:
        raise ValueError(f"expected an image with an affine (a MetaTensor), got {type(image).__name__}")
    return to_array(affine).astype(np.float64)


def as_labels(labels: Any, ndim: int) -> np.ndarray:
    """A label map without its channel, as uint8.

    Args:
        labels: tensor or array (1, X, Y, Z) or (1, X, Y) of integers from 0 to 255.
        ndim: expected spatial dimensions, 2 or 3.

    Returns:
        uint8 array (X, Y, Z) or (X, Y).

    Raises:
        ValueError: another shape, or values that eight bits do not hold.
    """
    array = to_array(labels)
    if array.ndim != ndim + 1 or array.shape[0] != 1:
        raise ValueError(f"expected labels of one channel and {ndim} dimensions, got shape {array.shape}")
    if array.dtype == np.uint8:
        return array[0]
    narrow = array[0].astype(np.uint8)
    if not np.array_equal(narrow, array[0]):
        raise ValueError(
            f"labels must be whole numbers in 0 to 255, got {array.dtype}, {array.min()} to {array.max()}"
        )
    return narrow


def form_of(image: Any) -> tuple[int, bool]:
    """The form code of the NIfTI file that an image was read from, else 1 (scanner), and whether it was flat.

    Args:
        image: MetaTensor as ``scripts.study.read_case`` gives it.
    """
    meta = getattr(image, "meta", {})
    return int(meta.get("sform_code") or 1), bool(meta.get("flat", False))


def write_nifti(
    data: np.ndarray, affine: np.ndarray, path: Path, *, form: tuple[int, bool] = (1, False), level: int = 4
) -> None:
    """Write one volume.

    The sform is exactly ``affine``. The qform is the same where a qform can say it; it holds no shear
    (gantry tilt), so a sheared grid gets qform code 0 rather than another geometry.

    Args:
        data: (X, Y, Z) or (X, Y, Z, C), written in its own data type.
        affine: (4, 4), voxel index to RAS mm.
        path: where to write; ends in ``.nii.gz``.
        form: NIfTI code of both forms, 1 (scanner) to 4, and whether one slice (X, Y, 1) has two dimensions in the
            file, as :func:`form_of` gives them.
        level: gzip level.
    """
    import nibabel

    code, flat = form
    if flat:
        data = data[:, :, 0]
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=0 if is_sheared(affine) else code)
    with (
        replacing(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0) as stream,
    ):
        image.to_stream(stream)


def is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes of a grid are not at right angles, by more than the rounding of DICOM's decimals."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(columns.T @ columns - np.eye(3)).max() > 1e-4)


def write_picture(labels: np.ndarray, path: Path) -> None:
    """Write a picture's label map as an 8-bit grey PNG whose pixel values are the label values.

    Args:
        labels: uint8 (X, Y): columns first.
        path: where to write; ends in ``.png``.
    """
    _save_png(labels.T, path)


def write_image(image: Any, path: Path) -> None:
    """Write an image as it was read: NIfTI for a volume (channels last), PNG for a picture.

    Args:
        image: MetaTensor (C, X, Y, Z) or (C, X, Y).
        path: where to write; ends in ``.nii.gz`` for a volume and ``.png`` for a picture.
    """
    array = to_array(image)
    if array.ndim == 4:
        data = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
        write_nifti(data, affine_of(image), path, form=form_of(image), level=1)
        return
    deep = len(array) == 1 and array.max() > 255  # colours of 16 bits are read as 8
    depth = np.uint16 if deep else np.uint8
    picture = np.clip(np.rint(array), 0, np.iinfo(depth).max).astype(depth)
    _save_png(picture[0].T if picture.shape[0] == 1 else picture.transpose(2, 1, 0), path)


def _save_png(pixels: np.ndarray, path: Path) -> None:
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")
