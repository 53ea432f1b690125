"""What a run imports, and that what is put off is there for whoever calls it."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

PUT_OFF = ["jsonschema", "matplotlib", "scipy.signal", "scipy.stats", "sympy", "torch.distributed.optim"]


def printed(code: str) -> list[str]:
    """The words that a process of its own ends its output with."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


def test_a_run_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(36, 50, 36)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "case.nii.gz")
    arguments = ["segment", str(tmp_path / "case.nii.gz"), str(tmp_path / "out")]
    imported = printed(
        f"import sys; from mcanet.scripts.cli import main; main({arguments!r})\n"
        f"print('done', *[name for name in {PUT_OFF!r} if name in sys.modules])"
    )
    assert (tmp_path / "out" / "case" / "segmentation.nii.gz").is_file()
    assert imported == ["done"]


def test_what_was_put_off_works_when_it_is_called() -> None:
    assert printed(
        "from mcanet.scripts.lean_start import import_monai; import_monai()\n"
        "import torch\n"
        "from ignite.engine import Engine\n"
        "from ignite.handlers import Checkpoint\n"
        "from monai.data.ultrasound_confidence_map import hilbert\n"
        "from monai.visualize import blend_images, matshow3d\n"
        "signal = hilbert(torch.ones(64).numpy())\n"
        "figure, _ = matshow3d(torch.zeros(4, 8, 8))\n"
        "blended = blend_images(torch.zeros(1, 8, 8), torch.ones(1, 8, 8))\n"
        "kept = {}\n"
        "save = Checkpoint({'model': torch.nn.Linear(2, 2)}, lambda state, *_: kept.update(state))\n"
        "save(Engine(lambda *_: None))\n"
        "print(*signal.shape, type(figure).__name__, len(blended), *kept)"
    ) == ["64", "Figure", "3", "weight", "bias"]


def test_a_check_of_metadata_says_what_is_wrong() -> None:
    assert printed(
        "from mcanet.scripts.lean_start import import_monai; import_monai()\n"
        "from monai.bundle import scripts\n"
        "try:\n"
        "    scripts.validate(1, {'type': 'string'})\n"
        "except scripts.ValidationError:\n"
        "    print('of MONAI')\n"
        "except Exception as error:\n"
        "    print(type(error).__module__, error.message)\n"
    ) == ["jsonschema.exceptions", "1", "is", "not", "of", "type", "'string'"]
