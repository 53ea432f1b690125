"""The evaluation workflow on masks whose every figure is known."""

import csv
import importlib
import json
import math
import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from mcanet.scripts.cli import main
from mcanet.scripts.evaluation.summary import interval
from mcanet.scripts.lock import FolderLock
from mcanet.scripts.networks import MCANet
from PIL import Image

from ..conftest import BUNDLE
from ..end_to_end import hippocampi
from ..end_to_end.run import mcanet
from ..nifti import save
from ..planning import layouts
from .known import dataset, evaluate, summary

# 1 × 2 × 5 mm, its axes turned and mirrored: right-left, superior-inferior, anterior-posterior
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 0, -5, 20], [0, 2.0, 0, -7], [0, 0, 0, 1]])
SHAPE = (20, 24, 10)


def box(*spans: tuple[int, int], value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(*span) for span in spans)] = value
    return mask


BOX = box((4, 10), (6, 14), (3, 6))
FAR = box((12, 18), (16, 22), (7, 9), value=2)
CASES = {
    "exact": (BOX + FAR, BOX + FAR),
    "right_2mm": (np.roll(BOX, 2, 0), BOX),  # label 2 in neither
    "up_4mm": (np.roll(BOX, 2, 1), BOX + FAR),  # label 2 in the truth alone
    "back_5mm": (np.roll(BOX, 1, 2) + FAR, BOX),  # label 2 in ours alone
}
HD95 = {"exact": 0, "right_2mm": 2, "up_4mm": 4, "back_5mm": 5}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    folder = tmp_path_factory.mktemp("known")
    data = dataset(folder / "data", CASES, AFFINE)
    workflow = evaluate(data, folder / "out")
    return data, folder / "out", workflow.evaluator.state.metrics["mean_dice"]


def of_case(account: dict, name: str, label: str = "1") -> dict:
    (case,) = (case for case in account["metric_per_case"] if f"/{name}." in case["reference_file"])
    return case["metrics"][label]


@pytest.mark.parametrize("name", CASES)
def test_distances_are_mm_along_the_volumes_own_axes(name: str, evaluated: tuple[Path, Path, float]) -> None:
    assert of_case(summary(evaluated[1]), name)["HD95"] == pytest.approx(HD95[name])


def test_overlap_and_counts(evaluated: tuple[Path, Path, float]) -> None:
    account = summary(evaluated[1])
    found = of_case(account, "right_2mm")
    assert [found[key] for key in ("TP", "FP", "FN", "n_pred", "n_ref")] == [96, 48, 48, 144, 144]
    assert found["TN"] == math.prod(SHAPE) - 96 - 48 - 48
    assert found["Dice"] == pytest.approx(2 / 3)
    assert found["IoU"] == pytest.approx(1 / 2)
    assert all(isinstance(found[key], int) for key in ("TP", "TN", "n_ref"))


def test_a_label_in_one_mask_is_a_miss_and_in_none_is_left_out(evaluated: tuple[Path, Path, float]) -> None:
    account = summary(evaluated[1])
    for name in ("up_4mm", "back_5mm"):
        missed = of_case(account, name, "2")
        assert (missed["Dice"], missed["IoU"], missed["SurfaceDice"]) == (0, 0, 0)
        assert math.isnan(missed["HD95"])
    absent = of_case(account, "right_2mm", "2")
    assert all(math.isnan(absent[key]) for key in ("Dice", "IoU", "HD95", "SurfaceDice"))
    assert absent["n_ref"] == absent["n_pred"] == 0
    assert account["mean"]["2"]["Dice"] == pytest.approx(1 / 3)
    assert account["cases_counted"]["2"] == {"Dice": 3, "IoU": 3, "HD95": 1, "SurfaceDice": 3}


def test_the_foreground_mean_is_nnunets_and_the_evaluators(evaluated: tuple[Path, Path, float]) -> None:
    account = summary(evaluated[1])
    means = [account["mean"][label]["Dice"] for label in ("1", "2")]
    assert account["foreground_mean"]["Dice"] == pytest.approx(np.mean(means))
    assert evaluated[2] == pytest.approx(account["foreground_mean"]["Dice"])


def test_the_files_are_those_that_were_compared(evaluated: tuple[Path, Path, float]) -> None:
    data, out, _ = evaluated
    for case in summary(out)["metric_per_case"]:
        assert Path(case["reference_file"]).parent == (data / "labelsTr").resolve()
        ours, truth = (nibabel.load(case[key]) for key in ("prediction_file", "reference_file"))
        np.testing.assert_allclose(ours.affine, truth.affine, atol=1e-5)
        same = np.asarray(ours.dataobj) == np.asarray(truth.dataobj)
        wrong = sum(case["metrics"][label][key] for label in ("1", "2") for key in ("FP", "FN"))
        assert (~same).sum() <= wrong <= 2 * (~same).sum()


def test_intervals_hold_the_mean_and_are_the_same_every_time(
    evaluated: tuple[Path, Path, float], tmp_path: Path
) -> None:
    data, out, _ = evaluated
    account = summary(out)
    low, high = account["interval_95"]["mean"]["1"]["Dice"]
    assert of_case(account, "back_5mm")["Dice"] <= low < account["mean"]["1"]["Dice"] < high <= 1
    assert all(math.isnan(bound) for bound in account["interval_95"]["mean"]["2"]["HD95"])  # of one case
    evaluate(data, tmp_path / "again")
    assert json.dumps(summary(tmp_path / "again")["interval_95"]) == json.dumps(account["interval_95"])


def test_tables_and_worst_cases(evaluated: tuple[Path, Path, float]) -> None:
    _, out, _ = evaluated
    for metric in ("mean_dice", "mean_iou", "hausdorff_95", "surface_dice"):
        with (out / f"{metric}_raw.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(CASES)
    sheet = np.asarray(Image.open(out / "worst.png").convert("RGB")).astype(int)[:-60]  # without its legend
    outlined = sum(np.abs(sheet - colour).sum(-1) < 60 for colour in ([230, 80, 60], [60, 160, 230])) > 0
    rows, columns = np.nonzero(outlined)
    assert np.unique(columns * 3 // sheet.shape[1]).tolist() == [1, 2]  # truth and ours, not the image
    assert np.unique(rows * len(CASES) // sheet.shape[0]).tolist() == [0, 1, 2, 3]  # every case


def test_no_cell_of_the_tables_is_a_formula_and_a_full_slice_has_an_outline(tmp_path: Path) -> None:
    full = np.ones((40, 40, 4))
    evaluate(dataset(tmp_path / "data", {"=1+1": (full, full), "b": (full, full)}, AFFINE), tmp_path / "out")
    with (tmp_path / "out" / "mean_dice_raw.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == ["'=1+1", "b"]
    sheet = np.asarray(Image.open(tmp_path / "out" / "worst.png").convert("RGB")).astype(int)[:-60]
    assert (np.abs(sheet - [230, 80, 60]).sum(-1) < 60).any()


def test_the_tolerance_is_mm(evaluated: tuple[Path, Path, float], tmp_path: Path) -> None:
    data, out, _ = evaluated
    assert of_case(summary(out), "right_2mm")["SurfaceDice"] < 1
    evaluate(data, tmp_path, tolerance=2)
    account = summary(tmp_path)
    assert account["surface_dice_tolerance"] == 2
    assert of_case(account, "right_2mm")["SurfaceDice"] == 1
    assert of_case(account, "up_4mm")["SurfaceDice"] < 1


def test_a_metric_is_added_in_one_place(
    evaluated: tuple[Path, Path, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    figures = importlib.import_module("scripts.evaluation").FIGURES
    added = figures["mean_dice"]._replace(
        name="Excess",
        head="excess ({unit})",
        measure=lambda ours, truth, *_: (ours.sum() - truth.sum()).float(),
    )
    monkeypatch.setitem(figures, "mean_excess", added)
    evaluate(evaluated[0], tmp_path)
    assert of_case(summary(tmp_path), "right_2mm")["Excess"] == 0
    assert (tmp_path / "mean_excess_raw.csv").is_file()
    assert "excess (mm)" in capsys.readouterr().out


@pytest.mark.parametrize("tolerance", ["wide", -1, True])
def test_a_tolerance_that_is_none(
    tolerance: object, evaluated: tuple[Path, Path, float], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="cannot measure: tolerance must be a number of mm .*got"):
        evaluate(evaluated[0], tmp_path, tolerance=tolerance)


def test_labels_that_are_not_the_classes(evaluated: tuple[Path, Path, float], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"out_channels is 4, but the labels have the values \[1, 2\]"):
        evaluate(evaluated[0], tmp_path, out_channels=4)


def test_pictures_are_measured_in_pixels(tmp_path: Path) -> None:
    labels = [
        {
            "value": 1,
            "name": "disc",
            "colour": [255, 0, 0],
            "category": ["91723000", "SCT", "Anatomical Structure"],
            "type": ["5366008", "SCT", "Hippocampus"],
        }
    ]
    for i in range(3):
        truth = layouts.disc(72, i).astype(np.uint8)
        layouts.save_picture(np.roll(truth, 3, axis=1), tmp_path / "data" / "images" / f"case{i}.png")
        layouts.save_picture(truth, tmp_path / "data" / "masks" / f"case{i}.png")
    evaluate(tmp_path / "data", tmp_path / "out", out_channels=2, labels=labels)
    account = summary(tmp_path / "out")
    assert account["unit"] == "px"
    assert account["mean"]["1"]["HD95"] == pytest.approx(3)
    ours = np.asarray(Image.open(tmp_path / "out" / "predictions" / "case0.png"))
    np.testing.assert_array_equal(ours, np.roll(layouts.disc(72, 0), 3, axis=1))
    assert (tmp_path / "out" / "worst.png").is_file()
    assert (tmp_path / "out" / "cases.png").is_file()


def test_a_volume_of_one_slice_is_measured_as_the_picture_that_it_is(tmp_path: Path) -> None:
    truth = np.zeros((20, 24, 1), np.uint8)
    truth[4:12, 4:12] = 1
    ours = truth.copy()
    ours[7:9, 7:9] = 0  # a hole, which in three dimensions would hardly count
    data = dataset(tmp_path / "data", {"slice": (ours, truth)}, np.diag([1.0, 2.0, 5.0, 1.0]))
    evaluate(data, tmp_path / "out")
    found = of_case(summary(tmp_path / "out"), "slice")
    assert found["HD95"] == pytest.approx(3, abs=0.6)
    assert found["SurfaceDice"] < 0.95
    assert found["FN"] == 4


def test_an_earlier_evaluation_makes_way(tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "data", CASES, AFFINE), tmp_path / "out"
    evaluate(data, out)
    mine = out / "predictions" / "mine.nii.gz"
    mine.write_text("of the user")
    evaluate(data, out, subset="test", test_cases="exact")
    (case,) = summary(out)["metric_per_case"]
    assert {*(out / "predictions").iterdir()} == {Path(case["prediction_file"]), mine}
    files = sorted((data / "imagesTr").iterdir())
    whole = {file: file.read_bytes() for file in (files[0], files[-1])}
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    files[0].write_bytes(b"broken")
    with pytest.raises(SystemExit, match=f"image {files[0].name}: the content is not gzip"):
        evaluate(data, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    files[0].write_bytes(whole[files[0]])
    files[-1].write_bytes(b"broken")
    with pytest.raises(SystemExit, match=f"image {files[-1].name}: the content is not gzip"):
        evaluate(data, out)
    assert not {"summary.json", "mean_dice_raw.csv", "worst.png"} & {file.name for file in out.iterdir()}
    files[-1].write_bytes(whole[files[-1]])
    (out / "summary.json").write_text('{"mean": {}}')
    with pytest.raises(SystemExit, match="summary.json is no summary of mcanet evaluate"):
        evaluate(data, out)
    assert (out / "summary.json").read_text() == '{"mean": {}}'


@pytest.mark.parametrize("fate", ["killed", "moved"])
def test_predictions_of_an_evaluation_that_was_killed_or_moved_make_way(
    fate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = dataset(tmp_path / "data", CASES, AFFINE), tmp_path / "out"
    if fate == "moved":
        evaluate(data, tmp_path / "before")
        (tmp_path / "before").rename(out)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("scripts.evaluation.summary.write_summary", killed)
            with pytest.raises(KeyboardInterrupt):
                evaluate(data, out)
    assert len(list((out / "predictions").iterdir())) == len(CASES)
    (mine := out / "predictions" / "mine.nii.gz").write_text("of the user")
    evaluate(data, out, subset="test", test_cases="exact")
    (case,) = summary(out)["metric_per_case"]
    assert {*(out / "predictions").iterdir()} == {Path(case["prediction_file"]), mine}


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_evaluations_do_not_write_into_one_folder(tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "data", CASES, AFFINE), tmp_path / "out"
    out.mkdir()
    lock = FolderLock(out)
    with pytest.raises(SystemExit, match="cannot evaluate: another run .* is writing to 'out'"):
        evaluate(data, out)
    lock.close()
    evaluate(data, out)
    FolderLock(out).close()  # let go at the end


def test_an_earlier_account_that_points_elsewhere_takes_nothing_along(tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "data", CASES, AFFINE), tmp_path / "out"
    evaluate(data, out)
    mine, account = tmp_path / "mine.nii.gz", summary(out)
    mine.write_text("of the user")
    account["metric_per_case"][0]["prediction_file"] = f"{out.resolve()}/predictions/../../mine.nii.gz"
    (out / "summary.json").write_text(json.dumps(account))
    evaluate(data, out)
    assert mine.is_file()


def test_names_with_dollars_are_drawn_as_they_are(tmp_path: Path) -> None:
    cases = {f"c$x_{{{i}$": pair for i, pair in enumerate(list(CASES.values())[:3])}
    evaluate(dataset(tmp_path / "data", cases, AFFINE), tmp_path / "out")
    assert {"worst.png", "cases.png"} <= {file.name for file in (tmp_path / "out").iterdir()}


def test_references_of_one_name_keep_their_predictions_apart(tmp_path: Path) -> None:
    pairs = []
    for i, (ours, truth) in enumerate(list(CASES.values())[:3]):
        save(ours.astype(np.int16), tmp_path / "data" / f"{i}" / "image.nii.gz", AFFINE)
        save(truth, tmp_path / "data" / f"{i}" / "seg.nii.gz", AFFINE)
        pairs.append({"image": f"{i}/image.nii.gz", "label": f"{i}/seg.nii.gz"})
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"training": pairs}))
    evaluate(tmp_path / "data", tmp_path / "out")
    assert len(list((tmp_path / "out" / "predictions").glob("*/seg.nii.gz"))) == 3
    with (tmp_path / "out" / "mean_dice_raw.csv").open(newline="") as file:
        assert {row["filename"] for row in csv.DictReader(file)} == {"0_image", "1_image", "2_image"}


@pytest.mark.parametrize("linked", [False, True])
def test_truth_among_the_predictions_is_neither_removed_nor_overwritten(linked: bool, tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "data", CASES, AFFINE), tmp_path / "out"
    evaluate(data, out)
    corrected = out / "predictions"  # by hand, and taken for the truth
    if linked:
        shutil.rmtree(data / "labelsTr")
        (data / "labelsTr").symlink_to(corrected)
    else:
        description = (data / "dataset.json").read_text()
        (data / "dataset.json").write_text(description.replace("labelsTr", "../out/predictions"))
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with pytest.raises(
        SystemExit, match="predictions, where it would be overwritten: name another output folder"
    ):
        evaluate(data, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    evaluate(data, tmp_path / "another")
    assert summary(tmp_path / "another")["foreground_mean"]["Dice"] == 1


def test_pixels_and_mm_are_not_averaged(tmp_path: Path) -> None:
    save(BOX.astype(np.int16), tmp_path / "data" / "images" / "volume.nii.gz", AFFINE)
    save(BOX, tmp_path / "data" / "masks" / "volume.nii.gz", AFFINE)
    for folder in ("images", "masks"):
        Image.fromarray(BOX[:, :, 4]).save(tmp_path / "data" / folder / "picture.png")
    with pytest.raises(
        SystemExit, match=r"picture.png is a picture, measured in pixels, and .*volume.nii.gz a volume"
    ):
        evaluate(tmp_path / "data", tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="a file in the folder's place is another error there")
def test_a_folder_that_cannot_be_written(evaluated: tuple[Path, Path, float], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions").write_text("in the way")
    with pytest.raises(SystemExit, match="cannot write the predictions: .*predictions"):
        evaluate(evaluated[0], tmp_path / "out")


def test_folds_are_merged_into_one_account(
    evaluated: tuple[Path, Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, _ = evaluated
    items = list(CASES.items())
    folds = []
    for i, part in enumerate((dict(items[:2]), dict(items[2:]))):
        dataset(tmp_path / f"data{i}", part, AFFINE)
        evaluate(tmp_path / f"data{i}", tmp_path / f"fold{i}")
        folds.append(str(tmp_path / f"fold{i}"))
    main(["merge", *folds, "-o", str(tmp_path / "all")])
    merged, together = summary(tmp_path / "all"), summary(out)
    assert len(merged["metric_per_case"]) == len(CASES)
    for key in ("Dice", "IoU", "HD95", "SurfaceDice", "TP"):
        assert merged["mean"]["1"][key] == pytest.approx(together["mean"]["1"][key])
    assert merged["cases_counted"] == together["cases_counted"]
    said = capsys.readouterr().out
    assert "4 cases; in brackets the 95 % interval" in said
    assert f"see {tmp_path / 'all' / 'summary.json'}" in said
    with pytest.raises(SystemExit, match=r"cannot merge: .*was measured in .*leave one out"):
        main(["merge", folds[0], folds[0], "-o", str(tmp_path / "twice")])
    with pytest.raises(SystemExit, match=r"cannot merge: .*nowhere"):
        main(["merge", folds[0], str(tmp_path / "nowhere"), "-o", str(tmp_path / "twice")])
    assert not (tmp_path / "twice").exists()
    with pytest.raises(
        SystemExit, match="no summary.json in '.*nowhere': expected a folder that mcanet evaluate"
    ):
        main(["merge", str(tmp_path / "nowhere"), "-o", str(tmp_path / "twice")])
    with pytest.raises(SystemExit, match="is one of the evaluations; name another folder"):
        main(["merge", *folds, "-o", folds[0]])
    with pytest.raises(SystemExit, match="cannot merge: the output folder is an empty name"):
        main(["merge", *folds, "-o", ""])
    foreign = tmp_path / "foreign" / "summary.json"
    foreign.parent.mkdir()
    foreign.write_text('{"foreground_mean": {"Dice": 0.9}, "interval_95": {}}')
    for arguments in (
        [folds[0], "-o", str(foreign.parent)],
        [str(foreign.parent), "-o", str(tmp_path / "x")],
    ):
        with pytest.raises(SystemExit, match="foreign/summary.json is no summary of mcanet evaluate"):
            main(["merge", *arguments])
    assert "Dice" in foreign.read_text()
    evaluate(data, tmp_path / "earlier")
    main(["merge", *folds, "-o", str(tmp_path / "earlier")])
    left = [path.name for path in (tmp_path / "earlier").rglob("*") if path.is_file()]
    assert sorted(left) == [".mcanet.lock", "summary.json"]
    evaluate(data, tmp_path / "other", tolerance=3)
    with pytest.raises(SystemExit, match="tolerance': 3.* measure alike"):
        main(["merge", folds[0], str(tmp_path / "other"), "-o", str(tmp_path / "twice")])


def test_each_fold_on_its_own_validation_part_and_all_as_one(tmp_path: Path) -> None:
    cases = {f"{name}_{i}": pair for i in range(2) for name, pair in CASES.items()}
    data = dataset(tmp_path / "data", cases, AFFINE)
    weights = tmp_path / "model.pt"  # that do not say what trained them
    shutil.copy(BUNDLE / "models" / "model.pt", weights)
    parts = {"test": {"subset": "test"}}
    parts |= {f"fold{i}": {"subset": "validation", "folds": 3, "fold": i} for i in range(3)}
    parts = {name: {**settings, "ckpt_path": str(weights)} for name, settings in parts.items()}
    for name, settings in parts.items():
        evaluate(data, tmp_path / name, **settings)
    main(["merge", *(str(tmp_path / f"fold{i}") for i in range(3)), "-o", str(tmp_path / "all")])
    tested, validated = (
        {case["reference_file"] for case in summary(tmp_path / name)["metric_per_case"]}
        for name in ("test", "all")
    )
    assert not tested & validated
    assert {Path(file).name for file in tested | validated} == {f"{name}.nii.gz" for name in cases}


@pytest.mark.slow
def test_the_networks_of_several_folds_as_one(tmp_path: Path) -> None:
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        files.append(str(tmp_path / f"fold{seed}.pt"))
        torch.save(MCANet(in_channels=3, out_channels=3).state_dict(), files[-1])
    data = hippocampi.decathlon(tmp_path / "data", 4)
    settings = (
        "--subset", "test", "--planes", "[2]", "--keep_largest", "false", "--mixed_precision", "false"
    )  # fmt: skip
    ours = {}
    for name, ckpt_path in {"one": files[0], "twice": [files[0]] * 2, "both": files}.items():
        run = mcanet("evaluate", data, name, "--ckpt_path", ckpt_path, *settings, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        (case,) = summary(tmp_path / name)["metric_per_case"]
        ours[name] = np.asarray(nibabel.load(case["prediction_file"]).dataobj)
    np.testing.assert_array_equal(ours["one"], ours["twice"])
    assert (ours["one"] != ours["both"]).any()


def test_the_interval_of_a_mean_over_labels_is_of_all_of_them() -> None:
    figures = np.full((10, 3), np.nan)  # the third label is in no case
    figures[:, 0], figures[:2, 1] = 0.9, 0.1
    assert interval(figures) == pytest.approx([0.5, 0.5])  # draws without the second label would say 0.9
    figures[1, 1] = np.nan
    assert all(map(math.isnan, interval(figures)))  # how far the second may lie, one case does not tell
