"""What is trained on, and at which rates."""

import json
import re
import threading
import time
from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import MCANet
from mcanet.scripts.study import RefusedError
from mcanet.scripts.training import (
    AutocastInferer,
    MapLabelsd,
    RandSliceSamplesd,
    check_batch,
    check_settings,
    contents,
    labelled_datalist,
    names_of_parts,
    open_datalist,
    open_dataset,
    parameter_groups,
    signature,
)
from mcanet.scripts.training.datalist import split
from mcanet.scripts.training.parts import read_parts, write_hashed_parts, write_parts
from monai.data import MetaTensor
from monai.transforms import Compose, Transform


def decathlon(folder: Path, names: list[str]) -> Path:
    pairs = [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names]
    for pair in pairs:
        for path in pair.values():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    (folder / "dataset.json").write_text(json.dumps({"training": pairs}))
    return folder


def test_split_is_whole_disjoint_and_repeatable(tmp_path: Path) -> None:
    names = [f"case_{i:03}.nii.gz" for i in range(20)]
    subsets = {}
    for subset in ("training", "validation", "test", "all"):
        pairs = labelled_datalist(decathlon(tmp_path, names), subset)
        assert pairs == labelled_datalist(decathlon(tmp_path, names[::-1]), subset)
        subsets[subset] = [Path(pair["image"]).name for pair in pairs]
    assert sorted(subsets["training"] + subsets["validation"] + subsets["test"]) == subsets["all"] == names
    assert [len(subsets[k]) for k in ("training", "validation", "test")] == [15, 2, 3]
    assert {k: len(v) for k, v in split([1, 2, 3]).items()} == {"validation": 1, "test": 1, "training": 1}


def test_data_sets_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no dataset\.json in"):
        labelled_datalist(tmp_path, "training")
    with pytest.raises(ValueError, match="need at least 3 labelled cases .* got 2"):
        labelled_datalist(decathlon(tmp_path, ["a.nii.gz", "b.nii.gz"]), "training")
    with pytest.raises(ValueError, match="subset must be one of .* got 'tests'"):
        labelled_datalist(tmp_path, "tests")
    (tmp_path / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match="lists 1 pairs that are not whole, first b: ./labelsTr/b.nii.gz is missing"
    ):
        labelled_datalist(tmp_path, "all")
    with pytest.raises(SystemExit, match="cannot use the data set: .*missing"):
        open_datalist(tmp_path, "all")


def cases(folder: Path, subset: str, **settings: object) -> list[str]:
    return [Path(pair["image"]).name[:-7] for pair in labelled_datalist(folder, subset, **settings)]


def test_weights_are_measured_on_what_never_trained_them(tmp_path: Path) -> None:
    names = [f"p{i // 2}_{i}.nii.gz" for i in range(20)]
    data, weights = decathlon(tmp_path / "data", names), tmp_path / "out" / "model.pt"
    drawn = {subset: cases(data, subset) for subset in ("training", "validation", "test")}
    weights.parent.mkdir()
    write_parts({part: drawn[part] for part in ("training", "validation")}, weights.parent)
    fewer = decathlon(tmp_path / "data", [*names[3:], "new_1.nii.gz"])
    assert set(cases(fewer, "test")) & set(drawn["training"])  # drawn anew, trained cases would test
    assert cases(fewer, "test", ckpt_path=weights) == sorted(
        ({*drawn["test"]} - {name[:-7] for name in names[:3]}) | {"new_1"}
    )
    assert cases(fewer, "validation", ckpt_path=[weights]) == [
        name for name in drawn["validation"] if f"{name}.nii.gz" in names[3:]
    ]
    patients = cases(fewer, "test", ckpt_path=weights, case_groups=r"^(p\d+)_")
    seen = {name.split("_")[0] for part in ("training", "validation") for name in drawn[part]}
    assert not {name.split("_")[0] for name in patients} & seen
    with pytest.raises(
        ValueError, match="test_cases fits .*, which these weights were trained or chosen with"
    ):
        cases(fewer, "test", ckpt_path=weights, test_cases=drawn["training"][-1])
    copy = tmp_path / "exported" / "model.pt"
    copy.parent.mkdir()
    write_hashed_parts(weights, copy.parent)  # as an exported bundle has it
    assert "p1_" not in (copy.parent / "split.json").read_text()
    for subset in ("training", "validation", "test"):
        assert cases(fewer, subset, ckpt_path=copy) == cases(fewer, subset, ckpt_path=weights)
    write_parts({"training": [name[:-7] for name in names] + ["new_1"], "validation": []}, weights.parent)
    with pytest.raises(
        ValueError, match="no case of .* is of the part 'test' of these weights; give --subset all"
    ):
        cases(fewer, "test", ckpt_path=weights)
    write_parts({"training": ["of another data set"], "validation": []}, weights.parent)
    assert cases(fewer, "test", ckpt_path=weights) == cases(fewer, "all")
    (weights.parent / "split.json").write_text("{}")
    with pytest.raises(ValueError, match="does not say which cases trained the weights beside it; delete it"):
        cases(fewer, "test", ckpt_path=weights)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"case_groups": "case"}, "case_groups 'case' needs a group in brackets"),
        ({"case_groups": "(case"}, r"case_groups '(case' is no regular expression: "),
        ({"test_cases": "("}, "test_cases '(' is no regular expression: "),
        ({"fold": 3}, "fold is 3, but folds does not say how many there are"),
    ],
)
def test_settings_of_the_split_that_mean_nothing_are_named(
    settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    data = decathlon(tmp_path, [f"case_{i}.nii.gz" for i in range(5)])
    with pytest.raises(ValueError, match=re.escape(words)):
        labelled_datalist(data, "test", **settings)


def test_weights_remember_what_trained_those_that_they_began_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_parts({"training": ["a", "b"], "validation": ["c", "d"]}, tmp_path)
    write_hashed_parts(tmp_path / "model.pt", tmp_path)
    own = [[{"case": name} for name in names] for names in (["c", "e"], ["b", "f"])]
    parts = names_of_parts(*own, tmp_path / "model.pt")
    write_parts(parts, tmp_path)
    found = read_parts(tmp_path / "model.pt", "abcdef")
    assert found == {"training": {*"abce"}, "validation": {*"df"}}
    assert "1 of the 2 cases that validate trained the weights that this begins with" in caplog.text
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(SystemExit, match="cannot start from the weights: .*does not say which cases"):
        names_of_parts(*own, tmp_path / "model.pt")


def test_cases_of_equal_file_names_are_told_apart_and_a_corrected_mask_from_the_former(
    tmp_path: Path,
) -> None:
    items = []
    for patient in ("p1", "p2"):
        (tmp_path / patient).mkdir()
        for name in ("t1.nii", "seg.nii"):
            (tmp_path / patient / name).write_bytes(b"0123")
        image, label = (str(tmp_path / patient / name) for name in ("t1.nii", "seg.nii"))
        items.append({"image": image, "label": label, "case": patient})
    assert signature(items[:1]) != signature(items[1:])
    before = contents(items)
    (tmp_path / "p2" / "seg.nii").write_bytes(b"3210")
    assert [now == then for now, then in zip(contents(items), before, strict=True)] == [True, False]


@pytest.mark.parametrize("value", [0.25, -1.0])
def test_a_mask_that_was_resampled_like_an_image_is_no_mask_of_numbered_objects(value: float) -> None:
    mask = MetaTensor(torch.tensor([[[0.0, 3.0], [value, 1.0]]]), meta={"filename_or_obj": "m.nii"})
    with pytest.raises(RefusedError, match=f"m.nii: the mask holds {value:g}, expected whole numbers from 0"):
        MapLabelsd("label", 2, {"above": 0})({"label": mask})
    soft = MapLabelsd("label", 2, {"above": 0.5})({"label": mask})["label"]
    assert soft.tolist() == [[[0, 1], [0, 1]]]
    for dtype in (torch.bool, torch.uint8, torch.int16):
        whole = MetaTensor(torch.tensor([[[0, 1]]]).to(dtype))
        assert MapLabelsd("label", 2, {"above": 0})({"label": whole})["label"].tolist() == [[[0, 1]]]


def test_settings_that_mean_nothing_are_named() -> None:
    check_settings(
        {"roi_size": [64, 64]},
        {"learning_rate": 0.1},
        {"mirror": 1},
        {"scale": [[-0.4, 0.6], 0.2], "rotate": 0},
    )
    for kinds, words in (
        (({"num_samples": 0}, {}, {}, {}), "num_samples is 0, expected whole numbers from 1"),
        (({"max_epochs": 1.5}, {}, {}, {}), "max_epochs is 1.5, expected whole"),
        (({"roi_size": [0, 32]}, {}, {}, {}), "roi_size is [0, 32], expected whole"),
        (({}, {"learning_rate": "abc"}, {}, {}), "learning_rate is 'abc', expected a number from 0"),
        (({}, {}, {"foreground": 3}, {}), "foreground is 3, expected a number from 0 to 1"),
        (({}, {}, {"mirror": float("nan")}, {}), "mirror is nan, expected a number from 0 to 1"),
        (({}, {}, {}, {"rotate": "abc"}), "rotate is 'abc', expected a number or a list of numbers"),
        (({}, {}, {}, {"gamma": [0.5, None]}), "gamma is [0.5, None], expected a number or a list"),
    ):
        with pytest.raises(SystemExit, match=re.escape(f"cannot train: {words}")):
            check_settings(*kinds)
    check_batch(1, [64, 32])
    check_batch(2, [32, 32])
    with pytest.raises(
        SystemExit, match="cannot train: a batch of one patch of 32 x 32 pixels is too little"
    ):
        check_batch(1, [32, 32])


def test_slices_show_image_and_label_at_the_same_place() -> None:
    image = MetaTensor(torch.arange(2 * 10 * 8 * 6.0).reshape(2, 10, 8, 6))
    label = MetaTensor((image.as_tensor()[:1] % 7 == 0).float())
    sampler = RandSliceSamplesd(planes=[0, 1, 2], context=1, num_samples=30)
    sampler.set_random_state(0)
    shapes = set()
    for sample in sampler({"image": image, "label": label}):
        assert sample["image"].shape[0] == 6
        shapes.add(tuple(sample["image"].shape[1:]))
        middle = sample["image"][2]  # offsets first, channels second: the slice itself is 2 and 3
        assert torch.equal(sample["label"][0], (middle % 7 == 0).float())
    assert shapes == {(8, 6), (10, 6), (10, 8)}


def test_foreground_slices_are_drawn_when_asked_for() -> None:
    label = torch.zeros(1, 8, 8, 40)
    label[..., 7] = 1
    for foreground, expected in ((1.0, 20), (0.0, 0)):
        sampler = RandSliceSamplesd(planes=[2], num_samples=20, foreground=foreground)
        sampler.set_random_state(3)
        samples = sampler({"image": torch.randn(1, 8, 8, 40), "label": label})
        assert abs(sum(bool(sample["label"].any()) for sample in samples) - expected) <= 3
    empty = RandSliceSamplesd(planes=[2], foreground=1.0)({"image": label, "label": torch.zeros_like(label)})
    assert not empty[0]["label"].any()


def test_slices_are_drawn_at_the_spacing_asked_for() -> None:
    image = MetaTensor(torch.rand(1, 10, 12, 6), affine=torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0])))
    (sample,) = RandSliceSamplesd(planes=[2], spacing=1.0)({"image": image, "label": image})
    assert sample["image"].shape == (1, 20, 12)
    (picture,) = RandSliceSamplesd()({"image": torch.rand(3, 9, 7), "label": torch.ones(1, 9, 7)})
    assert picture["image"].shape == (3, 9, 7)


def test_slices_are_drawn_squashed_to_one_size() -> None:
    image = torch.randn(3, 60, 20)
    (sample,) = RandSliceSamplesd(spatial_size=(32, 40))({"image": image, "label": (image[:1] > 0).float()})
    assert sample["image"].shape == (3, 32, 40)
    assert sample["label"].shape == (1, 32, 40)


def test_parameter_groups_spare_vectors_from_decay_and_hasten_the_decoder() -> None:
    network = MCANet()
    groups = parameter_groups(network, learning_rate=1.0, weight_decay=0.5, head_multiplier=10.0)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        rate, decay = found[id(parameter)]
        assert rate == (10.0 if name.startswith("decoder") else 1.0)
        assert decay == (0.5 if parameter.ndim > 1 else 0.0), name


def test_autocast_gives_float32_logits_of_bfloat16_arithmetic() -> None:
    torch.manual_seed(0)
    network, image = torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 8, 8)
    full, half = (AutocastInferer(enabled)(image, network) for enabled in (False, True))
    assert full.dtype == half.dtype == torch.float32
    assert torch.equal(full, network(image))
    assert torch.equal(half, half.bfloat16().float())
    assert not torch.equal(half, full)


def test_what_is_not_cached_is_read_once_before_it_is_needed() -> None:
    def transform(item: dict[str, str]) -> dict[str, str]:
        if item["case"] == "broken":
            raise RefusedError("broken.nii.gz: damaged")
        return item

    items = [{"case": "whole"}, {"case": "broken"}]
    assert len(open_dataset(items, transform, cache_rate=0.5)) == 2  # a training reads it in its first epoch
    with pytest.raises(SystemExit, match=r"cannot use the data set: broken.nii.gz: damaged"):
        open_dataset(items, transform, cache_rate=0.5, read_all=True)


def test_nothing_reads_on_behind_a_refusal() -> None:
    """A thread that is inside torch while Python ends aborts the process."""

    class Read(Transform):
        def __call__(self, item: int) -> int:
            if item == 0:
                raise RefusedError("broken")
            time.sleep(0.5)
            return item

    before = set(threading.enumerate())
    with pytest.raises(SystemExit, match="broken"):
        open_dataset(list(range(6)), Compose([Read()]))
    assert set(threading.enumerate()) <= before
