"""Time and peak memory from a CT series on disk to NIfTI and DICOM SEG, nine classes, whole slices.

    python benchmarks/pipeline.py [--slices 200 …] [--engines eager openvino] [--nnunet PYTHON] [--rounds 3]

Runs `mcanet segment` as its users do, in a process of its own, with random weights, which are fine for time and
memory, and nnU-Net's 2D predictor on the same volume where given the interpreter of an environment that holds
`nnunetv2`. Of several rounds, each of which runs all of them in turn, the table has the median, fastest and slowest, and
the highest peak. Run it on a machine that does nothing else.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import psutil
import torch
from mcanet.scripts.networks import MCANet
from mcanet.scripts.study import LoadStudyd
from series import make_series

LABELS = 8
Measured = list[tuple[float, float]]


def write_task(folder: Path) -> Path:
    """A task of nine classes on CT, and random weights for it."""
    torch.manual_seed(0)
    torch.save({"model": MCANet(3, LABELS + 1).state_dict()}, folder / "model.pt")
    anatomy, organ = ["91723000", "SCT", "Anatomical Structure"], ["10200004", "SCT", "Liver"]
    task = {
        "ckpt_path": str(folder / "model.pt"),
        "out_channels": LABELS + 1,
        "planes": [2],
        "spacing": None,
        "roi_size": None,
        "keep_largest": False,
        "fitness_rules": {"modality": ["CT"]},
        "intensity": {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": -200,
            "a_max": 300,
            "b_min": -1,
            "b_max": 1,
            "clip": True,
        },
        "labels": [
            {"value": v, "name": f"organ {v}", "colour": [30 * v, 9, 9], "category": anatomy, "type": organ}
            for v in range(1, LABELS + 1)
        ],
    }
    (folder / "task.json").write_text(json.dumps(task))
    return folder / "task.json"


def write_volume(series: Path, file: Path) -> Path:
    """The series as NIfTI, for nnU-Net reads no DICOM."""
    volume = LoadStudyd("image")({"image": series})["image"]
    nib.save(nib.Nifti1Image(volume[0].numpy().astype("int16"), volume.affine.numpy()), file)
    return file


def watch(command: list[str], log: Path) -> tuple[float, float]:
    """Seconds and peak resident GiB, child processes included, of a command.

    Raises:
        SystemExit: it failed; the end of its log says why.
    """
    start, peak = time.perf_counter(), 0
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        stop = threading.Event()

        def sample() -> None:
            nonlocal peak
            me = psutil.Process(process.pid)
            while not stop.wait(0.05):
                try:
                    family = [me, *me.children(recursive=True)]
                    peak = max(peak, sum(member.memory_info().rss for member in family))
                except psutil.NoSuchProcess:
                    continue

        sampler = threading.Thread(target=sample)
        sampler.start()
        status = process.wait()
        stop.set()
        sampler.join()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}:\n{log.read_text()[-2000:]}")
    return time.perf_counter() - start, peak / 2**30


def measure(slices: int, engines: list[str], nnunet: str | None, rounds: int) -> dict[str, Measured]:
    """Seconds and peak GiB of each round, by what ran."""
    rows: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "series").mkdir()
        make_series(folder / "series", slices)
        commands = {}
        task = write_task(folder)
        for engine in engines:
            command = [sys.executable, "-W", "ignore", "-m", "mcanet.scripts.cli", "segment"]
            command += [str(folder / "series"), str(folder / "out"), "--task", str(task), "--engine", engine]
            commands[f"MCANet tiny, {engine}"] = command
        if nnunet:
            volume = write_volume(folder / "series", folder / "volume.nii.gz")
            command = [nnunet, str(Path(__file__).with_name("nnunet.py")), str(volume)]
            commands["nnU-Net 2D, mirroring off"] = [*command, str(folder / "out"), str(LABELS + 1)]
        for _ in range(rounds):
            for label, command in commands.items():
                rows.setdefault(label, []).append(watch(command, folder / "log.txt"))
                shutil.rmtree(folder / "out")
    return rows


def main() -> None:
    """Make series, run each, print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, nargs="+", default=[200])
    parser.add_argument("--engines", nargs="+", default=["eager", "openvino"])
    parser.add_argument("--nnunet", help="python of an environment that holds nnunetv2")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    print(f"slices of 512 x 512, {LABELS + 1} classes, {torch.get_num_threads()} threads\n")
    print("| slices | | times as fast as the last | seconds | peak GiB | of the last |")
    print("| --- | --- | --- | --- | --- | --- |")
    for slices in arguments.slices:
        rows = measure(slices, arguments.engines, arguments.nnunet, arguments.rounds)
        for label, measured in rows.items():
            taken, peak = zip(*measured, strict=True)
            last_taken, last_peak = zip(*[*rows.values()][-1], strict=True)
            middle, most = statistics.median(taken), max(peak)
            seconds = f"{middle:.0f}" + f" ({min(taken):.0f} to {max(taken):.0f})" * (len(taken) > 1)
            ratio, share = statistics.median(last_taken) / middle, most / max(last_peak)
            print(
                f"| {slices} | {label} | **{ratio:.2f}** | {seconds} | {most:.2f} | {share:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
