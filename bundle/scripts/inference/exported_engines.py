"""Engines outside PyTorch, which run the network's traced graph: OpenVINO and ONNX Runtime."""

import importlib
from typing import Any

import torch
import torch.nn as nn

SIZES_COMPILED = 4  # of pictures; a process compiles no more
EXAMPLE = (2, 96, 128)  # batch, H and W that a graph is traced with; all three stay free


def open_openvino(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """OpenVINO, with the group norms in a form that leaves its channels-last layout alone.

    Args:
        network: fused, on the CPU.
        dtype: to compute in.
    """
    openvino = _extra("openvino")
    _use_channel_moments(network)
    example, free = _example(network)
    graph = openvino.convert_model(torch.export.export(network, example, dynamic_shapes=free))
    precision = "bf16" if dtype == torch.bfloat16 else "f32"
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    return OpenVINO(openvino, graph, hints)


class OpenVINO(nn.Module):
    """OpenVINO, one picture a request, as many requests at a time as it thinks best.

    It is faster where the size is known, and compiles one in half a second: each of the first sizes has a program
    of its own, and later ones share one whose size is free.

    Args:
        openvino: the module.
        graph: an ``openvino.Model`` of one input (B, C, H, W) and one output.
        hints: properties to compile with.
    """

    def __init__(self, openvino: Any, graph: Any, hints: dict[str, str]) -> None:
        super().__init__()
        self.openvino, self.graph, self.hints = openvino, graph, hints
        self.queues: dict[tuple[int, ...], Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers: list[Any] = [None] * len(x)

        def keep(request: Any, index: int) -> None:
            answers[index] = torch.from_numpy(request.get_output_tensor().data.copy())

        queue = self.queue(tuple(x.shape[1:]))
        queue.set_callback(keep)
        for i, picture in enumerate(x.float().contiguous().split(1)):
            queue.start_async({0: picture.numpy()}, i)
        queue.wait_all()
        return torch.cat(answers)

    def queue(self, size: tuple[int, ...]) -> Any:
        """The ``AsyncInferQueue`` of a picture's size (C, H, W)."""
        if size not in self.queues and len(self.queues) >= SIZES_COMPILED:
            size = (size[0], -1, -1)
        if size not in self.queues:
            graph = self.graph.clone()
            graph.reshape([1, *size])
            program = self.openvino.Core().compile_model(graph, "CPU", self.hints)
            self.queues[size] = self.openvino.AsyncInferQueue(program)
        return self.queues[size]


def _use_channel_moments(network: nn.Module) -> None:
    """Every GroupNorm as :class:`ChannelMomentsNorm`, in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(network, name, ChannelMomentsNorm(child))
        else:
            _use_channel_moments(child)


class ChannelMomentsNorm(nn.Module):
    """GroupNorm from the moments of each channel.

    OpenVINO moves all pixels out of its channels-last layout and back to view them as groups, which takes a sixth
    of its time; here the channels' moments alone are viewed so. (In PyTorch its own GroupNorm is faster.)

    Args:
        norm: the GroupNorm that it equals.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - self._of_groups(x)
        factor = torch.rsqrt(self._of_groups(centred * centred) + self.norm.eps)
        return centred * (factor * self.norm.weight[:, None, None]) + self.norm.bias[:, None, None]

    def _of_groups(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, 1, 1) means over each channel's group."""
        channels = x.mean((2, 3), keepdim=True)
        groups = channels.unflatten(1, (self.norm.num_groups, -1)).mean(2, keepdim=True)
        return groups.expand(-1, -1, x.shape[1] // self.norm.num_groups, -1, -1).flatten(1, 2)


def open_onnxruntime(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """ONNX Runtime in float32; its CPU kernels know no bfloat16.

    Args:
        network: fused, on the CPU.
        dtype: to compute in.

    Raises:
        ValueError: bfloat16 is asked for.
    """
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
