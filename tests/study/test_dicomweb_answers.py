"""Servers that say one thing and send another: no series is taken for another one, and none is lost in silence."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from mcanet.scripts.study import Archive, Limits, print_check
from mcanet.scripts.study.server import ServerError
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from ..servers import Pacs, as_file, certificate, gate, listed, pacs
from . import phantom


@pytest.fixture
def datasets() -> list[FileDataset]:
    return phantom.classic(modality="MR")


@pytest.fixture
def held(datasets: list[FileDataset], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pacs]:
    """A server of one series."""
    monkeypatch.setattr("mcanet.scripts.study.server.PAUSES", (0.01, 0.01, 0.01))
    with pacs(datasets) as held:
        yield held


def uid_of(held: Pacs) -> str:
    """The first series."""
    return next(iter(held.sent))


def told(held: Pacs, capsys: pytest.CaptureFixture[str], query: str = "") -> tuple[str, str]:
    """The table of ``mcanet check``, and how it ended."""
    end = ""
    try:
        print_check(f"dicomweb+{held.url}{query}")
    except SystemExit as error:
        end = str(error)
    return capsys.readouterr().out, end


def test_a_good_answer(held: Pacs, capsys: pytest.CaptureFixture[str]) -> None:
    table, end = told(held, capsys)
    assert re.findall("^(fit|refused) ", table, re.MULTILINE) == ["fit"]
    assert end == ""


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_images_of_another_series_under_the_listed_instances(
    held: Pacs, datasets: list[FileDataset], keyword: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, other = datasets[0][keyword].value, generate_uid()
    for dataset in datasets:
        setattr(dataset, keyword, other)
        dataset.PatientName = "Other^Patient"
    held.sent[uid_of(held)] = [as_file(dataset) for dataset in datasets]
    table, end = told(held, capsys)
    assert f"instance 1 of the server's answer: {keyword} is {other}, asked for was {asked}" in table
    assert end == "1 of 1 cases are refused"
    assert "Patient" not in table


def test_an_instance_is_known_by_its_data_set(
    held: Pacs, datasets: list[FileDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    """And not by the file meta information: one slice twice, under the listed names."""
    first, second = (dataset.SOPInstanceUID for dataset in datasets[:2])
    datasets[1].file_meta.MediaStorageSOPInstanceUID = first
    held.sent[uid_of(held)][0] = as_file(datasets[1])
    table, _ = told(held, capsys)
    assert f"SOPInstanceUID is {str(second)!r} as in one before it, but the content differs" in table


def test_an_instance_that_comes_twice(
    held: Pacs, datasets: list[FileDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    sent = held.sent[uid_of(held)]
    sent.append(sent[2])
    assert told(held, capsys)[1] == ""
    datasets[2].PixelData = bytes(len(datasets[2].PixelData))
    sent[-1] = as_file(datasets[2])
    table, end = told(held, capsys)
    assert "instance 7 of the server's answer: SOPInstanceUID is " in table
    assert "the content differs; remove one of the two there" in table
    assert end == "1 of 1 cases are refused"


def test_two_listed_series_of_one_uid(held: Pacs, tmp_path: Path) -> None:
    """What comes under the second one's UID says that it is the first."""
    other = phantom.classic(modality="MR")
    with pacs(phantom.classic(modality="MR"), other) as both:
        first, second = both.sent
        for dataset in other:
            dataset.SeriesInstanceUID = first
        both.sent[second] = [as_file(dataset) for dataset in other]
        archive = Archive(f"dicomweb+{both.url}")
        series = archive.series[1]
        with pytest.raises(ValueError, match=f"SeriesInstanceUID is {first}, asked for was {second}"):
            archive.retrieve(series, archive.look_up(series), tmp_path)


def test_a_series_of_no_instance(held: Pacs, capsys: pytest.CaptureFixture[str]) -> None:
    held.instances[uid_of(held)], held.sent[uid_of(held)] = [], []
    table, end = told(held, capsys)
    assert "the server lists the series, but no instance of it" in table
    assert end == "1 of 1 cases are refused"


def retrievals(held: Pacs) -> int:
    return sum(path.endswith(f"/series/{uid_of(held)}") for path in held.seen)


def test_a_series_that_grows_meanwhile(held: Pacs, tmp_path: Path) -> None:
    whole = held.instances[uid_of(held)]
    held.instances[uid_of(held)] = whole[:-1]
    archive = Archive(f"dicomweb+{held.url}")
    (series,) = archive.series
    before = archive.look_up(series)
    held.instances[uid_of(held)] = whole
    found, retrieved = archive.retrieve(series, before, tmp_path)
    assert len(found.cases[0].files) == len(whole)
    assert retrieved == archive.look_up(series) != before
    assert retrievals(held) == 1


def test_other_instances_than_listed(held: Pacs, capsys: pytest.CaptureFixture[str]) -> None:
    held.instances[uid_of(held)] = [generate_uid() for _ in range(4)]
    table, _ = told(held, capsys)
    assert (
        "the server lists 4 instances of the series and sent 0 of them and 6 others: look into its log"
        in table
    )
    assert retrievals(held) == 1


def test_what_the_query_names_and_the_server_does_not_list(
    held: Pacs, datasets: list[FileDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    study = datasets[0].StudyInstanceUID
    lost_study, lost_series = generate_uid(), generate_uid()
    query = f"?StudyInstanceUID={study},{lost_study}&SeriesInstanceUID={lost_series},{uid_of(held)}"
    table, end = told(held, capsys, query)
    for kind, uid in (("study", lost_study), ("series", lost_series)):
        assert re.search(
            rf"^refused  {kind}-\w+ +dicom +{uid} +the server does not list this {kind}", table, re.MULTILINE
        )
    assert end == "2 of 3 cases are refused"
    assert told(held, capsys, f"?SeriesInstanceUID={uid_of(held)[:-1]}*")[1] == ""


def test_a_broken_header_says_nothing_of_the_patient(held: Pacs, caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: BaseHTTPRequestHandler) -> bool:
        body = json.dumps(held.series if len(held.seen) == 1 else []).encode()
        request.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nno colon\r\n\r\n" + body
        )
        return True

    held.answer = answer
    assert len(Archive(f"dicomweb+{held.url}").series) == 1
    assert "Quill" not in caplog.text
    assert "Traceback" not in caplog.text


WARNING = '299 pacs "There are 41 additional results that can be requested"'


def test_a_list_that_is_cut(held: Pacs) -> None:
    held.headers["Warning"] = WARNING
    with pytest.raises(ServerError, match="cuts its list: it lists 1 and says that there are more"):
        Archive(f"dicomweb+{held.url}")
    held.headers["Warning"] = '299 pacs "The fuzzymatching parameter is not supported"'
    assert len(Archive(f"dicomweb+{held.url}").series) == 1


def test_a_list_in_pages(held: Pacs) -> None:
    """All pages but the last say that there is more."""

    def answer(request: BaseHTTPRequestHandler) -> bool:
        held.headers = {} if "offset=1" in request.path else {"Warning": WARNING}
        return False

    held.answer = answer
    assert len(Archive(f"dicomweb+{held.url}").series) == 1


def test_a_certificate_of_another_host(held: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with gate(held.url, file) as way, pytest.raises(ServerError) as error:
        Archive(f"dicomweb+{way.url}")
    assert "is not trusted: IP address mismatch" in str(error.value)
    assert "REQUESTS_CA_BUNDLE" not in str(error.value)


def test_a_handshake_that_breaks_off_may_pass() -> None:
    """And says nothing of the certificate."""

    def hang_up() -> None:
        connection, _ = listener.accept()
        connection.recv(2**12)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(ServerError, match="cannot be reached, or the connection broke off") as error:
            Archive(f"dicomweb+https://127.0.0.1:{listener.getsockname()[1]}")
    assert error.value.transient


@pytest.mark.parametrize(
    "element", [{"vr": "PN", "Value": {"a": 1}}, {"vr": "PN", "Value": [None]}, "text", None]
)
def test_a_malformed_value_counts_as_none(held: Pacs, element: object) -> None:
    held.series[0]["00100010"] = element
    (series,) = Archive(f"dicomweb+{held.url}").series
    assert series.who == ("PQ-77120", "", "")


def test_an_answer_without_end(held: Pacs, tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> bool:
        if not request.path.endswith(uid_of(held)):
            return False
        request.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=XX\r\n\r\n--XX\r\n\r\n"
        )
        with suppress(ConnectionError):
            while True:
                request.wfile.write(bytes(2**20))
        return True

    held.answer = answer
    archive = Archive(f"dicomweb+{held.url}", limits=Limits(max_file_bytes=2**20))
    (series,) = archive.series
    with pytest.raises(ServerError, match="beyond 6 instances of max_file_bytes = 1048576"):
        archive.retrieve(series, archive.look_up(series), tmp_path)


def test_a_server_that_stays_away_is_not_waited_for(held: Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(f"dicomweb+{held.url}")
    held.answer = lambda request: True  # a connection that is closed without an answer
    (series,) = archive.series
    with pytest.raises(ServerError, match="cannot be reached, or the connection broke off"):
        archive.look_up(series)
    monkeypatch.setattr("mcanet.scripts.study.server.AWAY", 0.0)
    asked = len(held.seen)
    with pytest.raises(ServerError, match="cannot be reached, or the connection broke off"):
        archive.look_up(series)
    assert len(held.seen) == asked + 1
    held.answer = lambda request: False
    assert archive.look_up(series).instances


def test_series_without_valid_uids_are_a_case_each(
    held: Pacs, datasets: list[FileDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    for study, series in (("1.2.3", ""), ("1.2.4", ""), ("1.2.3", "Quill^Peregrine\n\x1b[31m")):
        datasets[0].StudyInstanceUID, datasets[0].SeriesInstanceUID = study, series
        held.series.append(listed(datasets[0]))
    table, end = told(held, capsys)
    refused = re.findall("^refused  (series-[^ ]+) +dicom +a series without a valid UID", table, re.MULTILINE)
    assert len(set(refused)) == 3
    assert end == "3 of 4 cases are refused"
    assert "Quill" not in table


def test_a_series_that_is_listed_in_two_studies_is_one_case(
    held: Pacs, datasets: list[FileDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    datasets[0].StudyInstanceUID = generate_uid()
    held.series.append(listed(datasets[0]))
    table, end = told(held, capsys)
    assert "the server lists the series in 2 studies" in table
    assert end == "1 of 1 cases are refused"
