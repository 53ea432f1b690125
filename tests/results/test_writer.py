"""What lies in a case's folder, and that nothing lies outside it or tells who the patient is."""

import json
import os
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mcanet.scripts.results import Manifest, ResultsWriter, expected_dice, write_nifti, write_report
from mcanet.scripts.results.nifti import is_sheared
from mcanet.scripts.study import Case, LoadStudyd
from monai.data import MetaTensor
from PIL import Image

from .phantom import BIRTH, GEOMETRIES, NAME, PATIENT_ID, table, write_series


def _nifti_case(folder: Path, case_id: str = "n") -> Case:
    return Case(case_id, "nifti", f"{case_id}.nii.gz", (folder / f"{case_id}.nii.gz",), folder)


def test_files_of_a_dicom_case(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], case_id="x")
    writer = ResultsWriter(
        tmp_path / "out", table(), save_image=True, sr=True, provenance={"model_sha256": "ab" * 32}
    )
    files = writer.write(
        phantom.case, phantom.image, phantom.labels, seconds=2, input_sha256="i", warnings=["w"]
    )
    assert set(files) == {
        f"x/{name}"
        for name in (
            "segmentation.nii.gz", "segmentation.dcm", "measurements.dcm", "preview.png", "measurements.json",
            "image.nii.gz",
        )
    }  # fmt: skip
    assert all((tmp_path / "out" / name).is_file() for name in files)
    mask = nibabel.load(tmp_path / "out/x/segmentation.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), phantom.labels[0].numpy())
    assert np.abs(mask.affine - phantom.image.affine.numpy()).max() < 1e-4
    for form, code in (mask.get_sform(coded=True), mask.get_qform(coded=True)):
        assert code == 1
        assert np.abs(form - phantom.image.affine.numpy()).max() < 1e-4
    assert mask.header.get_xyzt_units()[0] == "mm"
    image = nibabel.load(tmp_path / "out/x/image.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(image.dataobj), phantom.image[0].numpy())
    account = json.loads((tmp_path / "out/x/measurements.json").read_text())
    assert (account["input_sha256"], account["model_sha256"], account["warnings"]) == ("i", "ab" * 32, ["w"])
    assert [row["name"] for row in account["labels"]] == ["liver", "spleen", "left kidney"]


def test_files_of_a_picture(tmp_path: Path) -> None:
    labels = np.zeros((1, 30, 20), np.uint8)
    labels[0, 25, 3] = 2
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 30, 20), np.uint8))
    case = Case("p", "picture", "p.png", (tmp_path / "p.png",), tmp_path)
    files = ResultsWriter(tmp_path / "out", table(), save_image=True).write(case, picture, labels)
    assert set(files) == {"p/segmentation.png", "p/preview.png", "p/measurements.json", "p/image.png"}
    mask = Image.open(tmp_path / "out/p/segmentation.png")
    assert (mask.mode, mask.size) == ("L", (30, 20))
    assert mask.getpixel((25, 3)) == 2
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "out/p/image.png")), picture.numpy().transpose(2, 1, 0)
    )


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(GEOMETRIES)), seed=st.integers(0, 10**6))
def test_nifti_keeps_the_grid(tmp_path_factory: pytest.TempPathFactory, name: str, seed: int) -> None:
    path = tmp_path_factory.mktemp("n") / "x.nii.gz"
    data = np.random.default_rng(seed).integers(0, 9, (5, 4, 3), np.uint8)
    affine = GEOMETRIES[name].affine
    write_nifti(data, affine, path)
    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj), data)
    assert np.abs(image.affine - affine).max() < 1e-4
    qform, code = image.get_qform(coded=True)
    assert (code == 0) == (name == "tilted") == is_sheared(affine)
    assert code == 0 or np.abs(qform - affine).max() < 1e-4
    assert bytes(image.header["descrip"]).strip(b"\0") == b""


def test_the_form_code_of_the_source_is_kept(tmp_path: Path) -> None:
    image = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4), meta={"sform_code": 4})
    ResultsWriter(tmp_path / "out", table()).write(
        _nifti_case(tmp_path), image, torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    )
    assert nibabel.load(tmp_path / "out/n/segmentation.nii.gz").header["sform_code"] == 4


def test_results_of_a_flat_file_are_flat(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).integers(0, 99, (12, 12), np.uint8)
    nibabel.save(nibabel.Nifti1Image(plane, np.diag([1.0, 2, 3, 1])), tmp_path / "n.nii.gz")
    image = LoadStudyd("image")({"image": tmp_path / "n.nii.gz"})["image"]
    labels = (image > 50).to(torch.uint8)
    files = ResultsWriter(tmp_path / "out", table(), save_image=True).write(
        _nifti_case(tmp_path), image, labels, uncertainty=labels.float()
    )
    assert {name: nibabel.load(tmp_path / "out" / name).shape for name in files if name.endswith(".gz")} == {
        f"n/{name}.nii.gz": (12, 12) for name in ("segmentation", "image", "uncertainty")
    }
    assert np.array_equal(nibabel.load(tmp_path / "out/n/segmentation.nii.gz").get_fdata(), plane > 50)


def test_a_picture_of_sixteen_bits_is_kept_as_it_was_read(tmp_path: Path) -> None:
    grey = torch.arange(30 * 20, dtype=torch.float32).reshape(1, 30, 20) * 100
    case = Case("p", "picture", "p.png", (tmp_path / "p.png",), tmp_path)
    ResultsWriter(tmp_path, table(), save_image=True).write(
        case, MetaTensor(grey, affine=torch.eye(3)), torch.zeros(1, 30, 20, dtype=torch.uint8)
    )
    assert np.array_equal(np.asarray(Image.open(tmp_path / "p" / "image.png")), grey[0].T.numpy())


def test_seg_kinds(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], case_id="x", shape=(20, 18, 4))
    for seg, size in (("binary", 1), ("labelmap", 8)):
        ResultsWriter(tmp_path / seg, table(), seg=seg).write(phantom.case, phantom.image, phantom.labels)  # type: ignore[arg-type]
        import pydicom

        assert pydicom.dcmread(tmp_path / seg / "x/segmentation.dcm").BitsAllocated == size
    files = ResultsWriter(tmp_path / "off", table(), seg="off").write(
        phantom.case, phantom.image, phantom.labels
    )
    assert "x/segmentation.dcm" not in files


def test_passes_that_disagree(tmp_path: Path) -> None:
    labels = torch.zeros(1, 6, 6, 6, dtype=torch.uint8)
    labels[0, 1:3, 1:3, 1:3] = 1
    other = labels.clone()
    other[0, 1, 1, 1] = 0
    agreement = expected_dice([labels, other, labels], table())
    assert agreement[1] == pytest.approx((14 / 15 * 2 + 1) / 3 * 1.0)
    assert agreement[2] is None
    uncertainty = torch.zeros(1, 6, 6, 6)
    uncertainty[0, 1, 1, 1] = 0.918
    image = MetaTensor(torch.ones(1, 6, 6, 6), affine=torch.eye(4))
    with Manifest(tmp_path) as manifest:
        case = _nifti_case(tmp_path)
        files = ResultsWriter(tmp_path, table()).write(
            case, image, labels, uncertainty=uncertainty, agreement=agreement
        )
        manifest.record(case, "done", outputs=files)
    assert "n/uncertainty.nii.gz" in files
    found = np.asarray(nibabel.load(tmp_path / "n/uncertainty.nii.gz").dataobj)
    assert (found.dtype, found[1, 1, 1], found.sum()) == (np.uint8, 92, 92)
    assert "0.955555556" in (tmp_path / "measurements.csv").read_text()
    assert "0.956" in write_report(tmp_path).read_text()
    with pytest.raises(ValueError, match="between 0 and 1"):
        ResultsWriter(tmp_path, table()).write(case, image, labels, uncertainty=uncertainty * 2)
    with pytest.raises(ValueError, match="at least two"):
        expected_dice([labels], table())


@pytest.mark.parametrize(
    "case_id",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        "x" * 65,
        ".hidden",
        "manifest.csv",
        "report.html",
        "ä",
        "a b",
        "a\n",
    ],
)
def test_unsafe_case_ids(tmp_path: Path, case_id: str) -> None:
    image = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4))
    with pytest.raises(ValueError, match="case id"):
        ResultsWriter(tmp_path / "out", table()).write(
            _nifti_case(tmp_path, case_id), image, torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "out/n")
    image = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4))
    with pytest.raises(ValueError, match="is a link"):
        ResultsWriter(tmp_path / "out", table()).write(
            _nifti_case(tmp_path), image, torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
        )
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_failing_case_leaves_the_earlier_result(tmp_path: Path) -> None:
    image = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4))
    labels = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    writer = ResultsWriter(tmp_path, table())
    writer.write(_nifti_case(tmp_path), image, labels)
    before = {path.name: path.read_bytes() for path in (tmp_path / "n").iterdir()}
    with pytest.raises(ValueError, match="does not describe"):
        writer.write(_nifti_case(tmp_path), image, labels * 77)
    assert {path.name: path.read_bytes() for path in (tmp_path / "n").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


def test_what_no_run_wrote_is_never_replaced(tmp_path: Path) -> None:
    image = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.eye(4))
    labels = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    writer = ResultsWriter(tmp_path, table())
    for name in ("notes.txt", "segmentation.nii.gz"):  # the second could be one of ours, drawn by hand
        (tmp_path / "n").mkdir()
        (tmp_path / "n" / name).write_text("mine")
        with pytest.raises(ValueError, match=rf"'n' in the output folder holds what no run wrote \({name}\)"):
            writer.write(_nifti_case(tmp_path), image, labels)
        assert (tmp_path / "n" / name).read_text() == "mine"
        (tmp_path / "n" / name).unlink()
        (tmp_path / "n").rmdir()
    writer.write(_nifti_case(tmp_path), image, labels)
    (tmp_path / "n" / ".DS_Store").write_text("of the desktop")
    writer.write(_nifti_case(tmp_path), image, labels)
    (tmp_path / "n" / "corrected.nii.gz").write_text("mine")
    with pytest.raises(ValueError, match="corrected.nii.gz"):
        writer.write(_nifti_case(tmp_path), image, labels)
    assert (tmp_path / "n" / "corrected.nii.gz").exists()


def test_a_report_of_someone_elses_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ValueError, match=r"report.html in the output folder is not ours"):
        Manifest(tmp_path)
    write_report(tmp_path)
    Manifest(tmp_path).close()


@pytest.mark.parametrize(
    ("options", "message"), [({"seg": "both"}, "got 'both'"), ({"seg": "off", "sr": True}, "needs a SEG")]
)
def test_refuses_options(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResultsWriter(tmp_path, table(), **options)  # type: ignore[arg-type]


def _plain(path: Path) -> bytes:
    content = path.read_bytes()
    return zlib.decompress(content, 31) if path.suffix == ".gz" else content


@pytest.mark.parametrize("deidentify", [False, True])
def test_the_patient_is_named_in_no_file_but_seg_and_sr(
    tmp_path: Path, deidentify: bool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], case_id="x")
    out = tmp_path / "out"
    with Manifest(out) as manifest:
        writer = ResultsWriter(out, table(), save_image=True, sr=True, deidentify=deidentify)
        files = writer.write(phantom.case, phantom.image, phantom.labels)
        manifest.record(phantom.case, "done", outputs=files)
    write_report(out)
    secrets = [word.encode() for word in (*NAME.split("^"), PATIENT_ID, BIRTH)]
    for path in out.rglob("*"):
        found = path.is_file() and any(secret in _plain(path) for secret in secrets)
        assert found == (path.suffix == ".dcm" and not deidentify), path.name
        assert not any(secret in str(path.relative_to(out)).encode() for secret in secrets)
    said = "".join(capfd.readouterr()) + caplog.text
    assert not any(secret.decode() in said for secret in secrets)
