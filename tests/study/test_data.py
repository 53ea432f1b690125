"""Real series, where MONAI's own readers are right, give the same voxels and affines."""

from pathlib import Path

import numpy as np
import pytest
from mcanet.scripts.study import find_cases, read_case
from monai.data import NibabelReader, PydicomReader

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.data


def ours(folder):
    """The one fit case of a folder."""
    if not folder.exists():
        pytest.skip("the data beside the repository is absent")
    (case,) = find_cases(folder).cases
    return read_case(case)


@pytest.mark.parametrize(
    "name",
    [
        "hippocampus_dicom/Study1",
        "hippocampus_dicom/Study2",
        "ct_fixture/dcmqi/ct-3slice",
        "ct_fixture/example_ct_dicom",
    ],
)
def test_dicom_equals_monai(name):
    image = ours(DATA / name)
    folder = next(path.parent for path in sorted((DATA / name).rglob("*")) if path.is_file())
    reader = PydicomReader()
    array, meta = reader.get_data(reader.read(str(folder)))
    affine = np.asarray(meta["affine"], dtype=float)
    if affine[:3, 2] @ np.asarray(image.affine)[:3, 2] < 0:
        # PydicomReader stacks by InstanceNumber, which may descend: the same voxels at the same places
        array = array[..., ::-1]
        affine = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, array.shape[2] - 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(image.numpy()[0], array)
    np.testing.assert_allclose(np.asarray(image.affine), affine, atol=2e-3)


@pytest.mark.parametrize(
    "name", ["ct_fixture/example_ct.nii.gz", "hippocampus/imagesTr/hippocampus_003.nii.gz"]
)
def test_nifti_equals_monai(name):
    image = ours(DATA / name)
    reader = NibabelReader()
    array, meta = reader.get_data(reader.read(str(DATA / name)))
    np.testing.assert_array_equal(image.numpy()[0], array)
    np.testing.assert_allclose(np.asarray(image.affine), meta["affine"])


@pytest.mark.parametrize("name", ["hippocampus", "acdc"])
def test_every_training_image_is_fit(name):
    """The strict rules refuse none of the data that the weights are trained on."""
    if not (DATA / name).exists():
        pytest.skip("the data beside the repository is absent")
    assert find_cases(DATA / name).refused == ()
