"""Mean Dice of groups of the cases that `mcanet evaluate` measured, with the 95 % interval of each.

    python benchmarks/subgroups.py FIGURES [--pictures IMAGES]

By the size of what the truth labels, in thirds; with IMAGES, the folder of the pictures themselves, also by whether
they are dark, bright or coloured (a mean saturation above 0.1). Groups of fewer than 5 cases are shown as they are.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mcanet.scripts.evaluation.summary import interval
from PIL import Image

SIZES = ("smallest third", "middle third", "largest third")
Case = dict[str, Any]


def by_size(cases: list[Case]) -> dict[str, list[Case]]:
    """Thirds of the cases by the labelled voxels of the truth, each named with its range."""
    ordered = sorted(cases, key=labelled)
    return {
        f"{name}, {labelled(third[0]):,.0f} to {labelled(third[-1]):,.0f}": third
        for name, part in zip(SIZES, np.array_split(np.arange(len(ordered)), 3), strict=True)
        for third in [[ordered[i] for i in part]]
    }


def labelled(case: Case) -> float:
    """Labelled voxels of the truth."""
    return float(sum(figures["n_ref"] for figures in case["metrics"].values()))


def by_look(cases: list[Case], look: Callable[[Case], str]) -> dict[str, list[Case]]:
    """Cases by what their pictures look like."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(look(case), []).append(case)
    return dict(sorted(groups.items()))


def look_of(case: Case, images: Path) -> str:
    """Dark, bright or coloured: of the picture whose name is the truth's."""
    stem = Path(case["reference_file"]).stem
    file = next(file for file in sorted(images.iterdir()) if file.stem == stem)
    hsv = np.asarray(Image.open(file).convert("RGB").convert("HSV"), np.float64) / 255
    if hsv[..., 1].mean() > 0.1:
        return "coloured"
    return "bright, grey" if hsv[..., 2].mean() > 0.5 else "dark, grey"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    cases = json.loads((arguments.figures / "summary.json").read_text())["metric_per_case"]
    if len(cases) < 3:
        sys.exit(f"{arguments.figures}: {len(cases)} cases are too few to be cut into thirds")
    groups = by_size(cases)
    if arguments.pictures:
        groups |= by_look(cases, lambda case: look_of(case, arguments.pictures))
    print("| cases | number | mean Dice | lowest |\n| --- | --- | --- | --- |")
    for name, group in groups.items():
        table = np.array([[label["Dice"] for label in case["metrics"].values()] for case in group], float)
        low, high = interval(table)
        mean = np.nanmean(np.nanmean(table, axis=0))
        lowest = np.nanmin(np.nanmean(table, axis=1))
        print(f"| {name} | {len(group)} | {mean:.3f} ({low:.3f} to {high:.3f}) | {lowest:.3f} |")


if __name__ == "__main__":
    main()
