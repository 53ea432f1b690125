"""Weights from files: OpenMMLab names into ours, and loading that never falls back to random weights."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from .weights_file import load_whole

logger = logging.getLogger(__name__)

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_STRIP = r"conv(?P<scale>[012])_(?P<step>[12])"

# Applied in order to a published name; each is (pattern, replacement or function of the match).
_ENCODER_RULES: Rules = (
    (r"^patch_embed1\.proj\.", "downsamples.0."),
    (r"^patch_embed([234])\.proj\.", lambda m: f"downsamples.{int(m[1]) - 1}.0."),
    (r"^patch_embed([234])\.norm\.", lambda m: f"downsamples.{int(m[1]) - 1}.1."),
    (r"^norm([1-4])\.", lambda m: f"norms.{int(m[1]) - 1}."),
    (r"^block([1-4])\.", lambda m: f"stages.{int(m[1]) - 1}."),
    (r"\.layer_scale_([12])$", r".scale\1"),
    (r"\.attn\.proj_1\.", ".attention.proj_in."),
    (r"\.attn\.proj_2\.", ".attention.proj_out."),
    (r"\.attn\.spatial_gating_unit\.conv0\.", ".attention.local."),
    (r"\.attn\.spatial_gating_unit\.conv3\.", ".attention.mix."),
    (
        rf"\.attn\.spatial_gating_unit\.{_STRIP}\.",
        lambda m: f".attention.strips.{m['scale']}.{int(m['step']) - 1}.",
    ),
    (r"\.mlp\.fc1\.", ".mlp.expand."),
    (r"\.mlp\.fc2\.", ".mlp.project."),
    (r"\.mlp\.dwconv\.(?:dwconv\.)?", ".mlp.depthwise."),
)
_DECODER_RULES: Rules = (
    (r"^conv_seg\.", "classifier."),
    (r"^(align|squeeze)\.conv\.", r"\1.0."),
    (r"^(align|squeeze)\.norm\.", r"\1.1."),
    (r"^sep_bottleneck\.([01])\.depthwise_conv\.", r"bottleneck.\1.0."),
    (r"^sep_bottleneck\.([01])\.pointwise_conv\.", r"bottleneck.\1.1."),
    (r"^(bottleneck\.[01]\.[01])\.conv\.", r"\1.0."),
    (r"^(bottleneck\.[01]\.[01])\.norm\.", r"\1.1."),
    (r"^decoder_level\.norm1\.body\.", "attention.norm."),
    (r"^decoder_level\.project_out\.", "attention.project."),
    (
        rf"^decoder_level\.{_STRIP}\.",
        lambda m: f"attention.{'horizontal' if m['step'] == '1' else 'vertical'}.{m['scale']}.",
    ),
)
# The reference's temperature enters no computation; an ImageNet checkpoint carries its classifier.
_WITHOUT_COUNTERPART = {"decode_head.decoder_level.temperature", "head.weight", "head.bias"}
_STEM = "encoder.downsamples.0.0.weight"
_REMEDY = "give the task (--task) and the size (--variant) that they were trained with"
_CLASSIFIER = "decoder.classifier"
_LISTED = 5  # names in a message


def convert_mmseg_state_dict(
    state_dict: Mapping[str, torch.Tensor], in_channels: int | None = None
) -> dict[str, torch.Tensor]:
    """Rename the weights of a published OpenMMLab checkpoint to :class:`MCANet`'s.

    Args:
        state_dict: a whole network (``backbone.…`` and ``decode_head.…``) or an MSCAN encoder alone, with or
            without ``backbone.``; a checkpoint that holds it under ``state_dict`` serves too.
        in_channels: channels of our stem; a stem of another number is spread evenly over them, so that the
            response to equal channels stays the same. None keeps the published number.

    Returns:
        tensors under ``encoder.…`` and, for a whole network, ``decoder.…``.

    Raises:
        KeyError: if a name has no counterpart; lists all of them.
    """
    converted, unknown = {}, []
    for name, tensor in _unwrapped(state_dict).items():
        if name in _WITHOUT_COUNTERPART:
            continue
        ours = _our_name(name)
        if ours is None:
            unknown.append(name)
        else:
            converted[ours] = tensor
    if unknown:
        raise KeyError(
            f"no counterpart in MCANet for {len(unknown)} names of the checkpoint: {_some(sorted(unknown))}"
        )
    if in_channels is not None and _STEM in converted:
        converted[_STEM] = _spread_over_channels(converted[_STEM], in_channels)
    return converted


def load_pretrained(network: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Load a published checkpoint into an :class:`MCANet`: the whole network, or its encoder alone.

    Args:
        network: the network, changed in place; its stem takes any number of channels.
        state_dict: see :func:`convert_mmseg_state_dict`.

    Raises:
        KeyError: if names are unknown or missing; lists them.
        ValueError: if shapes differ; lists them.
    """
    in_channels = network.state_dict()[_STEM].shape[1]
    converted = convert_mmseg_state_dict(state_dict, in_channels)
    if any(name.startswith("decoder.") for name in converted):
        return load_strictly(network, converted)
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in converted.items()}
    load_strictly(network.get_submodule("encoder"), encoder)
    return network


def load_strictly(network: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Load weights that fit in every name and shape, or raise with the list of those that do not."""
    own = network.state_dict()
    missing = sorted(own.keys() - state_dict.keys())
    unknown = sorted(state_dict.keys() - own.keys())
    if missing or unknown:
        raise KeyError(
            f"the weights do not fit the network: missing {_some(missing)}, unknown {_some(unknown)}; {_REMEDY}"
        )
    shapes = {
        name: (tuple(tensor.shape), tuple(own[name].shape))
        for name, tensor in state_dict.items()
        if tensor.shape != own[name].shape
    }
    if shapes:
        listed = _some([f"{name!r}: {pair}" for name, pair in shapes.items()], str)
        raise ValueError(
            f"the weights do not fit the network: shape in the file and in the network {listed}; {_REMEDY}"
        )
    broken = sorted(name for name, tensor in state_dict.items() if not tensor.isfinite().all())
    if broken:
        raise ValueError(f"the weights are not finite, from a training that diverged: {_some(broken)}")
    network.load_state_dict(state_dict)
    return network


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a file that holds a state dict, plain or under ``model`` or ``state_dict``, strictly.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError, ValueError: if the weights do not fit, see :func:`load_strictly`.
    """
    return load_strictly(network, _weights_of(path))


def start_from(network: nn.Module, path: str | Path | None) -> nn.Module:
    """Load weights to train on from: our own file, or a published checkpoint; None leaves the network as it is.

    Ours may be another task's: a stem of other channels is spread over them, and a classifier of other classes
    starts anew, which the log says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the weights do not fit; names the file.
    """
    if path is None:
        return network
    weights = _weights_of(path)
    try:
        if any(name.startswith("encoder.") for name in weights):
            return load_strictly(network, _for_task(network, weights))
        return load_pretrained(network, weights)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{str(path)!r}: {error.args[0]}") from None


def _for_task(network: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another task's weights with the network's own stem channels and classes."""
    own, adapted = network.state_dict(), dict(state_dict)
    if _STEM in adapted:
        adapted[_STEM] = _spread_over_channels(adapted[_STEM], own[_STEM].shape[1])
    kernel = f"{_CLASSIFIER}.weight"
    if kernel in adapted and len(adapted[kernel]) != len(own[kernel]):
        classes = [len(weights[kernel]) for weights in (adapted, own)]
        logger.warning("the classifier starts anew: the weights are of %d classes, the task has %d", *classes)
        adapted |= {name: own[name] for name in own if name.startswith(_CLASSIFIER)}
    return adapted


def _weights_of(path: str | Path) -> Mapping[str, torch.Tensor]:
    """A file's tensors by name: plain, or under ``model`` or ``state_dict``."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {str(path)!r}; train the task, or name another file")
    content = load_whole(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{str(path)!r} holds a {type(content).__name__}, expected a state dict")
    if {"network", "progress"} <= content.keys():
        raise ValueError(f"{str(path)!r} is what a training goes on from: give model.pt or last.pt beside it")
    weights = _unwrapped(content)
    if not (
        weights
        and all(isinstance(name, str) for name in weights)
        and all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    ):
        raise ValueError(f"{str(path)!r} holds no tensors by name, expected a state dict")
    return weights


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict that a checkpoint is, or holds under ``model`` or ``state_dict``."""
    held = (content[key] for key in ("model", "state_dict") if isinstance(content.get(key), Mapping))
    return next(held, content)


def _some(names: Sequence[str], shown: Callable[[str], str] = repr) -> str:
    """A list as a sentence has room for it."""
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return "[" + ", ".join(map(shown, names[:_LISTED])) + more + "]"


def _our_name(published: str) -> str | None:
    """Our name of a published one, or None."""
    part, _, rest = published.partition(".")
    if part == "decode_head":
        prefix, name, rules = "decoder.", rest, _DECODER_RULES
    else:
        prefix, name, rules = "encoder.", rest if part == "backbone" else published, _ENCODER_RULES
    renamed = name
    for pattern, replacement in rules:
        renamed = re.sub(pattern, replacement, renamed)
    return None if renamed == name else prefix + renamed


def _spread_over_channels(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """A convolution's weight (O, I, h, w) for another number of input channels."""
    if weight.ndim != 4:
        raise ValueError(f"the first convolution's weights have {weight.ndim} axes, expected 4")
    if weight.shape[1] == in_channels:
        return weight
    return weight.float().sum(1, keepdim=True).repeat(1, in_channels, 1, 1) / in_channels
