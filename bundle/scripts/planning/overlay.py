"""The task file: the settings that follow from the choices, readable and whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..replacing import write_text
from ..results import label_table
from ..study.fitness import thick_axis
from .choices import Choice, rounded, stacked_otherwise
from .fingerprint import Facts

# Of DICOM's CID 7150 and 7166: what can be said of any label without knowing what it is.
TISSUE = ["85756007", "SCT", "Tissue"]
COLOURS = (
    (230, 80, 60), (60, 160, 230), (90, 190, 90), (240, 190, 60), (160, 100, 210), (60, 200, 190),
    (230, 120, 180), (150, 150, 60),
)  # fmt: skip
EVALUATED = ("$", "@", "%")  # what texts begin with that MONAI takes for programs and references
GENEROUS = 1.5  # how far beyond the data's own range an image is still taken without a warning


def is_evaluated(name: str) -> bool:
    """Whether MONAI would take a name for a program or a reference where it reads the task."""
    return name.startswith(EVALUATED) or "#" in name


def labels(names: Sequence[str]) -> dict[str, Choice]:
    """The label table, with codes that are true of any label.

    Raises:
        ValueError: a name is none that results can have, or one that MONAI would evaluate where it reads the task.
    """
    for name in names:
        if is_evaluated(name):
            raise ValueError(
                f"the label {name!r} of dataset.json begins with {' or '.join(EVALUATED)}, or holds a #, which mean "
                "something else in MONAI's configurations; rename it"
            )
    table = [
        {
            "value": i + 1,
            "name": name[:64],
            "colour": list(COLOURS[i % len(COLOURS)]),
            "category": TISSUE,
            "type": TISSUE,
        }
        for i, name in enumerate(names)
    ]
    label_table(table)  # names and count as results need them
    return {
        "labels": Choice(table, f"{', '.join(names)}; coded as tissue, put better codes in if you know them")
    }


def fitness(facts: Sequence[Facts], ct: bool, planes: Sequence[int]) -> dict[str, Choice]:
    """fitness_rules: what an image must be like to be near the data, as ``planes`` show it."""
    dims = len(facts[0].shape)
    rules: dict[str, Any] = {
        "kinds": ["picture"] if facts[0].kind == "picture" else ["nifti", "dicom"],
        "channels": facts[0].channels,
        "spatial_dims": dims,
    }
    if ct:
        rules["modality"] = ["CT"]
    shape, spacing = (np.array([getattr(one, name) for one in facts], float) for name in ("shape", "spacing"))
    if dims == 2:
        rules["size_px"] = _range(shape)[0]
        return {"fitness_rules": Choice(rules, f"sizes of the data, {GENEROUS:g} times as small or large")}
    rules["spacing_mm"] = _range(np.sort(spacing, axis=1))
    rules["field_of_view_mm"] = _range(np.sort(shape * spacing, axis=1))
    # thick slices that are stacked otherwise would be cut across; those of the plan are named in it, to be taken out
    kept = [one for one in facts if not stacked_otherwise(one, planes[0])]
    if len(planes) == 1 and all(thick_axis(one.spacing) in (None, planes[0]) for one in kept):
        rules["slice_axis"] = planes[0]
    words = f"spacing and field of view of the data by axis, {GENEROUS:g} times as small or large"
    return {"fitness_rules": Choice(rules, words)}


def _range(values: np.ndarray) -> list[list[float]]:
    """[low, high] for each column (cases, axes); over all of two columns, of pictures."""
    columns = [values.reshape(-1)] if values.shape[1] == 2 else list(values.T)
    return [[rounded(column.min() / GENEROUS, 3), rounded(column.max() * GENEROUS, 3)] for column in columns]


def write(
    file: Path, choices: Mapping[str, Choice], data: Mapping[str, Any], channels: Sequence[str]
) -> None:
    """Write the task file, whole or not at all.

    Args:
        file: to write; its folder is made.
        choices: the settings.
        data: what the data set is, for the reader.
        channels: names of an image's channels, for the card of an exported bundle; none where there are none.
    """
    content = {
        **({"_meta_": {"channels": list(channels)}} if channels else {}),
        "notes": {**data, **{name: choice.reason for name, choice in choices.items()}},
        **{name: choice.value for name, choice in choices.items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(content, indent=4) + "\n")
