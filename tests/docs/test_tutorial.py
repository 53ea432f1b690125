"""The tutorial, from its first cell to its last, in a real Jupyter kernel."""

import base64
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..conftest import ROOT

jupytext = pytest.importorskip("jupytext", reason="needs Jupyter: make test-tutorial")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


@pytest.mark.slow
@pytest.mark.timeout(1500)  # about two minutes on two cores that are free
@pytest.mark.skipif(find_spec("nilearn") is None, reason="needs nilearn's template, which make env installs")
def test_the_tutorial_runs_as_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    monkeypatch.setenv("MCANET_TUTORIAL", str(work))
    for variable in ("JUPYTER_DATA_DIR", "IPYTHONDIR"):  # neither kernels nor settings of the user
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    notebook = jupytext.read(ROOT / "docs" / "tutorial.py")
    client = nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    try:
        client.execute()
    finally:
        nbformat.write(notebook, tmp_path / "tutorial.ipynb")

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    drawn = [
        base64.b64decode(output.data["image/png"])
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
    previews = work.glob("*results/*/preview.png")  # of the study, and of the exported bundle
    files = [*previews, work / "training" / "curves.png", work / "figures" / "cases.png"]
    assert len(files) == 5
    assert {file.read_bytes() for file in files} == set(drawn)
