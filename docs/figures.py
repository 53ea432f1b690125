"""Make the figures of the docs: the training curve from TensorBoard's log, the demo's previews and its report."""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Draw what is asked for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--log_dir", type=Path, nargs="+", help="TensorBoard folders of a training's stages"
    )
    arguments.add_argument("--demo_dir", type=Path, help="result folder of make demo")
    given = arguments.parse_args()
    IMAGES.mkdir(exist_ok=True)
    if given.log_dir:
        training_curve(given.log_dir).savefig(IMAGES / "hippocampus_training.png", dpi=110)
    if given.demo_dir:
        side_by_side(sorted(given.demo_dir.glob("*/preview.png"))).save(IMAGES / "demo.png", optimize=True)
        screenshot(given.demo_dir / "report.html", IMAGES / "report.png")


def training_curve(log_dirs: list[Path]) -> Figure:
    """Loss of every step, and its running mean, above the validation's Dice; stage after stage."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for log_dir in log_dirs:
        ends = {tag: max(steps) for tag, (steps, _) in curves.items()}
        for file in sorted(log_dir.glob("events.out.tfevents.*")):
            log = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
            for tag in log.Tags()["scalars"]:
                steps, values = curves.setdefault(tag, ([], []))
                steps += [ends.get(tag, 0) + event.step for event in log.Scalars(tag)]
                values += [event.value for event in log.Scalars(tag)]
    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2)
    steps, loss = curves["train_loss"]
    window = 50
    above.plot(steps, loss, color="0.8", linewidth=0.5)
    above.plot(steps[window - 1 :], np.convolve(loss, np.ones(window) / window, "valid"), color="tab:blue")
    above.set(xlabel="step", ylabel="Dice + cross-entropy loss", ylim=(0, None))
    below.plot(*curves["val_mean_dice"], marker="o", color="tab:orange")
    below.set(xlabel="epoch", ylabel="mean Dice, validation")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure


def side_by_side(files: list[Path]) -> Image.Image:
    """Previews beside each other."""
    pictures = [Image.open(file).convert("RGB") for file in files]
    joined = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)))
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def screenshot(page: Path, picture: Path) -> None:
    """The top of a page as Chromium shows it.

    Raises:
        SystemExit: Chromium is not installed, or shows nothing.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("a screenshot needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        words = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"]
        words += ["--window-size=1250,1300", "--virtual-time-budget=5000", f"--screenshot={picture}"]
        done = subprocess.run([*words, page.absolute().as_uri()], capture_output=True, text=True)
    if done.returncode or not picture.is_file():
        raise SystemExit(f"Chromium made no picture:\n{done.stderr[-1000:]}")
    Image.open(picture).quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
