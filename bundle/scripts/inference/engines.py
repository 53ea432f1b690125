"""What runs the network: PyTorch, plain or compiled, OpenVINO or ONNX Runtime; each gives the same labels."""

import copy
import importlib
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks import Ensemble, MCANet, fuse
from ..plain_exit import plain_exit
from ..precision import bfloat16_is_native

PIXELS_A_PASS = 2 * 256 * 256  # of a batch on a CPU: the activations of more leave its caches, and its heap
SIZES_COMPILED = 4  # of pictures; a process compiles no more
EXAMPLE = (2, 96, 128)  # batch, H and W that a graph is traced with; all three stay free


def open_engine(network: nn.Module, engine: str = "eager", mixed_precision: bool | None = None) -> nn.Module:
    """A trained network, fused and made fast on its device, for inference alone.

    Args:
        network: an :class:`MCANet`, or an ensemble of some, with its weights, on its device.
        engine: "eager", "compiled" (needs a C++ compiler), "openvino" or "onnxruntime" (on a CPU, each an extra
            package).
        mixed_precision: compute in bfloat16; None does so where the device has it natively (ONNX Runtime:
            never).

    Shape: that of the network, float32 logits.

    Raises:
        SystemExit: there is no such engine, or its package, compiler or device is missing.
    """
    engines = {"eager": Eager, "compiled": _compiled, "openvino": _openvino, "onnxruntime": _onnxruntime}
    with plain_exit("cannot open the engine"):
        if engine not in engines:
            raise ValueError(f"no engine {engine!r}: expected one of {', '.join(engines)}")
        device = next(network.parameters()).device
        if engine in ("openvino", "onnxruntime") and device.type != "cpu":
            raise ValueError(
                f"{engine} computes on the CPU, not on {device}: give --device cpu, or another engine"
            )
        lower = mixed_precision
        if lower is None:
            lower = bfloat16_is_native(device) and engine != "onnxruntime"
        return engines[engine](_fused(network.eval()), torch.bfloat16 if lower else torch.float32)


def _fused(network: nn.Module) -> nn.Module:
    """The network, or each member of an ensemble, fused."""
    if isinstance(network, Ensemble):
        return Ensemble([_fused(member) for member in network.members])
    return fuse(network) if isinstance(network, MCANet) else network


class Eager(nn.Module):
    """PyTorch, channels last; on a CPU a few pictures at a time, so that activations stay in its caches.

    Args:
        network: as :func:`open_engine`'s, fused.
        dtype: to compute in.
    """

    def __init__(
        self,
        network: nn.Module,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.network = network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        return torch.cat([self.network(part).float() for part in x.split(pictures_a_pass(x))])


def pictures_a_pass(x: torch.Tensor) -> int:
    """How many pictures of a batch go through at once."""
    return len(x) if x.device.type != "cpu" else max(1, PIXELS_A_PASS // (x.shape[-2] * x.shape[-1]))


def _compiled(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """PyTorch's compiler.

    Raises:
        RuntimeError: it finds no C++ compiler.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(64))
    except Exception as error:
        raise RuntimeError(
            f"torch.compile does not work here ({str(error).strip().splitlines()[0]}): it needs a C++ compiler, "
            "such as g++, or take --engine eager"
        ) from error
    return Compiled(Eager(network, dtype))


class Compiled(nn.Module):
    """The eager engine through ``torch.compile``, which fuses what lies between its convolutions.

    A minute of compiling a picture size is worth it for few sizes alone, and sizes left free it fails on: so each of
    the first ones has a program of its own, for a batch filled up with zeros, and later ones run eagerly.

    Args:
        eager: the engine that is compiled.
    """

    def __init__(self, eager: "Eager") -> None:
        super().__init__()
        self.eager = eager
        self.programs: dict[tuple[int, ...], Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, pictures = tuple(x.shape[1:]), pictures_a_pass(x)
        if size not in self.programs and len(self.programs) == SIZES_COMPILED:
            return self.eager(x)
        program = self.programs.setdefault(size, torch.compile(copy.copy(self.eager), dynamic=False))
        return torch.cat(
            [
                program(F.pad(part, (0,) * 7 + (pictures - len(part),)))[: len(part)]
                for part in x.split(pictures)
            ]
        )


def _openvino(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """OpenVINO, one picture a request, as many requests at a time as it thinks best."""
    openvino = _extra("openvino")
    example, free = _example(network)
    graph = openvino.convert_model(torch.export.export(network, example, dynamic_shapes=free))
    channels = example[0].shape[1]
    graph.reshape([1, channels, -1, -1])
    precision = "bf16" if dtype == torch.bfloat16 else "f32"
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    return OpenVINO(openvino.AsyncInferQueue(openvino.Core().compile_model(graph, "CPU", hints)))


class OpenVINO(nn.Module):
    """A queue of OpenVINO requests as a network.

    Args:
        queue: an ``openvino.AsyncInferQueue``.
    """

    def __init__(self, queue: Any) -> None:
        super().__init__()
        self.queue = queue

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers: list[Any] = [None] * len(x)

        def keep(request: Any, index: int) -> None:
            answers[index] = torch.from_numpy(request.get_output_tensor().data.copy())

        self.queue.set_callback(keep)
        for i, picture in enumerate(x.float().contiguous().split(1)):
            self.queue.start_async({0: picture.numpy()}, i)
        self.queue.wait_all()
        return torch.cat(answers)


def _onnxruntime(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """ONNX Runtime in float32; its CPU kernels know no bfloat16."""
    if dtype == torch.bfloat16:
        raise ValueError(
            "ONNX Runtime has no bfloat16 on CPUs: leave out --mixed_precision true, or take openvino"
        )
    onnxruntime = _extra("onnxruntime", "onnxruntime onnx onnxscript")
    _extra("onnxscript", "onnxruntime onnx onnxscript")
    example, free = _example(network)
    program = torch.onnx.export(network, example, dynamo=True, dynamic_shapes=free, verbose=False)
    assert program is not None
    model = program.model_proto.SerializeToString()
    return ONNXRuntime(onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]))


class ONNXRuntime(nn.Module):
    """A session of ONNX Runtime as a network, one picture a call, which its threads share best.

    Args:
        session: an ``onnxruntime.InferenceSession`` of one input and one output.
    """

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session
        self.input = session.get_inputs()[0].name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers = [self.session.run(None, {self.input: part.numpy()})[0] for part in x.float().split(1)]
        return torch.cat([torch.from_numpy(answer) for answer in answers])


def _example(network: nn.Module) -> tuple[tuple[torch.Tensor], tuple[dict[int, Any]]]:
    """An input to trace the network with, and which of its axes stay free."""
    free = torch.export.Dim.AUTO
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    batch, height, width = EXAMPLE
    return (torch.zeros(batch, first.in_channels, height, width),), ({0: free, 2: free, 3: free},)


def _extra(name: str, packages: str | None = None) -> Any:
    """The module of an extra package.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this engine needs a package more: pip install {packages or name}") from error
