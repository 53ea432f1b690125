"""MONAI Label servers, started as `make label` does on a free port and stopped by their process id."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from ..conftest import ROOT
from ..servers import free_port

PYTHON = ROOT / ".venv-label" / "bin" / "python"
NOWHERE = "http://127.0.0.1:9"  # so that a call to any other machine fails at once


class Client:
    """The calls that 3D Slicer's and OHIF's clients make."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, expect: int = 200, **arguments: Any) -> requests.Response:
        answer = requests.request(method, f"{self.url}/{path}", timeout=500, **arguments)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer

    def info(self) -> dict[str, Any]:
        return dict(self.call("GET", "info/").json())

    def infer(
        self, model: str, image: str, output: str, file: Path | None = None, expect: int = 200, **params: Any
    ) -> requests.Response:
        """Run one case; ``params`` as 3D Slicer sends them, or those given."""
        sent = params or {"result_extension": ".nrrd", "result_dtype": "uint8"}
        files = {"file": (file.name, file.read_bytes())} if file else None
        query = {"image": image, "output": output}
        form = {"params": json.dumps(sent)}
        return self.call("POST", f"infer/{model}", expect, params=query, data=form, files=files)

    def save_label(
        self, image: str, file: Path, *names: str, expect: int = 200, tag: str = "final", **params: Any
    ) -> requests.Response:
        """Save a label whose segments have these names, in the order of their values from 1."""
        segments = [{"name": name, "idx": index} for index, name in enumerate(names, 1)]
        return self.call(
            "PUT",
            "datastore/label",
            expect,
            params={"image": image, "tag": tag},
            data={"params": json.dumps({"label_info": segments, **params})},
            files={"label": (file.name, file.read_bytes())},
        )

    def run(self, what: str, **params: Any) -> dict[str, Any]:
        """Start a background task, such as ``train/hippocampus``, and wait for its end."""
        self.call("POST", what, json=params)
        kind = what.rpartition("/")[0]
        until = time.monotonic() + 500
        while time.monotonic() < until:
            task = dict(self.call("GET", f"{kind}/" if kind != "batch/infer" else kind).json())
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.5)
        raise TimeoutError(f"{what} is still {task['status']}: {task.get('details')}")


@contextmanager
def label_server(app: Path, studies: object, *conf: str, **environment: str) -> Iterator[Client]:
    """A running MONAI Label; skips where its environment is not built.

    Args:
        app: the app's folder.
        studies: folder, or address of a DICOMweb server.
        conf: pairs of a name and a value, one after another.
        environment: further variables.
    """
    if not PYTHON.exists():
        pytest.skip("needs MONAI Label's environment: make test-label builds it")
    port = free_port()
    pairs = [word for i in range(0, len(conf), 2) for word in ("--conf", *conf[i : i + 2])]
    command = [PYTHON, "-m", "monailabel.main", "start_server", "--app", app, "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", port, *pairs]
    proxies = {f"{kind}_proxy": NOWHERE for kind in ("http", "https")} | {"no_proxy": "127.0.0.1"}
    log = app.parent / f"server_{port}.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=stream,
            stderr=stream,
            cwd=app.parent,
            env={**os.environ, **proxies, "MONAI_LABEL_AUTO_UPDATE_SCORING": "false", **environment},
        )
    try:
        client = Client(f"http://127.0.0.1:{port}")
        wait_for(client, process, log)
        yield client
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once the server answers.

    Raises:
        RuntimeError: it ended, or is silent for too long.
    """
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        try:
            client.info()
            return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise RuntimeError(f"MONAI Label does not answer: {log.read_text(errors='replace')[-3000:]}")
