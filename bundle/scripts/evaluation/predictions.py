"""Our labels of every case as files, so that each figure can be looked at and measured again."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from ..plain_exit import plain_exit
from ..results import write_nifti, write_picture
from ..results.nifti import affine_of, as_labels, form_of
from ..study.kinds import PICTURE_SUFFIXES, stem_of


@plain_exit("cannot evaluate")
def place_cases(data: Sequence[Mapping[Hashable, Any]], output_dir: str | Path) -> list[dict[Hashable, Any]]:
    """Name the files of each case: ``reference_file``, and ``prediction_file`` below ``output_dir/predictions``.

    Predictions lie there as the references lie below their common folder, so that no two are one file.

    Args:
        data: ``{"image": …, "label": path}``, as of :func:`scripts.training.labelled_datalist`.
        output_dir: of the evaluation.

    Raises:
        SystemExit: there are fewer cases than processes, two references differ only in their suffix, some are pictures
            and others volumes, or one lies where the predictions go.
    """
    if len(data) < idist.get_world_size():
        raise ValueError(
            f"{len(data)} cases cannot be shared by {idist.get_world_size()} processes; start at most {len(data)}"
        )
    root = os.path.commonpath([Path(item["label"]).parent for item in data])
    predictions = Path(output_dir).resolve() / "predictions"
    placed, taken, kinds = [], dict[Path, str](), dict[bool, Path]()
    for item in data:
        reference = Path(item["label"])
        picture = reference.name.lower().endswith(PICTURE_SUFFIXES)
        kinds.setdefault(picture, reference)
        if reference.resolve().is_relative_to(predictions):  # such as predictions that were corrected by hand
            raise ValueError(
                f"{reference} lies in {predictions}, where it would be overwritten: name another output folder"
            )
        name = stem_of(reference) + (".png" if picture else ".nii.gz")
        prediction = predictions / reference.parent.relative_to(root) / name
        if prediction in taken:
            raise ValueError(f"{taken[prediction]} and {reference} differ only in their suffix; rename one")
        taken[prediction] = str(reference)
        placed.append({**item, "reference_file": str(reference), "prediction_file": str(prediction)})
    if len(kinds) > 1:
        raise ValueError(
            f"{kinds[True]} is a picture, measured in pixels, and {kinds[False]} a volume, measured in mm: give pictures "
            "and volumes in folders of their own"
        )
    return placed


class SavePredictions:
    """Ignite handler: writes each case's labels, on the grid of its truth, to its ``prediction_file``."""

    def attach(self, engine: Engine) -> None:
        """Attach behind the evaluator's postprocessing."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            _save(output["pred"], Path(item["prediction_file"]))


@plain_exit("cannot write the predictions")
def _save(pred: torch.Tensor, file: Path) -> None:
    """Write labels (1, X, Y[, Z]).

    Raises:
        SystemExit: the folder cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = as_labels(pred, pred.ndim - 1)
    if labels.ndim == 2:
        write_picture(labels, file)
    else:
        write_nifti(labels, affine_of(pred), file, form=form_of(pred))
