"""An output folder as a BIDS derivative: names, links, and what BIDS's own validator says of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mcanet.scripts.results import Manifest, ResultsWriter, write_bids
from mcanet.scripts.study import Case
from monai.data import MetaTensor

from ..end_to_end import hippocampi
from ..end_to_end.run import mcanet
from .phantom import blobs, table

SHAPE = (24, 20, 16)


def _case(out: Path, case_id: str, name: str, kind: str = "nifti") -> Case:
    return Case(case_id, kind, name, (out / "x",), out)  # type: ignore[arg-type]


def _write(out: Path, cases: list[Case], refused: tuple[Case, ...] = ()) -> None:
    with Manifest(out, {"model_sha256": "c" * 64}) as manifest:
        writer = ResultsWriter(out, table(), provenance={"model_sha256": "c" * 64}, manifest=manifest)
        for case in cases:
            shape = SHAPE[:2] if case.kind == "picture" else SHAPE
            labels = blobs(SHAPE, (1, 2))[
                : shape[0], : shape[1], ..., 8 if case.kind == "picture" else slice(None)
            ]
            image = MetaTensor(torch.from_numpy(labels[None].astype(np.float32)), affine=torch.eye(4))
            files = writer.write(case, image, labels[None], input_sha256="a" * 64)
            manifest.record(case, "done", outputs=files, input_sha256="a" * 64)
        for case in refused:
            manifest.record(case, "refused", "unfit")


def _masks(out: Path) -> list[str]:
    return [path.relative_to(out).as_posix() for path in write_bids(out, table())]


def test_an_input_with_a_bids_name_keeps_its_subject_and_entities(tmp_path: Path) -> None:
    inputs = [
        "sub-01/ses-a/anat/sub-01_ses-a_acq-hi_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_acq-hi_T2w.nii.gz",
    ]
    _write(tmp_path, [_case(tmp_path, f"case_{i}", name) for i, name in enumerate(inputs)])
    assert _masks(tmp_path) == [
        f"sub-01/ses-a/anat/sub-01_ses-a_acq-hi_desc-mcanet{suffix}_dseg.nii.gz" for suffix in ("T1w", "T2w")
    ]
    target = tmp_path / _masks(tmp_path)[0]
    assert target.samefile(tmp_path / "case_0" / "segmentation.nii.gz")  # no space is taken twice
    told = json.loads(target.with_name(target.name.replace(".nii.gz", ".json")).read_text())
    assert told["ModelSHA256"] == "c" * 64


def test_cases_of_one_name_or_like_a_subject_stay_apart(tmp_path: Path) -> None:
    cases = {"a-b": "a-b.nii", "ab": "x/ab.nii", "sub-7": "sub-7.nii", "7": "7.nii", "c": "c.nii"}
    cases |= {"r1": "one/sub-c_T1w.nii", "r2": "two/sub-c_T1w.nii"}
    _write(tmp_path, [_case(tmp_path, case_id, name) for case_id, name in cases.items()])
    masks = _masks(tmp_path)
    assert len(set(masks)) == len(cases)
    subjects = [mask.split("/")[0] for mask in masks]
    assert subjects.count("sub-c") == 2  # the two raw files of subject c, and not the case c
    assert len(set(subjects)) == len(cases) - 1
    assert "sub-7" not in subjects  # a case folder


def test_a_case_folder_in_the_place_of_a_subject_is_an_error(tmp_path: Path) -> None:
    _write(
        tmp_path, [_case(tmp_path, "sub-7", "sub-7.nii"), _case(tmp_path, "r", "sub-7/anat/sub-7_T1w.nii")]
    )
    with pytest.raises(ValueError, match=r"'sub-7' stands where BIDS keeps .*'sub-7/anat/sub-7_T1w.nii'"):
        write_bids(tmp_path, table())


def test_a_refused_case_keeps_its_folder_for_the_day_when_it_is_mended(tmp_path: Path) -> None:
    mended = _case(tmp_path, "sub-01", "sub-01.nii")
    _write(tmp_path, [_case(tmp_path, "sub-01_T1w", "sub-01_T1w.nii")], refused=(mended,))
    with pytest.raises(ValueError, match=r"'sub-01' stands where BIDS keeps .*'sub-01_T1w.nii'"):
        write_bids(tmp_path, table())
    _write(tmp_path, [mended])


@pytest.mark.parametrize("name", ["dataset_description.json", "dseg.tsv"])
def test_another_dataset_is_not_described_anew(tmp_path: Path, name: str) -> None:
    _write(tmp_path, [_case(tmp_path, "one", "one.nii")])
    (tmp_path / name).write_text('{"Name": "raw"}')
    with pytest.raises(ValueError, match="is another BIDS dataset"):
        write_bids(tmp_path, table())
    assert (tmp_path / name).read_text() == '{"Name": "raw"}'


def test_what_is_not_done_any_more_and_pictures_have_no_mask_there(tmp_path: Path) -> None:
    one, two = (_case(tmp_path, name, f"{name}.nii") for name in ("one", "two"))
    _write(tmp_path, [one, two, _case(tmp_path, "photo", "photo.png", "picture")])
    assert len(_masks(tmp_path)) == 2
    _write(tmp_path, [], refused=(two,))
    assert _masks(tmp_path) == ["sub-one/anat/sub-one_desc-mcanet_dseg.nii.gz"]
    assert [path.name for path in sorted(tmp_path.glob("sub-*/anat/*"))] == [
        "sub-one_desc-mcanet_dseg.json",
        "sub-one_desc-mcanet_dseg.nii.gz",
    ]


def test_a_mask_that_was_made_anew_is_the_one_that_bids_shows(tmp_path: Path) -> None:
    case = _case(tmp_path, "one", "one.nii")
    _write(tmp_path, [case])
    (mask,) = write_bids(tmp_path, table())
    _write(tmp_path, [case])
    assert not mask.samefile(tmp_path / "one" / "segmentation.nii.gz")
    write_bids(tmp_path, table())
    assert mask.samefile(tmp_path / "one" / "segmentation.nii.gz")


def test_a_file_system_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", forbidden)
    _write(tmp_path, [_case(tmp_path, "one", "one.nii")])
    (mask,) = write_bids(tmp_path, table())
    assert mask.read_bytes() == (tmp_path / "one" / "segmentation.nii.gz").read_bytes()


def test_an_unknown_layout_ends_the_run_before_its_first_case(tmp_path: Path) -> None:
    hippocampi.decathlon(tmp_path / "in", 1)
    run = mcanet("segment", tmp_path / "in" / "imagesTr", "out", "--layout", "bidz", cwd=tmp_path)
    assert run.returncode == 1
    assert "no layout 'bidz': expected one of cases, bids" in run.stderr
    assert not list(tmp_path.glob("out/case_*"))


@pytest.mark.slow
def test_the_validator_of_bids_finds_no_error(tmp_path: Path) -> None:
    validator = shutil.which("bids-validator-deno")
    if validator is None:
        pytest.skip("needs the BIDS validator: make test-docs")
    folder = tmp_path / "raw" / "sub-01" / "anat"
    hippocampi.decathlon(tmp_path / "made", 2)
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "made" / "imagesTr" / "case_0.nii.gz", folder / "sub-01_T1w.nii.gz")
    shutil.copy(tmp_path / "made" / "imagesTr" / "case_1.nii.gz", tmp_path / "raw")
    run = mcanet("segment", tmp_path / "raw", "out", "--layout", "bids", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    found = subprocess.run([validator, "--json", tmp_path / "out"], capture_output=True, text=True)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert {Path(issue["location"]).name for issue in issues} <= {"dataset_description.json", "dseg.tsv"}
