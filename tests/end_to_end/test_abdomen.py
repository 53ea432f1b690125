"""The task ``abdomen`` on a real CT: from files named as the challenge names them to a SEG of eight organs."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from mcanet.scripts.study import LoadStudyd

from ..conftest import DATA
from .run import mcanet

CT = DATA / "ct_fixture" / "example_ct_dicom"
RAW_VALUES = {
    1: 1,
    2: 2,
    3: 3,
    4: 4,
    5: 6,
    6: 7,
    7: 11,
    52: 8,
}  # TotalSegmentator's values to the challenge's
pytestmark = [
    pytest.mark.slow,
    pytest.mark.data,
    pytest.mark.skipif(not CT.is_dir(), reason="needs the CT beside the repository"),
]


def test_raw_files_train_and_segment(tmp_path: Path) -> None:
    organs = nibabel.load(CT.parent / "example_seg_dicom.nii.gz")
    image = LoadStudyd("image")({"image": CT})["image"][0].numpy()[:, ::-1]  # on the grid of the labels
    values = np.zeros(256, np.uint8)
    values[list(RAW_VALUES)] = list(RAW_VALUES.values())
    for number in (1, 5, 6, 7, 9):  # the first is one of those that test
        for folder, voxels in (("img", image), ("label", values[np.asarray(organs.dataobj)])):
            (tmp_path / "Training" / folder).mkdir(parents=True, exist_ok=True)
            file = tmp_path / "Training" / folder / f"{folder}{number:04}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, organs.affine, organs.header), file)

    brief = ("--max_epochs", 1, "--num_samples", 1, "--val_interval", 1)
    trained = mcanet("train", "Training", "out", "--task", "abdomen", *brief, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr[-3000:]
    weights = ("--task", "abdomen", "--ckpt_path", "out/model.pt")
    measured = mcanet("evaluate", "Training", "figures", *weights, cwd=tmp_path)
    assert "1 cases" in measured.stdout, measured.stderr[-3000:]

    refused = mcanet("segment", CT, "refused", *weights, cwd=tmp_path)
    assert "field of view" in refused.stdout + refused.stderr  # 40 mm of an abdomen
    done = mcanet("segment", CT, "done", *weights, "--fitness", "warn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    seg = pydicom.dcmread(next((tmp_path / "done").rglob("segmentation.dcm")))
    names = [segment.SegmentLabel for segment in seg.SegmentSequence]
    assert names == [
        "aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach"
    ]  # fmt: skip
