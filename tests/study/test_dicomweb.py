"""Series from a DICOMweb server: what a URL may say, and that what is retrieved is what the server holds."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mcanet.scripts.inference import may_store, open_input
from mcanet.scripts.study import Archive, RefusedError, find_cases, print_check, read_case
from mcanet.scripts.study.address import parse_address
from mcanet.scripts.study.server import ServerError

from ..servers import Gate, certificate, free_port, gate, orthanc, upload
from . import phantom

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further tries follow at once."""
    monkeypatch.setattr("mcanet.scripts.study.server.PAUSES", (0.01, 0.01, 0.01))


class TestAddress:
    def test_url_and_filters(self) -> None:
        address = parse_address(
            "dicomweb+https://pacs.example:8443/dicom-web/?Modality=MR&PatientName=Doe%5EJ*"
        )
        assert address.url == "https://pacs.example:8443/dicom-web"
        assert address.filters == {"Modality": "MR", "PatientName": "Doe^J*"}
        assert "Doe" not in repr(address)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            (
                "http://localhost/dicom-web",
                r"begins with dicomweb\+https:// or dicomweb\+http://, received http://",
            ),
            ("dicomweb+https://ann:hush@pacs/x", "MCANET_DICOMWEB_USER and MCANET_DICOMWEB_PASSWORD"),
            ("dicomweb+https://hush@pacs/x", "leave them out"),
            ("dicomweb+http://pacs.example/x", "plain http to pacs.example .* --plain_http true"),
            ("dicomweb+http://localhost.example/x", "plain http"),
            ("dicomweb+https://pacs/x?Modalty=MR", "'Modalty': expected some of Modality, "),
            ("dicomweb+https://pacs/x?Modality=MR&Modality=CT", "every keyword of the query once"),
            ("dicomweb+https://pacs/x?PatientID=", "with a value"),
            ("dicomweb+https://pacs:port/x", "malformed: check host and port"),
            ("dicomweb+https:///x", "host:port"),
            ("dicomweb+https://pacs/x#y", "host:port"),
        ],
    )
    def test_refusals(self, url: str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as error:
            parse_address(url)
        assert "hush" not in str(error.value)

    def test_plain_http_to_this_machine_or_on_demand(self) -> None:
        for host in ("localhost:8042", "127.0.0.1", "127.1.2.3:80"):
            assert parse_address(f"dicomweb+http://{host}/x").url == f"http://{host}/x"
        assert parse_address("dicomweb+http://pacs.example/x", plain_http=True).url == "http://pacs.example/x"


class TestOpening:
    def test_no_server(self) -> None:
        url = f"dicomweb+http://127.0.0.1:{free_port()}/dicom-web?PatientID=PQ-77120"
        with pytest.raises(
            SystemExit, match=r"^cannot read the input: the server at .* cannot be reached"
        ) as error:
            open_input(url)
        assert "PQ-77120" not in str(error.value)

    def test_no_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "dicomweb_client", None)
        with pytest.raises(SystemExit, match="pip install dicomweb-client"):
            open_input("dicomweb+http://127.0.0.1/dicom-web")

    def test_incomplete_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MCANET_DICOMWEB_USER", "ann")
        with pytest.raises(SystemExit, match="set both MCANET_DICOMWEB_USER and MCANET_DICOMWEB_PASSWORD"):
            open_input("dicomweb+http://127.0.0.1/dicom-web")

    @pytest.mark.parametrize("token", ["abc\ndef", "abc\u20ac"])
    def test_a_token_that_no_header_can_carry(self, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MCANET_DICOMWEB_TOKEN", token)
        with pytest.raises(SystemExit, match="MCANET_DICOMWEB_TOKEN in the environment holds") as error:
            open_input("dicomweb+http://127.0.0.1/dicom-web")
        assert "abc" not in str(error.value)

    def test_authorities_that_are_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "text").write_text("no certificate")
        for name in ("missing", "text"):
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
            with pytest.raises(SystemExit, match=f"REQUESTS_CA_BUNDLE names '.*{name}', which is no file"):
                open_input("dicomweb+https://127.0.0.1/dicom-web")

    @pytest.mark.parametrize(
        ("dataset_dir", "seg", "deidentify", "words"),
        [
            ("folder", "binary", False, "input from a DICOMweb server"),
            ("dicomweb+http://localhost/x", "off", False, "set seg to binary or labelmap"),
            ("dicomweb+http://localhost/x", "binary", True, "leave deidentify out"),
        ],
    )
    def test_what_cannot_be_stored(self, dataset_dir: str, seg: str, deidentify: bool, words: str) -> None:
        with pytest.raises(SystemExit, match=words):
            may_store(True, dataset_dir, seg, deidentify)
        assert not may_store(False, dataset_dir, seg, deidentify)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CT series, an MR one, an RLE one, an enhanced one, and a SEG that nobody looks into."""
    folder = tmp_path_factory.mktemp("source")
    packed = phantom.classic(modality="MR")
    for dataset in packed:
        dataset.compress("1.2.840.10008.1.2.5")
    seg = phantom.base(SEG, "SEG", phantom.generate_uid())
    everything = {
        "ct1": phantom.classic(), "ct2": phantom.classic(), "mr": phantom.classic(modality="MR"),
        "rle": packed, "enhanced": phantom.enhanced(), "seg": seg,
    }  # fmt: skip
    for name, datasets in everything.items():
        phantom.write(folder / name, datasets)
    return folder


@pytest.fixture(scope="module")
def server(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as url:
        upload(url, source)
        yield url


@pytest.fixture
def way(server: str, quick: None) -> Iterator[Gate]:
    with gate(server) as way:
        yield way


@pytest.mark.label
class TestServer:
    @staticmethod
    def archive(base: str, query: str = "", **options: object) -> Archive:
        return Archive(f"dicomweb+{base}/dicom-web{query}", **options)

    @pytest.mark.parametrize(
        ("query", "count"),
        [("", 5), ("?Modality=CT", 2), ("?PatientID=PQ-77120&Modality=MR", 3), ("?PatientName=Quill*", 5)],
    )
    def test_filters(self, server: str, query: str, count: int) -> None:
        archive = self.archive(server, query)
        assert len(archive.series) == count
        assert ("no image to segment (Modality SEG)" in " ".join(archive.notices)) == (
            "Modality" not in query
        )

    def test_one_series_by_its_uid(self, server: str) -> None:
        uid = self.archive(server, "?Modality=CT").series[0].uid
        (series,) = self.archive(server, f"?SeriesInstanceUID={uid}").series
        assert series.uid == uid
        assert self.archive(server, f"?SeriesInstanceUID=1.2.3,{uid}").series == (series,)

    def test_nothing_found_and_a_filter_that_the_server_ignores(self, server: str) -> None:
        with pytest.raises(
            RefusedError, match=r"no image series among 0 series at .* \(PatientID\)"
        ) as error:
            self.archive(server, "?PatientID=nobody")
        assert "nobody" not in str(error.value)
        with pytest.raises(RefusedError, match="no image series among 1 series"):
            self.archive(server, "?Modality=SEG")
        with pytest.raises(ServerError, match="does not search by Modality, or not for such a value"):
            self.archive(server, "?Modality=MR,CT")  # Orthanc answers with every series

    def test_files_come_byte_by_byte_and_read_as_from_a_folder(
        self, server: str, source: Path, tmp_path: Path
    ) -> None:
        sent = sorted(file.read_bytes() for file in source.rglob("*.dcm") if file.parent.name != "seg")
        expected = {case.case_id: case for case in find_cases(source).cases}
        archive, came = self.archive(server), []
        for number, series in enumerate(archive.series):
            (folder := tmp_path / str(number)).mkdir()
            (case,) = archive.retrieve(series, archive.look_up(series), folder)[0].cases
            assert case.input.startswith(series.uid)
            phantom.assert_right(read_case(case))
            came += [file.read_bytes() for file in case.files]
            assert len(case.files) == len(expected.pop(case.case_id).files)
        assert not expected
        assert sorted(came) == sent

    def test_pages(self, server: str, way: Gate) -> None:
        """Servers answer with as many as they like; here two at a time."""
        way.page = 2
        whole, paged = self.archive(server), self.archive(way.url)
        assert {series.uid for series in paged.series} == {series.uid for series in whole.series}
        assert len(way.seen) == 4  # three pages and one that brings nothing new
        for series in whole.series:
            assert paged.look_up(series) == whole.look_up(series)

    def test_an_answer_that_breaks_off_is_asked_for_again(self, way: Gate, tmp_path: Path) -> None:
        archive = self.archive(way.url, "?Modality=CT")
        series = archive.series[0]
        listing = archive.look_up(series)
        for index, how in enumerate(("half", "lost", 503)):
            way.open()
            way.fail(f"GET .*/series/{series.uid}$", how, times=2)
            (folder := tmp_path / str(index)).mkdir()
            (case,) = archive.retrieve(series, listing, folder)[0].cases
            phantom.assert_right(read_case(case))
            assert len(way.seen) == 3
        way.fail(f"GET .*/series/{series.uid}$", "half")
        (folder := tmp_path / "never").mkdir()
        with pytest.raises(ServerError, match="broke off in the middle of a series"):
            archive.retrieve(series, listing, folder)

    def test_a_listing_changes_with_the_instances_and_the_patient(self, quick: None, tmp_path: Path) -> None:
        datasets = phantom.classic(modality="MR")
        with orthanc(tmp_path / "orthanc") as own:
            upload(own, phantom.write(tmp_path / "first", datasets[:-1]))
            archive = self.archive(own)
            (series,) = archive.series
            before = archive.look_up(series)
            assert archive.look_up(series) == before
            assert archive.look_up(replace(series, who=("another", *series.who[1:]))).sha256 != before.sha256
            upload(own, phantom.write(tmp_path / "last", datasets[-1:]))
            after = archive.look_up(series)
            assert len(after.instances) == len(before.instances) + 1
            assert after.sha256 != before.sha256
            found, retrieved = archive.retrieve(series, before, tmp_path / "last")  # it grew in between
            assert len(found.cases[0].files) == 6
            assert retrieved == after

    def test_credentials(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with orthanc(tmp_path, users={"ann": "h\u00fcsh"}) as url:
            for name, word in (("USER", "ann"), ("PASSWORD", "wrong")):
                monkeypatch.setenv(f"MCANET_DICOMWEB_{name}", word)
            with pytest.raises(
                ServerError, match=r"refuses access \(status 401\): check MCANET_DICOMWEB_USER"
            ) as error:
                self.archive(url)
            assert not re.search("ann|wrong", str(error.value))
            monkeypatch.setenv("MCANET_DICOMWEB_PASSWORD", "h\u00fcsh")
            with pytest.raises(RefusedError, match="among 0 series"):
                self.archive(url)

    def test_encrypted(self, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = certificate(tmp_path)
        with gate(server, file) as way:
            with pytest.raises(
                ServerError, match=r"certificate of the server at https://.* is not trusted: self.*CA_BUNDLE"
            ):
                self.archive(way.url)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
            assert len(self.archive(way.url).series) == 5

    def test_check(self, server: str, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"dicomweb+{server}/dicom-web"
        print_check(f"{url}?Modality=MR", rules={"modality": ["MR"]})
        assert re.findall("^(fit|refused) ", capsys.readouterr().out, re.MULTILINE) == ["fit"] * 3
        with pytest.raises(SystemExit, match="2 of 5 cases are refused"):
            print_check(url, rules={"modality": ["MR"]})
        told = capsys.readouterr().out
        assert told.count("Modality is 'CT', but the task expects MR") == 2
        assert "left out, no image to segment (Modality SEG)" in told
        assert "Quill" not in told

    def test_a_redirection_is_not_followed(self, way: Gate) -> None:
        way.fail("GET", 302)
        with pytest.raises(ServerError, match="points to another address"):
            self.archive(way.url)

    def test_a_place_without_dicomweb(self, server: str) -> None:
        with pytest.raises(ServerError, match="check the path in the URL"):
            Archive(f"dicomweb+{server}/elsewhere")
        with pytest.raises(ServerError, match="does not answer as DICOMweb does|check the path"):
            Archive(f"dicomweb+{server}/app")
