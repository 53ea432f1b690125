"""Put the app, the bundle and a sample study into a folder that MONAI Label can work in."""

import argparse
import json
import shutil
import sys
from pathlib import Path

import nibabel
from monai.bundle import ConfigParser

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
    for task in [DEFAULT_TASK, *(file.stem for file in (ROOT / "bundle/models/tasks").glob("*.pt"))]:
        if not (app / "model" / task).exists():
            add_task(app, ROOT / "bundle", task)
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


def add_task(app: Path, bundle: Path, task: str) -> Path:
    """A bundle of one task in the app's folder ``model``: MONAI Label, the stock app too, reads one file a config.

    Args:
        app: the app's folder.
        bundle: to copy.
        task: name of a task file of the bundle, or another name for its default task.
    """
    folder = app / "model" / task
    partial = folder.with_name(f".{task}.part")
    shutil.rmtree(partial, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "runs", "tasks", "*.pt", "*.ts")
    shutil.copytree(bundle, partial, ignore=ignored)
    overlay, weights = bundle / "configs/tasks" / f"{task}.json", bundle / "models/tasks" / f"{task}.pt"
    if overlay.exists():
        merge(partial / "configs", overlay)
    else:
        weights = bundle / "models/model.pt"
    (partial / "models").mkdir(exist_ok=True)
    shutil.copy(weights, partial / "models/model.pt")
    partial.rename(folder)
    return folder


def merge(configs: Path, overlay: Path) -> None:
    """Write a task's settings into the configs, and its labels into the metadata."""
    for name in ("inference.json", "train.json"):
        merged = ConfigParser.load_config_files([str(configs / name), str(overlay)])
        (configs / name).write_text(json.dumps(merged, indent=4))
    labels = json.loads((configs / "inference.json").read_text())["labels"]
    metadata = json.loads((configs / "metadata.json").read_text())
    output = metadata["network_data_format"]["outputs"]["pred"]
    output["channel_def"] = {"0": "background"} | {str(label["value"]): label["name"] for label in labels}
    output["num_channels"] = len(output["channel_def"])
    (configs / "metadata.json").write_text(json.dumps(metadata, indent=4))


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
