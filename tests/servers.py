"""Servers that tests talk to, started for a test on free ports of this machine and stopped by process id."""

import io
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset

PLUGIN = "libOrthancDicomWeb.so"
PLACES = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def orthanc(storage: Path, users: Mapping[str, str] | None = None) -> Iterator[str]:
    """A running Orthanc; its base URL, DICOMweb being under ``/dicom-web``. Skips where there is none.

    Args:
        storage: folder for its images; a later server on it has them still.
        users: names and passwords, if it shall ask for them.
    """
    port = free_port()
    process = start_orthanc(storage, port, users)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def start_orthanc(
    storage: Path, port: int, users: Mapping[str, str] | None = None, **settings: object
) -> subprocess.Popen[bytes]:
    """Orthanc as a process that answers on ``port``; whoever calls ends it. Skips where there is none.

    Args:
        storage: folder for its images, its configuration and its log.
        port: of HTTP; DICOM's own protocol stays off.
        users: names and passwords, if it shall ask for them.
        settings: more of Orthanc's configuration.
    """
    program = shutil.which("Orthanc")
    plugin = next((file for place in PLACES if (file := Path(place) / PLUGIN).exists()), None)
    if program is None or plugin is None:
        pytest.skip("needs Orthanc with DICOMweb: apt-get install orthanc orthanc-dicomweb")
    storage.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "tests",
        "StorageDirectory": str(storage / "images"),
        "IndexDirectory": str(storage / "images"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": bool(users),
        "RegisteredUsers": dict(users or {}),
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **settings,
    }
    (storage / "orthanc.json").write_text(json.dumps(configuration))
    with open(storage / "orthanc.log", "ab") as log:
        process = subprocess.Popen([program, str(storage / "orthanc.json")], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/dicom-web/studies?limit=1", process, storage / "orthanc.log")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Return once a server answers, whatever it answers.

    Raises:
        RuntimeError: it ended, or is silent for too long.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Orthanc does not answer: {log.read_text(errors='replace')[-1000:]}")


class Gate:
    """A way to another server that notes what goes through, and fails on demand.

    Attributes:
        url: base URL on this side.
        target: base URL of the server itself.
        seen: ``METHOD /path?query`` of every request.
        page: how many matches an answer to a search holds at most.
    """

    def __init__(self, url: str, target: str) -> None:
        self.url, self.target = url, target
        self.seen: list[str] = []
        self.page: int | None = None
        self._rules: list[tuple[re.Pattern[str], str | int, int]] = []

    def fail(self, pattern: str, how: str | int, times: int = 1000) -> None:
        """Have coming requests fail that match.

        They are answered with a status, or a ``portal``'s page, cut off ``half``, or ``lost`` on return.
        """
        self._rules.append((re.compile(pattern), how, times))

    def open(self) -> None:
        """Forget what was seen, and fail no more."""
        self._rules.clear()
        self.seen.clear()

    def fault(self, request: str) -> str | int | None:
        """How a request fails, or None."""
        self.seen.append(request)
        for index, (pattern, how, times) in enumerate(self._rules):
            if times and pattern.search(request):
                self._rules[index] = (pattern, how, times - 1)
                return how
        return None


def _fetch(request: urllib.request.Request) -> tuple[int, str | None, bytes]:
    """Status, type and content of an answer."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()
    except OSError:
        return 502, None, b""


@contextmanager
def gate(target: str, certificate: Path | None = None) -> Iterator[Gate]:
    """A :class:`Gate` before the server at ``target``; https with a file of certificate and key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._forward(None)

        def do_POST(self) -> None:
            self._forward(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            pass

        def _forward(self, body: bytes | None) -> None:
            fault = way.fault(f"{self.command} {self.path}")
            if isinstance(fault, int):
                self.send_response(fault)
                self.send_header("Location", target + self.path)
                self.end_headers()
                return
            if fault == "portal":
                self._answer(200, "text/html", b"<html>please log in</html>")
                return
            headers = {
                name: text
                for name, text in self.headers.items()
                if name not in ("Host", "Connection", "Accept-Encoding")
            }
            page = f"&limit={way.page}" if way.page and "?" in self.path else ""
            request = urllib.request.Request(target + self.path + page, body, headers, method=self.command)
            status, kind, content = _fetch(request)
            if fault != "lost":
                self._answer(status, kind, content[: len(content) // 2] if fault == "half" else content)

        def _answer(self, status: int, kind: str | None, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind or "text/plain")
            self.end_headers()  # without a length, as Orthanc sends series: only their end tells that they are whole
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    way = Gate(f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", target)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with _serving(server):
        yield way


def certificate(folder: Path, address: str = "127.0.0.1") -> Path:
    """A certificate of an IP address that is its own authority, followed by its key. Skips where openssl is missing."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    names = (f"/CN={address}", f"subjectAltName=IP:{address}")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", names[0],
         "-addext", names[1], "-keyout", folder / "key", "-out", folder / "certificate"],
        check=True, capture_output=True,
    )  # fmt: skip
    file = folder / "own.pem"
    file.write_bytes((folder / "certificate").read_bytes() + (folder / "key").read_bytes())
    return file


def upload(url: str, folder: Path) -> None:
    """Give Orthanc every DICOM file of a folder."""
    for file in sorted(folder.rglob("*.dcm")):
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/instances", file.read_bytes()), timeout=30
        ).close()


class Pacs:
    """A DICOMweb server that holds series, and says and sends of them what a test puts there.

    Attributes:
        url: its root.
        series: what it lists, DICOM JSON.
        instances: SOPInstanceUIDs that it lists, by SeriesInstanceUID.
        sent: files that it sends, by SeriesInstanceUID.
        headers: more of its answers to searches.
        seen: paths of the requests.
        answer: what it does before all else to a request; True where that was all.
    """

    def __init__(self, url: str, series: Sequence[Sequence[FileDataset]]) -> None:
        self.url = url
        self.series = [listed(datasets[0]) for datasets in series]
        self.instances = {one[0].SeriesInstanceUID: [str(d.SOPInstanceUID) for d in one] for one in series}
        self.sent = {one[0].SeriesInstanceUID: [as_file(dataset) for dataset in one] for one in series}
        self.headers: dict[str, str] = {}
        self.seen: list[str] = []
        self.answer: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False


def listed(dataset: Dataset) -> dict[str, object]:
    """A data set's series as a server lists it."""
    shown = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID", "PatientName"):
        setattr(shown, keyword, dataset[keyword].value)
    return dict(shown.to_json_dict())


def as_file(dataset: FileDataset) -> bytes:
    """A data set as the bytes of a file."""
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@contextmanager
def pacs(*series: Sequence[FileDataset]) -> Iterator[Pacs]:
    """A running :class:`Pacs`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            held.seen.append(self.path)
            path, _, query = self.path.partition("?")
            offset = int((re.search(r"offset=(\d+)", query) or [0, 0])[1])
            uid = next((uid for uid in held.sent if f"/series/{uid}" in path), "")
            if held.answer(self):
                return
            if path.endswith("/instances"):
                found = [
                    {"00080018": {"vr": "UI", "Value": [instance]}}
                    for instance in held.instances.get(uid, [])
                ]
                self._list(found[offset:])
            elif path.endswith("/series"):
                self._list(held.series[offset:])
            else:
                parts = b"".join(b"--XX\r\n\r\n" + part + b"\r\n" for part in held.sent[uid])
                self._send(parts + b"--XX--", {"Content-Type": "multipart/related; boundary=XX"})

        def _list(self, found: object) -> None:
            self._send(json.dumps(found).encode(), {"Content-Type": "application/dicom+json", **held.headers})

        def _send(self, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(200)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Pacs(f"http://127.0.0.1:{server.server_port}", series)
    with _serving(server):
        yield held


@contextmanager
def _serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """A server that answers from a thread of its own."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
