"""A plan drives training, evaluation and segmentation without an edit."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Events
from mcanet.scripts.networks import MCANet
from mcanet.scripts.planning import plan
from mcanet.scripts.training import labelled_datalist
from monai.bundle import ConfigWorkflow
from PIL import Image

from ..end_to_end.run import CONFIGS, mcanet
from . import layouts

BRIEF = {"max_epochs": 1, "val_interval": 1, "num_workers": 0, "batch_size": 2, "num_samples": 1}


def run(config: str, task: Path, **settings: Any) -> ConfigWorkflow:
    """A workflow with a task over it, from start to end."""
    kind = {"evaluate": "evaluation"}.get(config, config)
    files = [str(CONFIGS / f"{config}.json"), str(task)]
    sys.path.insert(0, str(CONFIGS.parent))
    try:
        workflow = ConfigWorkflow(workflow_type=kind, config_file=files, **settings)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    finally:
        sys.path.remove(str(CONFIGS.parent))
    return workflow


@pytest.mark.parametrize(
    ("make", "result"),
    [
        (layouts.decathlon, "heart_0/segmentation.nii.gz"),
        (layouts.decathlon_of_channels, "heart_0/segmentation.nii.gz"),
        (layouts.nnunet, "brain_0/segmentation.nii.gz"),
        (layouts.pictures, "case0/segmentation.png"),
    ],
)
def test_one_file_drives_all_three(make: Callable[[Path], Path], result: str, tmp_path: Path) -> None:
    data, task, out = make(tmp_path / "data"), tmp_path / "mytask.json", tmp_path / "mytask_training"
    plan(data, task)
    with pytest.raises(SystemExit, match=r"no weights at '.*mytask_training/model.pt'; train the task"):
        run("evaluate", task, dataset_dir=str(data), output_dir=str(tmp_path / "figures"))
    images = next(folder for folder in data.iterdir() if folder.name.startswith("images"))
    run("train", task, dataset_dir=str(data), output_dir=str(out), ckpt_dir=str(out), **BRIEF)
    weights = torch.load(out / "model.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in weights.values())
    run("evaluate", task, dataset_dir=str(data), output_dir=str(tmp_path / "figures"), subset="all")
    with (tmp_path / "figures" / "mean_dice_raw.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(next(data.glob("[lm]a[bs]*")).iterdir()))
    assert all(0 <= float(row["mean"]) <= 1 for row in rows)
    run("inference", task, dataset_dir=str(images), output_dir=str(tmp_path / "masks"))
    with (tmp_path / "masks" / "manifest.csv").open(newline="") as file:
        manifest = list(csv.DictReader(file))
    assert len(manifest) == len(rows)
    assert {row["status"] for row in manifest} == {"done"}
    mask = tmp_path / "masks" / result
    classes = len(json.loads(task.read_text())["labels"]) + 1
    if mask.suffix == ".png":
        array, given = np.asarray(Image.open(mask)), Image.open(next(images.iterdir())).size
        assert array.shape == given[::-1]
    else:
        nifti, given = nibabel.load(mask), nibabel.load(sorted(images.iterdir())[0])
        array = np.asarray(nifti.dataobj)
        assert array.shape == given.shape[:3]
        np.testing.assert_allclose(nifti.affine, given.affine)
    assert array.dtype == np.uint8
    assert array.max() < classes


def test_by_the_commands_that_the_plan_prints(tmp_path: Path) -> None:
    layouts.pictures(tmp_path / "data", suffix="_mask")
    planned = mcanet("plan", "data", "-o", "mytask.json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "mcanet train data --task mytask.json" in planned.stdout
    brief = [word for name, value in BRIEF.items() for word in (f"--{name}", value)]
    trained = mcanet("train", "data", "--task", "mytask.json", *brief, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    segmented = mcanet("segment", "../data/images", "../masks", "--task", "../mytask.json", cwd=elsewhere)
    assert segmented.returncode == 0, segmented.stderr
    assert len(list((tmp_path / "masks").glob("*/segmentation.png"))) == 6


def test_another_fold_has_its_own_folders(tmp_path: Path) -> None:
    data, file = layouts.pictures(tmp_path / "data", count=8), tmp_path / "mytask.json"
    plan(data, file)
    task = json.loads(file.read_text())
    assert task["folds"] > 2
    file.write_text(json.dumps(task | {"fold": 1}))
    brief = [word for name, value in BRIEF.items() for word in (f"--{name}", value)]
    trained = mcanet("train", "data", "--task", "mytask.json", "--fold", 0, *brief, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    run = mcanet(
        "evaluate", "data", "--task", "mytask.json", "--fold", 0, "--subset", "validation", cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    validated = json.loads((tmp_path / "mytask_training_fold0" / "split.json").read_text())["validation"]
    account = json.loads((tmp_path / "mytask_evaluation_fold0" / "summary.json").read_text())
    assert {Path(case["reference_file"]).stem for case in account["metric_per_case"]} == {*validated}
    assert not (tmp_path / "mytask_training").exists()


def test_a_training_shorter_than_its_validations_are_apart_saves_what_it_validated(tmp_path: Path) -> None:
    data, task, out = layouts.pictures(tmp_path / "data", count=8), tmp_path / "mytask.json", tmp_path / "out"
    plan(data, task)
    brief = BRIEF | {"val_interval": 40}
    run("train", task, dataset_dir=str(data), output_dir=str(out), ckpt_dir=str(out), **brief)
    parts = json.loads((out / "split.json").read_text())
    assert torch.load(out / "model.pt", weights_only=True)
    for folder in ("images", "masks"):
        (data / folder / f"{parts['training'][0]}.png").unlink()
    figures = tmp_path / "figures"
    run("evaluate", task, dataset_dir=str(data), output_dir=str(figures), ckpt_path=str(out / "model.pt"))
    measured = json.loads((figures / "summary.json").read_text())["metric_per_case"]
    seen = {*parts["training"], *parts["validation"]}
    assert {Path(case["reference_file"]).stem for case in measured} == {f"case{i}" for i in range(8)} - seen


def test_where_no_case_that_validates_holds_a_label_the_last_weights_are_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, task, out = layouts.pictures(tmp_path / "data"), tmp_path / "mytask.json", tmp_path / "out"
    plan(data, task)
    for pair in labelled_datalist(data, "validation", folds=json.loads(task.read_text())["folds"]):
        Image.fromarray(np.zeros((72, 72), np.uint8)).save(pair["label"])
    brief = BRIEF | {"max_epochs": 2, "patience": 1}
    run("train", task, dataset_dir=str(data), output_dir=str(out), ckpt_dir=str(out), **brief)
    assert "no case that validates holds a label" in "".join(capfd.readouterr())
    kept, last = (torch.load(out / name, weights_only=True) for name in ("model.pt", "last.pt"))
    assert all(torch.equal(kept[name], last[name]) for name in last)


def test_an_interrupted_training_does_not_go_on_with_other_data_or_settings(tmp_path: Path) -> None:
    data, task, out = layouts.pictures(tmp_path / "data"), tmp_path / "mytask.json", tmp_path / "out"
    plan(data, task)
    settings = BRIEF | {
        "max_epochs": 2,
        "dataset_dir": str(data),
        "output_dir": str(out),
        "ckpt_dir": str(out),
    }

    def die(engine: Any) -> None:
        raise KeyboardInterrupt

    def start(**changed: Any) -> None:
        files, kind = [str(CONFIGS / "train.json"), str(task)], "train"
        workflow = ConfigWorkflow(workflow_type=kind, config_file=files, **settings | changed)
        workflow.initialize()
        if not changed:
            workflow.parser.get_parsed_content("train#trainer").add_event_handler(
                Events.EPOCH_STARTED(once=2), die
            )
        workflow.run()

    with pytest.raises(KeyboardInterrupt):
        start()
    for changed, words in (
        ({"foreground": 0.1}, "foreground was 0.5, is 0.1"),
        ({"variant": "small"}, "variant was 'tiny', is 'small'"),
        ({"network_def#num_heads": 4}, "network was '"),
        (
            {"loss": {"_target_": "DiceLoss", "to_onehot_y": True, "softmax": True}},
            "loss was 'DiceCELoss .* is 'DiceLoss ",
        ),
        (
            {
                "optimizer": {
                    "_target_": "torch.optim.SGD",
                    "params": "$@network_def.parameters()",
                    "lr": 0.002,
                }
            },
            "optimizer was 'AdamW lr=0.002 [^']*', is 'SGD lr=0.002'",
        ),
        ({"label_map": {"0": 1, "255": 0}}, "label_map was"),
        (
            {"intensity": {"_target_": "ScaleIntensityd", "keys": "image"}},
            "intensity was .*NormalizeIntensity.*Scale",
        ),
        ({"max_epochs": 3}, "max_epochs was 2, is 3"),
        ({"patience": 3}, "patience was 20, is 3"),
    ):
        with pytest.raises(SystemExit, match=f"was another one .*{words}"):
            start(**changed)
    for folder in ("images", "masks"):
        (data / folder / "case0.png").rename(data / folder / "case6.png")
    with pytest.raises(SystemExit, match=r"data was '4 cases \(\w+\)', is '4 cases"):
        start(max_epochs=2)


def strange_value(data: Path) -> None:
    for i in range(5):
        layouts.save(layouts.volume(i)[1] * 3, data / "labelsTr" / f"heart_{i}.nii.gz")


def other_grid(data: Path) -> None:
    for i in range(5):
        layouts.save(layouts.volume(i)[1], data / "labelsTr" / f"heart_{i}.nii.gz", (1.0, 1.0, 4.0))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (strange_value, r"cannot use the data set: heart_\d.nii.gz: the mask holds 3, 6, expected 0, 1, 2"),
        (
            other_grid,
            r"cannot use the data set: label heart_\d.nii.gz and heart_\d.nii.gz: their affines lie",
        ),
    ],
)
def test_a_pair_that_broke_after_the_plan_is_one_sentence(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    data, task = layouts.decathlon(tmp_path / "data"), tmp_path / "mytask.json"
    plan(data, task)
    torch.save(MCANet(in_channels=1, out_channels=3).state_dict(), tmp_path / "model.pt")
    spoil(data)
    places = {"dataset_dir": str(data), "output_dir": str(tmp_path / "out")}
    with pytest.raises(SystemExit, match=f"^{words}"):
        run("evaluate", task, ckpt_path=str(tmp_path / "model.pt"), **places)
    for uncached in ({}, {"cache_rate": 0.0}, {"cache_rate": 0.0, "num_workers": 1}):
        with pytest.raises(SystemExit, match=f"^{words}"):
            run("train", task, **places, **{**BRIEF, "ckpt_dir": str(tmp_path / "out"), **uncached})


def test_a_refusal_in_a_loader_process_is_one_sentence_in_the_log_too(tmp_path: Path) -> None:
    data, task = layouts.decathlon(tmp_path / "data"), tmp_path / "mytask.json"
    plan(data, task)
    for image in (data / "imagesTr").iterdir():
        image.write_bytes(image.read_bytes()[:-200])
    settings = [f"--{name}={value}" for name, value in {**BRIEF, "cache_rate": 0, "num_workers": 1}.items()]
    alone = ["--validate#dataset#data", "$[]"]  # else the cases that validate are read first, in this process
    words = ("train", data, tmp_path / "out", "--task", task, *settings, *alone)
    broken = mcanet(*words, cwd=tmp_path)
    assert broken.returncode == 1
    assert "cannot use the data set: image heart_" in broken.stderr
    assert "Traceback" not in broken.stdout + broken.stderr
