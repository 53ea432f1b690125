"""From a PACS to masks and back into it, by the command that users type, with a server that dies on the way."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest
from mcanet.scripts.results import read_manifest
from mcanet.scripts.study import Archive, find_cases
from mcanet.scripts.study.server import value

from ..conftest import ROOT
from ..servers import free_port, orthanc, start_orthanc, upload
from .run import command, mcanet

USER, PASSWORD, WRONG = "ann-of-radiology", "hush-hush-7", "hush-hush-8"
SECRETS = (USER, PASSWORD, WRONG, "MNI152*", "Template")
pytestmark = [
    pytest.mark.label,
    pytest.mark.skipif(
        find_spec("nilearn") is None, reason="needs nilearn's template, which make env installs"
    ),
]


def stored_segs(base: str, folder: Path) -> list[pydicom.Dataset]:
    """The SEGs that a server holds, retrieved."""
    server = Archive(f"dicomweb+{base}/dicom-web").server
    for entry in server.search_series({"Modality": "SEG"}, ("StudyInstanceUID",)):
        place = (value(entry, "StudyInstanceUID"), value(entry, "SeriesInstanceUID"))
        (into := folder / place[1]).mkdir(parents=True)
        server.retrieve(*place, server.instances(*place), into)
    return [pydicom.dcmread(file) for file in folder.rglob("*.dcm")]


def test_segment_store_lose_the_server_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, out, storage = tmp_path / "study", tmp_path / "out", tmp_path / "orthanc"
    assert command(sys.executable, ROOT / "demo" / "make_study.py", study, cwd=tmp_path).returncode == 0
    with orthanc(storage) as base:
        upload(base, study)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    arguments = (
        "segment",
        f"dicomweb+{base}/dicom-web?Modality=MR&PatientName=MNI152*",
        out,
        "--store",
        "true",
    )
    server = start_orthanc(storage, port, {USER: PASSWORD})
    said = []
    try:
        monkeypatch.setenv("MCANET_DICOMWEB_USER", USER)
        monkeypatch.setenv("MCANET_DICOMWEB_PASSWORD", WRONG)
        run = mcanet(*arguments, cwd=tmp_path)
        said += [run.stdout, run.stderr]
        assert run.returncode == 1
        assert "cannot read the input: the server at" in run.stderr
        assert "refuses access (status 401)" in run.stderr
        monkeypatch.setenv("MCANET_DICOMWEB_PASSWORD", PASSWORD)
        words = [str(Path(sys.executable).parent / "mcanet"), *map(str, arguments)]
        broken = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        until = time.monotonic() + 300
        while not any(row["status"] == "done" for row in read_manifest(out)) and time.monotonic() < until:
            time.sleep(0.05)
        server.kill()
        server.wait()
        said.append(broken.communicate(timeout=300)[0])
        assert broken.returncode == 1
        first = {row["status"]: row for row in read_manifest(out)}
        assert first.keys() == {"done", "failed"}
        assert "cannot be reached, or the connection broke off" in first["failed"]["reason"]
        server = start_orthanc(storage, port, {USER: PASSWORD})
        run = mcanet(*arguments, cwd=tmp_path)
        said += [run.stdout, run.stderr]
        assert run.returncode == 0, run.stderr
        assert f"{first['done']['case_id']}: done in an earlier run" in run.stdout
        segs = stored_segs(base, tmp_path / "back")
    finally:
        server.terminate()
        server.wait()
    rows = {row["case_id"]: row for row in read_manifest(out)}
    assert rows[first["done"]["case_id"]] == first["done"]
    assert {row["status"] for row in rows.values()} == {"done"}
    check_segs(segs, study, out)
    assert not [secret for secret in SECRETS for text in said if secret in text]
    for file in out.rglob("*"):
        if file.is_file() and file.suffix != ".dcm":  # SEG carries the patient's identity by design
            assert not [secret for secret in SECRETS if secret.encode() in file.read_bytes()], file


def check_segs(segs: list[pydicom.Dataset], study: Path, out: Path) -> None:
    """One SEG a case: that of the disk, under the right names, on all slices of its source series."""
    cases = {case.case_id: case for case in find_cases(study).cases}
    assert len(segs) == len(cases) == 2
    for case_id, case in cases.items():
        here = pydicom.dcmread(out / case_id / "segmentation.dcm")
        (seg,) = [seg for seg in segs if seg.SOPInstanceUID == here.SOPInstanceUID]
        assert seg.PixelData == here.PixelData
        assert {int(item.SegmentNumber): item.SegmentLabel for item in seg.SegmentSequence} == {
            1: "anterior hippocampus",
            2: "posterior hippocampus",
        }
        sources = [pydicom.dcmread(file) for file in case.files]
        (series,) = seg.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
        referenced = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
        assert referenced == {source.SOPInstanceUID for source in sources}
        assert (seg.StudyInstanceUID, seg.PatientID) == (sources[0].StudyInstanceUID, sources[0].PatientID)
