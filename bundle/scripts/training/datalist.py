"""Which labelled cases train, validate and test."""

import logging
import random
import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..hashing import digest, file_digest
from ..study import Case
from .layouts import Pair, read_layout
from .parts import read_parts

logger = logging.getLogger("mcanet")

FRACTIONS = {"validation": 0.1, "test": 0.15}  # the rest trains
SUBSETS = ("training", "validation", "test", "all")


def labelled_datalist(
    dataset_dir: str | Path, subset: str, *args: Any, **kwargs: Any
) -> list[dict[Hashable, Any]]:
    """The labelled pairs of a folder that belong to a subset.

    Args:
        dataset_dir: a folder in one of the layouts of :func:`read_layout`.
        subset: "training", "validation", "test" or "all".
        *args: of :func:`parts_of`.
        **kwargs: of :func:`parts_of`.

    Returns:
        ``{"image": path, "label": path, "case": name}`` dictionaries with absolute paths; where each channel has a
        file of its own, the image is a :class:`scripts.study.Case`.

    Raises:
        FileNotFoundError: the folder is in no known layout, or a file is missing.
        ValueError: the subset is unknown, it is empty, or the folder cannot be cut.
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {SUBSETS}, got {subset!r}")
    layout = read_layout(dataset_dir)
    if layout.problems:
        raise FileNotFoundError(
            f"{str(dataset_dir)!r} lists {len(layout.problems)} pairs that are not whole, first "
            f"{layout.problems[0]}"
        )
    pairs: Sequence[Pair] = layout.pairs
    if subset != "all":
        pairs = parts_of(pairs, *args, **kwargs)[subset]
        if not pairs:
            raise ValueError(
                f"no case of {str(dataset_dir)!r} is of the part {subset!r} of these weights; give --subset all "
                "to measure those, too, that trained them"
            )
    return [pair.item() for pair in pairs]


def parts_of(
    pairs: Sequence[Pair],
    case_groups: str | None = None,
    folds: int | None = None,
    fold: int = 0,
    test_cases: str | None = None,
    seed: int = 0,
    ckpt_path: str | Path | Sequence[str | Path] = (),
) -> dict[str, list[Pair]]:
    """The cases that train, validate and test.

    The cases, sorted, are shuffled by ``seed`` and cut, so that the same folder always splits alike. Weights that
    know what trained them keep their own parts, whatever cases came or went since: what neither trained nor
    validated them tests.

    Args:
        pairs: of a folder.
        case_groups: pattern whose first group names, say, the patient of a case: cases of one name stay
            together; None: each case stands alone.
        folds: cut what is not tested into so many parts, of which one validates; None: 75, 10 and 15 % train,
            validate and test, as :data:`FRACTIONS` says.
        fold: the part that validates, from 0.
        test_cases: pattern of the cases to test on, where others have fixed them; None: they are drawn.
        seed: of the shuffle.
        ckpt_path: weights that are to be measured.

    Raises:
        ValueError: a pattern or fold is none, ``test_cases`` fits no case or one that trained the weights, or
            there are too few pairs to cut.
    """
    _check_pattern("case_groups", case_groups, groups=1)
    _check_pattern("test_cases", test_cases)
    groups = [group_of(pair.case, case_groups) for pair in pairs]
    names = list(dict.fromkeys(groups))
    tested = _tested(pairs, groups, test_cases)
    known = read_parts(ckpt_path, [pair.case for pair in pairs])
    seen = {part: {group_of(case, case_groups) for case in cases} for part, cases in known.items()}
    seen["validation"] -= seen["training"]
    trained = any(seen.values())
    cuts = _cuts_of_weights(names, seen, tested) if trained else split(names, seed, folds, fold, tested)
    part_of = {group: part for part, chosen in cuts.items() for group in chosen}
    found: dict[str, list[Pair]] = {part: [] for part in cuts}
    for pair, group in zip(pairs, groups, strict=True):
        if group in part_of:
            found[part_of[group]].append(pair)
    return found


def _tested(pairs: Sequence[Pair], groups: Sequence[str], pattern: str | None) -> set[str] | None:
    """The groups of the cases whose name the pattern fits."""
    if pattern is None:
        return None
    tested = {group for pair, group in zip(pairs, groups, strict=True) if re.search(pattern, pair.case)}
    if not tested:
        raise ValueError(f"test_cases {pattern!r} fits none of the {len(pairs)} cases")
    return tested


def _cuts_of_weights(
    names: Sequence[str], seen: Mapping[str, Collection[str]], tested: Collection[str] | None
) -> dict[str, list[str]]:
    """The parts as the weights know them; all else tests, or of it ``tested``.

    Raises:
        ValueError: one of ``tested`` trained or validated the weights.
    """
    cuts = {part: [name for name in names if name in chosen] for part, chosen in seen.items()}
    known = {*cuts["training"], *cuts["validation"]}
    if tested is not None and known & set(tested):
        raise ValueError(
            f"test_cases fits {sorted(known & set(tested))[0]!r}, which these weights were trained or chosen with"
        )
    new = [name for name in names if name not in known and (tested is None or name in tested)]
    logger.info(
        "the parts are those of the weights, by the cases' names: %d train, %d validate, %d test",
        *map(len, (cuts["training"], cuts["validation"], new)),
    )
    return {**cuts, "test": new}


def signature(items: Sequence[Mapping[Hashable, Any]]) -> str:
    """Words that differ where the cases do: how many, and a hash of their names and their files' names."""
    names = [
        f"{item.get('case', '')}/{file.name}" for item in items for file in (*_images(item), _mask(item))
    ]
    words = "\n".join(names)
    return f"{len(items)} cases ({digest(words)})"


def contents(items: Sequence[Mapping[Hashable, Any]]) -> list[str]:
    """Of each case, what differs once it is replaced: the sizes of its image's files, a hash of its mask."""
    return [
        f"{[file.stat().st_size for file in _images(item)]} {file_digest(_mask(item))[:12]}" for item in items
    ]


def _images(item: Mapping[Hashable, Any]) -> Sequence[Path]:
    """The files of a case's image."""
    image = item["image"]
    return image.files if isinstance(image, Case) else [Path(image)]


def _mask(item: Mapping[Hashable, Any]) -> Path:
    return Path(item["label"])


def group_of(case: str, case_groups: str | None) -> str:
    """The name that a case's group goes by; a case that the pattern does not match stands alone."""
    match = re.search(case_groups, case) if case_groups else None
    return match[1] if match else case


def _check_pattern(setting: str, pattern: str | None, groups: int = 0) -> None:
    """Look at the pattern of a setting; None is none.

    Raises:
        ValueError: it is no regular expression, or has too few groups.
    """
    if pattern is None:
        return
    try:
        found = re.compile(pattern).groups
    except (re.error, TypeError) as error:
        raise ValueError(f"{setting} {pattern!r} is no regular expression: {error}") from None
    if found < groups:
        raise ValueError(f"{setting} {pattern!r} needs a group in brackets, which names the patient")


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
    if folds is None and fold:
        raise ValueError(f"fold is {fold!r}, but folds does not say how many there are")
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
