"""Put the app, the bundle and a sample study into a folder that MONAI Label can work in."""

import argparse
import shutil
import sys
from pathlib import Path

import nibabel
from mcanet.scripts import BUNDLE_ROOT
from mcanet.scripts.export import export_bundle

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))
DEFAULT_TASK = "hippocampus"


def main() -> None:
    """Prepare a folder, leaving the weights that an earlier server trained there, and say how to go on."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--address", default="http://127.0.0.1:8000")
    given = arguments.parse_args()
    app = add_app(given.folder)
    add_task(app, DEFAULT_TASK)
    for weights in sorted((BUNDLE_ROOT / "models/tasks").glob("*.pt")):
        add_task(app, weights.stem, BUNDLE_ROOT / "configs/tasks" / f"{weights.stem}.json")
    add_study(given.folder / "studies")
    print(
        f"MONAI Label: {given.address} (stop it with Ctrl-C)\n"
        f"3D Slicer: install the extension MONAILabel, open its module, enter {given.address} as server, press "
        "the round arrow, Next Sample, and Run under Auto Segmentation\n"
        "OHIF: needs a DICOMweb server instead of a folder, see docs/label.md"
    )


def add_app(folder: Path) -> Path:
    """The app's folder under ``folder``, its code brought up to date."""
    app = folder / "app"
    shutil.copytree(
        ROOT / "label" / "app", app, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    return app


def add_task(app: Path, task: str, overlay: Path | None = None, ckpt_path: Path | None = None) -> None:
    """A bundle of one task in the app's folder ``model``: MONAI Label, the stock app too, reads one file a config.

    Args:
        app: the app's folder.
        task: its name there; what the server trained under that name stays.
        overlay: the task's file; None for the default task.
        ckpt_path: its weights, if they lie elsewhere than the overlay says.
    """
    if not (app / "model" / task).exists():
        export_bundle(app / "model" / task, overlay, ckpt_path)


def add_study(folder: Path) -> None:
    """Both hippocampi of the MNI152 template as NIfTI."""
    from make_study import CENTRE_AS, SIDES, crop, template_path

    folder.mkdir(parents=True, exist_ok=True)
    for side, x in SIDES.items():
        nibabel.save(
            nibabel.Nifti1Image(*crop(nibabel.load(template_path()), (x, *CENTRE_AS))),
            folder / f"{side}.nii.gz",
        )


if __name__ == "__main__":
    main()
