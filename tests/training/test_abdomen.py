"""The task ``abdomen`` on the challenge's raw files: which cases train, and which organ each value becomes."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from mcanet.scripts import BUNDLE_ROOT
from mcanet.scripts.study import LoadStudyd
from mcanet.scripts.training import MapLabelsd, labelled_datalist

TASK = json.loads((BUNDLE_ROOT / "configs" / "tasks" / "abdomen.json").read_text())
NUMBERS = [*range(1, 11), *range(21, 41)]  # of the 30 labelled volumes
TESTED = [1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38]  # TransUNet, lists_Synapse/test_vol.txt
RAW = (
    "background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
    "inferior vena cava", "portal and splenic veins", "pancreas", "right adrenal gland", "left adrenal gland",
)  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """RawData/Training as it is downloaded: a voxel of each of the 13 organs in each label."""
    for folder, name in (("img", "img"), ("label", "label")):
        (tmp_path / folder).mkdir()
        for number in NUMBERS:
            data = np.zeros((4, 4, 2), np.uint8 if folder == "label" else np.int16)
            data.flat[: len(RAW)] = range(len(RAW))
            nifti = nibabel.Nifti1Image(data, np.diag([0.8, 0.8, 3, 1]))
            nifti.set_sform(nifti.affine, 1)
            nifti.header.set_xyzt_units("mm")
            nibabel.save(nifti, tmp_path / folder / f"{name}{number:04}.nii.gz")
    return tmp_path


def numbers(raw: Path, subset: str) -> list[int]:
    pairs = labelled_datalist(raw, subset, test_cases=TASK["test_cases"])
    assert all(Path(pair["label"]).name == Path(pair["image"]).name.replace("img", "label") for pair in pairs)
    return [int(Path(pair["image"]).name[3:7]) for pair in pairs]


def test_the_split_is_that_of_the_published_protocol(raw: Path) -> None:
    assert numbers(raw, "test") == TESTED
    rest = sorted(numbers(raw, "training") + numbers(raw, "validation"))
    assert rest == sorted(set(NUMBERS) - set(TESTED))
    assert len(rest) == 18


def test_each_organ_keeps_its_name(raw: Path) -> None:
    pair = labelled_datalist(raw, "test", test_cases=TASK["test_cases"])[0]
    label = LoadStudyd("label")({"label": pair["label"]})
    classes = MapLabelsd("label", TASK["out_channels"], TASK["label_map"])(label)["label"][0].flatten()
    names = {0: "background"} | {entry["value"]: entry["name"] for entry in TASK["labels"]}
    for value, organ in enumerate(RAW):
        assert names[int(classes[value])] == (organ if organ in names.values() else "background"), organ
    assert sorted(names) == list(range(9))


def test_test_cases_that_fit_nothing_are_an_error(raw: Path) -> None:
    with pytest.raises(ValueError, match="fits none of the 30 cases"):
        labelled_datalist(raw, "test", test_cases="patient")
    with pytest.raises(ValueError, match="at least 2 labelled cases .* got 0 beside the tested"):
        labelled_datalist(raw, "test", test_cases="img")
