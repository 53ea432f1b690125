"""Which labelled pairs a folder holds: the Decathlon's layout, nnU-Net's, or images beside masks."""

import json
import os
from dataclasses import replace
from pathlib import Path

from .dataset_json import decathlon, nnunet
from .folders import folders
from .pair import Layout, Pair, shown

__all__ = ["Layout", "Pair", "read_layout"]


def read_layout(dataset_dir: str | Path) -> Layout:
    """List the labelled pairs of a folder, without opening any.

    Raises:
        FileNotFoundError: the folder is missing, or in no layout that is known.
        ValueError: it is ambiguous, or its ``dataset.json`` malformed.
    """
    layout = _read(dataset_dir)
    unwritable = [
        f"{shown(file.with_name(name))}: its name is no UTF-8; rename it"
        for pair in layout.pairs
        for file in (*pair.images, pair.label)
        if (name := _escaped(file.name)) != file.name
    ]
    return replace(layout, problems=(*layout.problems, *unwritable))


def _escaped(name: str) -> str:
    """A file's name as it can be written: in splits, results and logs."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _read(dataset_dir: str | Path) -> Layout:
    """See :func:`read_layout`, whatever the files' names."""
    root = Path(dataset_dir).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {str(dataset_dir)!r}")
    description = root / "dataset.json"
    if not description.is_file():
        return folders(root)
    try:
        content = json.loads(description.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{description}: no readable JSON ({error})") from None
    if isinstance(content, dict) and "channel_names" in content:
        return nnunet(root, content)
    if isinstance(content, dict) and isinstance(content.get("training"), list):
        return decathlon(root, content)
    raise ValueError(
        f"{description}: expected the Decathlon's list 'training' of image and label, or nnU-Net's 'channel_names'"
    )
