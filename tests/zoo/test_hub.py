"""The exported bundle on the Hugging Face Hub: its card, and what ``push_to_hf_hub`` sends."""

import base64
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ..end_to_end.run import command

huggingface_hub = pytest.importorskip("huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """The part of the Hub's HTTP interface that an upload needs; takes every file into the commit itself."""

    files: dict[str, bytes]
    calls: list[str]

    def do_POST(self) -> None:
        body = self._body()
        self.calls.append(self.path)
        if self.path.endswith("/preupload/main"):
            listed = json.loads(body)["files"]
            answer: dict = {
                "files": [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in listed
                ]
            }
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            answer = {
                "commitUrl": f"{self._root()}/someone/mcanet/commit/1",
                "commitOid": "1",
                "success": True,
            }
        else:
            answer = {"url": f"{self._root()}/someone/mcanet"}
        self._answer(answer)

    def do_GET(self) -> None:
        self.calls.append(self.path)
        self._answer({"id": "someone/mcanet", "sha": "0", "siblings": []})

    def _root(self) -> str:
        return "http://" + self.headers["Host"]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _answer(self, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """A running Hub: its address, and the class that holds what it received."""
    received = type("Received", (Hub,), {"files": {}, "calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), received)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()


def test_front_matter_is_what_the_hub_reads_above_the_one_model_card(other: Path) -> None:
    card = huggingface_hub.ModelCard.load(other / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "monai"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.tags == ["monai", "medical", "mcanet", "ct"]
    assert card.data.metrics == ["mean_dice", "hausdorff_mm"]
    assert card.text.strip() == (other / "docs" / "README.md").read_text().strip()


@pytest.mark.slow
def test_push_to_hf_hub_sends_the_bundle_and_its_card(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shutil.copytree(other, tmp_path / "mcanet")
    (bundle / "docs" / "README.md").unlink()  # as docs/bundle.md says
    call = (
        "from monai.bundle import push_to_hf_hub; push_to_hf_hub("
        f"repo='someone/mcanet', name='mcanet', bundle_dir={str(tmp_path)!r}, token='hf_0', version='0.1.0')"
    )
    with hub() as (address, received):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        run = command(sys.executable, "-W", "ignore", "-c", call, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    sent = {str(path.relative_to(bundle)): path for path in bundle.rglob("*") if path.is_file()}
    assert received.files.keys() == sent.keys()
    assert all(received.files[name] == path.read_bytes() for name, path in sent.items())
    assert received.files["README.md"] == (other / "README.md").read_bytes()
    assert received.calls[-1] == "/api/models/someone/mcanet/tag/main"
