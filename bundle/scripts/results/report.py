"""report.html: the cases of an output folder in one file that opens offline."""

import json
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ..replacing import write_text
from .manifest import STATUSES, read_manifest, read_measurements
from .staging import case_folder, explained
from .tables import Row

SHEET = ".slices.json"
_TEMPLATE = Path(__file__).with_name("report.html")
_MOST_COLUMNS = 8
_BINS = 12
_MOST_BYTES = 150_000_000


def write_report(output_dir: Path | str) -> Path:
    """Write the report of an output folder from its manifest, its measurements and the case folders.

    Cases whose slices are missing, or that come after 150 MB of slices, are listed without a viewer.

    Args:
        output_dir: as given to ``Manifest`` and ``ResultsWriter``.

    Returns:
        The file written.

    Raises:
        OSError: the folder cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    folder = Path(output_dir)
    rows = read_manifest(folder)
    measured = read_measurements(folder)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["zip"] = zip
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    names = list(dict.fromkeys(entry["name"] for entry in measured))
    sheets = _sheets(folder, [row["case_id"] for row in rows if row["status"] == "done"])
    colours = {label["name"]: label["colour"] for sheet in sheets.values() for label in sheet["labels"]}
    page = template.render(
        cases=[_case(row, measured, sheets.get(row["case_id"])) for row in rows],
        counts={status: sum(row["status"] == status for row in rows) for status in STATUSES},
        names=names if len(names) <= _MOST_COLUMNS else [],
        cohorts=_cohorts(measured, colours),
        runs=_runs(rows),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    path = folder / "report.html"
    try:
        write_text(path, page)
    except OSError as error:
        raise explained(error) from None
    return path


def _sheets(folder: Path, case_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The slices of the cases that have them, up to the limit of a report."""
    sheets: dict[str, dict[str, Any]] = {}
    left = _MOST_BYTES
    for case_id in case_ids:
        try:
            text = (case_folder(folder, case_id) / SHEET).read_text(encoding="utf-8")
            sheet = json.loads(text)
        except (OSError, ValueError):
            continue
        left -= len(text)
        if left < 0:
            break
        sheets[case_id] = sheet
    return sheets


def _case(row: Row, measured: Sequence[Row], sheet: dict[str, Any] | None) -> dict[str, Any]:
    labels = [entry for entry in measured if entry["case_id"] == row["case_id"]]
    return {
        "row": row,
        "labels": labels,
        "sheet": sheet,
        "size": {entry["name"]: _size(entry) for entry in labels},
        "files": [name for name in row["outputs"].split(";") if name],
        "cut": [entry["name"] for entry in labels if entry["touches_border"] == "true"],
    }


def _size(entry: Row) -> str:
    """A label's volume or area, as a person reads it."""
    if entry["volume_ml"]:
        volume = float(entry["volume_ml"])
        if 0 < volume < 0.01:
            return f"{volume:.2g} ml"
        return f"{volume:.{3 if volume < 10 else 2 if volume < 100 else 1}f} ml"
    return f"{entry['area_px']} px" if entry["area_px"] else "none"


def _cohorts(measured: Sequence[Row], colours: dict[str, list[int]]) -> list[dict[str, Any]]:
    """One histogram a label and unit, over the cases that hold the label."""
    cohorts = []
    for name in dict.fromkeys(entry["name"] for entry in measured):
        for key, unit in (("volume_ml", "ml"), ("area_px", "px")):
            entries = [entry for entry in measured if entry["name"] == name and entry[key]]
            values = [float(entry[key]) for entry in entries if int(entry["voxels"])]
            if entries:
                cohorts.append(_cohort(name, unit, values, len(entries), colours.get(name, [120, 120, 120])))
    return cohorts


def _cohort(name: str, unit: str, values: list[float], cases: int, colour: list[int]) -> dict[str, Any]:
    cohort: dict[str, Any] = {
        "name": name,
        "unit": unit,
        "cases": cases,
        "with": len(values),
        "colour": colour,
    }
    if not values:
        return cohort | {"bars": [], "low": 0, "high": 0, "median": 0}
    low, high = min(values), max(values)
    counts = np.histogram(values, _BINS if high > low else 1)[0].tolist()
    return cohort | {
        "low": f"{low:.4g}",
        "high": f"{high:.4g}",
        "median": f"{statistics.median(values):.4g}",
        "mean": f"{statistics.fmean(values):.4g}",
        "bars": [{"count": count, "share": round(count / max(counts), 4)} for count in counts],
    }


def _runs(rows: Sequence[Row]) -> list[dict[str, str]]:
    """What the cases were made with, each combination once."""
    keys = ("versions", "device", "model_sha256")
    return [
        dict(zip(keys, values, strict=True))
        for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    ]
