"""What is trained on, and at which rates."""

import json
from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import MCANet
from mcanet.scripts.training import (
    AutocastInferer,
    RandSliceSamplesd,
    labelled_datalist,
    open_datalist,
    parameter_groups,
)
from mcanet.scripts.training.datalist import split
from monai.data import MetaTensor


def decathlon(folder: Path, names: list[str]) -> Path:
    pairs = [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names]
    for pair in pairs:
        for path in pair.values():
            (folder / path).parent.mkdir(exist_ok=True)
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
