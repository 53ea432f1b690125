"""Which labelled cases train, validate and test."""

import json
import random
from pathlib import Path
from typing import Any

FRACTIONS = {"validation": 0.1, "test": 0.15}  # the rest trains
SUBSETS = ("training", "validation", "test", "all")


def decathlon_datalist(dataset_dir: str | Path, subset: str, seed: int = 0) -> list[dict[str, Any]]:
    """The labelled pairs of a Medical Segmentation Decathlon folder that belong to a subset.

    The names, sorted, are shuffled by ``seed`` and cut, so that the same folder always splits alike.

    Args:
        dataset_dir: the folder with ``dataset.json``.
        subset: "training", "validation", "test" (15, 10 and 75 % as :data:`FRACTIONS` says), or "all".
        seed: of the shuffle.

    Returns:
        ``{"image": path, "label": path}`` dictionaries with absolute paths.

    Raises:
        FileNotFoundError: if there is no ``dataset.json``, or a file that it lists is missing.
        ValueError: if the subset is unknown or the folder lists too few pairs to split.
    """
    root = Path(dataset_dir).resolve()
    description = root / "dataset.json"
    if not description.is_file():
        raise FileNotFoundError(
            f"no dataset.json in {str(dataset_dir)!r}: --dataset_dir must be a folder in the Medical "
            "Segmentation Decathlon's layout (dataset.json, imagesTr, labelsTr)"
        )
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {SUBSETS}, got {subset!r}")
    listed = json.loads(description.read_text())["training"]
    pairs = [{key: str(root / pair[key]) for key in ("image", "label")} for pair in listed]
    missing = [path for pair in pairs for path in pair.values() if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{description} lists {len(missing)} files that are missing, first {missing[0]}"
        )
    pairs.sort(key=lambda pair: pair["image"])
    return pairs if subset == "all" else split(pairs, seed)[subset]


def split(items: list[Any], seed: int = 0) -> dict[str, list[Any]]:
    """Cut a list into "training", "validation" and "test", each with at least one item and in order.

    Raises:
        ValueError: if there are fewer than three items.
    """
    if len(items) < 3:
        raise ValueError(f"need at least 3 labelled cases to train, validate and test, got {len(items)}")
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    n_val, n_test = (max(1, round(FRACTIONS[name] * len(items))) for name in ("validation", "test"))
    cuts = {
        "validation": order[:n_val],
        "test": order[n_val : n_val + n_test],
        "training": order[n_val + n_test :],
    }
    return {name: [items[i] for i in sorted(chosen)] for name, chosen in cuts.items()}
