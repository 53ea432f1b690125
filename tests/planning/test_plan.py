"""What a plan says of data sets in every layout, and what it says of those that it cannot use."""

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from mcanet.scripts.cli import main
from mcanet.scripts.planning import plan
from mcanet.scripts.results import PostProcess, label_table
from mcanet.scripts.results.display import view_of
from mcanet.scripts.study import LoadStudyd, judge
from mcanet.scripts.training import labelled_datalist
from monai.data import MetaTensor
from PIL import Image
from scipy import ndimage

from ..end_to_end.run import mcanet
from . import layouts


def planned(data: Path) -> dict[str, Any]:
    """The task of a data set; the file that is there is replaced."""
    file = data.with_name("mytask.json")
    file.write_text(json.dumps({"notes": {"data": "of an earlier plan"}}))
    plan(data, file)
    task = json.loads(file.read_text())
    label_table(task["labels"])
    assert set(task) - {"notes", "_meta_"} <= set(task["notes"])
    assert not list(file.parent.glob(".*.tmp"))
    return task


def assert_refused(data: Path, *sentences: str) -> None:
    """The plan ends with all of them."""
    with pytest.raises(SystemExit) as stop:
        plan(data, data.with_name("task.json"))
    for words in sentences:
        assert words in str(stop.value)


def test_thick_slices_are_shown_in_their_own_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = planned(layouts.decathlon(tmp_path / "data"))
    assert (task["planes"], task["context"], task["in_channels"], task["out_channels"]) == ([2], 0, 1, 3)
    assert (task["spacing"], task["roi_size"]) == (1.0, [64, 64])
    assert [label["name"] for label in task["labels"]] == ["wall", "cavity"]
    assert task["label_map"] is None
    assert task["fitness_rules"]["spacing_mm"] == [[0.667, 1.5], [0.667, 1.5], [3.33, 7.5]]
    assert task["keep_largest"] is True
    assert task["ckpt_path"].endswith("mytask_training/model.pt")
    printed = capsys.readouterr().out
    assert "thick or few slices" in printed
    assert "mcanet train" in printed


def test_one_piece_is_kept_of_those_labels_alone_that_are_in_one(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=12)
    layouts.describe(data, labels={"0": "background", "1": "wall", "2": "cavity", "3": "kidneys"})
    for i in (2, 7):  # few of the cases, but whenever it is there in two pieces
        mask = layouts.volume(i)[1]
        mask[2:5, 2:5, 2:5] = mask[2:5, 30:33, 2:5] = 3
        layouts.save(mask, data / "labelsTr" / f"heart_{i}.nii.gz")
    task = planned(data)
    assert task["keep_largest"] == [1, 2]
    assert "kidneys in 0 of 2 cases" in task["notes"]["keep_largest"]
    cleaned = PostProcess(keep_largest=task["keep_largest"])(mask[None])
    assert np.array_equal(cleaned[0], mask)


def test_isotropic_channels_are_shown_in_three_planes_and_values_mapped(tmp_path: Path) -> None:
    task = planned(layouts.nnunet(tmp_path / "data"))
    assert (task["planes"], task["context"], task["in_channels"]) == ([0, 1, 2], 1, 6)
    assert task["label_map"] == {"0": 0, "1": 1, "4": 2}
    assert task["channel_files"] == 2
    assert task["fitness_rules"]["channels"] == 2
    assert task["intensity"]["channel_wise"] is True


def test_volumes_of_one_file_become_channels_where_the_description_has_so_many(tmp_path: Path) -> None:
    data = layouts.decathlon_of_channels(tmp_path / "data")
    task = planned(data)
    assert task["limits"] == {"nifti_volumes": 2}
    assert (task["in_channels"], task["fitness_rules"]["channels"]) == (2, 2)
    layouts.describe(data, modality={"0": "T2", "1": "ADC", "2": "DWI"})
    with pytest.raises(SystemExit, match="heart_0: .* expected one 3D volume, split the file, or 3 volumes"):
        plan(data, tmp_path / "task.json")
    data = layouts.decathlon(tmp_path / "one")
    layouts.describe(data, modality={"0": "T2", "1": "ADC"})
    with pytest.raises(SystemExit, match="names 2 channels, the images hold 1"):
        plan(data, tmp_path / "task.json")


def test_a_micrometre_is_no_rounding_error(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    for folder in ("imagesTr", "labelsTr"):
        for file in sorted((data / folder).iterdir()):
            array = np.asarray(nibabel.load(file).dataobj)
            forty_slices = np.tile(array, (1, 1, 5))  # of 40 x 36 pixels
            layouts.save(forty_slices, file, (0.001, 0.001, 0.004))
    assert planned(data)["planes"] == [2]
    mask = data / "labelsTr" / "heart_1.nii.gz"
    moved = nibabel.load(mask)
    moved.affine[0, 3] += 0.0005  # half a voxel
    nibabel.save(nibabel.Nifti1Image(np.asarray(moved.dataobj), moved.affine), mask)
    assert_refused(data, "heart_1.nii.gz: their affines lie 0.0005 mm apart")


def test_hounsfield_units_are_clipped_to_the_labels_percentiles(tmp_path: Path) -> None:
    for modality, offset in (("CT", 0.0), ("", -1000.0)):
        task = planned(layouts.decathlon(tmp_path / f"data{modality}", offset=offset, modality=modality))
        rule = task["intensity"]
        assert rule["_target_"] == "ScaleIntensityRanged"
        assert rule["a_min"] == pytest.approx(offset + 450, abs=30)
        assert rule["a_max"] == pytest.approx(offset + 740, abs=30)
        assert rule["b_min"] < -0.5 < 0.5 < rule["b_max"]
        assert task["fitness_rules"]["modality"] == ["CT"]


@pytest.mark.parametrize(
    ("modality", "clipped"),
    [("CTA", True), ("ct portal", True), ("CBCT", True), ("PET", False), ("OCT", False), ("zscore", False)],
)
def test_ct_goes_by_many_names_and_what_looks_like_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], modality: str, clipped: bool
) -> None:
    task = planned(layouts.decathlon(tmp_path / "data", offset=-1000.0, modality=modality))
    assert (task["intensity"]["_target_"] == "ScaleIntensityRanged") is clipped
    doubted = f"as in CT, which would be clipped, but '{modality}' is declared" in capsys.readouterr().out
    assert doubted is not clipped


def test_what_is_hardly_ct_among_ct_is_named(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", offset=-900.0, modality="CT")
    assert "below 0 HU" not in planned(data)["notes"]["intensity"]
    layouts.save(layouts.volume(3)[0].astype(np.int16), data / "imagesTr" / "heart_3.nii.gz")
    assert "1 hold nothing below 0 HU (heart_3): if they are no CT" in planned(data)["notes"]["intensity"]


def test_pictures_are_flipped_and_turned_and_their_values_mapped(tmp_path: Path) -> None:
    task = planned(layouts.pictures(tmp_path / "data", suffix="_segmentation"))
    assert task["label_map"] == {"0": 0, "255": 1}
    assert (task["in_channels"], task["out_channels"], task["spacing"]) == (3, 2, None)
    assert (task["mirror"], task["turn"]) == (0.5, 0.5)
    assert len(task["intensity"]["subtrahend"]) == 3
    assert task["fitness_rules"] == {
        "kinds": ["picture"], "channels": 3, "spatial_dims": 2, "size_px": [48, 108]
    }  # fmt: skip
    assert planned(layouts.nnunet_pictures(tmp_path / "nnunet"))["labels"][0]["name"] == "disc"
    grey = planned(layouts.pictures(tmp_path / "grey", grey=True, names=("imagesTr", "labels")))
    assert grey["in_channels"] == 1
    assert "subtrahend" not in grey["intensity"]


def test_a_colour_may_be_left_out(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    for file in (data / "images").iterdir():
        picture = np.asarray(Image.open(file)).copy()
        picture[..., 2] = 0
        Image.fromarray(picture).save(file)
    task = planned(data)
    assert task["in_channels"] == 3
    assert all(value > 0 for value in task["intensity"]["divisor"])


def test_large_objects_are_shrunk_until_a_picture_fits(tmp_path: Path) -> None:
    task = planned(layouts.pictures(tmp_path / "data", size=640))
    assert task["spacing"] == 2.5
    assert task["roi_size"] == [256, 256]


@pytest.mark.parametrize(("width", "spacing"), [(2, None), (6, 1.88)])
def test_thin_vessels_are_not_shrunk_until_they_vanish(
    width: int, spacing: float | None, tmp_path: Path
) -> None:
    data = layouts.pictures(tmp_path / "data", size=640)
    for file in (data / "masks").iterdir():
        mask = np.zeros((640, 640), np.uint8)
        for start in range(10, 640, 80):
            mask[start : start + width] = mask[:, start : start + width] = 255
        Image.fromarray(mask).save(file)
    task = planned(data)
    assert task["roi_size"] == [256, 256]
    assert task["spacing"] == pytest.approx(spacing, abs=0.2)


def test_numbered_objects_and_masks_saved_as_jpeg_become_one_label(tmp_path: Path) -> None:
    numbered, jpeg = (layouts.pictures(tmp_path / name, size=160) for name in ("numbered", "jpeg"))
    for i, file in enumerate(sorted((numbered / "masks").iterdir())):
        mask = np.zeros((160, 160), np.int32)
        for value in range(1, 40 + i):
            mask[(value // 10) * 20 : (value // 10) * 20 + 9, (value % 10) * 15 : (value % 10) * 15 + 9] = (
                value
            )
        Image.fromarray(mask.astype(np.uint16)).save(file)
    assert planned(numbered)["label_map"] == {"above": 0}
    assert planned(numbered)["keep_largest"] is False
    for file in sorted((jpeg / "masks").iterdir()):
        mask = np.asarray(Image.open(file)).astype(float) + np.random.default_rng(0).normal(0, 6, (160, 160))
        Image.fromarray(mask.clip(0, 255).astype(np.uint8)).convert("RGB").save(file)
    assert planned(jpeg)["label_map"] == {"above": 127}


def test_masks_saved_as_jpeg_are_black_and_white_or_refused(tmp_path: Path) -> None:
    white, labels = (layouts.pictures(tmp_path / name) for name in ("white", "labels"))
    for data, high in ((white, 255), (labels, 1)):
        for file in sorted((data / "masks").iterdir()):
            mask = (np.asarray(Image.open(file)) > 0).astype(np.uint8) * high
            Image.fromarray(mask).save(file.with_suffix(".jpg"), quality=60)
            file.unlink()
    assert planned(white)["label_map"] == {"above": 127}
    assert_refused(labels, "masks/case0.jpg: JPEG changes values, and these are not black and white")


@pytest.mark.parametrize(("high", "quality"), [(255, 100), (255, 95), (255, 90), (40, 95)])
def test_masks_that_were_jpeg_once_have_no_label_for_each_shade(
    high: int, quality: int, tmp_path: Path
) -> None:
    data = layouts.pictures(tmp_path / "data", high=high, size=200)
    for file in sorted((data / "masks").iterdir()):
        lossy = file.with_suffix(".jpg")
        Image.open(file).save(lossy, quality=quality)
        if high == 255:
            Image.open(lossy).save(file)
            lossy.unlink()
        else:
            lossy.replace(file)  # JPEG by its content alone
    if high == 255:
        assert planned(data)["label_map"] == {"above": 127}
    else:
        assert_refused(data, "masks/case0.png: JPEG changes values, and these are not black and white")


@pytest.mark.parametrize("values", [(1, 2, 3, 255), (25, 50, 225, 250), (1, 2, 254, 255)])
def test_labels_near_black_and_white_stay_labels(values: tuple[int, ...], tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", size=100)
    for file in sorted((data / "masks").iterdir()):
        mask = np.zeros((100, 100), np.uint8)
        for i, value in enumerate(values):
            mask[20 * i : 20 * i + 15, 10:60] = value
        Image.fromarray(mask).save(file)
    assert planned(data)["label_map"] == {str(value): i for i, value in enumerate((0, *values))}


def test_what_is_in_the_way_of_the_task_stays(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    mine = tmp_path / "mine.json"
    mine.write_text('{"notes": "of another program"}')
    (tmp_path / "folder.json").mkdir()
    for file, words in (
        (data / "dataset.json", "is the name of a data set's description"),
        (mine, "is no task that mcanet plan wrote"),
        (tmp_path / "folder.json", "cannot be a file"),
        (mine / "task.json", "cannot be a file"),
        (tmp_path / "a#b" / "task.json", "holds a '#'"),
        (tmp_path / "task.txt", "must end in .json"),
    ):
        before = file.read_bytes() if file.is_file() else None
        with pytest.raises(SystemExit, match=f"cannot plan: .*{words}"):
            plan(data, file)
        assert before is None or file.read_bytes() == before
    with pytest.raises(SystemExit, match="the data set's folder is an empty name"):
        plan("", tmp_path / "task.json")


def test_what_is_not_a_number_is_filled_where_that_is_asked_for(tmp_path: Path) -> None:
    data, file = layouts.decathlon(tmp_path / "data"), tmp_path / "task.json"
    not_a_number(data)
    done = mcanet("plan", data, "-o", file, "--limits", "{'fill_nonfinite': 0}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["limits"] == {"fill_nonfinite": 0}


def test_masks_by_other_endings_and_letters_are_found(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=6)
    for i, ending in enumerate(("-mask", "_Mask", "_MASK", "_GT")):
        (data / "masks" / f"case{i}.png").rename(data / "masks" / f"case{i}{ending}.png")
    (data / "images" / "case4.png").rename(data / "images" / "\u00e9.png")
    (data / "masks" / "case4.png").rename(data / "masks" / "e\u0301.png")
    assert "6 labelled cases" in planned(data)["notes"]["data"]


def test_patients_stay_together_and_left_is_not_mirrored_into_right(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=12)
    content = json.loads((data / "dataset.json").read_text())
    for i, pair in enumerate(content["training"]):
        for key in ("image", "label"):
            new = pair[key].replace(f"heart_{i}", f"patient{i // 2:03}_frame{i:02}")
            (data / pair[key]).rename(data / new)
            pair[key] = new
    content["labels"] = {"0": "background", "1": "left lung", "2": "right lung"}
    (data / "dataset.json").write_text(json.dumps(content))
    task = planned(data)
    assert task["mirror"] == 0.0
    patients = {}
    for fold in range(task["folds"]):
        for subset in ("training", "validation", "test"):
            found = labelled_datalist(data, subset, task["case_groups"], task["folds"], fold)
            patients[fold, subset] = {Path(pair["image"]).name[:10] for pair in found}
        parts = [patients[fold, subset] for subset in ("training", "validation", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 6
        assert patients[fold, "test"] == patients[0, "test"]
    validated = [patients[fold, "validation"] for fold in range(task["folds"])]
    assert set.union(*validated) | patients[0, "test"] == {f"patient{i:03}" for i in range(6)}


@pytest.mark.parametrize(
    ("name", "scans"),
    [
        ("sub-{}_ses-{}_T1w", "01"),
        ("patient00{}_E{}", "DS"),
        ("case0{}_slice{}", "01"),
        ("patient00{}_study0{}_series00", "01"),
        ("OAS1_000{}_MR1_v{}", "12"),
        ("P_0000{}_{}_CC", ["LEFT", "RIGHT"]),
        ("Image_0{}{}", "LR"),
        ("patient00{}frame0{}", "01"),
        ("p0{}{}", "ab"),
        ("sub00{}.ses{}", "12"),
        ("patient {} slice {}", "12"),
        ("case{}({})", "12"),
        ("study{}scan{}rep1", "12"),
        ("slice00{1}_patient0{0}", "12"),
        ("img00{1}_patient0{0}", "12"),
        ("img0{}_p{}", "12"),
        ("psma_9{}b833d65be26f_2018-04-2{}", "12"),
    ],
)
@pytest.mark.parametrize("patients", [3, 6])
def test_patients_are_known_by_many_names_and_few_are_spoken_of(
    name: str, scans: Sequence[str], patients: int, tmp_path: Path
) -> None:
    data = layouts.pictures(tmp_path / "data", count=2 * patients)
    for folder in ("images", "masks"):
        for i, file in enumerate(sorted((data / folder).iterdir())):
            file.rename(file.with_name(f"{name.format(i // 2, scans[i % 2])}.png"))
    task = planned(data)
    if patients == 3:
        assert task["case_groups"] is None
        assert "are of one patient, what tests is not new" in task["notes"]["case_groups"]
    else:
        assert task["case_groups"]
        assert f"{patients} patients" in task["notes"]["case_groups"]


@pytest.mark.parametrize("name", ["{1}.png", "IMG_4{0}{1}.png"])
def test_folders_of_listed_images_keep_a_patient_whole(name: str, tmp_path: Path) -> None:
    """Equal names in several folders, but for those of the patient with most images; or other names in each."""
    data = layouts.pictures(tmp_path / "data", count=14)
    pairs = []
    for i in range(14):
        patient, picture = min(i // 2, 5), i - 2 * min(i // 2, 5)
        pair = {}
        for key, folder in (("image", "images"), ("label", "masks")):
            file = data / f"{patient:03}" / f"{key}s" / name.format(patient, picture)
            file.parent.mkdir(parents=True, exist_ok=True)
            (data / folder / f"case{i}.png").rename(file)
            pair[key] = file.relative_to(data).as_posix()
        pairs.append(pair | {"fold": i % 2})
    (data / "dataset.json").write_text(json.dumps({"training": pairs}))
    task = planned(data)
    assert "6 patients" in task["notes"]["case_groups"]
    assert task["notes"]["data"].endswith("each case's fold is not followed: folds are drawn")
    parts = [
        {
            Path(pair["image"]).parts[-3]
            for pair in labelled_datalist(data, subset, task["case_groups"], task["folds"])
        }
        for subset in ("training", "validation", "test")
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_hashes_for_names_are_no_patients(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=12)
    for folder in ("images", "masks"):
        for i, file in enumerate(sorted((data / folder).iterdir())):
            file.rename(file.with_name(f"cju{i // 2}qkwl35piu0993l0dewei{i}.png"))
    task = planned(data)
    assert (task["case_groups"], task["notes"]["case_groups"]) == (
        None,
        "each case stands alone, by its name",
    )


@pytest.mark.parametrize("spacing", [(1.4, 1.4, 1.0), (3.0, 3.0, 1.0), (1.0, 1.0, 1.0)])
def test_volumes_of_one_slice_are_seen_as_that_slice(
    tmp_path: Path, spacing: tuple[float, float, float]
) -> None:
    data = layouts.decathlon(tmp_path / "data")
    for i in range(5):
        image, label = layouts.volume(i)
        layouts.save(image[..., 3:4].astype(np.int16), data / "imagesTr" / f"heart_{i}.nii.gz", spacing)
        layouts.save(label[..., 3:4], data / "labelsTr" / f"heart_{i}.nii.gz", spacing)
        volume = MetaTensor(image[None, ..., 3:4], affine=np.diag([*spacing, 1]))
        assert view_of(volume).axes[2] == 2
    task = planned(data)
    assert (task["planes"], task["context"]) == ([2], 0)


def test_few_slices_are_seen_in_their_own_plane_however_wide_the_pixels(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    for i in range(5):
        for array, folder in zip(layouts.volume(i), ("imagesTr", "labelsTr"), strict=True):
            layouts.save(array[..., 1:7].astype(np.int16), data / folder / f"heart_{i}.nii.gz", (1.5, 1.5, 1))
    assert planned(data)["planes"] == [2]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((16, 16, 90), (0.8, 0.8, 1.5)), ((16, 40, 44), (1, 1, 1.2)), ((10, 60, 30), (1, 1, 5))],
)
def test_long_and_narrow_volumes_are_not_cut_along(
    tmp_path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    data = layouts.decathlon(tmp_path / "data")
    for i in range(5):
        label = np.zeros(shape, np.uint8)
        label[3:9, 5:11, 8:14], label[5:7, 7:9, 10:12] = 1, 2
        layouts.save((200 * label + i).astype(np.int16), data / "imagesTr" / f"heart_{i}.nii.gz", spacing)
        layouts.save(label, data / "labelsTr" / f"heart_{i}.nii.gz", spacing)
    assert 2 in planned(data)["planes"]


def test_channels_of_a_list_in_folders_of_their_own(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=3)
    content = json.loads((data / "dataset.json").read_text())
    for pair in content["training"]:
        name = Path(pair["image"]).name
        for channel in ("t1", "flair"):
            (data / "img" / channel).mkdir(parents=True, exist_ok=True)
            shutil.copy(data / pair["image"], data / "img" / channel / name)
        pair["image"] = [f"img/t1/{name}", f"img/flair/{name}"]
    (data / "dataset.json").write_text(json.dumps(content | {"modality": {"0": "T1", "1": "FLAIR"}}))
    task = planned(data)
    assert (task["channel_files"], task["in_channels"]) == (2, 2)
    assert task["_meta_"]["channels"] == ["T1", "FLAIR"]
    assert task["notes"]["channel_files"].endswith("; 0: T1; 1: FLAIR")
    (data / "dataset.json").write_text(json.dumps(content | {"modality": ""}))
    assert planned(data)["notes"]["channel_files"].endswith("; 0: t1/heart_0.nii.gz; 1: flair/heart_0.nii.gz")
    content["training"][1]["image"].reverse()
    (data / "dataset.json").write_text(json.dumps(content))
    assert_refused(
        data, "heart_1: its channels are listed as flair, t1, those of most cases as t1, flair; list"
    )


@pytest.mark.parametrize("name", ["$__import__('os').abort()", "@seed", "% fat", "T1#2 lesion"])
def test_labels_whose_names_monai_would_evaluate_are_refused(name: str, tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    layouts.describe(data, labels={"0": "background", "1": "wall", "2": name})
    assert_refused(data, f"the label {name!r} of dataset.json begins with", "rename it")


@pytest.mark.parametrize(
    ("names", "mirror"),
    [
        (("Left-Hippocampus", "Right-Hippocampus"), 0.0),
        (("Kidney (left)", "Kidney (right)"), 0.0),
        (("hippocampus_L", "hippocampus_R"), 0.0),
        (("lh.cortex", "rh.cortex"), 0.0),
        (("Lhippo", "Rhippo"), 0.0),
        (("Hippocampus sin.", "Hippocampus dex."), 0.0),
        (("vertebra L1", "vertebra L2"), 0.5),
        (("cleft", "bright"), 0.5),
        (("leftlung", "rightlung"), 0.0),
        (("leftlung", "heart"), 0.0),
        (("lungleft", "lungright"), 0.0),
        (("linke Niere", "rechte Niere"), 0.0),
        (("Niere links", "Niere rechts"), 0.0),
        (("rein gauche", "rein droit"), 0.0),
        (("riñón izquierdo", "riñón derecho"), 0.0),
        (("rim esquerdo", "rim direito"), 0.0),
        (("rene sinistro", "rene destro"), 0.0),
        (("Lunge li", "Lunge re"), 0.0),
        (("rein g", "rein d"), 0.0),
        (("wall", "re-entry"), 0.5),
        (("linked vessels", "tissue destruction"), 0.5),
    ],
)
def test_sides_are_known_by_the_labels_names(names: tuple[str, str], mirror: float, tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    layouts.describe(data, labels={"0": "background", "1": names[0], "2": names[1]})
    assert planned(data)["mirror"] == mirror


def test_volumes_stacked_another_way_are_named_and_refused(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=6)
    for folder in ("imagesTr", "labelsTr"):
        array = np.asarray(nibabel.load(data / folder / "heart_3.nii.gz").dataobj)
        layouts.save(array.transpose(0, 2, 1).copy(), data / folder / "heart_3.nii.gz", (1.0, 5.0, 1.0))
    task = planned(data)
    assert task["fitness_rules"]["slice_axis"] == 2
    assert "1 stacked another way (heart_3)" in task["notes"]["planes"]
    done = mcanet(
        "check", data / "imagesTr" / "heart_3.nii.gz", "--task", tmp_path / "mytask.json", cwd=tmp_path
    )
    assert done.returncode
    assert "stacked from back to front" in done.stdout + done.stderr


@pytest.mark.parametrize(("turned", "spacing"), [(5, (1.0, 1.0, 1.5)), (1, (1.5, 1.0, 1.0))])
def test_what_was_planned_is_near_its_own_plan(
    turned: int, spacing: tuple[float, float, float], tmp_path: Path
) -> None:
    data = layouts.decathlon(tmp_path / "data")
    for i in range(5):
        for array, folder in zip(layouts.volume(i), ("imagesTr", "labelsTr"), strict=True):
            file, values = data / folder / f"heart_{i}.nii.gz", array.astype(np.int16)
            if i < turned:  # few slices along the first axis
                layouts.save(np.ascontiguousarray(values.transpose(2, 0, 1)), file, spacing)
            else:
                layouts.save(values, file, (1.0, 1.0, 1.5))
    task = planned(data)
    assert len(task["planes"]) == 1
    assert "take them out" not in task["notes"]["planes"]
    for file in sorted((data / "imagesTr").iterdir()):
        image = LoadStudyd("image")({"image": str(file)})["image"]
        assert judge(image, task["fitness_rules"]) == []


def test_a_fold_that_validates_holds_a_label(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=20)
    first = labelled_datalist(data, "validation", folds=5)
    for pair in first:
        Image.fromarray(np.zeros((72, 72), np.uint8)).save(pair["label"])
    task = planned(data)
    assert task["fold"] == 1
    chosen = labelled_datalist(data, "validation", folds=task["folds"], fold=task["fold"])
    assert any(np.asarray(Image.open(pair["label"])).any() for pair in chosen)


def test_a_fold_is_taken_that_trains_most_labels(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=10)
    first = labelled_datalist(data, "validation", folds=5)
    second = labelled_datalist(data, "validation", folds=5, fold=1)
    rare = {first[0]["label"]: 3, second[0]["label"]: 4}
    layouts.describe(data, labels={str(i): name for i, name in enumerate(("background", *"abcd"))})
    for file, value in rare.items():
        mask = np.asarray(nibabel.load(file).dataobj).copy()
        mask[2:5, 2:5, 2:5] = value
        layouts.save(mask, Path(file))
    task = planned(data)
    assert task["fold"] == 2
    assert "NONE THAT TRAINS" not in task["notes"]["folds"]


def test_crumbs_of_a_mask_do_not_count_as_its_objects(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", size=640)
    for file in (data / "masks").iterdir():
        mask = np.asarray(Image.open(file)).copy()
        mask[4:44:4, 4] = 255
        Image.fromarray(mask).save(file)
    assert planned(data)["spacing"] == 2.5


def test_masks_of_resized_or_mixed_black_and_white_are_one_label(tmp_path: Path) -> None:
    soft, mixed = (layouts.pictures(tmp_path / name) for name in ("soft", "mixed"))
    for i, file in enumerate(sorted((soft / "masks").iterdir())):
        Image.open(file).resize((50, 50), Image.Resampling.BILINEAR).resize(
            (72, 72), Image.Resampling.BILINEAR
        ).save(file)
        other = mixed / "masks" / file.name
        if i % 2:
            Image.fromarray(np.asarray(Image.open(other)) // 255).save(other)
    assert planned(soft)["label_map"] == {"above": 127}
    assert planned(mixed)["label_map"] == {"above": 0}


def test_greys_that_rim_the_white_of_a_halved_mask_are_no_labels(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", size=144)
    for file in (*(data / "images").iterdir(), *(data / "masks").iterdir()):
        Image.open(file).resize((72, 72), Image.Resampling.BOX).save(file)
    values = {value for file in (data / "masks").iterdir() for value in np.unique(Image.open(file)).tolist()}
    assert len(values) == 5
    assert planned(data)["label_map"] == {"above": 127}


def test_white_of_another_value_in_one_mask_is_white(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    mask = data / "masks" / "case3.png"
    Image.fromarray(np.asarray(Image.open(mask)) // 255 * 254).save(mask)
    assert planned(data)["label_map"] == {"above": 0}


def test_values_that_fill_areas_of_their_own_stay_labels(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    for file in (data / "masks").iterdir():
        mask = np.asarray(Image.open(file)).copy()  # a white disc
        mask[2:6, 5:20], mask[2:6, 30:50], mask[66:69, 5:20] = 64, 128, 192
        Image.fromarray(mask).save(file)
    assert planned(data)["label_map"] == {"0": 0, "64": 1, "128": 2, "192": 3, "255": 4}


def test_masks_whose_background_is_not_0_are_doubted(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    assert "EDGES" not in planned(data)["notes"]["label_map"]
    for file in (data / "masks").iterdir():  # as REFUGE has the cup in 0, the disc in 128
        mask = 255 - np.asarray(Image.open(file))
        Image.fromarray(np.where(mask, 255, np.indices(mask.shape)[0] // 36 * 128).astype(np.uint8)).save(
            file
        )
    told = planned(data)["notes"]["label_map"]
    assert "MOST MASKS HOLD 255 ALONG THEIR EDGES, NOT 0: if that is the background, save them with 0" in told


def test_a_stray_value_may_be_a_slip(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", size=200, high=100)
    for i, file in enumerate(sorted((data / "masks").iterdir())):
        mask = np.asarray(Image.open(file)).copy()
        mask[:9, :9] = 50
        mask[0, 0] = 51 if i == 3 else 50
        Image.fromarray(mask).save(file)
    assert "; IF 51 (case3.png, 1 voxels) IS A SLIP, correct it" in planned(data)["notes"]["label_map"]
    Image.fromarray(np.where(mask == 51, 50, mask)).save(data / "masks" / "case3.png")
    assert "SLIP" not in planned(data)["notes"]["label_map"]


def test_few_objects_may_be_numbered(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", high=1)
    words = "if they number objects, save masks of 0 and 1, and plan again"
    assert words not in planned(data)["notes"]["label_map"]
    for i, file in enumerate(sorted((data / "masks").iterdir())):
        mask = np.asarray(Image.open(file)).copy()
        for number in range(i):
            mask[5 * number : 5 * number + 3, :5] = number + 2
        Image.fromarray(mask).save(file)
    task = planned(data)
    assert task["out_channels"] == 7
    assert words in task["notes"]["label_map"]


def test_a_parcellation_without_names_keeps_a_label_for_each_value(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for i in range(4):
        label = np.zeros((40, 40, 12), np.uint8)
        for value in range(40):
            label[5 * (value % 8) :, 8 * (value // 8) :, 2 + i : 10] = value + 1
        layouts.save((label + i).astype(np.int16), data / "images" / f"brain{i}.nii.gz", (1, 1, 1))
        layouts.save(label, data / "labels" / f"brain{i}.nii.gz", (1, 1, 1))
    task = planned(data)
    assert (task["label_map"], task["out_channels"]) == (None, 41)
    assert "all values from 1 to 40" in task["notes"]["label_map"]


def test_pictures_of_one_cell_beside_one_of_many_number_their_cells(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=8)
    for i, file in enumerate(sorted((data / "masks").iterdir())):
        mask = np.zeros((72, 72), np.uint8)
        for value in range(40 if i == 0 else 1):
            mask[9 * (value // 8) : 9 * (value // 8) + 7, 9 * (value % 8) : 9 * (value % 8) + 7] = value + 1
        Image.fromarray(mask).save(file)
    assert planned(data)["label_map"] == {"above": 0}


def test_two_kinds_of_thin_border_stay_labels(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    for file in (data / "masks").iterdir():
        white = np.asarray(Image.open(file)) == 255
        rim = ndimage.binary_dilation(white) & ~white
        mask = np.where(white, 255, 0).astype(np.uint8)
        mask[rim] = 85
        mask[:36][rim[:36]] = 170
        Image.fromarray(mask).save(file)
    assert planned(data)["label_map"] == {"0": 0, "85": 1, "170": 2, "255": 3}


def test_stray_pixels_of_a_label_do_not_stop_shrinking(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=4, size=1200)
    first = sorted((data / "masks").iterdir())[0]
    mask = np.asarray(Image.open(first)) // 255
    Image.fromarray(np.pad(mask[1:-1, 1:-1], 1, constant_values=0)).save(first)
    for file in (data / "masks").iterdir():
        mask = (np.asarray(Image.open(file)) > 0).astype(np.uint8)
        Image.fromarray(mask).save(file)
    before = planned(data)["spacing"]
    mask = np.asarray(Image.open(first)).copy()
    mask[0, 0] = mask[0, -1] = 2
    Image.fromarray(mask).save(first)
    assert before > 1
    assert planned(data)["spacing"] == before


def test_names_of_patients_that_only_some_cases_have_group_none_alone(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=24)
    for folder in ("images", "masks"):
        for i, file in enumerate(sorted((data / folder).iterdir())):
            kind = "patient" if i < 12 else "control"
            file.rename(file.with_name(f"{kind}{i // 2:02}_{i % 2}.png"))
    assert "12 patients" in planned(data)["notes"]["case_groups"]


def test_masks_without_a_background_are_refused(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", high=1)
    for file in (data / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(file)) + 1).save(file)
    with pytest.raises(SystemExit, match="no mask holds 0, which is the background: they hold 1, 2"):
        plan(data, tmp_path / "task.json")


def test_weights_are_named_so_that_they_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = layouts.pictures(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    plan(data, "tasks/mine.json")
    task = json.loads((tmp_path / "tasks" / "mine.json").read_text())
    assert task["ckpt_path"] == str(tmp_path / "tasks" / "mine_training" / "model.pt")


def missing_mask(data: Path) -> None:
    (data / "labelsTr" / "heart_1.nii.gz").unlink()


def other_grid(data: Path) -> None:
    layouts.save(layouts.volume(1)[1], data / "labelsTr" / "heart_1.nii.gz", (2.0, 1.0, 5.0))


def other_shape(data: Path) -> None:
    layouts.save(layouts.volume(1, (40, 36, 7))[1], data / "labelsTr" / "heart_1.nii.gz")


def unknown_value(data: Path) -> None:
    layouts.save(layouts.volume(1)[1] * 7, data / "labelsTr" / "heart_1.nii.gz")


def half_a_label(data: Path) -> None:
    layouts.save(layouts.volume(1)[1] * np.float32(0.5), data / "labelsTr" / "heart_1.nii.gz")


def truncated(data: Path) -> None:
    file = data / "imagesTr" / "heart_1.nii.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-5000]))


def constant(data: Path) -> None:
    layouts.save(np.full((40, 36, 8), 3, np.int16), data / "imagesTr" / "heart_1.nii.gz")


def not_a_volume(data: Path) -> None:
    shutil.copy(__file__, data / "imagesTr" / "heart_1.nii.gz")


def not_a_number(data: Path) -> None:
    image = layouts.volume(1)[0].astype(np.float32)
    image[3, 3, 3] = np.nan
    layouts.save(image, data / "imagesTr" / "heart_1.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing_mask, "heart_1: ./labelsTr/heart_1.nii.gz is missing"),
        (other_grid, "heart_1: label heart_1.nii.gz and heart_1.nii.gz: their affines lie"),
        (other_shape, r"heart_1: .*shapes are \(40, 36, 7\) and \(40, 36, 8\)"),
        (unknown_value, "heart_1: heart_1.nii.gz: the mask holds 7, 14, expected 0, 1, 2"),
        (
            half_a_label,
            "heart_1: heart_1.nii.gz: the mask holds 0.5, expected whole numbers from 0; save it as such, rounded",
        ),
        (truncated, "heart_1: image heart_1.nii.gz: damaged or truncated"),
        (constant, "heart_1: heart_1.nii.gz: every voxel of a channel is 3"),
        (not_a_volume, "heart_1: image heart_1.nii.gz: the content is not gzip"),
        (not_a_number, "heart_1: image heart_1.nii.gz: 1 voxels are NaN or infinite"),
    ],
)
def test_a_broken_pair_is_named_and_nothing_written(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    data = layouts.decathlon(tmp_path / "data")
    spoil(data)
    with pytest.raises(SystemExit, match=f"cannot plan: what is wrong with the data \\(1\\):\n  {words}"):
        plan(data, tmp_path / "task.json")
    assert not (tmp_path / "task.json").exists()


def test_every_broken_pair_of_pictures_is_named(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path, count=8)
    (data / "masks" / "case0.png").unlink()
    (data / "images" / "case1.png").unlink()
    shutil.copy(data / "masks" / "case2.png", data / "masks" / "case2_mask.png")
    assert_refused(
        data,
        "images/case0.png: no mask in masks",
        "masks/case1.png: no image of that name in images",
        "images/case2.png: 2 masks, expected one in masks",
    )
    shutil.rmtree(data / "masks")
    shutil.rmtree(data / "images")
    data = layouts.pictures(tmp_path, count=8)
    grey = np.asarray(Image.open(data / "images" / "case3.png"))[..., 0]
    Image.fromarray(grey).save(data / "images" / "case3.png")
    with pytest.raises(SystemExit, match="case3: a picture of 1 channels, where most are a picture of 3"):
        plan(data, tmp_path / "task.json")


def test_pairs_that_are_not_read_are_named(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "pictures", count=8)
    for folder in ("images", "masks"):
        Image.open(data / folder / "case0.png").save(data / folder / "case0.webp")
        (data / folder / "site").mkdir()
        (data / folder / "case1.png").rename(data / folder / "site" / "case1.png")
    assert_refused(
        data,
        "images/case0.webp: this format is not read",
        "masks/site: a folder; put its files into masks",
    )
    data = layouts.nnunet(tmp_path / "nnunet")
    (data / "imagesTr" / "brain_0_0001.nii.gz").rename(data / "imagesTr" / "brain_0_0001.NII.GZ")
    (data / "imagesTr" / "._brain_0_0000.nii.gz").write_bytes(b"of the desktop")
    assert planned(data)["channel_files"] == 2
    shutil.copy(data / "imagesTr" / "brain_1_0001.nii.gz", data / "imagesTr" / "brain_1_0002.nii.gz")
    (data / "labelsTr" / "brain_9.nrrd").write_bytes(b"NRRD0005")
    assert_refused(
        data,
        "brain_1_0002.nii.gz: dataset.json declares 2 channels",
        "labelsTr/brain_9.nrrd: dataset.json says",
    )


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("volume-{}", "segmentation-{}"),
        ("volume-{}", "labels-{}"),
        ("ct_train_{}_image", "ct_train_{}_label"),
        ("{}_training", "{}_manual1"),
        ("Image_{}L", "Image_{}L_1stHO"),
        ("train_{}", "train_{}_anno"),
    ],
)
def test_masks_are_found_as_well_known_sets_name_them(image: str, mask: str, tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=3)
    for folder, name in (("images", image), ("masks", mask)):
        for i, file in enumerate(sorted((data / folder).iterdir())):
            file.rename(file.with_name(f"{name.format(i)}.png"))
    assert planned(data)["notes"]["data"].startswith("3 labelled cases")
    for pair in labelled_datalist(data, "all"):
        assert [re.findall(r"\d", Path(pair[key]).stem)[0] for key in ("image", "label")] == [
            re.findall(r"\d", pair["case"])[0]
        ] * 2


def test_a_mask_of_the_field_of_view_is_no_label(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", names=("images", "manual1"))
    layouts.pictures(tmp_path / "data", names=("images", "mask"), suffix="_mask")
    assert_refused(
        data, "found manual1 and mask, expected one folder", "move the others elsewhere (mask may be"
    )
    shutil.move(data / "mask", data / "fov")
    assert planned(data)["notes"]["data"].endswith("layout images and manual1; not read: fov")


def test_several_masks_an_image_are_to_be_joined(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", suffix="_mask")
    shutil.copy(data / "masks" / "case1_mask.png", data / "masks" / "case1_mask_1.png")
    joined = "join them into one file, a value a label"
    assert_refused(data, f"case1_mask_1.png: a further mask of an image, which takes one; {joined}")
    (data / "masks" / "case1_mask_1.png").unlink()
    (data / "masks" / "left lung").mkdir()
    shutil.copy(data / "masks" / "case1_mask.png", data / "masks" / "left lung" / "case1.png")
    assert_refused(data, f"of several masks an image, {joined}")


def test_channels_without_a_description_say_what_they_need(tmp_path: Path) -> None:
    data = layouts.nnunet(tmp_path / "data")
    described = (data / "dataset.json").read_text()
    (data / "dataset.json").unlink()
    assert_refused(
        data,
        "imagesTr/brain_0_0001.nii.gz: no mask in labelsTr; channels in files of their own need nnU-Net's dataset.json",
    )
    (data / "dataset.json").write_text(described)
    assert planned(data)["channel_files"] == 2


def test_data_sets_in_a_folder_are_offered_however_many(tmp_path: Path) -> None:
    for i in range(7):
        layouts.nnunet(tmp_path / f"Dataset00{i}_Brain", count=1)
    assert_refused(tmp_path, "give one of its folders, Dataset000_Brain, ", "Dataset004_Brain, …; or, where")


def test_files_of_no_image_are_named(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "outlines")
    shutil.rmtree(data / "masks")
    (data / "annotations").mkdir()
    (data / "annotations" / "case0.xml").write_text("<Annotations/>")
    assert_refused(data, "annotations: holds .xml, which are not read; save pictures as PNG, and masks")
    data = layouts.pictures(tmp_path / "pixmaps")
    for folder in ("images", "masks"):
        for file in (data / folder).iterdir():
            file.rename(file.with_suffix(".ppm"))
    assert_refused(data, "images/case0.ppm: this format is not read; convert it to PNG")


def test_files_that_lie_otherwise_are_listed(tmp_path: Path) -> None:
    """A folder a case, as KiTS and ACDC have: the refusal's advice, followed."""
    data, pairs = tmp_path / "data", []
    for i in range(6):
        for array, name in zip(layouts.volume(i), ("imaging", "segmentation"), strict=True):
            layouts.save(array.astype(np.int16), data / f"case {i}" / "images" / f"{name}.nii.gz")
        names = {
            key: f"case {i}/images/{name}.nii.gz"
            for key, name in (("image", "imaging"), ("label", "segmentation"))
        }
        pairs.append(names)
    with pytest.raises(SystemExit, match=r'list them in a dataset.json: {"training": \[{"image": ') as stop:
        plan(data, tmp_path / "task.json")
    assert "give one of its folders" not in str(stop.value)
    (data / "dataset.json").write_text(json.dumps({"training": pairs}))
    task = planned(data)
    assert (task["out_channels"], task["planes"]) == (3, [2])
    assert {pair["case"] for pair in labelled_datalist(data, "all")} == {
        f"case {i}_images_imaging" for i in range(6)
    }


def test_the_first_layout_of_nnunet_becomes_its_second(tmp_path: Path) -> None:
    data = layouts.nnunet(tmp_path / "data")
    first = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "oedema", "4": "tumour"},
        "training": [
            {"image": f"./imagesTr/brain_{i}.nii.gz", "label": f"./labelsTr/brain_{i}.nii.gz"}
            for i in range(3)
        ],
    }
    second = {"channel_names": first["modality"], "file_ending": ".nii.gz"}
    (data / "dataset.json").write_text(json.dumps(first))
    assert_refused(data, 'write channel_names, file_ending and labels as it has them now ({"background": 0, ')
    (data / "dataset.json").write_text(json.dumps(first | second))
    assert_refused(
        data, "label '0' is 'background', expected a whole number from 0, as in {\"background\": 0"
    )
    labels = {"background": 0, "oedema": 1, "tumour": 4}
    (data / "dataset.json").write_text(json.dumps(first | second | {"labels": labels}))
    assert [label["name"] for label in planned(data)["labels"]] == ["oedema", "tumour"]


def test_lists_that_are_not_of_these_files_say_how(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    content = json.loads((data / "dataset.json").read_text())
    pairs = content["training"]
    layouts.describe(data, training=[*pairs, pairs[0]])
    assert_refused(data, "listed 2 times in dataset.json")
    with pytest.raises(FileNotFoundError, match="listed 2 times"):
        labelled_datalist(data, "all")
    hidden = {key: path.replace("heart_0", "._heart_0") for key, path in pairs[0].items()}
    for path in hidden.values():
        (data / path).write_bytes(b"of the desktop")
    layouts.describe(data, training=[*pairs, hidden])
    assert_refused(data, "a file of the desktop system; take it out of dataset.json")
    (data / pairs[1]["image"]).rename(data / "imagesTr" / "heart_1_0000.nii.gz")
    layouts.describe(data, training=pairs)
    assert_refused(data, "heart_1.nii.gz is missing, but its channel 0000 is there: for nnU-Net's layout")
    data = layouts.nnunet(tmp_path / "nnunet")
    shutil.copy(data / "labelsTr" / "brain_0.nii.gz", data / "labelsTr" / "brain_0.NII.GZ")
    assert_refused(data, "has the same stem; keep one of them")
    data = layouts.pictures(tmp_path / "pictures", count=6)
    (data / "images" / "case1.png").unlink()
    (data / "images" / "case1.png").symlink_to(tmp_path / "nowhere.png")
    assert_refused(data, "images/case1.png: a link that leads nowhere, or an empty folder")


def test_equal_names_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=6)
    content = json.loads((data / "dataset.json").read_text())
    for i, pair in enumerate(content["training"]):
        for key in ("image", "label"):
            new = f"./sub{i}/{key}/t1.nii.gz"
            (data / new).parent.mkdir(parents=True)
            (data / pair[key]).rename(data / new)
            pair[key] = new
    (data / "dataset.json").write_text(json.dumps(content | {"modality": "MRI"}))
    assert "6 labelled cases" in planned(data)["notes"]["data"]


def test_names_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data", count=6)
    for folder in ("images", "masks"):
        old = os.fsencode(data / folder / "case3.png")
        os.rename(old, old.replace(b"case3", b"f\xe4ll"))
    assert_refused(
        data,
        "images/f\\xe4ll.png: its name is no UTF-8; rename it",
        "masks/f\\xe4ll.png: its name is no UTF-8; rename it",
    )
    with pytest.raises(FileNotFoundError, match="its name is no UTF-8"):
        labelled_datalist(data, "all")


def test_a_stack_of_pages_is_to_become_a_volume(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for i in range(4):
        for folder, suffix, array in zip(
            ("imagesTr", "labelsTr"), ("_0000", ""), layouts.volume(i), strict=True
        ):
            (data / folder).mkdir(parents=True, exist_ok=True)
            first, *others = (Image.fromarray(page.astype(np.uint8)) for page in array.transpose(2, 1, 0))
            first.save(data / folder / f"c{i}{suffix}.tif", save_all=True, append_images=others)
    content = {"channel_names": {"0": "M"}, "labels": {"a": 1, "b": 2}, "file_ending": ".tif"}
    (data / "dataset.json").write_text(json.dumps(content))
    assert_refused(data, "c0.tif: holds 8 pages", "save a volume as one .nii.gz", "set file_ending")


def test_a_channel_that_every_picture_lacks_is_missed(tmp_path: Path) -> None:
    data = layouts.nnunet_pictures(tmp_path / "data")
    layouts.describe(data, channel_names={"0": "T1", "1": "T2"})
    assert_refused(data, "dataset.json names 2 channels, the images hold 3")
    for file in (data / "imagesTr").iterdir():
        Image.open(file).convert("L").save(file)
    assert_refused(data, "dataset.json names 2 channels, the images hold 1")


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    data = layouts.nnunet(tmp_path)
    (data / "imagesTr" / "brain_2_0001.nii.gz").unlink()
    with pytest.raises(SystemExit, match="brain_2: imagesTr/brain_2_0001.nii.gz is missing"):
        plan(data, tmp_path / "task.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no readable JSON"),
        ("[]", "expected the Decathlon's list 'training'"),
        ('{"training": [{"image": "a.nii.gz"}]}', "must have image and label"),
        (
            '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "whole": [1, 2]}}',
            r"label 'whole' is \[1, 2\]; regions",
        ),
        ('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "ignore": 9}}', "label 'ignore' is 9"),
        ('{"channel_names": ["CT"], "labels": {"background": 1, "organ": 0}}', "the background is 1"),
        ('{"channel_names": {"0": "CT"}, "labels": {"a": 1, "b": 1}}', "'a' and 'b' have the same value 1"),
        ('{"channel_names": {"0": "CT"}, "labels": ["a", "b"]}', "labels must be names with their values"),
        (
            '{"channel_names": {"0": "CT"}, "file_ending": ".nrrd"}',
            r"files that end in '\.nrrd' are not read",
        ),
        (
            '{"channel_names": ["CT"], "file_ending": "nii.gz"}',
            "file_ending is 'nii.gz', expected a dot first",
        ),
        (
            '{"channel_names": ["CT"], "labels": {"background": 0, "a": 1.5}}',
            "label 'a' is 1.5, expected a whole number",
        ),
        ('{"channel_names": {}}', "channel_names must name each channel, got {}"),
        ('{"channel_names": null}', "channel_names must name each channel, got None"),
        ('{"channel_names": ["CT"], "dataset": {"a": {}}}', "the list 'dataset' of cases is not read"),
        ('{"training": [{"image": [], "label": "a.nii.gz"}]}', "must have image and label"),
        ('{"training": [{"image": "a.nii.gz", "label": null}]}', "must have image and label"),
    ],
)
def test_a_data_set_that_is_described_wrongly_says_how(content: str, words: str, tmp_path: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(SystemExit, match=f"cannot plan: .*{words}"):
        plan(tmp_path, tmp_path / "task.json")


def test_folders_that_are_no_data_set_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no folder at"):
        plan(tmp_path / "none", tmp_path / "task.json")
    with pytest.raises(
        SystemExit, match=r"no dataset.json in .* expected the Medical Segmentation Decathlon"
    ):
        plan(tmp_path, tmp_path / "task.json")
    layouts.pictures(tmp_path / "train")
    with pytest.raises(SystemExit, match="give one of its folders, train"):
        plan(tmp_path, tmp_path / "task.json")
    with pytest.raises(SystemExit, match=r"must end in \.json"):
        plan(tmp_path / "train", tmp_path / "task.yaml")
    (tmp_path / "train" / "labels").mkdir()
    with pytest.raises(SystemExit, match="found labels and masks, expected one folder"):
        plan(tmp_path / "train", tmp_path / "task.json")
    few = layouts.pictures(tmp_path / "few", count=2)
    with pytest.raises(SystemExit, match="need at least 3 labelled cases"):
        plan(few, tmp_path / "task.json")
    empty = layouts.pictures(tmp_path / "empty", high=0)
    with pytest.raises(SystemExit, match="every mask is empty"):
        plan(empty, tmp_path / "task.json")


def test_what_dataset_json_says_and_is_not_followed_is_told(tmp_path: Path) -> None:
    data = layouts.nnunet(tmp_path / "data")
    content = json.loads((data / "dataset.json").read_text())
    content["numTraining"] = str(len([*(data / "labelsTr").iterdir()]))
    (data / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")  # as Windows' editors do
    assert "numTraining" not in planned(data)["notes"]["data"]
    content["numTraining"] = 60
    content["channel_names"] = dict.fromkeys(content["channel_names"], "noNorm")
    (data / "dataset.json").write_text(json.dumps(content))
    (data / "splits_final.json").write_text("[]")
    told = planned(data)["notes"]["data"]
    for words in ("numTraining 60", "asks for a normalisation", "splits_final.json is not followed"):
        assert words in told


def test_a_list_that_is_not_read_is_told(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=8)
    content = json.loads((data / "dataset.json").read_text())
    training = content["training"]
    layouts.describe(
        data, training=training[:6], validation=training[6:], test=["imagesTs/a.nii.gz"], numTraining=6
    )
    assert planned(data)["notes"]["data"].endswith(
        "the list 'validation' of 2 labelled cases is not read: folds are drawn of 'training'"
    )


def test_a_label_that_no_case_that_trains_holds_is_warned_of(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", count=10)
    (tested, *_) = labelled_datalist(data, "test", folds=5)
    for file in (data / "labelsTr").iterdir():
        mask = nibabel.load(file)
        values = np.asanyarray(mask.dataobj).copy()
        if file != Path(tested["label"]):
            values[values == 2] = 1
        nibabel.save(nibabel.Nifti1Image(values, mask.affine, mask.header), file)
    assert f"NONE THAT TRAINS HOLDS cavity ({tested['case']} does)" in planned(data)["notes"]["folds"]


def test_names_of_digits_are_names_in_nnunets_layout(tmp_path: Path) -> None:
    data = layouts.nnunet(tmp_path / "data")
    layouts.describe(data, labels={"0": 0, "41": 1, "1": 4})
    task = planned(data)
    assert [label["name"] for label in task["labels"]] == ["41", "1"]
    assert task["label_map"] == {"0": 0, "1": 1, "4": 2}


def test_a_mask_of_two_images_is_named(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    pairs = json.loads((data / "dataset.json").read_text())["training"]
    layouts.describe(data, training=[*pairs[:-1], pairs[-1] | {"label": pairs[0]["label"]}])
    assert_refused(data, "labelsTr/heart_0.nii.gz: the label of 2 images in dataset.json")


def test_files_that_stand_twice_in_a_list_are_named(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data")
    first, second, *others = json.loads((data / "dataset.json").read_text())["training"]
    layouts.describe(data, training=[first | {"image": first["label"]}, second, *others])
    assert_refused(data, "labelsTr/heart_0.nii.gz: an image and a label in dataset.json")
    twice = [first["image"], first["image"].removeprefix("./")]
    layouts.describe(data, training=[first | {"image": twice}, second, *others])
    assert_refused(data, "imagesTr/heart_0.nii.gz: listed 2 times in dataset.json")


def test_masks_saved_as_jpeg_keep_the_name_that_is_declared(tmp_path: Path) -> None:
    data = layouts.nnunet_pictures(tmp_path / "data")
    for folder in ("imagesTr", "labelsTr"):
        for file in sorted((data / folder).iterdir()):
            picture = np.asarray(Image.open(file)) * (255 if folder == "labelsTr" else 1)
            Image.fromarray(picture).save(file.with_suffix(".jpg"), quality=90)
            file.unlink()
    layouts.describe(data, file_ending=".jpg", labels={"background": 0, "road": 255})
    assert [label["name"] for label in planned(data)["labels"]] == ["road"]
    layouts.describe(data, labels={"background": 0, "road": 255, "kerb": 128})
    assert_refused(data, "cannot hold the 2 labels of dataset.json: save the masks as PNG")


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_pictures_of_small_values_are_normalised_like_others(scale: float, tmp_path: Path) -> None:
    data = layouts.pictures(tmp_path / "data")
    for file in sorted((data / "images").iterdir()):
        channels = np.asarray(Image.open(file), np.float32) / 255 * scale
        for i in range(3):
            name = data / "imagesTr" / f"{file.stem}_{i:04}.tif"
            name.parent.mkdir(exist_ok=True)
            Image.fromarray(channels[..., i]).save(name)
        mask = np.asarray(Image.open(data / "masks" / file.name)) // 255
        layouts.save_picture(mask, data / "labelsTr" / f"{file.stem}.tif")
        file.unlink()
    shutil.rmtree(data / "images")
    shutil.rmtree(data / "masks")
    content = {
        "channel_names": {"0": "a", "1": "b", "2": "c"},
        "labels": {"background": 0, "disc": 1},
        "file_ending": ".tif",
    }
    (data / "dataset.json").write_text(json.dumps(content))
    rule = planned(data)["intensity"]
    assert rule["subtrahend"][1] == pytest.approx(90 / 255 * scale, rel=0.05)
    assert rule["divisor"][1] == pytest.approx(12 / 255 * scale, rel=0.1)


def test_ct_in_other_units_keeps_its_digits_and_is_doubted(tmp_path: Path) -> None:
    data = layouts.decathlon(tmp_path / "data", modality="CT")
    for file in sorted((data / "imagesTr").iterdir()):
        layouts.save(np.asarray(nibabel.load(file).dataobj, np.float32) / 1000, file)
    task = planned(data)
    rule = task["intensity"]
    assert rule["b_max"] - rule["b_min"] > 2
    assert rule["a_max"] - rule["a_min"] < 1
    assert "hardly Hounsfield units" in task["notes"]["intensity"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"fill_nonfinit": 0}, "limits: there is no 'fill_nonfinit', expected some of max_files, "),
        ({"max_voxels": "a"}, "limits: max_voxels is 'a', expected a number"),
    ],
)
def test_limits_that_are_none_are_named(limits: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"cannot plan: {words}"):
        plan(layouts.pictures(tmp_path / "data"), tmp_path / "task.json", limits)


@pytest.mark.parametrize("text", ["fill_nonfinite=0", "{'fill_nonfinite': 0", "5"])
def test_limits_that_are_no_dictionary(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(tmp_path), "-o", str(tmp_path / "task.json"), "--limits", text])
    assert "argument --limits: " in capsys.readouterr().err
