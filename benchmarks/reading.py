"""Our reader beside MONAI's PydicomReader and ITKReader: who is right on which input, how fast, how much memory.

Run from the repository's root, with ``itk`` installed for the third column (``pip install -e .[bench]``):

    python benchmarks/reading.py              # both parts
    python benchmarks/reading.py --markdown   # the table and figures of docs/input.md
    python benchmarks/reading.py --only cases

Every case is a phantom written to disk as real DICOM, whose voxel value is a linear function of patient position.
R: every voxel is there and has the value of its place. S: silently wrong. w: wrong, with a Python warning.
E: an exception. refused: ours, with a sentence that says why.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
READERS = ("ours", "PydicomReader", "ITKReader")


def read(reader: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Array (X, Y, Z) and affine in RAS of what a reader makes of a folder."""
    if reader == "ours":
        from mcanet.scripts.study import RefusedError, find_cases, read_case

        found = find_cases(folder)
        if found.refused:
            raise RefusedError(found.refused[0][1])
        images = [read_case(case) for case in found.cases]
        image = max(images, key=lambda one: one.numel())
        return image.numpy().squeeze(0) if image.shape[0] == 1 else image.numpy(), np.asarray(image.affine)
    from monai.data import ITKReader, PydicomReader

    theirs = {"PydicomReader": PydicomReader, "ITKReader": ITKReader}[reader]()
    array, meta = theirs.get_data(theirs.read(str(folder)))
    return array, np.asarray(meta["affine"], dtype=float)


def verdict(reader: str, folder: Path, build: "Case") -> tuple[str, str]:
    """R, S, w, E or refused, and the reason where there is one."""
    from mcanet.scripts.study import RefusedError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with _silent():
                array, affine = read(reader, folder)
        except RefusedError as error:
            return "refused", str(error)
        except Exception as error:
            return "E", f"{type(error).__name__}: {error}"
        warned = any("monai" in str(one.filename) or "pydicom" in str(one.filename) for one in caught)
    if build.right is not None and build.right(array, affine):
        return "R", ""
    return ("w" if warned and reader != "ours" else "S"), ""


@contextlib.contextmanager
def _silent():
    """Sends what native code prints to nowhere."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class Case:
    """One row of the table.

    Args:
        name: what is special.
        build: writes the files.
        right: judges array and affine; None where no answer can be right.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[Path], None],
        right: Callable[[np.ndarray, np.ndarray], bool] | None = None,
    ) -> None:
        self.name, self.build, self.right = name, build, right


def table() -> list[dict[str, str]]:
    """Every case by every reader."""
    from reading_cases import cases

    rows = []
    for case in cases():
        with tempfile.TemporaryDirectory() as folder:
            case.build(Path(folder))
            row = {"case": case.name}
            for reader in READERS:
                row[reader], reason = verdict(reader, Path(folder), case)
                if reader == "ours":
                    row["reason"] = reason
            rows.append(row)
    return rows


def measure(reader: str, folder: str) -> dict[str, float]:
    """Time and memory of one reader in a fresh process."""
    code = f"import json,sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import reading; "
    code += f"print(json.dumps(reading.measure_here({reader!r}, {folder!r})))"
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(out.stdout.splitlines()[-1])


def measure_here(reader: str, folder: str) -> dict[str, float]:
    """Reads a small series first, so that imports do not count, then ``folder``."""
    import resource

    import psutil

    with tempfile.TemporaryDirectory() as small:
        _write_series(Path(small), 8, 3)
        read(reader, Path(small))
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    array, _ = read(reader, Path(folder))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak": (peak - before) / 2**20, "array": array.nbytes / 2**20}


def _write_series(folder: Path, size: int, slices: int) -> None:
    from study.phantom import Grid, classic, write

    write(
        folder,
        classic(Grid(columns=size, rows=size, slices=slices, row_spacing=0.5, column_spacing=0.5, step=1.0)),
    )


def speed(repeats: int) -> dict[str, dict[str, float]]:
    """The best of several runs, 512 x 512 x 200, warm file cache, readers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        _write_series(Path(folder), 512, 200)
        best: dict[str, dict[str, float]] = {}
        for _ in range(repeats):
            for reader in READERS:
                with contextlib.suppress(subprocess.CalledProcessError):
                    found = measure(reader, folder)
                    if reader not in best or found["seconds"] < best[reader]["seconds"]:
                        best[reader] = found
    return best


def show(rows: list[dict[str, str]], best: dict[str, dict[str, float]], markdown: bool) -> None:
    """Prints the ratios first, then figures, then the table."""
    if best:
        for reader, other in [("ours", name) for name in READERS[1:] if name in best]:
            ratio = best[other]["seconds"] / best[reader]["seconds"]
            print(f"{'- ' if markdown else ''}512 x 512 x 200: {ratio:.1f} times as fast as {other}")
        ours = best["ours"]
        print(
            f"{'- ' if markdown else ''}peak memory: {ours['peak'] / ours['array']:.2f} x the output array\n"
        )
        _print_table(
            ["reader", "seconds", "output MiB", "peak MiB above baseline", "peak / output"],
            [
                [
                    name,
                    f"{b['seconds']:.2f}",
                    f"{b['array']:.0f}",
                    f"{b['peak']:.0f}",
                    f"{b['peak'] / b['array']:.2f}",
                ]
                for name, b in best.items()
            ],
        )
        print(
            f"\n{platform.machine()}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
        )
    if rows:
        _print_table(
            ["case", *READERS], [[row["case"], *(row[reader] for reader in READERS)] for row in rows]
        )
        print()
        for reader in READERS:
            wrong = sum(row[reader] in "Sw" for row in rows)
            print(f"{'- ' if markdown else ''}{reader}: {wrong} of {len(rows)} wrong without an error")
        if not markdown:
            print()
            for row in rows:
                if row["reason"]:
                    print(f"{row['case']}: {row['reason']}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", action="store_true", help="print what docs/input.md holds")
    parser.add_argument("--only", choices=("cases", "speed"))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    best = speed(arguments.repeats) if arguments.only != "cases" else {}
    rows = table() if arguments.only != "speed" else []
    show(rows, best, arguments.markdown)
    return int(any(row["ours"] in "SwE" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
