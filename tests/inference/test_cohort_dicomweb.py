"""A run over the series of a DICOMweb server: done, stored and resumed, whatever the connection does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from mcanet.scripts.study import Archive
from mcanet.scripts.study.server import value

from ..servers import Gate, gate, orthanc, upload
from ..study import phantom
from .test_cohort import rows, run

pytestmark = pytest.mark.label


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A server of two MR series, and a way to it that can fail."""
    monkeypatch.setattr("mcanet.scripts.study.server.PAUSES", (0.01, 0.01))
    for name in "ab":
        phantom.write(tmp_path / "in" / name, phantom.classic(modality="MR"))
    with orthanc(tmp_path / "orthanc") as url, gate(url) as way:
        upload(url, tmp_path / "in")
        yield way


def segment(way: Gate, output: Path, query: str = "?Modality=MR", store: bool = False) -> str:
    """Run, and say how it ended: ``""`` where all is done."""
    cohort = run(f"dicomweb+{way.url}/dicom-web{query}", output, store=store)
    try:
        cohort.finish()
    except SystemExit as end:
        return str(end)
    return ""


def retrievals(way: Gate) -> int:
    return sum(re.search(r"^GET .*/series/[0-9.]+$", request) is not None for request in way.seen)


def stored(way: Gate) -> list[str]:
    """SOPInstanceUIDs of the SEGs on the server."""
    server = Archive(f"dicomweb+{way.url}/dicom-web").server
    found = server.search_series({"Modality": "SEG"}, ("StudyInstanceUID",))
    return [
        uid
        for entry in found
        for uid in server.instances(value(entry, "StudyInstanceUID"), value(entry, "SeriesInstanceUID"))
    ]


def written(output: Path) -> list[str]:
    """SOPInstanceUIDs of the SEGs on the disk."""
    return [pydicom.dcmread(file).SOPInstanceUID for file in output.rglob("segmentation.dcm")]


def test_what_is_done_is_not_retrieved_again_until_the_series_changes(way: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(way, out) == ""
    first = rows(out)
    assert {row["status"] for row in first.values()} == {"done"}
    assert retrievals(way) == 2
    assert not list(out.glob(".partial*"))
    way.open()
    assert segment(way, out) == ""
    assert retrievals(way) == 0
    assert rows(out) == first
    grown = phantom.classic(phantom.Grid(slices=7), modality="MR")[-1]
    grown.SeriesInstanceUID = next(iter(first.values()))["input"]
    upload(way.target, phantom.write(tmp_path / "more", grown))
    segment(way, out)
    assert retrievals(way) == 1


def test_a_folder_and_a_server_give_the_same_cases(way: Gate, tmp_path: Path) -> None:
    assert segment(way, tmp_path / "remote") == ""
    run(tmp_path / "in", tmp_path / "local").finish()
    remote, local = rows(tmp_path / "remote"), rows(tmp_path / "local")
    assert remote.keys() == local.keys()
    for case_id, row in remote.items():
        assert row["input_sha256"] == local[case_id]["input_sha256"]
        assert row["listing_sha256"]
        assert not local[case_id]["listing_sha256"]


def test_a_lost_connection_fails_the_case_and_not_the_others(way: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    way.fail("GET .*/series/[0-9.]+$", "half", times=3)  # as often as the first series is tried
    assert "1 of 2 cases have no mask" in segment(way, out)
    assert sorted(row["status"] for row in rows(out).values()) == ["done", "failed"]
    reason = next(row["reason"] for row in rows(out).values() if row["status"] == "failed")
    assert reason == "the connection broke off in the middle of a series: run again"
    way.open()
    assert segment(way, out) == ""
    assert retrievals(way) == 1


def test_results_are_stored_once_whatever_happens_on_the_way(
    way: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    way.fail("POST", 503)
    assert "2 of 2 cases have no mask" in segment(way, out, store=True)
    for row in rows(out).values():
        assert row["status"] == "failed"
        assert row["reason"].startswith(
            "its results are whole, but not stored on the server yet: the server at http"
        )
        assert "segmentation.dcm" in row["outputs"]
        assert "earlier run" not in row["warnings"]
    assert not stored(way)
    before = written(out)
    way.open()
    way.fail("POST", "lost", times=1)  # stored, but the answer never came, and the run gave up at once
    with monkeypatch.context() as once:
        once.setattr("mcanet.scripts.study.server.PAUSES", ())
        assert "1 of 2 cases have no mask" in segment(way, out, store=True)
    assert segment(way, out, store=True) == ""
    assert sum(request.startswith("POST") for request in way.seen) == 2
    assert retrievals(way) == 0
    assert written(out) == before
    assert sorted(stored(way)) == sorted(before)
    way.open()
    assert segment(way, out, store=True) == ""
    assert not any(request.startswith("POST") for request in way.seen)


def test_a_page_is_no_receipt(way: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    way.fail("POST", "portal")
    assert "2 of 2 cases have no mask" in segment(way, out, store=True)
    for row in rows(out).values():
        assert "neither says that it took segmentation.dcm nor lists it" in row["reason"]
    assert not stored(way)
    way.open()
    assert segment(way, out, store=True) == ""
    assert len(stored(way)) == 2


def test_servers_that_know_no_such_series_yet(way: Gate, tmp_path: Path) -> None:
    """Some answer with 404 where they have nothing of a series."""
    out = tmp_path / "out"
    assert segment(way, out) == ""
    sources = "|".join(re.escape(row["input"]) for row in rows(out).values())
    way.fail(f"GET .*/series/(?!{sources})[^/]+/instances", 404)
    assert segment(way, out, store=True) == ""
    way.open()
    assert len(stored(way)) == 2


def test_what_was_done_without_storing_can_be_stored_later(way: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(way, out) == ""
    assert not stored(way)
    assert segment(way, out, store=True) == ""
    assert sorted(stored(way)) == sorted(written(out))
    assert retrievals(way) == 2
    assert {row["stored"] for row in rows(out).values()} == {f"{way.url}/dicom-web"}


def test_a_failed_store_is_done_where_storing_is_given_up(way: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    way.fail("POST", 503)
    segment(way, out, store=True)
    assert segment(way, out) == ""
    assert {row["status"] for row in rows(out).values()} == {"done"}
    assert (out / "measurements.csv").read_text().count("series-") == 2


def test_series_without_a_wanted_image_are_no_cases(way: Gate, tmp_path: Path) -> None:
    localizer = phantom.classic(modality="MR")
    for dataset in localizer:
        dataset.ImageType, dataset.PatientID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "only"
    upload(way.target, phantom.write(tmp_path / "localizer", localizer))
    assert "none of the series holds an image" in segment(way, tmp_path / "out", "?PatientID=only")
    assert segment(way, tmp_path / "out") == ""
    assert len(rows(tmp_path / "out")) == 2
