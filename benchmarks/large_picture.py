"""Time and peak memory from a large colour picture on disk to its mask, in one pass.

python benchmarks/large_picture.py [--side 20000] [--engine eager] [--task nuclei]

The nuclei's network sees it in tiles, the skin lesions' and the polyps' squashed as a whole.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pipeline import watch

BLOBS = 40  # pixels from one to the next


def write_picture(file: Path, side: int) -> None:
    """A JPEG of coloured blobs, side × side."""
    count = side // BLOBS
    small = np.random.default_rng(0).integers(0, 255, (count, count, 3), np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR).save(file, quality=85)


def main() -> None:
    """Make the picture, segment it, print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--task", default="nuclei")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_picture(folder / "picture.jpg", arguments.side)
        command = [sys.executable, "-W", "ignore", "-m", "mcanet.scripts.cli", "segment"]
        command += [str(folder / "picture.jpg"), str(folder / "out"), "--engine", arguments.engine]
        command += ["--task", arguments.task, "--flips", "[]", "--fitness", "off"]
        seconds, peak = watch(command, folder / "log.txt")
    print("| picture | engine | seconds | peak GiB | peak GB |\n| --- | --- | --- | --- | --- |")
    gigabytes = peak * 2**30 / 1e9
    print(
        f"| {arguments.side} x {arguments.side} | {arguments.engine} | {seconds:.0f} | {peak:.2f} | {gigabytes:.2f} |"
    )


if __name__ == "__main__":
    main()
