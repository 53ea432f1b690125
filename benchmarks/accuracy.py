"""Accuracy in equal training time, or in equal epochs: ours beside networks of MONAI, by the bundle's own workflows.

    python benchmarks/accuracy.py DATA --task nuclei [--minutes 3 | --epochs 20] [--networks "MCANet tiny" …] [--seeds 0 1 2]

Each network is trained from scratch by `train.json` with the task's settings and those of `--settings`: the same split,
draws, augmentation, loss and optimiser, for the epochs given or as many as fit into the minutes, with the learning rate
that was best of LEARNING_RATES in a first tenth of them. It is measured by `evaluate.json` on the test part, one pass
each. GMAC are of a picture of 256 × 256. All are timed before the first is trained: the machine must do nothing else
until then; after that, other work makes it last longer but changes no figure, save the seconds to evaluate.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from workflows import CONFIGS, Bundle, Figures

LEARNING_RATES = (2e-3, 5e-4)
SHAPE = {"spatial_dims": 2, "in_channels": "@in_channels", "out_channels": "@out_channels"}
NETWORKS: dict[str, dict[str, Any]] = {
    "MCANet tiny": {"_target_": "scripts.networks.MCANet", **SHAPE, "variant": "tiny", "dropout": 0.1},
    "MCANet tiny, half resolution": {
        "_target_": "ablation_parts.HalfResolution", **SHAPE, "variant": "tiny", "dropout": 0.1,
    },
    "MONAI UNet": {
        "_target_": "UNet", **SHAPE, "channels": [32, 64, 128, 256, 512], "strides": [2, 2, 2, 2], "num_res_units": 2,
    },
    "DynUNet, nnU-Net's plan": {
        "_target_": "DynUNet", **SHAPE, "kernel_size": [3] * 6, "strides": [1, 2, 2, 2, 2, 2],
        "upsample_kernel_size": [2] * 5, "filters": [32, 64, 128, 256, 512, 512],
    },
    "SegResNet": {"_target_": "SegResNet", **SHAPE, "init_filters": 32},
    "SwinUNETR": {"_target_": "SwinUNETR", **SHAPE, "feature_size": 24},
    "FlexibleUNet, EfficientNet-b0": {
        "_target_": "FlexibleUNet", **SHAPE, "backbone": "efficientnet-b0", "pretrained": False,
    },
}  # fmt: skip


def compare(bundle: Bundle, epochs: int, seeds: list[int]) -> tuple[float, list[Figures]]:
    """One network: search the learning rate, then train and measure with each seed."""
    searched = {
        rate: bundle.train(f"rate_{rate}", max(1, epochs // 10), learning_rate=rate, seed=0)[0]
        for rate in LEARNING_RATES
    }
    rate = max(searched, key=lambda one: searched[one])
    figures = []
    for seed in seeds:
        bundle.train(f"seed_{seed}", epochs, learning_rate=rate, seed=seed)
        figures.append(bundle.measure(f"seed_{seed}"))
        print(bundle.folder.name, rate, seed, *figures[-1], file=sys.stderr, flush=True)
    return rate, figures


def size_of(network: dict[str, Any], task: str) -> tuple[float, float]:
    """Millions of parameters of a network for a task, and GMAC for a picture of 256 × 256."""
    import torch
    from monai.bundle import ConfigParser
    from torch.utils.flop_counter import FlopCounterMode

    sys.path.insert(0, str(CONFIGS.parent))
    settings = json.loads((CONFIGS / "inference.json").read_text())
    overlay = CONFIGS / "tasks" / f"{task}.json"
    settings |= json.loads(overlay.read_text()) if overlay.is_file() else {}
    wanted = {name: settings[name] for name in ("in_channels", "out_channels")}
    made = ConfigParser({**wanted, "network_def": network}).get_parsed_content("network_def").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made(torch.zeros(1, wanted["in_channels"], 256, 256))
    return sum(weight.numel() for weight in made.parameters()) / 1e6, counter.get_total_flops() / 2e9


def main() -> None:
    """Train and measure each, print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="hippocampus")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=3)
    budget.add_argument("--epochs", type=int)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--settings", type=json.loads, default={}, help="of the task, as JSON, for all")
    arguments = parser.parse_args()
    print(
        "| network | Dice | IoU | HD95 | M parameters | GMAC | epochs | s an epoch | learning rate | s to evaluate |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        bundles = {}
        for name in arguments.networks:
            settings = arguments.settings | {"network_def": NETWORKS[name], "flips": []}
            path = Path(folder) / name
            bundles[name] = Bundle(arguments.data.absolute(), arguments.task, settings, path)
        seconds = {name: bundle.train("first", 2, seed=0)[1] for name, bundle in bundles.items()}
        for name, bundle in bundles.items():
            epochs = arguments.epochs or max(1, round(60 * arguments.minutes / seconds[name]))
            rate, figures = compare(bundle, epochs, arguments.seeds)
            dice, iou, hausdorff, evaluated = zip(*figures, strict=True)
            spread = f" ± {statistics.stdev(dice):.3f}" if len(dice) > 1 else ""
            millions, gmac = size_of(NETWORKS[name], arguments.task)
            print(
                f"| {name} | {statistics.mean(dice):.3f}{spread} | {statistics.mean(iou):.3f} | "
                f"{statistics.mean(hausdorff):.1f} | {millions:.2f} | {gmac:.2f} | {epochs} | "
                f"{seconds[name]:.1f} | {rate} | {statistics.mean(evaluated):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
