"""The bundle's folder in MONAI Label's own app `monaibundle`, without a line of ours."""

import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from label.prepare import add_task

from . import made
from .server import PYTHON, label_server

pytestmark = pytest.mark.label


def test_the_stock_app_serves_inference_and_training(tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip("needs MONAI Label's environment: make test-label builds it")
    copied = [
        PYTHON,
        "-m",
        "monailabel.main",
        "apps",
        "--download",
        "--name",
        "monaibundle",
        "--output",
        tmp_path,
    ]
    subprocess.run([str(word) for word in copied], check=True, capture_output=True)
    app = tmp_path / "monaibundle"
    add_task(app, "hippocampus")
    studies = made.volumes(tmp_path / "studies", 3)
    conf = ("models", "hippocampus", "zoo_source", "ngc", "sam2", "false")
    with label_server(app, studies, *conf) as client:
        assert client.info()["labels"] == ["anterior hippocampus", "posterior hippocampus"]
        file = client.infer("hippocampus", "case_0", "image", result_dtype="uint8").content
        (tmp_path / "mask.nii.gz").write_bytes(file)
        mask, image = nibabel.load(tmp_path / "mask.nii.gz"), made.volume(0)
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
        assert min(np.bincount(np.asarray(mask.dataobj, np.uint8).ravel())) > 500
        for seed in range(3):
            content = client.infer("hippocampus", f"case_{seed}", "image", result_dtype="uint8").content
            (tmp_path / "label.nii.gz").write_bytes(content)
            client.save_label(
                f"case_{seed}", tmp_path / "label.nii.gz", "anterior hippocampus", "posterior hippocampus"
            )
        task = client.run("train/hippocampus", max_epochs=1, val_split=0.4, multi_gpu=False)
        assert task["status"] == "DONE", task["details"]
        weights = app / "model/hippocampus/models/model.pt"
        assert 0 < made.apart(weights) < 0.01  # trained from the shipped weights, not from random ones
        assert client.infer("hippocampus", "case_0", "image", result_dtype="uint8").content != file
