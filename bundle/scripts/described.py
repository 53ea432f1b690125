"""A run's parts as text, so that a change of any of their settings shows."""

from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_PASSED_OVER = ("sw_batch_size", "R")  # what changes speed alone, and the state of a random generator


def described(part: Any, _inside: tuple[int, ...] = ()) -> str:
    """What a transform or an inferer is made of: classes, functions, and the values that they hold, to any depth.

    The same settings give the same text in every process, and others another; what a function takes from its module's
    globals is not followed.
    """
    if isinstance(part, str | bytes | int | float | complex | type(None)):
        return repr(part)
    if isinstance(part, np.ndarray | torch.Tensor):
        return repr(part.tolist())
    if id(part) in _inside:
        return "itself"
    inside = (*_inside, id(part))
    if isinstance(part, Mapping):
        pairs = sorted((repr(key), described(value, inside)) for key, value in part.items())
        return f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"
    if isinstance(part, set | frozenset):
        return f"{{{', '.join(sorted(described(item, inside) for item in part))}}}"
    if isinstance(part, list | tuple):
        return f"[{', '.join(described(item, inside) for item in part)}]"
    if isinstance(part, type | ModuleType):
        return getattr(part, "__qualname__", part.__name__)
    if isinstance(part, CodeType):
        return described([part.co_code, part.co_names, part.co_consts], inside)
    name = getattr(part, "__qualname__", "") or type(part).__qualname__  # of a function, else of its class
    if (held := _held(part)) is None:
        words = repr(part)
        return name if " at 0x" in words else words  # an address is another one in every process
    return f"{name}({described(held, inside)})"


def _held(part: Any) -> Any:
    """What tells a part from others of its name; None where its ``repr`` does."""
    if isinstance(part, partial):
        return part.func, part.args, part.keywords
    if isinstance(part, MethodType):
        return part.__func__, part.__self__
    if isinstance(part, BuiltinFunctionType):
        return (part.__self__,)
    if isinstance(part, FunctionType):
        around = [cell.cell_contents for cell in part.__closure__ or () if cell != CellType()]
        return part.__code__, part.__defaults__, part.__kwdefaults__, around
    if isinstance(part, torch.nn.Module):  # what every module has is PyTorch's, and changes with it
        own = {key: vars(part)[key] for key in vars(part).keys() - vars(torch.nn.Module()).keys()}
        tensors = dict([*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)])
        return own | tensors | dict(part.named_children())
    if hasattr(part, "__dict__"):
        return {key: value for key, value in vars(part).items() if key not in _PASSED_OVER}
    return None
