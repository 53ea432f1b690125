"""Small volumes that look like the default task's: two bright ellipsoids, end to end, in noise."""

import json
from pathlib import Path

import nibabel
import numpy as np

from ..nifti import nifti


def volume(seed: int, affine: np.ndarray | None = None) -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """Image (int16) and label (uint8) of 36 × 44 × 32 voxels of 1 mm, or on the grid of ``affine``."""
    random = np.random.default_rng(seed)
    shape = (36, 44, 32)
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij")
    x, z = x + random.uniform(-3, 3), z + random.uniform(-3, 3)
    label = np.zeros(shape, np.uint8)
    label[(x / 6) ** 2 + ((y - 9) / 9) ** 2 + (z / 6) ** 2 < 1] = 1
    label[(x / 5) ** 2 + ((y + 8) / 9) ** 2 + (z / 5) ** 2 < 1] = 2
    image = 300 + 200 * (label > 0) + random.normal(0, 30, shape)
    affine = np.eye(4) if affine is None else affine
    return nifti(image.astype(np.int16), affine), nifti(label, affine)


def decathlon(folder: Path, count: int) -> Path:
    """A data set in the Decathlon layout."""
    pairs = []
    for i in range(count):
        pair = {"image": f"./imagesTr/case_{i}.nii.gz", "label": f"./labelsTr/case_{i}.nii.gz"}
        for path, made in zip(pair.values(), volume(i), strict=True):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(made, folder / path)
        pairs.append(pair)
    (folder / "dataset.json").write_text(json.dumps({"training": pairs}))
    return folder
