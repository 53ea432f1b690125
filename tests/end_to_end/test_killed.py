"""A run that is killed at any moment loses nothing and leaves no half result."""

import csv
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ..servers import pacs
from ..study import phantom
from . import hippocampi
from .run import mcanet


@pytest.mark.slow
def test_kill_9_and_run_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(5):
        nibabel.save(hippocampi.volume(i)[0], tmp_path / "in" / f"case_{i}.nii.gz")
    words = [Path(sys.executable).parent / "mcanet", "segment", "in", "out"]
    for done in (1, 3):
        run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 200
        while len(list((tmp_path / "out").glob("case_*"))) < done and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        table = tmp_path / "out" / "manifest.csv"  # killed before its first row, a run leaves none
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
        assert done - 1 <= len(rows) <= 5
        for row in rows:
            assert row["status"] == "done"
            assert all((tmp_path / "out" / name).is_file() for name in row["outputs"].split(";"))
    final = mcanet("segment", "in", "out", cwd=tmp_path)
    assert final.returncode == 0, final.stderr
    for i in range(5):
        mask = nibabel.load(tmp_path / "out" / f"case_{i}" / "segmentation.nii.gz")
        assert np.asarray(mask.dataobj).shape == (36, 44, 32)
    assert not list((tmp_path / "out").glob(".partial*"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["check", "segment"])
def test_sigterm_takes_retrieved_images_along(verb: str, tmp_path: Path) -> None:
    def drip(request: BaseHTTPRequestHandler) -> bool:
        if "/instances" in request.path or "/studies/" not in request.path:
            return False
        request.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=XX\r\n\r\n--XX\r\n\r\n"
        )
        while True:
            request.wfile.write(bytes(2**16))
            time.sleep(0.05)

    (tmp_path / "temporary").mkdir()
    with pacs(phantom.classic(modality="MR")) as held:
        held.answer = drip
        words = [Path(sys.executable).parent / "mcanet", verb, f"dicomweb+{held.url}"]
        words += ["out"] if verb == "segment" else []
        run = subprocess.Popen(
            words,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until = time.monotonic() + 200
        while not list(tmp_path.rglob("body")) and time.monotonic() < until:
            time.sleep(0.05)
        run.terminate()
        said = run.communicate(timeout=60)[0]
    assert run.returncode == 143
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("body"))
    assert not list((tmp_path / "temporary").iterdir())
