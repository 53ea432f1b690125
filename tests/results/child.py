"""What the processes do that ``test_faults`` kills."""

import itertools
import time
from dataclasses import replace
from pathlib import Path

from mcanet.scripts.results import Manifest, ResultsWriter

from .phantom import GEOMETRIES, Phantom, table, write_series

MODEL = "f" * 64
CASES = ("a", "b", "c")


def make_cases(folder: Path) -> list[Phantom]:
    """Three small DICOM series; the first and the second are given as NIfTI, which is quicker to write."""
    phantoms = [
        write_series(folder / name, GEOMETRIES["oblique"], case_id=name, shape=(20 + 4 * n, 16, 5))
        for n, name in enumerate(CASES)
    ]
    as_nifti = [replace(p, case=replace(p.case, kind="nifti")) for p in phantoms[:2]]
    return [*as_nifti, phantoms[2]]


def write_for_ever(phantoms: list[Phantom], out: Path) -> None:
    """Write all cases again and again, each round as if their input had changed."""
    provenance = {"model_sha256": MODEL}
    with Manifest(out, provenance) as manifest:
        writer = ResultsWriter(out, table(), provenance=provenance, manifest=manifest)
        for number in itertools.count():
            for phantom in phantoms:
                sha = f"{time.time_ns()}-{number}"
                files = writer.write(phantom.case, phantom.image, phantom.labels, input_sha256=sha)
                manifest.record(phantom.case, "done", outputs=files, input_sha256=sha)


def hold(out: Path) -> None:
    """Keep the folder locked."""
    with Manifest(out):
        time.sleep(600)
