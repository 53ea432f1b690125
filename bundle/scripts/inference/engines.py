"""What runs the network: PyTorch, plain or compiled, OpenVINO or ONNX Runtime; each gives the same labels."""

import copy
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks import Ensemble, MCANet, fuse
from ..plain_exit import plain_exit
from ..precision import bfloat16_is_faster
from ..study import RefusedError
from .exported_engines import SIZES_COMPILED, open_onnxruntime, open_openvino

SHRINKS = 4  # the side of what becomes one pixel where the network decodes
BYTES_A_PASS = 2**20  # of a channel of a batch on a CPU: of more, activations leave its caches and its heap


def open_engine(network: nn.Module, engine: str = "eager", mixed_precision: bool | None = None) -> nn.Module:
    """A trained network, fused and made fast on its device, for inference alone.

    Args:
        network: an :class:`MCANet` with its weights, on its device, or an ensemble of some, whose members are opened
            one by one.
        engine: "eager", "compiled" (needs a C++ compiler), "openvino" or "onnxruntime" (on a CPU, each an extra
            package).
        mixed_precision: compute in bfloat16; None does so where that is faster (ONNX Runtime:
            never).

    Shape: that of the network, float32 logits.

    It refuses pictures of no more than 4 × 4 pixels.

    Raises:
        SystemExit: there is no such engine, or its package, compiler or device is missing.
    """
    engines = {
        "eager": Eager,
        "compiled": _compiled,
        "openvino": open_openvino,
        "onnxruntime": open_onnxruntime,
    }
    if isinstance(network, Ensemble):
        return Ensemble([open_engine(member, engine, mixed_precision) for member in network.members])
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
            lower = bfloat16_is_faster(device) and engine != "onnxruntime"
        network.eval()
        fused = fuse(network) if isinstance(network, MCANet) else network
        opened = engines[engine](fused, torch.bfloat16 if lower else torch.float32)
        opened.register_forward_pre_hook(_refuse_small)
        return opened


def _refuse_small(engine: nn.Module, arguments: tuple[torch.Tensor]) -> None:
    """Refuses pictures whose last norms would have a single value each: nothing is left of them at 1/4."""
    height, width = arguments[0].shape[-2:]
    if max(height, width) <= SHRINKS:
        raise RefusedError(
            f"the network would see {height} x {width} pixels, and needs more than {SHRINKS} along one side: "
            "nothing can be segmented in so small an image"
        )


class Eager(nn.Module):
    """PyTorch, channels last; on a CPU a few pictures at a time, so that activations stay in its caches.

    Args:
        network: as :func:`open_engine`'s, fused.
        dtype: to compute in.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        return torch.cat([self.network(part).float() for part in x.split(self.pictures_a_pass(x))])

    def pictures_a_pass(self, x: torch.Tensor) -> int:
        """How many pictures of a batch go through at once."""
        channel = x.shape[-2] * x.shape[-1] * self.dtype.itemsize
        return len(x) if x.device.type != "cpu" else max(1, BYTES_A_PASS // channel)


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
        ) from None
    return Compiled(Eager(network, dtype))


class Compiled(nn.Module):
    """The eager engine through ``torch.compile``, which fuses what lies between its convolutions.

    A minute of compiling a picture size is worth it for few sizes alone, and sizes left free it fails on: so each of
    the first ones has a program of its own, for a batch filled up with zeros, and later ones run eagerly.

    Args:
        eager: the engine that is compiled.
    """

    def __init__(self, eager: Eager) -> None:
        super().__init__()
        self.eager = eager
        self.programs: dict[tuple[int, ...], Any] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, pictures = tuple(x.shape[1:]), self.eager.pictures_a_pass(x)
        if size not in self.programs and len(self.programs) == SIZES_COMPILED:
            return self.eager(x)
        program = self.programs.setdefault(size, torch.compile(copy.copy(self.eager), dynamic=False))
        return torch.cat(
            [
                program(F.pad(part, (0,) * 7 + (pictures - len(part),)))[: len(part)]
                for part in x.split(pictures)
            ]
        )
