"""The bundle's training and evaluation, with some of their settings changed, for the benchmarks of accuracy."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mcanet.scripts

CONFIGS = mcanet.scripts.BUNDLE_ROOT / "configs"
Figures = tuple[float, float, float, float]  # Dice, IoU, HD95, seconds of the whole evaluation


class Bundle:
    """The bundle's workflows on a task whose settings are changed.

    Args:
        data: labelled data.
        task: name of the task.
        settings: what is changed, as in a task file.
        folder: for what is written, to be made.
    """

    def __init__(self, data: Path, task: str, settings: dict[str, Any], folder: Path) -> None:
        self.data, self.folder = data, folder
        folder.mkdir(parents=True)
        self.settings = settings
        overlay = CONFIGS / "tasks" / f"{task}.json"
        self.overlays = [overlay] if overlay.is_file() else []

    def run(self, workflow: str, out: Path, **settings: object) -> None:
        """Run a workflow, or end with its last words."""
        known = json.loads((CONFIGS / workflow).read_text())
        changed = self.folder / workflow
        changed.write_text(json.dumps({k: v for k, v in self.settings.items() if k.split("#")[0] in known}))
        files = repr([str(file) for file in (CONFIGS / workflow, *self.overlays, changed)])
        words = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", files]
        settings |= {"dataset_dir": self.data, "output_dir": out}
        words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        # for networks that only a benchmark has
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
        if done.returncode:
            raise SystemExit(f"{workflow} failed:\n{done.stderr[-2000:]}")

    def train(self, name: str, epochs: int, **settings: object) -> tuple[float, float]:
        """Train, validating at the end; (validation Dice, seconds of the fastest epoch)."""
        out = self.folder / name
        self.run("train.json", out, ckpt_dir=out, max_epochs=epochs, val_interval=epochs, **settings)
        with (out / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return float(rows[-1]["val_mean_dice"] or 0), min(float(row["seconds"]) for row in rows)

    def measure(self, name: str, **settings: object) -> Figures:
        """Of the test part, unless told otherwise."""
        start = time.perf_counter()
        out = self.folder / f"{name}_figures"
        self.run("evaluate.json", out, ckpt_path=self.folder / name / "model.pt", **settings)
        mean = json.loads((out / "summary.json").read_text())["foreground_mean"]
        return mean["Dice"], mean["IoU"], mean["HD95"], time.perf_counter() - start
