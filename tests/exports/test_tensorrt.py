"""The TensorRT overlay: what it says, and what it does without TensorRT; with it, only on a GPU."""

import importlib.util
from pathlib import Path

import nibabel
import pytest
import torch
from monai.bundle import create_workflow

from ..conftest import BUNDLE
from ..end_to_end import hippocampi
from ..end_to_end.run import CONFIGS
from .forms import eager

HAVE_TENSORRT = torch.cuda.is_available() and importlib.util.find_spec("tensorrt") is not None


def workflow(folder: Path, *overlays: str, **settings: object):
    """Inference of a volume under ``folder``, by the inference configuration and overlays."""
    nibabel.save(hippocampi.volume(0)[0], folder / "volume.nii.gz")
    return create_workflow(
        config_file=[str(CONFIGS / name) for name in ("inference.json", *overlays)],
        workflow_type="inference",
        dataset_dir=str(folder / "volume.nii.gz"),
        output_dir=str(folder / "out"),
        **settings,
    )


def test_the_overlay_resolves_and_names_its_engine_after_weights_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    plain, overlaid = (workflow(tmp_path, *overlays).parser for overlays in ((), ("inference_trt.json",)))
    weights = overlaid.get_parsed_content("provenance")["model_sha256"]
    assert overlaid.get_parsed_content("trt_path") == f"{BUNDLE}/models/{weights[:16]}.fp32"
    assert overlaid.get_parsed_content("trt_args")["dynamic_batchsize"] == [1, 16, 16]
    settings = [parser.get_parsed_content("provenance")["settings_sha256"] for parser in (plain, overlaid)]
    assert settings[0] != settings[1]  # a case done without TensorRT is done anew with it


@pytest.mark.skipif(HAVE_TENSORRT, reason="TensorRT is at hand")
def test_without_tensorrt_the_network_stays_as_it_is_and_monai_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    network = workflow(tmp_path, "inference_trt.json").parser.get_parsed_content("network").eval().cpu()
    assert "trt_compile() has no effect" in "".join(capsys.readouterr())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), eager()(image), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_TENSORRT, reason="needs a GPU and TensorRT")
def test_tensorrt_gives_the_labels_of_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    labels = []
    for number, overlays in enumerate([(), ("inference_trt.json",)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = {"trt_path": str(folder / "engine")} if overlays else {}
        run = workflow(folder, *overlays, **settings)
        run.run()
        labels.append(run.evaluator.state.output["pred"].cpu())
    assert (tmp_path / "1" / "engine.plan").is_file()
    assert (labels[0] == labels[1]).float().mean() >= 0.999
