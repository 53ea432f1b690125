"""metadata.json of a task: what the bundle says of every task, and what its settings say of this one."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..results import Label, class_labels
from .configs import CONFIGS, refuse_paths, task_settings

# What the bundle's own metadata.json says of the default task and its data.
OF_DEFAULT_TASK = ("data_source", "data_type", "image_classes", "eval_metrics")
REFERENCES_OF_NETWORK = 2
SETTINGS = (
    "in_channels",
    "out_channels",
    "context",
    "image_channels",
    "roi_size",
    "fitness_rules",
    "labels",
    "variant",
)


def task_metadata(config: Mapping[str, Any], task_file: Path | None = None) -> dict[str, Any]:
    """The metadata of a task.

    Args:
        config: the task's inference configuration, see :func:`flat_config`.
        task_file: the task's overlay, whose ``_meta_`` says what settings cannot (``name``, ``task``,
            ``description``, ``data_source``, ``data_license``, ``eval_metrics``, ``references``, …); None
            for the default task.

    Raises:
        ValueError: labels, channels and context do not fit each other, or ``_meta_`` is malformed or holds
            a path.
    """
    parser = ConfigParser(copy.deepcopy(dict(config)))
    settings = {name: parser.get_parsed_content(name) for name in SETTINGS}
    settings["value_range"] = _value_range(parser)
    labels = class_labels(settings["labels"], settings["out_channels"])
    metadata = ConfigParser.load_config_file(CONFIGS / "metadata.json")
    formats = metadata["network_data_format"]
    given = task_settings(task_file).get("_meta_", {}) if task_file is not None else {}
    formats["inputs"]["image"] |= _image(settings, given.get("channels"))
    formats["outputs"]["pred"] |= _prediction(settings, labels)
    if not formats["inputs"]["image"]["modality"]:
        del formats["inputs"]["image"]["modality"]
    if task_file is not None:
        own = {key: value for key, value in metadata.items() if key not in OF_DEFAULT_TASK}
        metadata = {
            **own,
            **_of_task(own, settings["variant"], labels, task_file, given),
            "network_data_format": formats,
        }
    return metadata


def _of_task(
    own: Mapping[str, Any],
    variant: str,
    labels: tuple[Label, ...],
    task_file: Path,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """What an overlay says of its task, or what follows from its labels."""
    for key, kind in (("references", list), ("eval_metrics", dict), ("channels", list)):
        if not isinstance(given.get(key, kind()), kind):
            raise ValueError(f"{str(task_file)!r}: {key} must be a {kind.__name__}, got {given[key]!r}")
    refuse_paths(given, task_file)
    return {
        "name": f"MCANet {task_file.stem}",
        "description": f"MCANet ({variant}: multi-scale cross-axis attention over an MSCAN encoder), which "
        "segments medical volumes slice by slice, and pictures",
        "task": "Segmentation of " + ", ".join(label.name for label in labels),
        "label_classes": "single channel: 0 background, "
        + ", ".join(f"{label.value} {label.name}" for label in labels),
        "changelog": {given.get("version", own["version"]): "exported"},
        **{key: value for key, value in given.items() if key != "channels"},
        "references": own["references"][:REFERENCES_OF_NETWORK] + given.get("references", []),
    }


def _image(settings: Mapping[str, Any], called: Any) -> dict[str, Any]:
    """What the network takes: a slice with its neighbours, offset before image channel.

    Args:
        settings: of the task.
        called: the image's channels by name, where the task names each.
    """
    offsets = range(-settings["context"], settings["context"] + 1)
    channels = settings["image_channels"]
    if not channels or channels * len(offsets) != settings["in_channels"]:
        raise ValueError(
            f"in_channels is {settings['in_channels']}, but context {settings['context']} makes "
            f"{len(offsets)} channels of each of the image's"
        )
    near = {-1: "previous slice", 0: "slice", 1: "next slice"}
    known = isinstance(called, list) and len(called) == channels
    suffixes = (
        [f", {called[i] if known else f'channel {i}'}" for i in range(channels)] if channels > 1 else [""]
    )
    names = [near.get(offset, f"slice {offset:+d}") + suffix for offset in offsets for suffix in suffixes]
    rules = settings["fitness_rules"] or {}
    colour = rules.get("spatial_dims") == 2 and channels == 3
    modality = ", ".join(rules.get("modality") or [])
    return {
        "format": "RGB" if colour else {"CT": "hounsfield"}.get(modality, "magnitude"),
        "modality": modality,
        **settings["value_range"],
        **_shape(settings["roi_size"], names),
    }


def _value_range(parser: ConfigParser) -> dict[str, Any]:
    """The range that the network sees, where the transform of intensities cuts them to one."""
    if not {"clip", "b_min", "b_max"} <= {*parser["intensity"]}:
        return {}
    clips, low, high = (parser.get_parsed_content(f"intensity#{key}") for key in ("clip", "b_min", "b_max"))
    return {"value_range": [low, high]} if clips else {}


def _prediction(settings: Mapping[str, Any], labels: tuple[Label, ...]) -> dict[str, Any]:
    """What the network answers: one channel a value of the mask, or one for a single label."""
    names = ["background", *(label.name for label in labels)]
    return {**_shape(settings["roi_size"], names), "num_channels": settings["out_channels"]}


def _shape(roi_size: list[int] | None, names: list[str]) -> dict[str, Any]:
    """Channels by name, and the patch; without one the network takes whole slices of any size."""
    return {
        "num_channels": len(names),
        "spatial_shape": roi_size or ["32*n", "32*n"],
        "channel_def": {str(i): name for i, name in enumerate(names)},
    }
