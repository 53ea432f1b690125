"""NIfTI as converters write it: both forms coded alike, in mm."""

from pathlib import Path

import nibabel
import numpy as np


def nifti(array: np.ndarray, affine: np.ndarray) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    return image


def save(array: np.ndarray, file: Path, affine: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nifti(array, affine), file)
