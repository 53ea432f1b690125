# %% [markdown]
# # From a study to a bundle of your own
#
# This notebook segments a DICOM study, trains on labelled volumes, measures the result, and exports it as a MONAI
# bundle. It takes about two minutes on two CPU cores. It needs a clone of the repository, and `make env`. The images
# are parts of the MNI152 template, which `make env` installs; nothing is downloaded.
#
# The source is a plain Python file. `.venv/bin/python docs/tutorial.py` runs it, and
# `.venv/bin/jupytext --to notebook docs/tutorial.py` makes a notebook of it, for any Jupyter whose kernel is `.venv`.
#
# Everything is written into one folder: a new temporary one, or the one that the environment variable
# `MCANET_TUTORIAL` names. That should be empty.
#
# Research software. Not a medical device, not for diagnosis.

# %%
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import mcanet
import nibabel
from IPython.display import Image, display
from mcanet.scripts.results import read_manifest, read_measurements
from monai.transforms import RandAffined

BUNDLE = Path(mcanet.__file__).resolve().parent
WORK = Path(os.environ.get("MCANET_TUTORIAL") or tempfile.mkdtemp(prefix="mcanet_tutorial_")).resolve()
WORK.mkdir(parents=True, exist_ok=True)

# for the commands: this environment's come first; no warnings of libraries, no bars, no threads that spin, and not
# Jupyter's own way of drawing, which only a kernel has
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ.update(PYTHONWARNINGS="ignore", TQDM_DISABLE="1", OMP_WAIT_POLICY="PASSIVE", MPLBACKEND="agg")


def run(command: str) -> None:
    """Run a command in WORK as in a terminal; show what it says, and stop where it fails."""
    print("$", command)
    words = shlex.split(command)
    done = subprocess.run(words, cwd=WORK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    done.check_returncode()


print("everything is written into", WORK)

# %% [markdown]
# ## 1. Segment a study
#
# The study has two DICOM series, one for each hippocampus of the template. The default task outlines the anterior and
# the posterior part. `--save_image true` also writes each image as NIfTI, which step 3 needs.

# %%
make_study = shlex.quote((BUNDLE.parent / "demo" / "make_study.py").as_posix())
run(f"python {make_study} study")
run("mcanet segment study results --save_image true")

# %% [markdown]
# ## 2. Look at the results
#
# `manifest.csv` has a row for each case: what it was made from and how it ended. `measurements.csv` has a row for each
# case and label. Each case has a folder of its own, and `report.html` shows everything in a browser.
# [Results](results.md) explains every file and column.


# %%
def show(results: Path) -> dict[str, float]:
    """Print the manifest, draw the previews, and return the volume of each case's labels in ml."""
    volumes: dict[str, float] = {}
    for case in read_manifest(results):
        rows = [row for row in read_measurements(results) if row["case_id"] == case["case_id"]]
        volume = volumes[case["input"]] = sum(float(row["volume_ml"]) for row in rows)
        print(f"{case['input']}: {case['status']}, {volume:.2f} ml, in {case['case_id']}:")
        print("   ", ", ".join(Path(file).name for file in case["outputs"].split(";")))
        display(Image(results / case["case_id"] / "preview.png"))
    return volumes


volumes = show(WORK / "results")

# %% [markdown]
# The template is symmetric, so both sides should have about the same volume.

# %%
assert abs(volumes["left"] - volumes["right"]) < 0.1 * volumes["left"]

# %% [markdown]
# ## 3. Labelled data
#
# This is the place of your own data. As a stand-in we make ten volumes. Each is one of the two images, turned, scaled
# and shifted a little. Its label is the mask of step 1, moved in the same way.
#
# **These labels are a model's, not a person's, and all volumes show the same two hippocampi.** They only show the way:
# the figures below say nothing about other people.
#
# The layout is that of the Medical Segmentation Decathlon. There are [others](plan.md).

# %%
move = RandAffined(
    ["image", "label"],
    prob=1,
    rotate_range=[0.15] * 3,  # radians
    scale_range=[0.1] * 3,
    translate_range=[2] * 3,  # voxels
    mode=["bilinear", "nearest"],
    padding_mode="border",
)
move.set_random_state(seed=0)
cases = [WORK / "results" / case["case_id"] for case in read_manifest(WORK / "results")]
data = WORK / "data"
pairs = []
for number in range(10):
    case = cases[number % 2]
    niftis = {
        "image": nibabel.load(case / "image.nii.gz"),
        "label": nibabel.load(case / "segmentation.nii.gz"),
    }
    moved = move({key: nifti.get_fdata()[None] for key, nifti in niftis.items()})
    pair = {key: f"{key}sTr/hippocampus_{number}.nii.gz" for key in niftis}
    for key, nifti in niftis.items():
        voxels = moved[key][0].numpy().round().astype(nifti.get_data_dtype())
        (data / pair[key]).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, nifti.affine, nifti.header), data / pair[key])
    pairs.append(pair)
names = {"0": "background", "1": "anterior", "2": "posterior"}
with (data / "dataset.json").open("w") as file:
    json.dump({"labels": names, "training": pairs}, file, indent=4)

# %% [markdown]
# ## 4. Plan and train
#
# `plan` reads every pair, chooses the settings, and gives a reason for each. A pair that is broken is refused by name.

# %%
run("mcanet plan data -o mytask.json")

# %% [markdown]
# Training starts from the shipped weights (`--init_path`). They were trained on pixels of 0.5 mm; the plan chose 1 mm,
# as the data are. So there is something to learn. The plan asks for many more epochs and for larger batches; here
# 15 epochs of small batches are enough, and take less than a minute.

# %%
weights = shlex.quote((BUNDLE / "models" / "model.pt").as_posix())
brief = "--max_epochs 15 --val_interval 5 --batch_size 2"
run(f"mcanet train data training --task mytask.json --init_path {weights} {brief}")
display(Image(WORK / "training" / "curves.png"))

# %% [markdown]
# ## 5. Evaluate
#
# The plan kept two of the ten volumes to test. The training did not use them. They show the same hippocampi as the
# others, so the figures are better than those of real data would be.

# %%
run("mcanet evaluate data figures --task mytask.json --ckpt_path training/model.pt")
display(Image(WORK / "figures" / "cases.png"))

# %% [markdown]
# `summary.json` holds every figure, in nnU-Net's shape.

# %%
dice = json.loads((WORK / "figures" / "summary.json").read_text())["foreground_mean"]["Dice"]
print(f"mean Dice {dice:.3f}")
assert dice > 0.7

# %% [markdown]
# ## 6. A bundle of your own
#
# What settings cannot say goes into the task file under `_meta_`. The model card of the bundle is made from it. What
# you leave out, the card calls not stated or not measured.

# %%
task = json.loads((WORK / "mytask.json").read_text())
task["_meta_"] = {
    "name": "Tutorial",
    "data_source": "Ten volumes made from the MNI152 template, with the masks of another model as labels.",
    "eval_metrics": {"mean_dice": round(dice, 3)},
}
with (WORK / "mytask.json").open("w") as file:
    json.dump(task, file, indent=4)
run("mcanet export --task mytask.json --ckpt_path training/model.pt -o my_bundle")
for path in sorted((WORK / "my_bundle").rglob("*.*")):
    if "scripts" not in path.parts:
        print(f"{path.stat().st_size / 1024:8.1f} KB  {path.relative_to(WORK)}")

# %% [markdown]
# Beside these files it holds its licence and, in `scripts/`, the code. It needs nothing of this repository any more,
# and runs as any MONAI bundle does: here on the left series of step 1.

# %%
config = "my_bundle/configs/inference.json"
run(f"python -m monai.bundle run --config_file {config} --dataset_dir study/left --output_dir own_results")
[own_volume] = show(WORK / "own_results").values()

# %% [markdown]
# After so short a training the volume is only about that of step 1.

# %%
assert abs(own_volume - volumes["left"]) < 0.2 * volumes["left"]

# %% [markdown]
# ## Where to go next
#
# - Your own data: [plan](plan.md), [training](training.md), [evaluation and folds](evaluation.md)
# - [Publish the bundle](bundle.md), or take the network elsewhere: [exports](exports.md)
# - Segment every night: [pipeline](start/pipeline.md). Read from a PACS: [DICOMweb](dicomweb.md)
# - Correct masks by hand: [MONAI Label](label.md)
# - The same in Python, without commands: [from Python](programmatic.md)
