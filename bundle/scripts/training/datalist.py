"""Which labelled cases train, validate and test."""

import hashlib
import random
import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..study import Case
from .layouts import Pair, read_layout

FRACTIONS = {"validation": 0.1, "test": 0.15}  # the rest trains
SUBSETS = ("training", "validation", "test", "all")


def labelled_datalist(
    dataset_dir: str | Path,
    subset: str,
    case_groups: str | None = None,
    folds: int | None = None,
    fold: int = 0,
    test_cases: str | None = None,
    seed: int = 0,
) -> list[dict[Hashable, Any]]:
    """The labelled pairs of a folder that belong to a subset.

    The cases, sorted, are shuffled by ``seed`` and cut, so that the same folder always splits alike.

    Args:
        dataset_dir: a folder in one of the layouts of :func:`read_layout`.
        subset: "training", "validation", "test" (75, 10 and 15 % as :data:`FRACTIONS` says), or "all".
        case_groups: pattern whose first group names, say, the patient of a case: cases of one name stay
            together; None: each case stands alone.
        folds: cut what is not tested into so many parts, of which one validates; None: see ``subset``.
        fold: the part that validates, from 0.
        test_cases: pattern of the cases to test on, where others have fixed them; None: they are drawn.
        seed: of the shuffle.

    Returns:
        ``{"image": path, "label": path}`` dictionaries with absolute paths; where each channel has a file of
        its own, the image is a :class:`scripts.study.Case`.

    Raises:
        FileNotFoundError: the folder is in no known layout, or a file is missing.
        ValueError: the subset or fold is unknown, ``test_cases`` fits no case, or the folder holds too few pairs
            to split.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {SUBSETS}, got {subset!r}")
    layout = read_layout(dataset_dir)
    if layout.problems:
        raise FileNotFoundError(
            f"{str(dataset_dir)!r} lists {len(layout.problems)} pairs that are not whole, first "
            f"{layout.problems[0]}"
        )
    if subset == "all":
        return [pair.item() for pair in layout.pairs]
    groups = [group_of(pair, case_groups) for pair in layout.pairs]
    tested = None
    if test_cases is not None:
        tested = {
            group
            for pair, group in zip(layout.pairs, groups, strict=True)
            if re.search(test_cases, pair.case)
        }
        if not tested:
            raise ValueError(f"test_cases {test_cases!r} fits none of the {len(layout.pairs)} cases")
    chosen = set(split(list(dict.fromkeys(groups)), seed, folds, fold, tested)[subset])
    return [pair.item() for pair, group in zip(layout.pairs, groups, strict=True) if group in chosen]


def signature(items: Sequence[Mapping[Hashable, Any]]) -> str:
    """Words that differ where the cases do: how many, and a hash of their files' names and sizes."""
    digest = hashlib.sha256()
    for item in items:
        image = item["image"]
        files = image.files if isinstance(image, Case) else [Path(image)]
        for file in (*files, Path(item["label"])):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
    return f"{len(items)} cases ({digest.hexdigest()[:12]})"


def group_of(pair: Pair, case_groups: str | None) -> str:
    """The name that a case's group goes by; a case that the pattern does not match stands alone."""
    match = re.search(case_groups, pair.case) if case_groups else None
    return match[1] if match else str(pair.images[0])


def split(
    items: list[Any],
    seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    tested: Collection[Any] | None = None,
) -> dict[str, list[Any]]:
    """Cut a list into "training", "validation" and "test", each with at least one item and in order.

    The test part is the same for every fold: ``tested``, or drawn.

    Raises:
        ValueError: if there are fewer than three items, or two that are not tested, or no such fold.
    """
    if len(items) < 3:
        raise ValueError(f"need at least 3 labelled cases to train, validate and test, got {len(items)}")
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    n_val, n_test = (max(1, round(FRACTIONS[name] * len(items))) for name in ("validation", "test"))
    drawn = [items[i] for i in order[n_val : n_val + n_test]] if tested is None else tested
    test, rest = [i for i in order if items[i] in drawn], [i for i in order if items[i] not in drawn]
    if len(rest) < 2:
        raise ValueError(
            f"need at least 2 labelled cases to train and validate, got {len(rest)} beside the tested"
        )
    validation = rest[: min(n_val, len(rest) - 1)]
    if folds is not None:
        if not isinstance(folds, int) or not isinstance(fold, int):
            raise ValueError(f"folds and fold must be numbers, got {folds!r} and {fold!r}")
        if not 2 <= folds <= len(rest) or not 0 <= fold < folds:
            raise ValueError(
                f"{len(rest)} cases or patients cannot be cut into {folds} folds with a fold {fold}"
            )
        validation = rest[fold::folds]
    cuts = {"validation": validation, "test": test, "training": sorted({*rest} - {*validation})}
    return {name: [items[i] for i in sorted(chosen)] for name, chosen in cuts.items()}
