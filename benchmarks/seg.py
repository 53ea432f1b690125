"""Time and memory of a DICOM SEG: 512 x 512 x 200 voxels, eight labels, one CT series on disk.

    python benchmarks/seg.py [--labelmap] [--repeat N]

Prints the median and best seconds of a process's first SEG and of its next one, the reading of the 200 source
headers included, and the peak resident memory of a process that does nothing else.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from series import SIZE, SPACING, STEP, make_series

SHAPE = (SIZE, SIZE, 200)
LABELS = 8


def make_labels() -> np.ndarray:
    """Eight balls of organ size, uint8 (1, X, Y, Z)."""
    labels = np.zeros((1, *SHAPE), np.uint8)
    grid = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    for value in range(1, LABELS + 1):
        centre = (128 + 256 * (value % 2), 80 + 50 * value, 100 + 5 * value)
        radii = (90, 60, 85)
        squares = [((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)]
        for index in range(SHAPE[2]):  # a slice at a time, so that this takes no memory to speak of
            plane = labels[0, :, :, index]
            plane[(squares[0] + squares[1])[:, :, 0] + squares[2][0, 0, index] <= 1] = value
    return labels


def measure_once(folder: str, labelmap: bool, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    """Write one SEG and put its seconds, its size and the process's peak memory on the queue."""
    from mcanet.scripts.results import label_table
    from mcanet.scripts.results.seg import write_seg
    from mcanet.scripts.study import Case

    anatomy, organ = ["91723000", "SCT", "Anatomical Structure"], ["10200004", "SCT", "Liver"]
    table = label_table(
        [
            {"value": v, "name": f"organ {v}", "colour": [30 * v, 9, 9], "category": anatomy, "type": organ}
            for v in range(1, LABELS + 1)
        ]
    )
    files = tuple(sorted(Path(folder).glob("*.dcm")))
    case = Case("bench", "dicom", "series", files, Path(folder))
    affine = np.diag([-SPACING, -SPACING, STEP, 1.0])
    affine[:2, 3] = 192.0
    labels = make_labels()
    import highdicom  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = Path(folder) / "out.seg"
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        write_seg(labels, case, table, out, affine=affine, labelmap=labelmap, model_sha256="0" * 64)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((*seconds, out.stat().st_size, before, peak))


def main() -> None:
    """Write the series, measure, print one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labelmap", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        make_series(Path(folder), SHAPE[2])
        runs = []
        for _ in range(arguments.repeat):
            queue = spawn.Queue()
            process = spawn.Process(target=measure_once, args=(folder, arguments.labelmap, queue))
            process.start()
            runs.append(queue.get())
            process.join()
    first, second, sizes, before, peaks = zip(*runs, strict=True)
    report = {
        "shape": SHAPE,
        "labels": LABELS,
        "kind": "labelmap" if arguments.labelmap else "binary",
        "first_seconds": round(statistics.median(first), 2),
        "first_seconds_best": round(min(first), 2),
        "next_seconds": round(statistics.median(second), 2),
        "next_seconds_best": round(min(second), 2),
        "peak_mb": round(max(peaks) / 1024),
        "before_mb": round(max(before) / 1024),
        "file_mb": round(max(sizes) / 1e6, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
