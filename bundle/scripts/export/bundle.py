"""The folder of an exported bundle: whole, or not there."""

import copy
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from monai.bundle import ConfigParser

from .. import BUNDLE_ROOT
from ..inference import open_network
from ..networks import hand_on_license, license_of, tell_license
from ..plain_exit import plain_exit
from ..results.staging import staged
from ..training.parts import write_hashed_parts
from ..verify import is_released, write_list
from .configs import CONFIGS, WORKFLOWS, flat_config, task_settings
from .metadata import task_metadata
from .model_card import hub_card, model_card, own_card

OF_WEIGHTS = ("data_source", "data_license", "eval_metrics")


@plain_exit("cannot export the task")
def export_bundle(
    output_dir: str | Path, task_file: str | Path | None = None, ckpt_path: str | Path | None = None
) -> Path:
    """Write a bundle that runs, checks and serves without this one.

    Args:
        output_dir: folder to make; an empty one may be there already.
        task_file: the task's overlay; None for the default task.
        ckpt_path: its weights; None takes the overlay's ``ckpt_path``, else ``models/tasks/<task>.pt``.

    Returns:
        ``output_dir``.

    Raises:
        SystemExit: the folder holds files, the weights are missing or do not fit, or the overlay cannot stand
            alone; nothing is written.
    """
    output_dir = Path(output_dir).absolute()
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise FileExistsError(f"{str(output_dir)!r} is not an empty folder: name a new one")
    task_file = None if task_file is None else Path(task_file).resolve()
    configs = {workflow: flat_config(workflow, task_file) for workflow in WORKFLOWS}
    metadata = task_metadata(configs["inference"], task_file)
    weights = ckpt_path or _weights(task_file)
    network = _network(configs["inference"], weights)
    ours = _is_ours(task_file)
    shipped = ours and is_released(BUNDLE_ROOT, _shipped_name(task_file), weights)
    if ours and not shipped:  # what this bundle says of its own weights holds for no others
        metadata = {key: value for key, value in metadata.items() if key not in OF_WEIGHTS}
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    tell_license(weights)
    with staged(output_dir) as folder:
        _write_configs(folder / "configs", {**configs, "metadata": metadata})
        (folder / "models").mkdir()
        torch.save(network.state_dict(), folder / "models" / "model.pt")
        write_hashed_parts(weights, folder / "models")
        hand_on_license(weights, folder / "models")
        _write_docs(folder, metadata, configs, task_file, license_of(weights), shipped)
        shutil.copyfile(BUNDLE_ROOT / "LICENSE", folder / "LICENSE")
        shutil.copytree(
            BUNDLE_ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__")
        )
        write_list(folder)
    return output_dir


def _weights(task_file: Path | None) -> str | Path:
    """The weights that a task names, or those that lie where tasks keep theirs.

    Raises:
        ValueError: the task is an ensemble.
    """
    if task_file is None:
        return BUNDLE_ROOT / "models" / "model.pt"
    settings = task_settings(task_file)
    if settings.get("ckpt_path") is None:
        return BUNDLE_ROOT / "models" / "tasks" / f"{task_file.stem}.pt"
    parser = ConfigParser({"bundle_root": str(BUNDLE_ROOT), "ckpt_path": settings["ckpt_path"]})
    named = parser.get_parsed_content("ckpt_path")
    if not isinstance(named, str):
        raise ValueError(
            f"{str(task_file)!r}: a bundle holds one file of weights, ckpt_path is {named!r}: "
            "name one with --ckpt_path"
        )
    return named


def _network(config: Mapping[str, Any], ckpt_path: str | Path) -> nn.Module:
    """The configured network with its weights, which fit in every name and shape."""
    sys.path.insert(0, str(BUNDLE_ROOT))  # the configuration names the network `scripts.…`
    try:
        network = ConfigParser(copy.deepcopy(dict(config))).get_parsed_content("network_def")
    finally:
        sys.path.remove(str(BUNDLE_ROOT))
    return open_network(network, ckpt_path)


def _write_configs(folder: Path, written: Mapping[str, Mapping[str, Any]]) -> None:
    """The bundle's configuration files, those of ``written`` in place of its own."""
    folder.mkdir()
    for file in CONFIGS.iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    for name, config in written.items():
        (folder / f"{name}.json").write_text(json.dumps(config, indent=4) + "\n")


def _write_docs(
    folder: Path,
    metadata: Mapping[str, Any],
    configs: Mapping[str, Any],
    task_file: Path | None,
    forbidding: str,
    shipped: bool,
) -> None:
    """The model card, as the model zoo and as the Hugging Face Hub want it, and the licence of the data.

    Args:
        folder: of the bundle.
        metadata: of the task.
        configs: of the task.
        task_file: None for the default task.
        forbidding: the licence of the weights' data, if it forbids commercial use.
        shipped: whether the weights are those that this bundle ships for a task of its own.
    """
    card = model_card(metadata, configs, forbidding)
    (folder / "docs").mkdir()
    if shipped and task_file is None:
        card = own_card(card)
        shutil.copytree(BUNDLE_ROOT / "docs", folder / "docs", dirs_exist_ok=True)
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
    (folder / "docs" / "data_license.txt").write_text(
        _shipped_license(task_file) if shipped else _data_license(metadata, forbidding), encoding="utf-8"
    )
    (folder / "README.md").write_text(hub_card(card, metadata, forbidding), encoding="utf-8")


def _is_ours(task_file: Path | None) -> bool:
    """Whether a task is one of this bundle's."""
    return task_file is None or task_file.parent == (CONFIGS / "tasks").resolve()


def _shipped_name(task_file: Path | None) -> str:
    """Where this bundle keeps the weights of a task of its own."""
    return "models/model.pt" if task_file is None else f"models/tasks/{task_file.stem}.pt"


def _shipped_license(task_file: Path | None) -> str:
    """What this bundle says of the data of a task of its own."""
    weights = _shipped_name(task_file)
    text = (BUNDLE_ROOT / "docs" / "data_license.txt").read_text(encoding="utf-8")
    of_one_task = [block for block in text.split("\n\n") if block.startswith(weights)]
    block = of_one_task[0] if of_one_task else text
    return block.replace(weights, "models/model.pt").strip() + "\n"


def _data_license(metadata: Mapping[str, Any], forbidding: str) -> str:
    """What a task's metadata says of its data."""
    stated = metadata.get("data_license", "The licence of the training data was not stated.")
    used = f"These weights may not be used commercially, their training data are {forbidding}\n"
    return f"{stated}\n" + (used if forbidding else "")
