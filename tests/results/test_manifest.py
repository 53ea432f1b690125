"""The manifest tells the truth, survives earlier runs, and no spreadsheet takes a cell for a formula."""

import csv
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mcanet.scripts.results import Manifest, ResultsWriter, read_manifest, read_measurements
from mcanet.scripts.results.manifest import COLUMNS
from mcanet.scripts.results.tables import _unguarded, guarded
from mcanet.scripts.study import Case
from monai.data import MetaTensor

from .phantom import GEOMETRIES, table, write_series

DESIGNED = [
    "case_id",
    "input",
    "kind",
    "status",
    "reason",
    "outputs",
    "seconds",
    "input_sha256",
    "model_sha256",
]
RUN = {"model_sha256": "m1", "device": "cpu"}


def _case(name: str, folder: Path) -> Case:
    return Case(name, "nifti", f"{name}.nii.gz", (folder / f"{name}.nii.gz",), folder)


def _write(out: Path, case: Case) -> tuple[str, ...]:
    (out / case.case_id).mkdir(exist_ok=True)
    (out / case.case_id / "segmentation.nii.gz").write_bytes(b"x")
    return (f"{case.case_id}/segmentation.nii.gz",)


def test_columns_and_values(tmp_path: Path) -> None:
    with Manifest(tmp_path, RUN) as manifest:
        case = _case("a", tmp_path)
        manifest.record(
            case, "done", outputs=_write(tmp_path, case), seconds=1.5, input_sha256="i", warnings=["w1", "w2"]
        )
        manifest.record(_case("b", tmp_path), "refused", reason="because\nof this")
    with open(tmp_path / "manifest.csv", newline="", encoding="utf-8") as file:
        header, first, second = csv.reader(file)
    assert header[:9] == DESIGNED
    row = dict(zip(header, first, strict=True))
    assert (row["case_id"], row["status"], row["seconds"], row["input_sha256"]) == ("a", "done", "1.500", "i")
    assert (row["model_sha256"], row["device"], row["warnings"]) == ("m1", "cpu", "w1 | w2")
    assert "mcanet " in row["versions"]
    assert row["started"] < row["finished"]
    assert dict(zip(header, second, strict=True))["reason"] == "because of this"


def test_is_done_only_with_equal_hashes_and_all_files(tmp_path: Path) -> None:
    case = _case("a", tmp_path)
    with Manifest(tmp_path, RUN) as manifest:
        assert not manifest.whole("a", "input_sha256", "i")
        manifest.record(case, "done", outputs=_write(tmp_path, case), input_sha256="i")
        assert manifest.whole("a", "input_sha256", "i")
        assert not manifest.whole("a", "input_sha256", "other")
        assert not manifest.whole("a", "input_sha256", "")
        manifest.record(case, "failed", reason="x", input_sha256="i")
        assert not manifest.whole("a", "input_sha256", "i")
        manifest.record(case, "done", outputs=_write(tmp_path, case), input_sha256="i")
    with Manifest(tmp_path, {"model_sha256": "m2"}) as manifest:
        assert not manifest.whole("a", "input_sha256", "i")
    with Manifest(tmp_path, RUN | {"settings_sha256": "s"}) as manifest:
        assert not manifest.whole("a", "input_sha256", "i")
    with Manifest(tmp_path, RUN) as manifest:
        assert manifest.whole("a", "input_sha256", "i")
        (tmp_path / "a" / "segmentation.nii.gz").unlink()
        assert not manifest.whole("a", "input_sha256", "i")


def test_an_emptied_file_is_not_done(tmp_path: Path) -> None:
    case = _case("a", tmp_path)
    with Manifest(tmp_path, RUN) as manifest:
        (name,) = _write(tmp_path, case)
        manifest.record(case, "done", outputs=[name], input_sha256="i")
        assert manifest.whole("a", "input_sha256", "i")
        (tmp_path / name).write_bytes(b"")
        assert not manifest.whole("a", "input_sha256", "i")


def test_another_input_of_the_same_name_is_told_of(tmp_path: Path) -> None:
    image, labels = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4)), torch.ones(1, 4, 4, 4).byte()
    case = _case("a", tmp_path)
    warnings = []
    for digest in ("one", "one", "other"):
        with Manifest(tmp_path, RUN) as manifest:
            writer = ResultsWriter(tmp_path, table(), manifest=manifest, provenance=RUN)
            files = writer.write(case, image, labels, input_sha256=digest)
            warnings.append(manifest.record(case, "done", outputs=files, input_sha256=digest)["warnings"])
    assert warnings == ["", "", "it replaced the result of an input of this name with another content"]


def test_rows_of_earlier_runs_stay_and_are_replaced_case_by_case(tmp_path: Path) -> None:
    with Manifest(tmp_path, RUN) as manifest:
        for name in "abc":
            manifest.record(_case(name, tmp_path), "failed", reason="first run")
    with Manifest(tmp_path, {"model_sha256": "m2"}) as manifest:
        manifest.record(_case("b", tmp_path), "refused", reason="second run")
    rows = read_manifest(tmp_path)
    assert [(row["case_id"], row["reason"], row["model_sha256"]) for row in rows] == [
        ("a", "first run", "m1"),
        ("b", "second run", "m2"),
        ("c", "first run", "m1"),
    ]


def test_a_damaged_row_is_named_and_not_passed_over(tmp_path: Path) -> None:
    with Manifest(tmp_path, RUN) as manifest:
        for name in "abc":
            manifest.record(_case(name, tmp_path), "failed", reason="first run")
    file = tmp_path / "manifest.csv"
    whole = file.read_text()
    for damaged, words in (
        (whole.replace("b,b.nii.gz,nifti,failed,", "b,b.nii.gz,nifti,fai,"), "row of 'b'"),
        (whole[:-30], "row of 'c'"),
        (whole.replace("b,b.nii.gz", 'b,"b.nii.gz'), "unexpected end of data"),
    ):
        file.write_text(damaged)
        with pytest.raises(ValueError, match=rf"manifest.csv in the output folder is damaged \({words}"):
            Manifest(tmp_path, RUN)
        assert file.read_text() == damaged


def test_measurements_follow_the_cases(tmp_path: Path) -> None:
    out = tmp_path / "out"
    phantom = write_series(
        tmp_path / "in", GEOMETRIES["axial"], case_id="x", shape=(20, 18, 4), values=(1, 3)
    )
    with Manifest(out, RUN) as manifest:
        writer = ResultsWriter(out, table(), provenance=RUN, seg="off")
        for _ in range(2):
            files = writer.write(phantom.case, phantom.image, phantom.labels, input_sha256="i")
            manifest.record(phantom.case, "done", outputs=files, input_sha256="i")
        rows = read_measurements(out)
    assert [(row["case_id"], row["label"], row["name"]) for row in rows] == [
        ("x", "1", "liver"),
        ("x", "2", "spleen"),
        ("x", "3", "left kidney"),
    ]
    assert rows[1]["voxels"] == "0"
    assert rows[1]["mean"] == ""
    assert float(rows[0]["centroid_x"]) < 40
    assert rows[0]["touches_border"] in ("true", "false")
    (out / "measurements.csv").unlink()
    Manifest(out, RUN).close()
    with Manifest(out, RUN) as manifest:
        manifest.record(_case("other", tmp_path), "failed", reason="x")
        assert read_measurements(out) == rows
        manifest.record(phantom.case, "failed", reason="x")
        assert read_measurements(out) == []


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'quoted"]
)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    case = Case("a", "nifti", text, (tmp_path / "a",), tmp_path)
    with Manifest(tmp_path) as manifest:
        manifest.record(case, "failed", reason=text, warnings=[text])
    with open(tmp_path / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert read_manifest(tmp_path)[0]["input"] == text.strip()


@settings(max_examples=100)
@given(st.text())
def test_guarding_loses_nothing(text: str) -> None:
    cell = guarded(text)
    assert _unguarded(cell) == text
    assert not cell.startswith(("=", "@", "\t", "\r"))


def test_negative_numbers_stay_numbers() -> None:
    assert guarded("-1000.5") == "-1000.5"
    assert guarded("-1.5e-07") == "-1.5e-07"
    assert guarded("-1_0") == "'-1_0"


def test_refuses_what_it_cannot_account_for(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        with pytest.raises(ValueError, match="got 'finished'"):
            manifest.record(_case("a", tmp_path), "finished")
        with pytest.raises(ValueError, match="needs a reason"):
            manifest.record(_case("a", tmp_path), "failed")
    (tmp_path / "manifest.csv").write_text("name,age\nx,3\n")
    with pytest.raises(ValueError, match="not ours, it lacks the columns case_id"):
        Manifest(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no text"):
        Manifest(tmp_path)


def test_paths_of_this_machine_stay_out_of_the_reasons(tmp_path: Path) -> None:
    case = Case("a", "nifti", "x/y.nii.gz", (tmp_path / "x" / "y.nii.gz",), tmp_path, shown=("x/***.nii.gz",))
    with Manifest(tmp_path) as manifest:
        manifest.record(case, "failed", reason=f"cannot open {tmp_path}/x/y.nii.gz in {tmp_path}")
    assert read_manifest(tmp_path)[0]["reason"] == "cannot open x/***.nii.gz in the input folder"


def test_all_columns_are_there_for_every_row(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.record(_case("a", tmp_path), "failed", reason="x")
        assert tuple(manifest.rows[0]) == COLUMNS
