"""Engines outside PyTorch, which run the network's traced graph: OpenVINO and ONNX Runtime.

They take as many threads as PyTorch would, so that ``OMP_NUM_THREADS`` binds them, too.
"""

import importlib
import itertools
import sys
import threading
from typing import Any

import torch
import torch.nn as nn

from ..networks.norm import ChannelLayerNorm

SIZES_COMPILED = 4  # of pictures; a process compiles no more
KERNELS_KEPT = 100  # by OpenVINO's program of free size, whose store would grow with every new one
EXAMPLE = (2, 96, 128)  # batch, H and W that a graph is traced with; all three stay free


def open_openvino(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """OpenVINO, with the norms in a form that leaves its channels-last layout alone, and NaN what it is.

    Args:
        network: fused, on the CPU.
        dtype: to compute in.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it tells its maker of every use
    openvino = _extra("openvino")
    _rewrite(network.float())
    example = _example(network)
    with torch.no_grad():  # traced, for torch.export takes ten seconds more
        traced = torch.jit.trace(network, example, check_trace=False)
    frozen = torch.jit.freeze(traced, optimize_numerics=False)  # OpenVINO reads it in half the time
    graph = openvino.convert_model(frozen, example_input=example)
    precision = "bf16" if dtype == torch.bfloat16 else "f32"
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    return OpenVINO(openvino, graph, hints)


class OpenVINO(nn.Module):
    """OpenVINO, one picture a request, as many requests at a time as it thinks best.

    It is faster where the size is known, and compiles one in half a second: each of the first sizes has a program
    of its own, and later ones share one whose size is free.

    Args:
        openvino: the module.
        graph: an ``openvino.Model`` of one input (B, in_channels, H, W) and one output (B, out_channels, H, W).
        hints: properties to compile with.
    """

    def __init__(self, openvino: Any, graph: Any, hints: dict[str, str]) -> None:
        super().__init__()
        self.openvino, self.graph, self.hints = openvino, graph, hints
        self.out_channels = graph.output(0).partial_shape[1].get_length()
        self.requests: dict[tuple[int, ...], list[Any]] = {}
        self.turn = threading.Lock()  # of threads that call at once

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float().contiguous()
        answers = torch.empty(len(x), self.out_channels, *x.shape[2:])
        with self.turn:
            requests = self._requests(tuple(x.shape[1:]))
            try:
                for picture, answer, request in zip(x.split(1), answers.split(1), itertools.cycle(requests)):
                    request.wait()
                    request.set_output_tensor(self.openvino.Tensor(answer.numpy(), shared_memory=True))
                    request.start_async({0: picture.numpy()}, share_inputs=True)
            finally:  # none may write to answers that are gone
                for request in requests:
                    request.wait()
        return answers

    def _requests(self, size: tuple[int, ...]) -> list[Any]:
        """Those of the program for a picture's size (in_channels, H, W)."""
        if size not in self.requests and len(self.requests) >= SIZES_COMPILED:
            size = (size[0], -1, -1)
        if size not in self.requests:
            graph = self.graph.clone()
            graph.reshape([1, *size])
            own: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
            if -1 in size:
                own["CPU_RUNTIME_CACHE_CAPACITY"] = KERNELS_KEPT
            program = self.openvino.Core().compile_model(graph, "CPU", self.hints | own)
            best = program.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            self.requests[size] = [program.create_infer_request() for _ in range(best)]
        return self.requests[size]


def _rewrite(network: nn.Module) -> None:
    """Every GroupNorm and ChannelLayerNorm as :class:`MomentsNorm`, every ReLU as :class:`PlainReLU`, in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.GroupNorm | ChannelLayerNorm):
            setattr(network, name, MomentsNorm(child))
        elif isinstance(child, nn.ReLU):
            setattr(network, name, PlainReLU())
        else:
            _rewrite(child)


class PlainReLU(nn.Module):
    """A ReLU that hands NaN on; OpenVINO's own makes 0 of it, and what failed would pass for background.

    Shape: any to the same.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x > 0).to(x.dtype)


class MomentsNorm(nn.Module):
    """A norm whose pixels are never viewed in another order.

    OpenVINO moves them out of its channels-last layout and back for the views of PyTorch's norms, a fifth of its
    time; here moments alone are viewed so. (In PyTorch its own norms are faster.)

    Args:
        norm: what it equals.

    Shape: (B, C, H, W) to (B, C, H, W).
    """

    def __init__(self, norm: nn.GroupNorm | ChannelLayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = self._of_groups(x) if isinstance(self.norm, nn.GroupNorm) else _of_positions(x)
        # NaN where the squares are infinite, for 1 / inf would pass for a constant region
        overflown = 0 * variance
        factor = torch.rsqrt(variance + self.norm.eps + overflown) * self.norm.weight[:, None, None]
        if self.norm.bias is None:
            return x * factor
        return (x - mean) * factor + self.norm.bias[:, None, None]

    def _of_groups(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of each channel's group, (B, C, 1, 1)."""

        def over_groups(moment: torch.Tensor) -> torch.Tensor:
            groups = moment.unflatten(1, (self.norm.num_groups, -1))
            return groups.mean(2, keepdim=True).expand_as(groups).flatten(1, 2)

        mean = over_groups(x.mean((2, 3), keepdim=True))
        length = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)  # squares that no tensor has to hold
        squares = over_groups(length * length / (x.shape[2] * x.shape[3]))
        return mean, (squares - mean * mean).abs()  # below 0 by rounding; clamped, NaN would become 0


def _of_positions(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the channels, (B, 1, H, W)."""
    mean = x.mean(1, keepdim=True)
    centred = x - mean
    return mean, (centred * centred).mean(1, keepdim=True)


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
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)  # batch, H, W
    _rewrite(network.float())
    program = torch.onnx.export(
        network, _example(network), dynamo=True, dynamic_shapes=(free,), verbose=False
    )
    assert program is not None
    model = program.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return ONNXRuntime(onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"]))


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


def _example(network: nn.Module) -> tuple[torch.Tensor]:
    """An input to trace the network with."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    batch, height, width = EXAMPLE
    return (torch.zeros(batch, first.in_channels, height, width),)


def _extra(name: str, packages: str | None = None) -> Any:
    """The module of an extra package.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this engine needs a package more: pip install {packages or name}") from error
