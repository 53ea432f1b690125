"""Images far from what a task was trained on."""

import numpy as np
import pytest
import torch
from mcanet.scripts.study import JudgeFitnessd, RefusedError, judge
from monai.data import MetaTensor

RULES = {
    "modality": ["MR"],
    "channels": 1,
    "spatial_dims": 3,
    "spacing_mm": [0.8, 1.2],
    "field_of_view_mm": [20, 70],
}


def image(shape=(1, 35, 50, 36), spacing=(1, 1, 1), modality=None, low=0.0):
    """A picture of zeros with one low voxel."""
    array = torch.zeros(shape)
    array.view(-1)[0] = low
    affine = np.diag([*spacing, 1.0]) if len(shape) == 4 else np.eye(4)
    meta = {"filename_or_obj": "a.nii.gz"} | ({"modality": modality} if modality else {})
    return MetaTensor(array, affine=torch.as_tensor(affine), meta=meta)


@pytest.mark.parametrize("modality", [None, "MR"])
def test_fit(modality):
    assert judge(image(modality=modality), RULES) == []


NONSENSE = [
    (image((3, 64, 64)), "2 spatial dimensions, but the task expects 3"),
    (image((3, 35, 50, 36)), "3 channels"),
    (image(modality="CT"), "Modality is 'CT', but the task expects MR"),
    (image(low=-1000.0), "least value is -1000, as in CT"),
    (image(spacing=(10, 10, 10)), "spacing is 10 x 10 x 10 mm, far outside the trained range"),
    (image(spacing=(0.1, 0.1, 0.1)), "far outside"),
    (image((1, 176, 240, 240)), "field of view is 176 x 240 x 240 mm, far outside .*; crop the image"),
]


@pytest.mark.parametrize(("picture", "words"), NONSENSE)
def test_nonsense_is_refused(picture, words):
    with pytest.raises(RefusedError, match=f"^a.nii.gz: .*{words}"):
        judge(picture, RULES)


@pytest.mark.parametrize(("picture", "words"), NONSENSE)
def test_warn_mode_tells_without_refusing(picture, words):
    assert len(judge(picture, RULES, "warn")) >= 1
    assert judge(picture, RULES, "off") == []


def test_somewhat_outside_warns():
    assert (
        "spacing is 1 x 1 x 1.5 mm, outside the trained range 0.8 to 1.2 mm"
        in judge(image(spacing=(1, 1.5, 1), shape=(1, 35, 40, 36)), RULES)[0]
    )
    assert "field of view is 36 x 50 x 90 mm, outside" in judge(image((1, 90, 50, 36)), RULES)[0]


def test_ct_task_takes_negative_nifti():
    assert judge(image(low=-1000.0), {"modality": ["CT"]}) == []


def test_ranges_by_axis_do_not_depend_on_orientation():
    rules = {"spacing_mm": [[0.5, 1], [0.5, 1], [3, 8]]}
    assert judge(image(spacing=(5, 0.7, 0.7)), rules) == []
    assert judge(image(spacing=(0.7, 0.7, 5)), rules) == []
    assert judge(image(spacing=(5, 5, 5)), rules, "warn")


def test_kinds():
    with pytest.raises(RefusedError, match="the input is a picture, but the task expects dicom or nifti"):
        judge(image((1, 30, 30)), {"kinds": ["dicom", "nifti"]})


def test_mistakes_in_the_rules():
    with pytest.raises(ValueError, match="received 'spacing'"):
        judge(image(), {"spacing": [1, 2]})
    with pytest.raises(ValueError, match="received 'maybe'"):
        judge(image(), {}, "maybe")


@pytest.mark.parametrize(
    "rules", [3, {"spacing_mm": [1]}, {"size_px": "64"}, {"field_of_view_mm": [[1, 2], 3]}]
)
def test_mistakes_in_the_rules_end_a_run_before_its_first_case(rules):
    with pytest.raises(ValueError, match="fitness rules: "):
        JudgeFitnessd("image", rules)


def test_the_transform_adds_its_warnings():
    data = JudgeFitnessd(["image"], {"spacing_mm": [2, 3]})({"image": image()})
    assert "spacing is 1 x 1 x 1 mm, outside" in data["image"].meta["warnings"][0]
    with pytest.raises(RefusedError, match="Modality"):
        JudgeFitnessd(["image"], RULES)({"image": image(modality="CT")})
    with pytest.raises(RefusedError, match="it has 1 channels .*, but the task expects 2"):
        JudgeFitnessd(["image"], RULES, "off", channels=2)({"image": image()})


def test_a_grey_picture_stands_for_colour_where_the_task_says_so():
    grey = image((1, 40, 30), low=-1.0)
    assert judge(grey, {"channels": [1, 3]}) == []
    with pytest.raises(
        RefusedError, match="1 channels .a grey image., but the task expects 3; save it in colour"
    ):
        judge(grey, {"channels": 3})
    with pytest.raises(RefusedError, match="but the task expects 2 or 3; choose another task"):
        judge(grey, {"channels": [2, 3]})
    shown = JudgeFitnessd("image", {}, channels=3, grey_as_colour=True)({"image": grey})["image"]
    assert shown.shape == (3, 40, 30)
    assert torch.equal(shown[2], grey[0])
    assert shown.meta["filename_or_obj"] == "a.nii.gz"
    with pytest.raises(RefusedError, match="it has 1 channels"):  # a volume is no picture
        JudgeFitnessd("image", {}, channels=3, grey_as_colour=True)({"image": image()})


@pytest.mark.parametrize(("axis", "words"), [(0, "left to right"), (1, "back to front")])
def test_thick_slices_stacked_another_way_are_refused(axis, words):
    rules = {"slice_axis": 2}
    assert judge(image(), rules) == []  # no thick slices
    turned = image((1, 64, 60, 10), (1, 1, 8))
    assert judge(turned, rules) == []
    order = [0, 1]
    order.insert(axis, 2)  # the voxels' third axis runs along the patient's other one
    turned.affine = turned.affine[[*order, 3]]
    with pytest.raises(RefusedError, match=f"stacked from {words}, but the task expects foot to head"):
        judge(turned, rules)
