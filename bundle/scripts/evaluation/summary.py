"""The account of an evaluation: ``summary.json`` in nnU-Net's shape, with distances and intervals beside."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import string_list_all_gather
from scipy.stats import bootstrap

from ..lock import keep, let_go
from ..plain_exit import plain_exit
from ..replacing import write_text
from ..results import Label
from .metrics import FIGURES

FILE = "summary.json"
PICTURES = ("worst.png", "cases.png")  # of the gallery
BEGUN = ".predictions.json"  # what an evaluation writes below predictions/, also one that was killed
COUNTS = ("TP", "FP", "TN", "FN")
STATED = ("labels", "surface_dice_tolerance", "unit")  # in what several evaluations must be alike
RESAMPLES = 2000


class WriteSummary:
    """Ignite handler: writes ``summary.json`` and prints its means, alone in its folder. Attach it to every process.

    Args:
        output_dir: made if it does not exist.
        labels: the table of the task's labels.
        tolerance: of surface Dice, to be stated.
        data: the cases, see :func:`place_cases`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        labels: Sequence[Label],
        tolerance: float,
        data: Sequence[Mapping[Any, Any]] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.predictions = [item["prediction_file"] for item in data]
        self.stated: dict[str, Any] = {
            "labels": {str(label.value): label.name for label in labels},
            "surface_dice_tolerance": tolerance,
        }
        self._files: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Attach behind the metrics."""
        engine.add_event_handler(Events.STARTED, self._take)
        engine.add_event_handler(Events.ITERATION_STARTED(once=1), self._forget_earlier)  # a case was read
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self._files.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_files)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._let_go)

    @plain_exit("cannot evaluate")
    def _take(self) -> None:
        """Keep the folder from other evaluations, whose predictions have the same names."""
        if idist.get_rank() == 0:
            keep(self.output_dir)

    def _let_go(self) -> None:
        if idist.get_rank() == 0:
            let_go(self.output_dir)

    @plain_exit("cannot evaluate")
    def _forget_earlier(self) -> None:
        if idist.get_rank() == 0:
            forget_earlier(self.output_dir)
            _note(self.predictions, self.output_dir)
        idist.barrier()

    def _note_files(self, engine: Any) -> None:
        for item in engine.state.batch:
            self._files += [item["reference_file"], item["prediction_file"]]

    def __call__(self, engine: Any) -> None:
        """Gather the cases of all processes; the first one writes."""
        files = string_list_all_gather(self._files)
        if idist.get_rank() == 0:
            cases = _cases(files, engine.state.metric_details, list(self.stated["labels"]))
            write_summary(summarise(cases, self.stated), self.output_dir)


def _note(predictions: Sequence[str], output_dir: Path) -> None:
    """Write which predictions are to come: killed, or moved to another folder, they would not be known for ours."""
    names = [os.path.relpath(prediction, output_dir.resolve()) for prediction in predictions]
    write_text(output_dir / BEGUN, json.dumps(names, indent=1) + "\n")


def forget_earlier(output_dir: Path) -> None:
    """An earlier evaluation's account makes way, and the predictions that it named, so that none is mixed.

    Args:
        output_dir: of that evaluation, whether it came to its end or not; without one, nothing goes.

    Raises:
        ValueError: its ``summary.json`` is another program's.
    """
    file, begun, predictions = output_dir / FILE, output_dir / BEGUN, output_dir.resolve() / "predictions"
    if not (file.is_file() or begun.is_file()):
        return
    cases = read_summary(file)["metric_per_case"] if file.is_file() else []
    names = json.loads(begun.read_text(encoding="utf-8")) if begun.is_file() else []
    named = [*(Path(case["prediction_file"]) for case in cases), *(output_dir / name for name in names)]
    tables = [f"{metric}_{kind}.csv" for metric in FIGURES for kind in ("raw", "summary")]
    for name in ("metrics.csv", *tables, *PICTURES, FILE):
        (output_dir / name).unlink(missing_ok=True)
    for prediction in map(Path.resolve, named):
        if prediction.is_relative_to(predictions):
            prediction.unlink(missing_ok=True)
    begun.unlink(missing_ok=True)


def _cases(
    files: Sequence[str], details: Mapping[str, torch.Tensor], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """``metric_per_case``, in the order of the references, whichever process measured which."""
    figures = {figure.name: details[metric].tolist() for metric, figure in FIGURES.items()}
    counts = details["voxel_counts"].long().tolist()
    cases = []
    for i, (reference, prediction) in enumerate(zip(files[::2], files[1::2], strict=True)):
        metrics = {}
        for j, label in enumerate(labels):
            voxels = dict(zip(COUNTS, counts[i][j], strict=True))
            sums = {"n_pred": voxels["TP"] + voxels["FP"], "n_ref": voxels["TP"] + voxels["FN"]}
            metrics[label] = {name: table[i][j] for name, table in figures.items()} | voxels | sums
        cases.append({"reference_file": reference, "prediction_file": prediction, "metrics": metrics})
    return sorted(cases, key=lambda case: case["reference_file"])


def summarise(cases: Sequence[Mapping[str, Any]], stated: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of ``summary.json``.

    Args:
        cases: as ``metric_per_case`` holds them.
        stated: ``labels`` (names by value) and ``surface_dice_tolerance``, passed on.
    """
    labels = list(stated["labels"])
    tables = {
        key: np.array([[case["metrics"][label][key] for label in labels] for case in cases], float)
        for key in cases[0]["metrics"][labels[0]]
    }
    names = [figure.name for figure in FIGURES.values()]
    picture = cases[0]["prediction_file"].endswith(".png")
    return {
        "foreground_mean": {key: float(_mean(table)) for key, table in tables.items()},
        "mean": {
            label: {key: float(_mean(table[:, [i]])) for key, table in tables.items()}
            for i, label in enumerate(labels)
        },
        "metric_per_case": list(cases),
        "interval_95": {
            "foreground_mean": {name: interval(tables[name]) for name in names},
            "mean": {
                label: {name: interval(tables[name][:, [i]]) for name in names}
                for i, label in enumerate(labels)
            },
        },
        "cases_counted": {
            label: {name: int(np.isfinite(tables[name][:, i]).sum()) for name in names}
            for i, label in enumerate(labels)
        },
        "unit": "px" if picture else "mm",
        **stated,
    }


def interval(table: np.ndarray) -> list[float]:
    """[low, high], the 95 % interval of the mean of figures (cases, labels), by a percentile bootstrap over cases.

    The seed is fixed. NaN twice where fewer than two cases have a figure of one of the labels. A draw without any of a
    label's cases would be the mean of the others, and is passed over.
    """
    figures = np.isfinite(table)
    known = table[figures.any(1)][:, figures.any(0)]
    if not known.size or np.isfinite(known).sum(0).min() < 2:
        return [float("nan")] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws that lack a label
        means = bootstrap(
            (np.arange(len(known)),),
            lambda drawn, axis: np.nanmean(known[drawn], axis=-2).mean(-1),
            n_resamples=RESAMPLES,
            batch=100,
            vectorized=True,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).bootstrap_distribution
    return [float(bound) for bound in np.nanpercentile(means, [2.5, 97.5])]


def _mean(table: np.ndarray) -> Any:
    """The mean over cases, then over labels, of figures (…, cases, labels); NaN counts for nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a label that no case holds
        return np.nanmean(np.nanmean(table, axis=-2), axis=-1)


def read_summary(file: Path) -> dict[str, Any]:
    """A summary that ``mcanet evaluate`` wrote.

    Raises:
        ValueError: it is something else, or not there.
    """
    try:
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for key in ("interval_95", "metric_per_case", *STATED):
            summary[key]
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"no {FILE} in {str(file.parent)!r}: expected a folder that mcanet evaluate wrote"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{file} is no summary of mcanet evaluate; measure anew, into a folder without it"
        ) from None
    return summary


@plain_exit("cannot write the summary")
def write_summary(summary: Mapping[str, Any], output_dir: Path) -> None:
    """Write ``summary.json``, whole or not at all, and print its means and where it lies.

    Raises:
        SystemExit: the folder cannot be written.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    write_text(output_dir / FILE, json.dumps(summary, indent=4) + "\n")
    print(f"{means(summary)}\nsee {output_dir / FILE}", flush=True)


def means(summary: Mapping[str, Any]) -> str:
    """The means with their intervals as a table for people."""
    count, unit = len(summary["metric_per_case"]), summary["unit"]
    tolerance = summary["surface_dice_tolerance"]
    names = [figure.name for figure in FIGURES.values()]
    heads = [figure.head.format(unit=unit, tolerance=tolerance) for figure in FIGURES.values()]
    rows = [["", *heads]]
    for label, name in summary["labels"].items():
        counted = summary["cases_counted"][label]
        cells = [
            _cell(summary["mean"][label][key], summary["interval_95"]["mean"][label][key])
            + (f" of {counted[key]}" if counted[key] < count else "")
            for key in names
        ]
        rows.append([name, *cells])
    foreground, intervals = summary["foreground_mean"], summary["interval_95"]["foreground_mean"]
    rows.append(["mean", *(_cell(foreground[key], intervals[key]) for key in names)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([f"{count} cases; in brackets the 95 % interval of the mean", *map(str.rstrip, lines)])


def _cell(value: float, bounds: Sequence[float]) -> str:
    return f"{value:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"
