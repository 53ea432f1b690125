"""Files that torch saved, read only where every byte is as it was written."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def load_whole(path: str | Path) -> Any:
    """What a file holds, on the CPU; its checksums are compared, which ``torch.load`` does not do.

    Raises:
        ValueError: it is damaged, or none of torch's, or holds more than tensors.
        OSError: it cannot be read.
    """
    if zipfile.is_zipfile(path):  # what torch saved before 1.6 has no checksums
        with zipfile.ZipFile(path) as archive:
            damaged = _damaged(archive)
        if damaged:
            raise ValueError(f"{str(path)!r} is damaged (in {damaged}): fetch or save it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever other bytes make of pickle
        raise ValueError(
            f"{str(path)!r} is half a file of weights, or none, or holds more than tensors ({type(error).__name__})"
        ) from None


def paths_of(ckpt_path: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """The file of a network's weights, or those of an ensemble, as a list."""
    return [ckpt_path] if isinstance(ckpt_path, str | Path) else list(ckpt_path)


def beside(path: str | Path, name: str) -> Path:
    """The file that says something of weights: ``polyp.<name>`` of ``polyp.pt``, or ``<name>`` of all in the folder."""
    own = Path(path).with_suffix(f".{name}")
    return own if own.is_file() else own.with_name(name)


def _damaged(archive: zipfile.ZipFile) -> str | None:
    """The first part whose content is not what was written."""
    try:
        return archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)
