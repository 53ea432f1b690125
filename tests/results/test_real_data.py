"""The whole folder of results for DICOM series from real scanners and archives."""

from pathlib import Path

import numpy as np
import pytest
from mcanet.scripts.results import Manifest, ResultsWriter, read_manifest, write_report
from mcanet.scripts.study import find_cases, read_case
from monai.data import MetaTensor

from .phantom import blobs, table
from .test_seg import _apart, _check_with_dciodvfy, _voxels

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.data
@pytest.mark.parametrize("name", ["hippocampus_dicom", "ct_fixture/example_ct_dicom"])
def test_series(tmp_path: Path, name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not beside the repository")
    with Manifest(tmp_path) as manifest:
        writer = ResultsWriter(tmp_path, table(), sr=True, manifest=manifest)
        for case in find_cases(DATA / name).cases:
            if case.kind != "dicom":
                continue
            image = read_case(case)
            labels = MetaTensor(blobs(image.shape[1:], (1, 3))[None], affine=image.affine)
            files = writer.write(case, image, labels, input_sha256="x")
            manifest.record(case, "done", outputs=files, input_sha256="x")
            for file in ("segmentation.dcm", "measurements.dcm"):
                _check_with_dciodvfy(tmp_path / case.case_id / file)
            found = _voxels(tmp_path / case.case_id / "segmentation.dcm")
            affine = image.affine.numpy()
            for value, label in ((1, "liver"), (2, "spleen"), (3, "left kidney")):
                expected = np.argwhere(labels[0].numpy() == value) @ affine[:3, :3].T + affine[:3, 3]
                assert _apart(found[label], expected) < 1e-2
    rows = read_manifest(tmp_path)
    assert rows
    assert {row["status"] for row in rows} == {"done"}
    assert write_report(tmp_path).stat().st_size < 3e6 * len(rows)
