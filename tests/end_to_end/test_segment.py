"""From a folder to masks, by the commands that users type."""

import csv
import json
import os
import shutil
from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from . import hippocampi
from .run import BUNDLE, CONFIGS, mcanet, monai_bundle

OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.1, -0.05, 0.2) @ np.diag([-1.0, -1.1, 0.9]), [30, -20, 10]
)


def manifest(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a fit volume, an oblique fit volume further down, an unfit picture, and a text file."""
    folder = tmp_path_factory.mktemp("input")
    (folder / "a" / "b").mkdir(parents=True)
    nibabel.save(hippocampi.volume(1)[0], folder / "straight.nii.gz")
    nibabel.save(hippocampi.volume(2, OBLIQUE)[0], folder / "a" / "b" / "oblique.nii.gz")
    Image.new("RGB", (64, 64), (200, 30, 30)).save(folder / "a" / "photo.png")
    (folder / "a" / "notes.txt").write_text("nothing to see")
    return folder


def test_a_folder_of_any_mix_by_relative_path_from_another_directory(study: Path, tmp_path: Path) -> None:
    config = os.path.relpath(CONFIGS / "inference.json", tmp_path)
    run = (
        "run",
        "--config_file",
        config,
        "--dataset_dir",
        study,
        "--output_dir",
        "out",
        "--save_image",
        "true",
    )
    first = monai_bundle(*run, cwd=tmp_path)
    assert first.returncode == 1
    assert "1 of 3 cases have no mask" in first.stderr
    assert "Traceback" not in first.stderr + first.stdout
    assert "a/notes.txt: left out" in first.stdout
    rows = manifest(tmp_path / "out")
    assert {name: row["status"] for name, row in rows.items()} == {
        "straight": "done",
        "oblique": "done",
        "photo": "refused",
    }
    assert "the task expects 3" in rows["photo"]["reason"]
    for name, given in (
        ("straight", study / "straight.nii.gz"),
        ("oblique", study / "a" / "b" / "oblique.nii.gz"),
    ):
        source, mask = nibabel.load(given), nibabel.load(tmp_path / "out" / name / "segmentation.nii.gz")
        kept = nibabel.load(tmp_path / "out" / name / "image.nii.gz")
        assert mask.get_data_dtype() == np.uint8
        assert mask.shape == source.shape
        np.testing.assert_allclose(mask.affine, source.affine, atol=1e-5)
        assert np.array_equal(np.asarray(kept.dataobj), np.asarray(source.dataobj))
        assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 1)
    again = monai_bundle(*run, cwd=tmp_path)
    assert again.stdout.count("done in an earlier run") == 2
    assert {name: row["finished"] for name, row in manifest(tmp_path / "out").items() if name != "photo"} == {
        name: row["finished"] for name, row in rows.items() if name != "photo"
    }


def test_console_command_on_one_file(study: Path, tmp_path: Path) -> None:
    done = mcanet("segment", study / "straight.nii.gz", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert manifest(tmp_path / "out")["straight"]["status"] == "done"
    left = sorted(tmp_path.rglob("*"))
    fit = mcanet("check", study / "straight.nii.gz", "--output_dir", "none", cwd=tmp_path)
    assert fit.returncode == 0, fit.stderr
    assert "straight.nii.gz" in fit.stdout
    unfit = mcanet("check", study, "--output_dir", "none", cwd=tmp_path)
    assert unfit.returncode == 1
    assert "1 of 3 cases are refused" in unfit.stderr
    assert sorted(tmp_path.rglob("*")) == left


def test_an_ensemble_with_flips_tells_where_its_passes_disagree(study: Path, tmp_path: Path) -> None:
    weights = repr([str(BUNDLE / "models" / "model.pt")] * 2)
    done = mcanet(
        "segment", study / "a" / "b" / "oblique.nii.gz", "out", "--ckpt_path", weights, "--flips", "[[0]]",
        "--uncertainty", "true", "--keep_largest", "false", "--save_image", "false", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mask, unsure = (
        nibabel.load(tmp_path / "out" / "oblique" / f"{name}.nii.gz")
        for name in ("segmentation", "uncertainty")
    )
    assert not (tmp_path / "out" / "oblique" / "image.nii.gz").exists()
    assert unsure.shape == mask.shape
    np.testing.assert_allclose(unsure.affine, mask.affine)
    assert 0 < np.asarray(unsure.dataobj).mean() < 50
    with (tmp_path / "out" / "measurements.csv").open(newline="") as file:
        assert all(0 <= float(row["agreement"]) <= 1 for row in csv.DictReader(file))


def test_what_decides_a_mask_is_looked_at_before_the_first_case(study: Path, tmp_path: Path) -> None:
    one = study / "a" / "b" / "oblique.nii.gz"
    run = mcanet("segment", one, "out", "--uncertainty", "true", "--planes", "[2]", cwd=tmp_path)
    assert run.returncode == 1
    assert "cannot compare passes: there is one alone" in run.stderr
    labels = json.loads((BUNDLE / "configs" / "inference.json").read_text())["labels"]
    (tmp_path / "fewer.json").write_text(json.dumps({"labels": labels[:1]}))
    run = mcanet("segment", one, "out", "--task", "fewer.json", cwd=tmp_path)
    assert run.returncode == 1
    assert "out_channels is 3, but the labels have the values [1]" in run.stderr
    assert not (tmp_path / "out" / "oblique").exists()


def test_a_network_of_another_kind_does_all_anew_and_bids_follows(study: Path, tmp_path: Path) -> None:
    one, finished = study / "a" / "b" / "oblique.nii.gz", []
    for more in (("--layout", "bids"), ("--network_def#decoder_size", 16)):
        run = mcanet("segment", one, "out", "--planes", "[2]", *more, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        finished.append(manifest(tmp_path / "out")["oblique"]["finished"])
    assert finished[0] < finished[1]
    (mask,) = (tmp_path / "out").glob("sub-*/anat/*_dseg.nii.gz")
    assert mask.samefile(tmp_path / "out" / "oblique" / "segmentation.nii.gz")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("empty", "nothing to read"),
        ("missing", "'missing' does not exist"),
    ],
)
def test_no_input_is_an_error_and_not_a_quiet_success(tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    run = mcanet("segment", given, "out", cwd=tmp_path)
    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_weights_that_do_not_fit_are_an_error_and_not_a_mask(study: Path, tmp_path: Path) -> None:
    run = mcanet(
        "segment",
        study,
        "out",
        "--ckpt_path",
        BUNDLE / "models" / "model.pt",
        "--out_channels",
        "4",
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert "do not fit the network: shape" in run.stderr
    assert "give the task (--task)" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.rglob("segmentation*"))


def test_settings_take_the_words_of_the_files_that_hold_them(study: Path, tmp_path: Path) -> None:
    given = ("--roi_size", "null", "--spacing=null")
    run = mcanet("segment", study / "straight.nii.gz", tmp_path / "out", *given, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert manifest(tmp_path / "out")["straight"]["status"] == "done"


def test_null_takes_a_setting_of_the_task_away(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "skin.png")
    given = ("--task", "skin_lesion", "--spacing", 2)
    assert "not both" in mcanet("segment", "skin.png", "both", *given, cwd=tmp_path).stderr
    run = mcanet("segment", "skin.png", "one", *given, "--spatial_size", "null", cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_a_misspelt_setting_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    run = mcanet("segment", "in", "out", "--deidentfy", "true", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "no setting 'deidentfy': did you mean 'deidentify'?\n"


def test_an_unknown_setting_names_the_known_ones(tmp_path: Path) -> None:
    run = mcanet("segment", "in", "out", "--epochs", 3, cwd=tmp_path)
    assert run.returncode == 1
    assert "no setting 'epochs': expected one of bundle_root" in run.stderr


def test_the_help_of_a_command_says_where_its_settings_are(tmp_path: Path) -> None:
    said = " ".join(mcanet("evaluate", "--help", cwd=tmp_path).stdout.split())
    assert "configs/evaluate.json is a setting: give it as --name value" in said.replace("- ", "-")


def test_unknown_task_names_the_known_ones(tmp_path: Path) -> None:
    run = mcanet("segment", "in", "out", "--task", "spleen", cwd=tmp_path)
    assert run.returncode == 1
    assert "no task 'spleen'" in run.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"roi_sise": [64, 64]}', "sets 'roi_sise', which no workflow has; did you mean 'roi_size'?"),
        (
            '{"planes": [2],, }',
            "is no JSON object: Expecting property name enclosed in double quotes: line 1",
        ),
        ("[]", "is no JSON object: it holds a list"),
        ('{"hello": 1}', "is none: it sets nothing that a workflow has"),
        (
            '{"own_value": 2, "context": "@own_value", "network_def#dropout": 0.2}',
            "the input 'in' does not exist",
        ),
    ],
)
def test_a_task_file_with_a_slip_is_named_and_one_with_values_of_its_own_taken(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(text)
    run = mcanet("segment", "in", "out", "--task", "mine.json", cwd=tmp_path)
    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_a_lesion_is_found_in_a_picture_of_any_size(tmp_path: Path) -> None:
    skin = np.random.default_rng(0).normal((205, 165, 150), 6, (256, 256, 3))
    rows, columns = np.mgrid[:256, :256]
    skin[((rows - 120) / 40) ** 2 + ((columns - 150) / 60) ** 2 < 1] -= 90
    picture = Image.fromarray(skin.clip(0, 255).astype(np.uint8))
    (tmp_path / "pictures").mkdir()
    for name, size in {"as_trained": (256, 256), "as_taken": (1536, 1024)}.items():
        picture.resize(size, Image.Resampling.BICUBIC).save(tmp_path / "pictures" / f"{name}.png")
    run = mcanet("segment", "pictures", "out", "--task", "skin_lesion", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    trained, taken = (
        Image.open(tmp_path / "out" / name / "segmentation.png") for name in ("as_trained", "as_taken")
    )
    assert taken.size == (1536, 1024)
    ours, theirs = np.asarray(trained) > 0, np.asarray(taken.resize((256, 256), Image.Resampling.NEAREST)) > 0
    assert 2 * (ours & theirs).sum() > 0.97 * (ours.sum() + theirs.sum()) > 0


def test_grey_nuclei_are_segmented_as_the_same_in_colour(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:192, :192]
    cells = sum(
        np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 120) for y, x in ((50, 60), (120, 90), (100, 150))
    )
    noise = np.random.default_rng(0).normal(12, 2, (192, 192))
    picture = Image.fromarray((150 * cells + noise).clip(0, 255).astype(np.uint8))
    (tmp_path / "pictures").mkdir()
    picture.save(tmp_path / "pictures" / "grey.png")
    picture.convert("RGB").save(tmp_path / "pictures" / "colour.png")
    Image.fromarray(np.asarray(picture).astype(np.uint16) * 200).save(tmp_path / "pictures" / "deep.tif")
    run = mcanet("segment", "pictures", "out", "--task", "nuclei", "--save_image", "true", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    grey, colour, deep = (
        np.asarray(Image.open(tmp_path / "out" / name / "segmentation.png"))
        for name in ("grey", "colour", "deep")
    )
    assert grey.any()
    assert np.array_equal(grey, colour)
    assert (deep != grey).mean() < 0.001  # of 16 bits: rounding
    assert Image.open(tmp_path / "out" / "grey" / "image.png").mode == "L"  # what is kept is what was read
    unfit = mcanet("segment", "pictures/grey.png", "unfit", "--task", "skin_lesion", cwd=tmp_path)
    assert unfit.returncode == 1
    assert "the task expects 3; save it in colour" in unfit.stderr + unfit.stdout


def test_the_log_is_json_where_that_is_asked_for(tmp_path: Path) -> None:
    hippocampi.decathlon(tmp_path / "in", 1)
    (tmp_path / "in" / "imagesTr" / "broken.nii.gz").write_bytes(b"no image")
    run = mcanet("segment", "in/imagesTr", "out", "--log-format", "json", cwd=tmp_path)
    assert run.returncode == 1
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert all({"time", "level", "logger", "message"} == line.keys() for line in lines)
    (refused,) = [line for line in lines if line["message"].startswith("broken: refused")]
    assert refused["level"] == "WARNING"
    assert datetime.fromisoformat(refused["time"].replace("+0000", "+00:00")).tzinfo is not None


@pytest.mark.parametrize("out", ["run#1", "$HOME", "@out", "%p", "a b'c\"d"])
def test_a_folder_of_any_name_is_a_name_and_no_expression(study: Path, tmp_path: Path, out: str) -> None:
    """MONAI evaluates texts that begin with ``$``, and follows ``@``, ``%`` and ``#``."""
    given = tmp_path / '$open("made", "w").close() or "x"#1'
    given.mkdir()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(given / "photo.png")
    run = mcanet("segment", given.name, out, cwd=tmp_path)
    assert "1 of 1 cases have no mask" in run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([given.name, out])
    assert manifest(tmp_path / out)["photo"]["status"] == "refused"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--spacing", "-1"], "spacing must be a number of mm above 0, or null, got -1"),
        (["--spacing"], "spacing must be a number of mm above 0, or null, got True"),
        (["--roi_size", "112"], "roi_size must be two whole numbers, or null, got 112"),
        (["--planes", "2"], "planes must be some of 0, 1 and 2, got 2"),
        (["--flips", "[0]"], "flips must be lists of the axes 0, 1 and 2"),
        (["--sw_batch_size", "-1"], "sw_batch_size one of at least 1"),
        (["--seg", "foo"], "seg must be 'binary', 'labelmap' or 'off', got 'foo'"),
        (["--flips", "0"], "flips must be lists of the axes 0, 1 and 2"),
        (["--limits", "{'x': 1}"], "limits: there is no 'x', expected some of max_files"),
        (["--device", "foo"], "foo"),
        (["--labels", "[]"], "at least one label"),
        (["-fitnes", "off"], "'-fitnes' belongs to no setting"),
        (["extra"], "'extra' belongs to no setting"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_sentence(
    study: Path, tmp_path: Path, given: list[str], words: str
) -> None:
    run = mcanet("segment", study / "straight.nii.gz", "out", *given, cwd=tmp_path)
    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert not (tmp_path / "out" / "straight").exists()


def test_a_changed_setting_of_any_part_makes_a_case_anew(study: Path, tmp_path: Path) -> None:
    run = ("segment", study / "straight.nii.gz", "out")
    assert mcanet(*run, cwd=tmp_path).returncode == 0
    assert "done in an earlier run" in mcanet(*run, cwd=tmp_path).stdout
    other = mcanet(*run, "--intensity#subtrahend", "5", "--intensity#divisor", "300", cwd=tmp_path)
    assert "done in an earlier run" not in other.stdout


@pytest.mark.parametrize("name", ["IN", "OUT"])
def test_an_empty_name_writes_nowhere(study: Path, tmp_path: Path, name: str) -> None:
    places = {"IN": study, "OUT": tmp_path / "out"} | {name: ""}
    run = mcanet("segment", *places.values(), cwd=tmp_path)
    assert "is an empty name" in run.stderr


def test_results_never_replace_what_they_are_made_of(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub1").mkdir(parents=True)
    nibabel.save(hippocampi.volume(1)[0], tmp_path / "in" / "sub1" / "sub1.nii.gz")
    run = mcanet("segment", "in", "in", cwd=tmp_path)
    assert "'in' is the input folder, too, where masks would be taken for images" in run.stderr
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["sub1"]
    run = mcanet("segment", "in/sub1/sub1.nii.gz", "in", cwd=tmp_path)
    assert "holds what no run wrote (sub1.nii.gz)" in run.stdout + run.stderr
    assert (tmp_path / "in" / "sub1" / "sub1.nii.gz").is_file()


@pytest.mark.parametrize("form", [["--ckpt_path", "w#t/model.pt"], ["--ckpt_path=w#t/model.pt"]])
def test_weights_lie_in_a_folder_of_any_name(study: Path, tmp_path: Path, form: list[str]) -> None:
    (tmp_path / "w#t").mkdir()
    shutil.copy(BUNDLE / "models" / "model.pt", tmp_path / "w#t")
    run = mcanet("segment", study / "straight.nii.gz", "out", *form, "--planes", "[2]", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
