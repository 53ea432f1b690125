"""Cases as a picture, image, truth and ours side by side: the worst, and the best, middle and worst."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from monai.transforms import Compose

from ..plain_exit import plain_exit
from ..replacing import replacing
from ..results import Label
from ..results.display import pixels_of, view_of, window_of
from ..results.nifti import as_labels, to_array
from ..study import LoadStudyd
from ..training import MapLabelsd
from .summary import FILE, PICTURES

COUNT = 6


class DrawCases:
    """Ignite handler: draws cases by their mean Dice in ``output_dir/summary.json``.

    ``worst.png`` shows the six lowest; ``cases.png`` the two highest, the two in the middle, the two lowest.

    Args:
        output_dir: of the evaluation; the pictures go there.
        data: the cases, see :func:`place_cases`.
        labels: the table of the task's labels.
        label_map: of the truth, see :class:`scripts.training.MapLabelsd`.
        limits: arguments of :class:`scripts.study.Limits`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        data: Sequence[Mapping[Any, Any]],
        labels: Sequence[Label],
        label_map: Mapping[str, int] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.data = {item["reference_file"]: item for item in data}
        self.labels = labels
        self.read = Compose(
            [
                LoadStudyd(["image", "label", "prediction_file"], limits=limits),
                MapLabelsd("label", len(labels) + 1, label_map),
            ]
        )

    def attach(self, engine: Engine) -> None:
        """Attach behind :class:`WriteSummary`."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    @plain_exit("cannot draw the cases")
    def __call__(self) -> None:
        """Draw them, in the first process.

        Raises:
            SystemExit: a prediction is not there (several nodes need one folder), or it cannot be written.
        """
        if idist.get_rank() == 0:
            dice = _by_dice(json.loads((self.output_dir / FILE).read_text(encoding="utf-8")))
            files, last = list(dice), len(dice) - 1
            spread = {last, last - 1, last // 2 + 1, last // 2, 1, 0} & set(range(len(files)))
            typical = [files[place] for place in sorted(spread, reverse=True)]
            for name, chosen in zip(PICTURES, (files[:COUNT], typical), strict=True):
                rows = (
                    (_words(self.data[file]["case"], dice[file]), self.read(self.data[file]))
                    for file in chosen
                )  # one at a time
                _draw(rows, len(chosen), self.labels, self.output_dir / name)


def _by_dice(summary: Mapping[str, Any]) -> dict[str, float]:
    """The mean Dice of the cases that have one, by reference, the lowest first."""
    scores = {}
    for case in summary["metric_per_case"]:
        dice = [figures["Dice"] for figures in case["metrics"].values()]
        if not np.isnan(dice).all():
            scores[case["reference_file"]] = float(np.nanmean(dice))
    return dict(sorted(scores.items(), key=lambda item: item[1]))


def _words(name: str, dice: float) -> str:
    fitting = name if len(name) <= 32 else f"…{name[-31:]}"  # above its picture
    return f"{fitting}\nDice {dice:.3f}"


def _draw(
    rows: Iterable[tuple[str, Mapping[Any, Any]]], count: int, labels: Sequence[Label], path: Path
) -> None:
    """Write the sheet, a case a row: the plane with most voxels that are wrong."""
    from matplotlib.figure import Figure  # here: it takes a while; without pyplot it needs no display
    from matplotlib.patches import Patch

    figure = Figure(figsize=(9, 1 + 3 * max(1, count)), layout="constrained")
    grid = figure.subplots(max(1, count), 3, squeeze=False)
    for axes, (name, case) in zip(grid, rows, strict=False):
        _row(axes, name, case, labels)
    for axis in grid.flat:
        axis.set_axis_off()
    patches = [Patch(color=_colour(label), label=label.name) for label in labels]
    legend = figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(patches)))
    for text in legend.get_texts():
        text.set_parse_math(False)  # a $ in a name is a $
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _row(axes: Any, name: str, case: Mapping[Any, Any], labels: Sequence[Label]) -> None:
    """One case: its image, outlines of the truth on it, and ours."""
    image, view = to_array(case["image"]), view_of(case["image"])
    truth, ours = (as_labels(case[key], image.ndim - 1) for key in ("label", "prediction_file"))
    index = _plane(truth, ours, view.axes[2])
    pixels = pixels_of(image, view, index, window_of(image))
    height, width = view.plane(truth, index).shape
    where = f", slice {index + 1} of {view.count(truth.shape)}" if view.patient else ""
    for axis, title, mask in zip(axes, (name + where, "truth", "ours"), (None, truth, ours), strict=True):
        aspect = view.spacing[1] / view.spacing[0]
        axis.imshow(
            pixels,
            cmap="gray",
            vmin=0,
            vmax=255,
            aspect=aspect,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        axis.set_title(title, fontsize=9, parse_math=False)
        if mask is not None:
            _outline(axis, view.plane(mask, index), labels)


def _outline(axis: Any, mask: np.ndarray, labels: Sequence[Label]) -> None:
    """Draw the outlines of the labels of a plane (rows, columns)."""
    limits = axis.axis()
    rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
    for label in labels:
        inside = np.pad(mask == label.value, 1)  # what fills the plane has an outline, too
        if inside.any():
            axis.contour(columns, rows, inside, levels=[0.5], colors=[_colour(label)], linewidths=1.5)
    axis.axis(limits)  # the image's own


def _plane(truth: np.ndarray, ours: np.ndarray, axis: int | None) -> int:
    """The plane with most wrong voxels, or with most of the truth where none is."""
    if axis is None:
        return 0
    wrong = truth != ours
    shown = wrong if wrong.any() else truth > 0
    return int(shown.sum(tuple(i for i in range(3) if i != axis)).argmax())


def _colour(label: Label) -> tuple[float, float, float]:
    red, green, blue = label.colour
    return red / 255, green / 255, blue / 255
