"""Which cases trained and chose a network's weights, kept in a file beside them."""

import json
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..hashing import digest
from ..networks.weights_file import beside, paths_of
from ..plain_exit import plain_exit
from ..replacing import write_text

logger = logging.getLogger("mcanet")

FILE = "split.json"
HASHED = "sha256:"
Parts = Mapping[str, Sequence[str]]


@plain_exit("cannot start from the weights")
def names_of_parts(
    training: Sequence[Mapping[Hashable, Any]],
    validation: Sequence[Mapping[Hashable, Any]],
    init_path: str | Path | None = None,
) -> dict[str, list[str]]:
    """The names of the cases that weights will have seen, also by what they began with.

    Args:
        training: cases as :func:`labelled_datalist` lists them; others have no names.
        validation: the same.
        init_path: weights that the training begins with; None is none.

    Raises:
        SystemExit: their ``split.json`` is damaged.
    """
    own = {
        part: [item["case"] for item in items if "case" in item]
        for part, items in (("training", training), ("validation", validation))
    }
    before = read_parts([] if init_path is None else init_path, [*own["training"], *own["validation"]])
    if known := before["training"] & set(own["validation"]):
        logger.warning(
            "%d of the %d cases that validate trained the weights that this begins with, by their names: the Dice of "
            "validations is not that of new cases; if others had these names, delete the split.json beside the weights",
            len(known),
            len(own["validation"]),
        )
    trained = dict.fromkeys([*own["training"], *sorted(before["training"])])
    chosen = dict.fromkeys([*own["validation"], *sorted(before["validation"])])
    return {"training": [*trained], "validation": [case for case in chosen if case not in trained]}


def write_parts(parts: Parts, ckpt_dir: Path) -> None:
    """Write ``split.json``: the names of the cases of "training" and of "validation"."""
    write_text(ckpt_dir / FILE, json.dumps(parts, indent=1) + "\n")


def write_hashed_parts(ckpt_path: str | Path, ckpt_dir: Path) -> None:
    """Hand on the ``split.json`` beside weights, if there is one, to copies of them that others may get.

    Its names, which may be patients', go as hashes: whoever has a case can tell whether it is among them.

    Raises:
        ValueError: it is damaged.
    """
    if beside(ckpt_path, FILE).is_file():
        parts = read_parts(ckpt_path)
        write_parts({part: sorted(map(_hash, names)) for part, names in parts.items()}, ckpt_dir)


def _hash(case: str) -> str:
    """What stands for a case's name; of a hash, itself."""
    return case if case.startswith(HASHED) else HASHED + digest(case, 16)


def read_parts(
    ckpt_path: str | Path | Sequence[str | Path], cases: Iterable[str] = ()
) -> dict[str, set[str]]:
    """What the ``split.json`` beside each weights file says together; without one, no names.

    Args:
        ckpt_path: the weights; several files are an ensemble.
        cases: names to be found behind hashes.

    Raises:
        ValueError: such a file is damaged.
    """
    found: dict[str, set[str]] = {"training": set(), "validation": set()}
    behind = {_hash(case): case for case in cases}
    for file in {beside(path, FILE) for path in paths_of(ckpt_path)}:
        if file.is_file():
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
                for part, names in found.items():
                    names.update(behind.get(name, name) for name in map(str, content[part]))
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{file} does not say which cases trained the weights beside it; delete it to draw the parts anew"
                ) from None
    found["validation"] -= found["training"]  # of an ensemble, what any has seen
    return found
