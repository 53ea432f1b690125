"""The bundle's network in every exported form: the command of docs/exports.md, and what runs the file."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mcanet.scripts.networks import MCANet, load_weights

from ..end_to_end.run import BUNDLE, CONFIGS, command, monai_bundle

Network = Callable[[torch.Tensor], torch.Tensor]
WEIGHTS = BUNDLE / "models" / "model.pt"
FILES = ("--meta_file", CONFIGS / "metadata.json", "--config_file", CONFIGS / "inference.json")


def eager() -> torch.nn.Module:
    """The network itself, with the shipped weights."""
    return load_weights(MCANet(in_channels=3, out_channels=3), WEIGHTS).eval()


def torchscript(folder: Path) -> Network:
    file = folder / "model.ts"
    if not file.exists():
        run = monai_bundle(
            "ckpt_export", "--net_id", "network_def", "--filepath", file, "--ckpt_file", WEIGHTS, *FILES,
            cwd=folder,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    return torch.jit.load(file).eval()


def program(folder: Path) -> Network:
    file = folder / "model.pt2"
    if not file.exists():
        configs = [str(CONFIGS / name) for name in ("inference.json", "torch_export.json")]
        run = monai_bundle(
            "run", "--run_id", "export", "--config_file", repr(configs), "--filepath", file, cwd=folder
        )
        assert run.returncode == 0, run.stderr
        assert not list(folder.glob("*.partial*"))
    return torch.export.load(file).module()


def onnx_file(folder: Path) -> Path:
    file = folder / "model.onnx"
    if not file.exists():
        run = monai_bundle(
            "onnx_export", "--args_file", CONFIGS / "onnx_export.json", "--filepath", file,
            "--ckpt_file", WEIGHTS, *FILES, cwd=folder,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    return file


def onnx(folder: Path) -> Network:
    session = pytest.importorskip("onnxruntime").InferenceSession(onnx_file(folder))
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def openvino(folder: Path) -> Network:
    runtime = pytest.importorskip("openvino")
    file = folder / "model.xml"
    if not file.exists():
        ovc = Path(sys.executable).parent / "ovc"
        run = command(
            ovc, onnx_file(folder), "--output_model", file, "--compress_to_fp16", "False", cwd=folder
        )
        assert run.returncode == 0, run.stderr
    # the plugin would take bfloat16 by itself where the processor has it
    model = runtime.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: torch.from_numpy(model([image.numpy()])[0].copy())


FORMS = (torchscript, program, onnx, openvino)
