"""Names and values of segments, in files from viewers and in DICOM SEG."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from mcanet.scripts.results import Label, write_nifti, write_picture, write_seg
from mcanet.scripts.results.nifti import affine_of, as_labels
from mcanet.scripts.study import Limits, LoadStudyd, single_case
from mcanet.scripts.study.kinds import PICTURE_SUFFIXES
from monai.data import MetaTensor

Tables = Mapping[str, Sequence[Label]]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def temporary(suffix: str) -> Path:
    """A name for a file that whoever asked deletes."""
    return Path(tempfile.mkdtemp(prefix="mcanet_")) / f"mask{suffix}"


def task_of(names: Sequence[str], tables: Tables) -> str:
    """The task whose labels have these names; without names, the only task.

    Raises:
        ValueError: there is none, or more than one.
    """
    wanted = {name.lower() for name in names}
    tasks = [task for task, table in tables.items() if wanted <= {label.name.lower() for label in table}]
    if len(tasks) != 1:
        known = {task: [label.name for label in table] for task, table in tables.items()}
        raise ValueError(
            f"the segments {sorted(wanted)} must be labels of one task, and are of {len(tasks)}: name them as "
            f"the task does, of {known}"
        )
    return tasks[0]


def to_values(mask: np.ndarray, names: Sequence[str], table: Sequence[Label]) -> np.ndarray:
    """A mask whose values are places in ``names``, from 1, as one of the table's values.

    Raises:
        ValueError: it holds a value without a name.
    """
    values = {label.name.lower(): label.value for label in table}
    lookup = np.array([0, *(values[name.lower()] for name in names)], np.uint8)
    if mask.max() >= len(lookup):
        raise ValueError(f"the mask holds the value {mask.max()}, but only {len(names)} segments have names")
    return lookup[mask]


def check_values(mask: MetaTensor, table: Sequence[Label]) -> None:
    """Compare a mask with a task's table.

    Raises:
        ValueError: it holds a value that the table lacks.
    """
    unknown = sorted(set(np.unique(mask).tolist()) - {0, *(label.value for label in table)})
    if unknown:
        raise ValueError(f"the mask holds the values {unknown}, which are of none of the task's labels")


def read_mask(file: str | Path, image: str | Path) -> MetaTensor:
    """A mask (1, X, Y, Z) or (1, X, Y), uint8, on the grid of its image.

    Args:
        file: NIfTI, NRRD or picture.
        image: a file, or folder of a DICOM series.

    Raises:
        ValueError: it lies on another grid, or may hold several segments in one place.
    """
    if str(file).endswith(".seg.nrrd"):
        raise ValueError("segments may overlap in .seg.nrrd: set the file extension to .nii.gz in the viewer")
    converted = None
    if str(image).lower().endswith(PICTURE_SUFFIXES) and not str(file).lower().endswith(PICTURE_SUFFIXES):
        voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        converted = temporary(".png")
        write_picture(as_labels(voxels.reshape(1, *voxels.shape[-2:]), 2).T, converted)
    elif str(file).endswith(".nrrd"):
        converted = temporary(".nii.gz")
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(converted))
    pair = LoadStudyd(("image", "label"))({"image": image, "label": converted or file})
    if converted:
        converted.unlink()
        converted.parent.rmdir()
    label = pair["label"]
    mask = as_labels(label, label.ndim - 1)[None]
    return MetaTensor(mask, affine=pair["image"].affine)


def write_mask(mask: MetaTensor) -> Path:
    """Write a mask to a temporary NIfTI file, or PNG for a picture."""
    labels = as_labels(mask, mask.ndim - 1)
    path = temporary(".png" if labels.ndim == 2 else ".nii.gz")
    if labels.ndim == 2:
        write_picture(labels, path)
    else:
        write_nifti(labels, affine_of(mask), path)
    return path


def write_dicom(file: str | Path, series_dir: str | Path, table: Sequence[Label]) -> str:
    """A temporary DICOM SEG of a mask of the table's values; every label of the table is a segment of it.

    Args:
        file: as for :func:`read_mask`.
        series_dir: the DICOM series that was segmented.
        table: the task's labels.
    """
    path = temporary(".dcm")
    write_seg(read_mask(file, series_dir), single_case(series_dir, Limits()), table, path)
    return str(path)


def written_at(file: str | Path) -> str:
    """Date and time of a DICOM SEG's content; of two such texts, the later one is the greater."""
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["ContentDate", "ContentTime"])
    return f"{header.get('ContentDate', '')}{header.get('ContentTime', '')}"


def read_dicom(file: str | Path, image: str | Path, tables: Tables) -> tuple[str, MetaTensor]:
    """The task of a DICOM SEG, by the names of its segments, and its mask on the image's grid.

    Raises:
        ValueError: the names are of no task, or the segments lie outside the image or overlap.
    """
    import highdicom

    grid = LoadStudyd("image")({"image": image})["image"]
    seg = highdicom.seg.segread(file)
    numbers = list(seg.segment_numbers)
    names = [seg.get_segment_description(number).segment_label for number in numbers]
    task = task_of(names, tables)
    held = seg.get_volume(combine_segments=True)
    geometry: Any = highdicom.VolumeGeometry(
        LPS @ affine_of(grid), spatial_shape=grid.shape[1:], coordinate_system="PATIENT"
    )
    placed = held.match_geometry(geometry).array
    if np.count_nonzero(placed) != np.count_nonzero(held.array):
        raise ValueError("a part of the segmentation lies outside its image")
    by_number = np.zeros(max(numbers) + 1, np.uint8)
    by_number[numbers] = np.arange(1, len(numbers) + 1)
    mask = to_values(by_number[placed], names, tables[task])
    return task, MetaTensor(mask[None], affine=grid.affine)
