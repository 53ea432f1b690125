"""A run: one case that fails or is unfit never stops the others, and each is accounted for."""

import csv
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from mcanet.scripts.inference import (
    CaseEvaluator,
    Cohort,
    SaveResults,
    SlicewiseInferer,
    open_input,
    open_manifest,
    open_network,
    provenance,
)
from mcanet.scripts.inference import cohort as cohort_module
from mcanet.scripts.inference.cohort import first_cause
from mcanet.scripts.networks import MCANet
from mcanet.scripts.results import ResultsWriter, label_table
from mcanet.scripts.results.staging import explained
from mcanet.scripts.study import Case, JudgeFitnessd, LoadStudyd
from monai.transforms import Compose, Invertd, Orientationd

from .. import nifti
from ..servers import as_file, pacs
from ..study import phantom

LABELS = label_table(
    [{"value": 1, "name": "part", "colour": [255, 0, 0], "category": ["91723000", "SCT", "Anatomical Structure"],
      "type": ["5366008", "SCT", "Hippocampus"]}]
)  # fmt: skip
AXES = (("L", "R"), ("P", "A"), ("I", "S"))


class Threshold(torch.nn.Module):
    """Two classes cut at 50; refuses to work on a slice that holds 666, and runs out of memory at 777."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (x == 666).any():
            raise ArithmeticError("DOE^JANE was born on 1970-01-01")
        if (x == 777).any():
            raise MemoryError("out of memory")
        return torch.cat([50 - x, x - 50], 1)


def save(folder: Path, name: str, fill: int = 0, affine: np.ndarray | None = None) -> np.ndarray:
    voxels = np.zeros((8, 9, 10), np.int16) + fill
    voxels[1:3, 4:6, 7] = 100
    nifti.save(voxels, folder / name, np.diag([-1.0, -1, 1, 1]) if affine is None else affine)
    return voxels


def run(
    source: Path | str,
    output: Path,
    ckpt: Path | None = None,
    network: torch.nn.Module | None = None,
    postprocessing: Sequence[Callable[[Any], Any]] = (),
    **options: object,
) -> Cohort:
    known = provenance(ckpt or output / "none.pt", "cpu", [])
    manifest = open_manifest(output, known, source)
    preprocessing = Compose(
        [
            LoadStudyd("image", source_key="source"),
            JudgeFitnessd("image", {"spacing_mm": [1, 2]}),
            Orientationd("image", axcodes="RAS", labels=AXES),
        ]
    )
    cohort = Cohort(source, preprocessing, manifest, **options)
    writer = ResultsWriter(output, LABELS, manifest=manifest, provenance=known)
    CaseEvaluator(
        torch.device("cpu"),
        cohort,
        network or Threshold(),
        inferer=SlicewiseInferer(),
        postprocessing=Compose(
            [*postprocessing, Invertd("pred", preprocessing, "image", nearest_interp=True)]
        ),
        val_handlers=[SaveResults(writer)],
    ).run()
    return cohort


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "manifest.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_each_case_ends_as_done_refused_or_failed(source: Path, tmp_path: Path) -> None:
    save(source, "a_fails.nii.gz", 666)
    voxels = save(source, "b_good.nii.gz")
    (source / "c_truncated.nii.gz").write_bytes((source / "b_good.nii.gz").read_bytes()[:100])
    save(source, "d_memory.nii.gz", 777)
    save(source, "e_good.nii.gz", affine=np.eye(4))
    cohort = run(source, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        "a_fails": "failed", "b_good": "done", "c_truncated": "refused", "d_memory": "failed", "e_good": "done",
    }  # fmt: skip
    assert found["a_fails"]["reason"].startswith("unexpected ArithmeticError at test_cohort.py:")
    assert "DOE" not in (tmp_path / "out" / "manifest.csv").read_text()
    assert found["d_memory"]["reason"] == "out of memory"
    assert "c_truncated.nii.gz" in found["c_truncated"]["reason"]
    for name in ("b_good", "e_good"):
        mask = nibabel.load(tmp_path / "out" / name / "segmentation.nii.gz")
        assert np.array_equal(np.asarray(mask.dataobj), voxels == 100)
    with pytest.raises(SystemExit, match="3 of 5 cases have no mask"):
        cohort.finish()
    assert (tmp_path / "out" / "report.html").is_file()


def test_voxels_that_were_segmented_are_let_go_before_the_labels_are_turned_back(
    source: Path, tmp_path: Path
) -> None:
    voxels = save(source, "a.nii.gz")
    held: list[int] = []

    def count(item: Any) -> Any:
        held.append(item["image"].numel())
        return item

    run(source, tmp_path / "out", postprocessing=[count])
    assert held == [0]
    mask = nibabel.load(tmp_path / "out" / "a" / "segmentation.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), voxels == 100)


def test_what_is_done_is_passed_over_until_input_or_weights_change(source: Path, tmp_path: Path) -> None:
    save(source, "a.nii.gz")
    save(source, "b.nii.gz")
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"one")

    def finished() -> dict[str, str]:
        run(source, tmp_path / "out", weights).finish()
        return {name: row["finished"] for name, row in rows(tmp_path / "out").items()}

    first = finished()
    assert finished() == first
    save(source, "b.nii.gz", 3)
    changed = finished()
    assert changed["a"] == first["a"]
    assert changed["b"] != first["b"]
    weights.write_bytes(b"two")
    anew = finished()
    assert anew["a"] != first["a"]
    assert anew["b"] != changed["b"]


def test_a_case_that_another_of_its_name_renamed_leaves_a_row_that_says_so(
    source: Path, tmp_path: Path
) -> None:
    for patient in "ab":
        (source / patient).mkdir()
        save(source, f"{patient}/x.nii.gz")
        for _ in range(2):  # a second time says nothing new
            run(source, tmp_path / "out").finish()
    found = rows(tmp_path / "out")
    (now,) = (name for name, row in found.items() if name != "x" and row["input"] == "a/x.nii.gz")
    assert found["x"]["warnings"].count(f"an input of this name is the case {now} now") == 1
    assert [row["status"] for row in found.values()] == ["done"] * 3
    shutil.rmtree(source / "b")
    run(source, tmp_path / "out").finish()
    found = rows(tmp_path / "out")
    assert found["x"]["warnings"] == ""
    assert "an input of this name is the case x now" in found[now]["warnings"]


def test_what_fitness_warns_of_stands_in_the_manifest(source: Path, tmp_path: Path) -> None:
    save(source, "a.nii.gz", affine=np.diag([1, 1, 0.8, 1]))
    run(source, tmp_path / "out").finish()
    row = rows(tmp_path / "out")["a"]
    assert row["status"] == "done"
    assert "the spacing is 0.8 x 1 x 1 mm, outside the trained range" in row["warnings"]


def test_results_inside_the_input_are_not_taken_for_input(source: Path) -> None:
    save(source, "a.nii.gz")
    run(source, source / "out").finish()
    again = run(source, source / "out")
    assert [case.case_id for case in again.found.cases] == ["a"]
    assert "out: left out, the results of an earlier run" in again.found.notices
    again.finish()


def test_an_error_of_the_disk_is_entered_with_its_advice_and_ends(source: Path, tmp_path: Path) -> None:
    save(source, "a.nii.gz")
    cohort = run(source, tmp_path / "out")
    for number, words in ((errno.ENOSPC, "free space and run again"), (errno.EIO, "Input/output error")):
        problem = explained(OSError(number, os.strerror(number), "/secret/DOE_JANE/x"))
        cohort.account_for(cohort.found.cases[0], problem, "", 0.0)
        assert words in rows(tmp_path / "out")["a"]["reason"]
    loop = RuntimeError("a")
    loop.__cause__ = OSError(errno.EIO, "b")
    assert isinstance(first_cause(loop), OSError)


def test_what_cannot_be_opened_ends_the_process_with_one_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cannot read the input: nothing to read"):
        open_input(source)
    save(source, "a.nii.gz")
    with pytest.raises(SystemExit, match="cannot read the input: .*'Modalty'"):
        open_input(source, series="Modalty=MR")
    with pytest.raises(SystemExit, match="cannot read the input: .*max_wishes"):
        open_input(source, limits={"max_wishes": 3})
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="cannot write results"):
        open_manifest(tmp_path / "file", {})
    with pytest.raises(SystemExit, match="cannot load the weights .*no weights at"):
        open_network(MCANet(), tmp_path / "absent.pt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(SystemExit, match="cannot load the weights"):
        open_network(MCANet(), tmp_path / "empty.pt")
    broken = MCANet()
    torch.nn.init.constant_(broken.decoder.classifier.bias, torch.nan)
    torch.save(broken.state_dict(), tmp_path / "nan.pt")
    with pytest.raises(SystemExit, match=r"not finite, .*'decoder\.classifier\.bias'"):
        open_network(MCANet(), tmp_path / "nan.pt")
    torch.save(torch.ones(1), tmp_path / "tensor.pt")
    with pytest.raises(SystemExit, match="holds a Tensor, expected a state dict"):
        open_network(MCANet(), tmp_path / "tensor.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(SystemExit, match="cannot load the weights"):
        open_network(MCANet(), tmp_path / "text.pt")


@pytest.mark.parametrize("small", [True, False])
def test_the_next_case_is_read_while_one_is_at_work_unless_it_is_large(
    small: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort_module, "_AHEAD_VOXELS", 8 * 9 * 10 if small else 8 * 9 * 10 - 1)
    save(source, "a.nii.gz")
    save(source, "b.nii.gz")
    begun = {"a": Event(), "b": Event()}

    def transform(item: dict[str, Case]) -> dict[str, Case]:
        begun[item["image"].case_id].set()
        return item

    with open_manifest(tmp_path / "out", {}) as manifest:
        items = iter(Cohort(source, transform, manifest))
        assert next(items)["case"].case_id == "a"
        assert begun["b"].wait(20 if small else 0.5) == small
        assert next(items)["case"].case_id == "b"
        assert list(items) == []


def test_one_run_at_a_time_holds_an_output_folder(source: Path, tmp_path: Path) -> None:
    held = open_manifest(tmp_path / "out", {})
    with pytest.raises(SystemExit, match="cannot write results: "):
        open_manifest(tmp_path / "out", {})
    held.close()
    open_manifest(tmp_path / "out", {}).close()


def test_each_series_that_a_server_lists_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is right, one whose files say that they are the first, and one without an instance."""
    monkeypatch.setattr("mcanet.scripts.study.server.PAUSES", ())
    right, wrong, empty = (phantom.classic(modality="MR") for _ in range(3))
    with pacs(right, wrong, empty) as held:
        first, second, third = held.sent
        for dataset in wrong:
            dataset.SeriesInstanceUID = first
        held.sent[second] = [as_file(dataset) for dataset in wrong]
        held.instances[third], held.sent[third] = [], []
        cohort = run(f"dicomweb+{held.url}", tmp_path / "out")
    with pytest.raises(SystemExit, match="2 of 3 cases have no mask"):
        cohort.finish()
    found = {row["input"]: row for row in rows(tmp_path / "out").values()}
    assert {uid: row["status"] for uid, row in found.items()} == {
        first: "done", second: "refused", third: "failed",
    }  # fmt: skip
    assert "no instance of it" in found[third]["reason"]
