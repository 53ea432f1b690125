"""The structured report holds the measurements and refers to the segments."""

from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from mcanet.scripts.results import measure, write_seg, write_sr

from .phantom import BIRTH, GEOMETRIES, NAME, PATIENT_ID, table, write_series
from .test_seg import SHA, _check_with_dciodvfy


@pytest.mark.parametrize(
    ("attributes", "units"),
    [
        ({}, {"ml", "[hnsf'U]"}),
        ({"RescaleType": "HU"}, {"ml", "[hnsf'U]"}),
        ({"RescaleType": "US"}, {"ml"}),
        ({"RescaleSlope": None}, {"ml"}),
    ],
)
def test_a_ct_that_says_so_has_hounsfield_units(
    tmp_path: Path, attributes: dict[str, object], units: set[str]
) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["axial"], **attributes)
    for file in phantom.case.files if "RescaleSlope" in attributes else ():
        header = pydicom.dcmread(file)
        del header.RescaleSlope, header.RescaleIntercept
        header.save_as(file)
    seg, path = tmp_path / "seg.dcm", tmp_path / "sr.dcm"
    write_seg(phantom.labels, phantom.case, table(), seg, model_sha256=SHA)
    write_sr(
        measure(phantom.labels, phantom.image, table()), phantom.case, table(), seg, path,
        affine=phantom.image.affine.numpy(), shape=phantom.labels.shape[1:], model_sha256=SHA,
    )  # fmt: skip
    groups = hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert {m.unit.value for group in groups for m in group.get_measurements()} == units


@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize("enhanced", [False, True])
def test_report(tmp_path: Path, enhanced: bool, deidentify: bool) -> None:
    phantom = write_series(tmp_path / "in", GEOMETRIES["oblique"], enhanced=enhanced, values=(1, 3))
    rows = measure(phantom.labels, phantom.image, table())
    seg, path = tmp_path / "seg.dcm", tmp_path / "sr.dcm"
    write_seg(phantom.labels, phantom.case, table(), seg, deidentify=deidentify, model_sha256=SHA)
    write_sr(
        rows,
        phantom.case,
        table(),
        seg,
        path,
        affine=phantom.image.affine.numpy(),
        shape=phantom.labels.shape[1:],
        deidentify=deidentify,
        model_sha256=SHA,
    )
    report = hd.sr.srread(path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["liver", "spleen", "left kidney"]
    for group, row, label in zip(groups, rows, table(), strict=True):
        values = {
            (m.name.meaning, m.derivation.meaning if m.derivation else ""): m
            for m in group.get_measurements()
        }
        volume = values["Volume", ""]
        assert volume.value == pytest.approx(row["volume_ml"], rel=1e-6)
        assert volume.unit.value == "ml"
        means = [m.value for (_, how), m in values.items() if how == "Mean"]
        assert means == ([] if row["mean"] is None else [pytest.approx(row["mean"], rel=1e-6)])
        assert group.referenced_segment.referenced_segment_numbers == [label.value]
        assert group.finding_type.value == label.type.value
    referenced = {str(pydicom.dcmread(seg).SOPInstanceUID)}
    assert {str(g.referenced_segment.referenced_sop_instance_uid) for g in groups} == referenced
    assert report.VerificationFlag == "UNVERIFIED"
    content = path.read_bytes()
    for secret in (NAME, PATIENT_ID, BIRTH):
        assert (secret.encode() in content) != deidentify
    _check_with_dciodvfy(path)
