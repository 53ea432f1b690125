"""What runs the network: PyTorch, OpenVINO or ONNX Runtime; each gives the same labels."""

import importlib
from typing import Any

import torch
import torch.nn as nn

from ..networks import Ensemble, MCANet, fuse
from ..plain_exit import plain_exit
from ..precision import bfloat16_is_native

PIXELS_A_PASS = 2 * 256 * 256  # of a batch on a CPU: the activations of more leave its caches, and its heap
EXAMPLE = (2, 96, 128)  # batch, H and W that a graph is traced with; all three stay free


def open_engine(network: nn.Module, engine: str = "eager", mixed_precision: bool | None = None) -> nn.Module:
    """A trained network, fused and made fast on its device, for inference alone.

    Args:
        network: an :class:`MCANet`, or an ensemble of some, with its weights, on its device.
        engine: "eager", "openvino" or "onnxruntime"; the last two on a CPU, each an extra package.
        mixed_precision: compute in bfloat16; None does so where the device has it natively (ONNX Runtime:
            never).

    Shape: that of the network, float32 logits.

    Raises:
        SystemExit: there is no such engine, or its package or device is missing.
    """
    engines = {"eager": Eager, "openvino": _openvino, "onnxruntime": _onnxruntime}
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
        if x.device.type != "cpu":
            return self.network(x).float()
        pictures = max(1, PIXELS_A_PASS // (x.shape[-2] * x.shape[-1]))
        if len(x) <= pictures:
            return self.network(x).float()
        return torch.cat([self.network(part).float() for part in x.split(pictures)])


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
