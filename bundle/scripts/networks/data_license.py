"""Licences of training data that forbid commercial use: in a file beside the weights, handed on by training and export."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ..plain_exit import plain_exit
from ..replacing import write_text
from .weights_file import beside, paths_of

FILE = "data_license.txt"

logger = logging.getLogger(__name__)


def license_of(ckpt_path: str | Path | Sequence[str | Path] | None) -> str:
    """The licences, of the data of any of the files, that forbid commercial use; empty where none is known of.

    Args:
        ckpt_path: the weights; several files are an ensemble; None is none.
    """
    files = [] if ckpt_path is None else [beside(path, FILE) for path in paths_of(ckpt_path)]
    texts = [file.read_text(encoding="utf-8").strip() for file in files if file.is_file()]
    return "; ".join(dict.fromkeys(texts))


def tell_license(ckpt_path: str | Path | Sequence[str | Path] | None) -> None:
    """Say before weights are used what their training data forbid; nothing where that is nothing."""
    if found := license_of(ckpt_path):
        logger.warning("these weights may not be used commercially, their training data are %s", found)


@plain_exit("cannot write the licence of the weights")
def hand_on_license(ckpt_path: str | Path | Sequence[str | Path] | None, ckpt_dir: str | Path) -> None:
    """Let what is made of weights, in another folder, say the same of itself.

    Args:
        ckpt_path: what it began with.
        ckpt_dir: where it is saved; what was said there of earlier weights goes.

    Raises:
        SystemExit: it cannot be written.
    """
    file, found = Path(ckpt_dir) / FILE, license_of(ckpt_path)
    if not found:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, f"{found}\n")
