"""What ``mcanet export`` writes, and what it refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from mcanet.scripts.cli import main
from mcanet.scripts.export import export_bundle
from mcanet.scripts.networks import MCANet
from monai.bundle import ConfigParser

from ..conftest import BUNDLE, ROOT
from ..end_to_end.run import mcanet
from .conftest import LABELS, write_task

WORKFLOWS = ("train", "evaluate", "inference")


def config(bundle: Path, name: str) -> dict:
    return json.loads((bundle / "configs" / f"{name}.json").read_text())


def weights(file: Path) -> Mapping[str, torch.Tensor]:
    return torch.load(file, weights_only=True)


def assert_equal(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_default_task_is_the_repositorys_bundle_again(hippocampus: Path) -> None:
    for name in WORKFLOWS:
        assert config(hippocampus, name) == config(BUNDLE, name)
    ours, own = config(hippocampus, "metadata"), config(BUNDLE, "metadata")
    for side in ("inputs", "outputs"):
        for tensor in ours["network_data_format"][side].values():
            assert tensor.pop("spatial_shape") == [112, 112]
        for tensor in own["network_data_format"][side].values():
            assert tensor.pop("spatial_shape") == ["32*n", "32*n"]
    assert ours == own
    assert_equal(weights(hippocampus / "models" / "model.pt"), weights(BUNDLE / "models" / "model.pt"))
    for folder in ("docs", "scripts"):
        for file in (BUNDLE / folder).rglob("*.*"):
            if "__pycache__" not in file.parts and file.name not in ("README.md", "data_license.txt"):
                assert (hippocampus / file.relative_to(BUNDLE)).read_bytes() == file.read_bytes()


def test_the_default_tasks_card_speaks_of_its_own_weights_alone(hippocampus: Path) -> None:
    for file in ("README.md", "docs/README.md", "docs/data_license.txt"):
        text = (hippocampus / file).read_text()
        assert "models/tasks" not in text
        assert "commercially" not in text
    assert "0.891" in (hippocampus / "README.md").read_text()
    assert "Antonelli" in (hippocampus / "docs" / "data_license.txt").read_text()


def test_what_is_said_of_the_default_tasks_weights_holds_for_no_others(tmp_path: Path) -> None:
    torch.save(MCANet(in_channels=3, out_channels=3).state_dict(), tmp_path / "own.pt")
    bundle = export_bundle(tmp_path / "bundle", None, tmp_path / "own.pt")
    assert not {"data_source", "eval_metrics"} & config(bundle, "metadata").keys()
    assert "not stated" in (bundle / "docs" / "data_license.txt").read_text()
    for file in ("README.md", "docs/README.md"):
        assert "0.891" not in (bundle / file).read_text()
        assert "Decathlon, Task04" not in (bundle / file).read_text()


def test_metadata_and_card_say_how_intensities_and_sizes_are_changed(tmp_path: Path) -> None:
    task = write_task(
        tmp_path,
        _meta_={"version": "1.2.0"},
        spacing=None,
        spatial_size=[64, 64],
        top=2,
        intensity={
            "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 700, "b_min": -1,
            "b_max": "@top", "clip": True,
        },
    )  # fmt: skip
    bundle = export_bundle(tmp_path / "bundle", task)
    metadata = config(bundle, "metadata")
    assert metadata["network_data_format"]["inputs"]["image"]["value_range"] == [-1, 2]
    assert metadata["changelog"] == {"1.2.0": "exported"}
    card = (bundle / "docs" / "README.md").read_text()
    assert "pixels whatever their shape" in card
    assert "padded to" not in card


def test_metadata_lists_what_the_bundle_needs() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert needed is not None
    listed = config(BUNDLE, "metadata")["required_packages_version"]
    pinned = (ROOT / "constraints.txt").read_text().lower().splitlines()
    names = {*re.findall(r'"([\w-]+)', needed[1])}
    assert {*listed} == names - {"torch", "monai", "numpy"}  # these have keys of their own
    assert {f"{name}=={version}" for name, version in listed.items()} <= {
        re.split(" ;", line)[0] for line in pinned
    }


def test_a_tasks_settings_stand_in_every_workflow(other: Path, task_file: Path) -> None:
    task = json.loads(task_file.read_text())
    for name in WORKFLOWS:
        written = config(other, name)
        for key in ("in_channels", "out_channels", "context", "planes", "spacing", "roi_size", "intensity"):
            assert written[key] == task[key], (name, key)
        assert ConfigParser(written).get_parsed_content("intensity").scaler.a_min == -100
        assert not {"_meta_", "notes"} & written.keys()
    assert config(other, "inference")["labels"] == task["labels"]
    assert "labels" not in config(other, "train")
    assert config(other, "inference")["ckpt_path"] == config(BUNDLE, "inference")["ckpt_path"]
    assert_equal(weights(other / "models" / "model.pt"), weights(task_file.with_suffix(".pt")))


def test_metadata_tells_of_the_task_and_nothing_of_the_default_one(other: Path) -> None:
    metadata = config(other, "metadata")
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == {"0": "background", **{str(value): name for value, name in LABELS.items()}}
    assert (image["num_channels"], pred["num_channels"]) == (1, 4)
    assert image["spatial_shape"] == pred["spatial_shape"] == [64, 64]
    assert (image["modality"], image["format"]) == ("CT", "hounsfield")
    assert metadata["name"] == "MCANet other"
    assert metadata["eval_metrics"] == {"mean_dice": 0.5, "hausdorff_mm": 3.0}
    assert metadata["references"][2:] == ["The third reference"]
    for file in ("README.md", "docs/README.md", "docs/data_license.txt", "configs/metadata.json"):
        text = (other / file).read_text()
        assert "anterior" not in text
        assert "Task04" not in text
    assert (other / "docs" / "data_license.txt").read_text() == "Public domain.\n"


def test_a_task_of_bare_settings_says_what_is_not_known(tmp_path: Path) -> None:
    file = write_task(tmp_path, _meta_={}, fitness_rules={}, in_channels=6, context=0)
    settings = json.loads(file.read_text())
    del settings["_meta_"]
    file.write_text(json.dumps(settings))
    torch.save({"model": MCANet(in_channels=6, out_channels=4).state_dict()}, tmp_path / "other.pt")
    main(["export", "--task", str(file), "-o", str(tmp_path / "out" / "bundle")])
    bundle = tmp_path / "out" / "bundle"
    metadata = config(bundle, "metadata")
    assert metadata["name"] == "MCANet other"
    assert metadata["task"] == "Segmentation of nucleus, rim, debris"
    assert "eval_metrics" not in metadata
    image = metadata["network_data_format"]["inputs"]["image"]
    assert "modality" not in image
    assert image["channel_def"]["5"] == "slice, channel 5"
    assert "encoder.downsamples.0.0.weight" in weights(
        bundle / "models" / "model.pt"
    )  # as ckpt_export wants it
    card = (bundle / "docs" / "README.md").read_text()
    assert "\nNot stated: figures of `mcanet evaluate`" in card
    assert "was not stated" in card


def test_the_card_says_which_file_is_which_channel(tmp_path: Path) -> None:
    file = write_task(
        tmp_path,
        _meta_={"channels": ["T1", "FLAIR"]},
        in_channels=2,
        channel_files=2,
        fitness_rules={"channels": 2, "spatial_dims": 3},
    )
    settings = json.loads(file.read_text())
    settings["labels"][0]["name"] = "edema /core"  # no path of this machine
    file.write_text(json.dumps(settings))
    torch.save({"model": MCANet(in_channels=2, out_channels=4).state_dict()}, tmp_path / "other.pt")
    main(["export", "--task", str(file), "-o", str(tmp_path / "out" / "bundle")])
    bundle = tmp_path / "out" / "bundle"
    image = config(bundle, "metadata")["network_data_format"]["inputs"]["image"]
    assert image["channel_def"] == {"0": "slice, T1", "1": "slice, FLAIR"}
    assert "channels" not in config(bundle, "metadata")
    card = (bundle / "docs" / "README.md").read_text()
    assert "- 1: slice, FLAIR\n\nEach image is 2 files, `CASE_0000`, `CASE_0001`" in card


def test_what_forbids_commercial_use_is_said_of_the_weights_that_it_binds(tmp_path: Path) -> None:
    task, nuclei = (
        BUNDLE / "configs" / "tasks" / "skin_lesion.json",
        BUNDLE / "models" / "tasks" / "nuclei.pt",
    )
    bound, free = export_bundle(tmp_path / "bound", task), export_bundle(tmp_path / "free", task, nuclei)
    words = "may not be used commercially"
    assert 'license: "other"' in (bound / "README.md").read_text()
    assert words in (bound / "docs" / "README.md").read_text()
    assert words in (bound / "docs" / "data_license.txt").read_text()
    assert "Codella" in (bound / "docs" / "data_license.txt").read_text()
    assert (bound / "models" / "data_license.txt").read_text() == "CC BY-NC 4.0 (ISIC 2018)\n"
    assert 'license: "apache-2.0"' in (free / "README.md").read_text()
    assert words not in (free / "docs" / "README.md").read_text()
    assert "not stated" in (free / "docs" / "data_license.txt").read_text()
    assert "0.877" not in (free / "docs" / "README.md").read_text()


def test_a_task_named_by_a_relative_path_is_ours_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLE)
    bundle = export_bundle(tmp_path / "b", "configs/tasks/nuclei.json", "models/tasks/polyp.pt")
    assert "eval_metrics" not in config(bundle, "metadata")
    assert "CC0" not in (bundle / "docs" / "data_license.txt").read_text()


def test_a_bundle_of_another_task_exports_itself(other: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "export", "-o", str(tmp_path / "again")],
        cwd=other, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(other)},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    for file in ("data_license.txt", "README.md"):
        assert (tmp_path / "again" / "docs" / file).read_text() == (other / "docs" / file).read_text()


def test_no_file_holds_a_path_of_this_machine(other: Path, task_file: Path) -> None:
    for file in [*other.glob("configs/*"), *other.glob("docs/*"), other / "README.md"]:
        text = file.read_text()
        for place in (ROOT, task_file.parent, other.parent, Path("/home")):
            assert str(place) not in text, file


def test_the_command_lines_weights_win(task_file: Path, tmp_path: Path) -> None:
    changed = {name: tensor * 2 for name, tensor in weights(task_file.with_suffix(".pt")).items()}
    torch.save(changed, tmp_path / "mine.pt")
    out = tmp_path / "bundle"
    main(["export", "--task", str(task_file), "--ckpt_path", str(tmp_path / "mine.pt"), "-o", str(out)])
    assert_equal(weights(out / "models" / "model.pt"), changed)


REFUSED = {
    "weights that are not there": (
        {"ckpt_path": None},
        r"no weights at '.*models/tasks/other\.pt'; train the task",
    ),
    "weights of another network": ({"out_channels": 3, "labels": 2}, "do not fit the network"),
    "an ensemble": ({"ckpt_path": ["a.pt", "b.pt"]}, "holds one file of weights.*--ckpt_path"),
    "a value without a label": ({"labels": 2}, r"out_channels is 4, but the labels have the values \[1, 2\]"),
    "neighbours without channels": ({"context": 1}, "in_channels is 1, but context 1 makes 3 channels"),
    "a section of one workflow": ({"train#trainer#max_epochs": 1}, "section that evaluate.json lacks"),
    "a path": (
        {"intensity": {"_target_": "LoadAtlas", "path": "/data/atlas.nii"}},
        "'/data/atlas.nii'; take it",
    ),
    "a path in an expression": ({"lowest": "$open('C:/low').read()"}, "'C:/low'.*take it out"),
    "another file": ({"intensity": "%other.json::intensity"}, "other.json::intensity'; take it out"),
    "a path in the metadata": ({"_meta_": {"data_source": "see ~/data"}}, "'see ~/data'; take it out"),
    "metadata of another kind": ({"_meta_": {"eval_metrics": 0.9}}, "eval_metrics must be a dict, got 0.9"),
    "no metadata": ({"_meta_": "nothing"}, "expected a mapping of settings"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stand_alone_is_refused_in_a_sentence_and_leaves_nothing(
    case: str, tmp_path: Path
) -> None:
    changes, sentence = REFUSED[case]
    if isinstance(changes.get("labels"), int):
        labels = json.loads(write_task(tmp_path / "task").read_text())["labels"]
        changes = {**changes, "labels": labels[: changes["labels"]]}
    file = write_task(tmp_path / "task", **changes)
    with pytest.raises(SystemExit, match=sentence):
        main(["export", "--task", str(file), "-o", str(tmp_path / "out" / "bundle")])
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not an empty folder: name a new one"):
        main(["export", "-o", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_malformed_task_and_a_setting_besides_are_named(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(SystemExit, match=r"task\.json"):
        main(["export", "--task", str(tmp_path / "task.json"), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="takes no '--spacing'"):
        main(["export", "-o", str(tmp_path / "out"), "--spacing", "2"])
    with pytest.raises(SystemExit, match=r"no task 'nothing': expected one of \['hippocampus'"):
        main(["export", "--task", "nothing", "-o", str(tmp_path / "out")])


@pytest.mark.slow
def test_the_default_task_has_a_name_for_every_command(tmp_path: Path) -> None:
    shutil.copyfile(BUNDLE / "LICENSE", tmp_path / "no_image.txt")
    run = mcanet("check", tmp_path, "--task", "hippocampus", cwd=tmp_path)
    assert "no task" not in run.stderr
    assert "no_image.txt" in run.stdout + run.stderr
