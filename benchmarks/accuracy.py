"""Accuracy in equal training time: ours beside networks of MONAI, by the bundle's own training and evaluation.

    python benchmarks/accuracy.py DATA --task nuclei [--minutes 3] [--networks "MCANet tiny" …] [--seeds 0 1 2]

Each network is trained from scratch by `train.json` with the task's settings: the same split, draws, augmentation,
loss and optimiser, for as many epochs as fit into the minutes (one epoch is timed first), with the learning rate that
was best of LEARNING_RATES in a first tenth of them. It is measured by `evaluate.json` on the test part, one pass
each. Run it on a machine that does nothing else.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mcanet.scripts

CONFIGS = mcanet.scripts.BUNDLE_ROOT / "configs"
LEARNING_RATES = (2e-3, 5e-4)
SHAPE = {"spatial_dims": 2, "in_channels": "@in_channels", "out_channels": "@out_channels"}
NETWORKS: dict[str, dict[str, Any]] = {
    "MCANet tiny": {"_target_": "scripts.networks.MCANet", **SHAPE, "variant": "tiny", "dropout": 0.1},
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


class Bundle:
    """The bundle's workflows with one network in place of its own.

    Args:
        data: labelled data.
        task: name of the task.
        network: its definition.
        folder: for what is written.
    """

    def __init__(self, data: Path, task: str, network: dict[str, Any], folder: Path) -> None:
        self.data, self.folder = data, folder
        folder.mkdir(parents=True)
        (folder / "network.json").write_text(json.dumps({"network_def": network, "flips": []}))
        overlay = CONFIGS / "tasks" / f"{task}.json"
        self.overlays = [*([overlay] if overlay.is_file() else []), folder / "network.json"]

    def run(self, workflow: str, out: Path, **settings: object) -> None:
        """Run a workflow, or end with its last words."""
        files = repr([str(file) for file in (CONFIGS / workflow, *self.overlays)])
        words = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", files]
        settings |= {"dataset_dir": self.data, "output_dir": out}
        words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{workflow} failed:\n{done.stderr[-2000:]}")

    def train(self, name: str, epochs: int, learning_rate: float, seed: int) -> tuple[float, float]:
        """Train; (validation Dice, seconds an epoch)."""
        out = self.folder / name
        self.run(
            "train.json", out, ckpt_dir=out, max_epochs=epochs, val_interval=epochs, learning_rate=learning_rate,
            seed=seed,
        )  # fmt: skip
        with (out / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return float(rows[-1]["val_mean_dice"] or 0), statistics.median(float(row["seconds"]) for row in rows)

    def measure(self, name: str) -> tuple[float, float, float, float]:
        """Test Dice, IoU, HD95, and seconds of the whole evaluation."""
        start = time.perf_counter()
        out = self.folder / f"{name}_figures"
        self.run("evaluate.json", out, ckpt_path=self.folder / name / "model.pt")
        mean = json.loads((out / "summary.json").read_text())["foreground_mean"]
        return mean["Dice"], mean["IoU"], mean["HD95"], time.perf_counter() - start


def compare(bundle: Bundle, minutes: float, seeds: list[int]) -> dict[str, Any]:
    """One network: search, then train and measure with each seed."""
    _, seconds = bundle.train("first", 1, LEARNING_RATES[0], 0)
    epochs = max(1, round(60 * minutes / seconds))
    searched = {
        rate: bundle.train(f"rate_{rate}", max(1, epochs // 10), rate, 0)[0] for rate in LEARNING_RATES
    }
    rate = max(searched, key=lambda one: searched[one])
    figures = []
    for seed in seeds:
        bundle.train(f"seed_{seed}", epochs, rate, seed)
        figures.append(bundle.measure(f"seed_{seed}"))
    return {"epochs": epochs, "rate": rate, "figures": figures}


def parameters(network: dict[str, Any], task: str) -> float:
    """Millions of parameters of a network for a task."""
    from monai.bundle import ConfigParser

    sys.path.insert(0, str(mcanet.scripts.BUNDLE_ROOT))
    settings = json.loads((CONFIGS / "inference.json").read_text())
    overlay = CONFIGS / "tasks" / f"{task}.json"
    settings |= json.loads(overlay.read_text()) if overlay.is_file() else {}
    wanted = {name: settings[name] for name in ("in_channels", "out_channels")}
    made = ConfigParser({**wanted, "network_def": network}).get_parsed_content("network_def")
    return sum(weight.numel() for weight in made.parameters()) / 1e6


def main() -> None:
    """Train and measure each, print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="hippocampus")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    print("| network | Dice | IoU | HD95 | M parameters | epochs | learning rate | seconds to evaluate |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        for number, network in enumerate(arguments.networks):
            bundle = Bundle(
                arguments.data.absolute(), arguments.task, NETWORKS[network], Path(name) / str(number)
            )
            found = compare(bundle, arguments.minutes, arguments.seeds)
            dice, iou, hausdorff, seconds = zip(*found["figures"], strict=True)
            spread = f" ± {statistics.stdev(dice):.3f}" if len(dice) > 1 else ""
            size = parameters(NETWORKS[network], arguments.task)
            print(
                f"| {network} | {statistics.mean(dice):.3f}{spread} | {statistics.mean(iou):.3f} | "
                f"{statistics.mean(hausdorff):.1f} | {size:.2f} | {found['epochs']} | {found['rate']} | "
                f"{statistics.mean(seconds):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
