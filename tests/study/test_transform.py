"""The transform of the configs."""

import numpy as np
import pytest
from mcanet.scripts.study import LoadStudyd, RefusedError, find_cases
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose, Orientationd
from PIL import Image

from .phantom import assert_right, classic, write
from .test_nifti import ROTATED, save, values
from .test_picture import picture


def test_case_and_path_and_folder(tmp_path):
    write(tmp_path / "s", classic())
    case = find_cases(tmp_path / "s").cases[0]
    for item in (case, tmp_path / "s", str(tmp_path / "s")):
        assert_right(LoadStudyd(["image"])({"image": item})["image"])


def test_source_is_a_reference(tmp_path):
    save(tmp_path / "a.nii.gz")
    data = Compose([LoadStudyd(["image"], source_key="source")])({"image": tmp_path / "a.nii.gz", "other": 1})
    assert data["source"].data_ptr() == data["image"].data_ptr()
    assert data["other"] == 1


def test_source_keeps_its_affine(tmp_path):
    save(tmp_path / "a.nii.gz")
    steps = [LoadStudyd(["image"], source_key="source"), Orientationd(["image"], axcodes="LAS")]
    data = Compose(steps)({"image": tmp_path / "a.nii.gz"})
    np.testing.assert_allclose(np.asarray(data["source"].affine), ROTATED, atol=1e-5)
    np.testing.assert_array_equal(data["source"].numpy()[0], values())
    assert not np.allclose(np.asarray(data["image"].affine), ROTATED)


def test_a_batch_of_images_with_different_warnings(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.jpg")
    items = [{"image": tmp_path / name} for name in ("a.png", "b.jpg")]
    (batch,) = DataLoader(Dataset(items, LoadStudyd(["image"])), batch_size=2)
    warnings = [one["image"].meta["warnings"] for one in decollate_batch(batch)]
    assert warnings == ["", "JPEG: the picture was compressed with loss"]


def test_pair_on_one_grid(tmp_path):
    image, label = save(tmp_path / "i.nii.gz"), save(tmp_path / "l.nii.gz", values() % 3)
    data = LoadStudyd(["image", "label"])({"image": image, "label": label})
    np.testing.assert_array_equal(data["label"].numpy()[0], values() % 3)


def test_pair_of_two_shapes(tmp_path):
    image, label = save(tmp_path / "i.nii.gz"), save(tmp_path / "l.nii.gz", values((6, 7, 9)))
    with pytest.raises(RefusedError, match=r"l.nii.gz and i.nii.gz: shapes are \(6, 7, 9\) and \(6, 7, 8\)"):
        LoadStudyd(["image", "label"])({"image": image, "label": label})


@pytest.mark.parametrize("change", [[0, 0, 0, 2.0], [0.3, 0, 0, 0]])
def test_pair_of_two_places(tmp_path, change):
    moved = ROTATED.copy()
    moved[0] += change
    image, label = save(tmp_path / "i.nii.gz"), save(tmp_path / "l.nii.gz", affine=moved, qform=0)
    with pytest.raises(RefusedError, match=r"l.nii.gz and i.nii.gz: their affines lie"):
        LoadStudyd(["image", "label"])({"image": image, "label": label})


def test_several_cases_in_a_folder(tmp_path):
    save(tmp_path / "a.nii.gz")
    save(tmp_path / "b.nii.gz")
    with pytest.raises(RefusedError, match=r"expected one case, found 2: a\.nii\.gz, b\.nii\.gz"):
        LoadStudyd(["image"])({"image": tmp_path})


def test_missing_key(tmp_path):
    assert LoadStudyd(["image"], allow_missing_keys=True)({"x": 1}) == {"x": 1}
    with pytest.raises(KeyError):
        LoadStudyd(["image"])({"x": 1})


def test_limits_from_a_config(tmp_path):
    save(tmp_path / "a.nii.gz")
    with pytest.raises(RefusedError, match="max_voxels = 10"):
        LoadStudyd(["image"], limits={"max_voxels": 10})({"image": tmp_path / "a.nii.gz"})
    with pytest.raises(ValueError, match="there is no 'max_voxel', expected some of max_files"):
        LoadStudyd(["image"], limits={"max_voxel": 10})


def test_wrong_item():
    with pytest.raises(RefusedError, match="expected a Case or a path, received int"):
        LoadStudyd(["image"])({"image": 3})


def test_a_picture_that_exif_turns_and_its_mask_does_not_is_refused(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "a.png", exif=exif)
    Image.new("L", (12, 12)).save(tmp_path / "m.png")
    pair = {"image": tmp_path / "a.png", "label": tmp_path / "m.png"}
    with pytest.raises(RefusedError, match=r"m\.png and a\.png: EXIF's orientation is 1 and 3"):
        LoadStudyd(["image", "label"])(pair)
    Image.new("L", (12, 12)).save(tmp_path / "m.png", exif=exif)
    assert LoadStudyd(["image", "label"])(pair)["label"].shape == (1, 12, 12)


def test_other_channels_than_the_network_takes_are_named(tmp_path):
    Image.new("L", (12, 12)).save(tmp_path / "g.png")
    with pytest.raises(
        RefusedError, match=r"g\.png: it has 1 channels .*, but the task expects 3; save it in colour \(RGB\)"
    ):
        LoadStudyd("image", channels=3)({"image": tmp_path / "g.png"})
    assert LoadStudyd("image", channels=1)({"image": tmp_path / "g.png"})["image"].shape == (1, 12, 12)
