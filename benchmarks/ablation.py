"""What each part of the training recipe, and of the network, is worth.

    python benchmarks/ablation.py DATA [--task nuclei|cardiac] [--cases 8] [--steps 240] [--seeds 0 1] [--rows "no noise" …]
                                    [--settings '{"spacing": null}']

Each row changes one thing in the recipe of `train.json`, and trains a short while on few cases: 12 hippocampi at 1 mm,
in one plane and patches of 64 × 64, from the cardiac weights; or, from the hippocampus weights, 40 pictures of nuclei
in patches of 128 × 128, or 12 hearts at every second pixel in patches of 80 × 80; `--settings` changes these for all
rows. The rows of the network train from scratch. All rows of a seed see the same cases in the same order. Dice is of the
validation part, which does not train; the last column is of the same hippocampi mirrored left to right, a side that the
data do not show, or of the test part.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from workflows import CONFIGS, Bundle

BATCH = 4
SHIPPED, SCRATCH = "as shipped", "as shipped, from scratch"
DISTILLED = "distilled, from scratch"
RECIPE = json.loads((CONFIGS / "train.json").read_text())
MODELS = CONFIGS.parent / "models"
TRANSFORMS: list[dict[str, Any]] = RECIPE["train"]["random_transforms"]
SHARED = {"batch_size": BATCH, "num_workers": 0, "learning_rate": 0.001}


class Setting(NamedTuple):
    """What a task trains on here, and what the last column measures."""

    cases: int
    settings: dict[str, Any]
    other: str
    measured: dict[str, Any]


SETTINGS = {
    "hippocampus": Setting(
        12,
        {"planes": [2], "spacing": 1.0, "roi_size": [64, 64], "init_path": str(MODELS / "tasks" / "cardiac.pt")},
        "mirrored",
        {"subset": "validation", "preprocessing#transforms#2#axcodes": "LAS"},  # the network sees the other side
    ),
    "cardiac": Setting(
        12, {"spacing": 2.0, "roi_size": [80, 80], "init_path": str(MODELS / "model.pt")}, "test part", {"subset": "test"}
    ),
    "nuclei": Setting(
        40, {"roi_size": [128, 128], "init_path": str(MODELS / "model.pt"), "flips": []}, "test part", {"subset": "test"}
    ),
}  # fmt: skip
SPATIAL = {"keys": ["image", "label"], "mode": ["bilinear", "nearest"], "padding_mode": "zeros"}
ELASTIC = {
    "_target_": "Rand2DElasticd",
    **SPATIAL,
    "prob": 0.3,
    "spacing": [16, 16],
    "magnitude_range": [1, 3],
}
LOW_RESOLUTION = {
    "_target_": "RandSimulateLowResolutiond",
    "keys": "image",
    "prob": 0.25,
    "zoom_range": [0.5, 1.0],
    "upsample_mode": "bilinear",
}


def without(*targets: str) -> dict[str, Any]:
    """The recipe without some of its random transforms."""
    assert {one["_target_"] for one in TRANSFORMS} >= set(targets)
    return {"train#random_transforms": [one for one in TRANSFORMS if one["_target_"] not in targets]}


def network(name: str) -> dict[str, Any]:
    """A network of ``ablation_parts`` in place of ours."""
    return {"network_def#_target_": f"ablation_parts.{name}"}


def unmoved(transforms: list[dict[str, Any]]) -> dict[str, Any]:
    """The recipe of these transforms, with RandAffined never drawn."""
    return {
        "train#random_transforms": [
            one | {"prob": 0.0} if one["_target_"] == "RandAffined" else one for one in transforms
        ]
    }


INTENSITY = (
    "RandScaleIntensityd",
    "RandShiftIntensityd",
    "RandAdjustContrastd",
    "RandGaussianNoised",
    "RandGaussianSmoothd",
)
DEEP_LOSS = {"loss": {"_target_": "ablation_parts.DeepLoss", "loss": RECIPE["loss"]}}
SOFT_LOSS = {
    "loss": {"_target_": "ablation_parts.SoftBorders", "loss": RECIPE["loss"] | {"to_onehot_y": False}}
}
TAUGHT_LOSS = {"loss": {"_target_": "ablation_parts.TaughtLoss", "loss": RECIPE["loss"]}}
SCRATCH_START = {"init_path": None, "learning_rate": 0.002}
# the first half of a training twice as long, whose schedule it has
HALF_WAY = {"steps": "$2 * @train#trainer#max_epochs * len(@train#dataloader)"}
ROWS: dict[str, dict[str, Any]] = {
    SHIPPED: {},
    "no change of shape or intensity, mirrored only": unmoved(without(*INTENSITY)["train#random_transforms"]),
    "no rotation, scaling, shear, shift": unmoved(TRANSFORMS),
    "no change of intensity": without(*INTENSITY),
    "no mirrored cases": {"mirror": 0.0},
    "no change of contrast and brightness": without("RandScaleIntensityd", "RandShiftIntensityd"),
    "no gamma": without("RandAdjustContrastd"),
    "no noise": without("RandGaussianNoised"),
    "no blur": without("RandGaussianSmoothd"),
    "draws anywhere, not on labels": {"foreground": 0.0},
    "cross-entropy alone": {"loss#lambda_dice": 0.0},
    "Dice alone": {"loss#lambda_ce": 0.0},
    "stopped half-way": HALF_WAY,
    "no dropout, no stochastic depth": {"network_def#dropout": 0.0, "network_def#drop_path": 0.0},
    "decoder no faster than encoder": {"head_multiplier": 1.0},
    "AdamW's eps at PyTorch's 1e-8": {"optimizer#eps": 1e-8},
    "with elastic deformation": {"train#random_transforms": [*TRANSFORMS, ELASTIC]},
    "with low resolution": {"train#random_transforms": [*TRANSFORMS, LOW_RESOLUTION]},
    "label smoothing of 0.1": {"loss#label_smoothing": 0.1},
    "labels smooth at their borders": SOFT_LOSS,
    SCRATCH: SCRATCH_START,
    "SegNeXt's start, from scratch": network("SegNeXtStart") | SCRATCH_START,
    "deep supervision, from scratch": network("DeeplySupervised") | DEEP_LOSS | SCRATCH_START,
    "decoder at half the resolution, from scratch": network("HalfResolution") | SCRATCH_START,
    "variant small, from scratch": {"variant": "small"} | SCRATCH_START,
    "variant base, from scratch": {"variant": "base"} | SCRATCH_START,
    # its teachers by --settings '{"network_def#teachers": ["FILE", …]}', weights of the small variant
    DISTILLED: network("Distilled") | TAUGHT_LOSS | SCRATCH_START,
    "cross-axis attention alone, one scale": network("OneScale") | SCRATCH_START,
    "multi-scale strips alone, no attention": network("NoCrossAxis") | SCRATCH_START,
}  # fmt: skip


def main() -> None:
    """Train and measure each row with each seed; print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="hippocampus", choices=list(SETTINGS))
    parser.add_argument("--cases", type=int, help="to train on, of the training part")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument(
        "--rows", nargs="+", default=[row for row in ROWS if row != DISTILLED], choices=list(ROWS)
    )
    parser.add_argument("--settings", type=json.loads, default={}, help="of the task, as JSON, for all rows")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.task]
    number = arguments.cases or setting.cases
    epochs = max(1, arguments.steps // math.ceil(number / BATCH))
    cases = f"$training.open_datalist(@dataset_dir, 'training')[:{number}]"
    base = SHARED | setting.settings | {"train#dataset#data": cases} | arguments.settings
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for place, row in enumerate(arguments.rows):
                path = Path(folder) / str(seed) / str(place)
                bundle = Bundle(arguments.data.absolute(), arguments.task, base | ROWS[row], path)
                dice, _ = bundle.train("trained", epochs, seed=seed)
                other = bundle.measure("trained", **setting.measured)[0]
                found.setdefault(row, []).append((dice, other))
                print(row, seed, f"{dice:.4f} {other:.4f}", file=sys.stderr, flush=True)
    print(f"| recipe | Dice | against as shipped | {setting.other} |\n| --- | --- | --- | --- |")
    for row, figures in found.items():
        dice, other = zip(*figures, strict=True)
        first = found.get(SCRATCH if ROWS[row].get("init_path", "") is None else SHIPPED, [])
        gain = f"{statistics.mean(dice) - statistics.mean(one for one, _ in first):+.3f}" if first else ""
        each = ", ".join(f"{one:.3f}" for one in dice)
        print(f"| {row} | {statistics.mean(dice):.3f} ({each}) | {gain} | {statistics.mean(other):.3f} |")


if __name__ == "__main__":
    main()
