"""Which labelled pairs a folder holds: the Decathlon's layout, nnU-Net's, or images beside masks."""

import json
from pathlib import Path

from .dataset_json import decathlon, nnunet
from .folders import folders
from .pair import Layout, Pair

__all__ = ["Layout", "Pair", "read_layout"]


def read_layout(dataset_dir: str | Path) -> Layout:
    """List the labelled pairs of a folder, without opening any.

    Raises:
        FileNotFoundError: the folder is missing, or in no layout that is known.
        ValueError: it is ambiguous, or its ``dataset.json`` malformed.
    """
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
