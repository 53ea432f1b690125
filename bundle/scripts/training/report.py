"""curves.png and report.html of a training, the page in one file that opens offline."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..replacing import replacing

_TEMPLATE = Path(__file__).with_name("report.html")


def write_report(folder: Path, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
    """Write both files.

    Args:
        folder: where they go.
        rows: of :class:`History`, one an epoch.
        facts: of the run, by name.

    Raises:
        OSError: the folder cannot be written.
    """
    from jinja2 import Environment, StrictUndefined  # here and below: they take a while

    curves = _curves(rows)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    validated = [row for row in rows if not math.isnan(row["val_mean_dice"] or math.nan)]
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        curves=base64.b64encode(curves).decode(),
        best=max(validated, key=lambda row: row["val_mean_dice"], default=None),
        minutes=sum(row["seconds"] for row in rows) / 60,
        facts=facts,
        rows=rows,
    )
    for name, content in (("curves.png", curves), ("report.html", page.encode())):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of loss, Dice and learning rate over the epochs."""
    from matplotlib.figure import Figure  # without pyplot it needs no display

    figure = Figure(figsize=(7, 7), layout="constrained")
    titles = {
        "train_loss": "training loss",
        "val_mean_dice": "mean Dice, validation",
        "learning_rate": "learning rate",
    }
    for axis, (column, title) in zip(
        figure.subplots(len(titles), 1, sharex=True), titles.items(), strict=True
    ):
        known = [row for row in rows if row[column] is not None]
        axis.plot([row["epoch"] for row in known], [row[column] for row in known], marker=".")
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axis.set_xlabel("epoch")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()
