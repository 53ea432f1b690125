"""Tables as CSV files, which a spreadsheet may open."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..replacing import replacing

_MEND = "take out what is damaged, whose cases are then done anew, or choose another output folder"
_RISKY = frozenset("=+-@\t\r'")

Row = dict[str, str]


def read_table(path: Path, columns: Sequence[str], allowed: Mapping[str, Collection[str]]) -> list[Row]:
    """The rows of a table, none if there is none.

    Args:
        path: of the file.
        columns: wanted; the first nine it must have, later ones are empty where an older version wrote it.
        allowed: the only words of a column, by its name.

    Raises:
        ValueError: it is damaged, or another program's.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} in the output folder is no text: move it away") from None
    try:
        header, *lines = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path.name} in the output folder is damaged ({error}): {_MEND}") from None
    missing = [name for name in columns[:9] if name not in header]
    if missing:
        raise ValueError(
            f"{path.name} in the output folder is not ours, it lacks the columns {', '.join(missing)}: "
            "move it away or choose another output folder"
        )
    absent = dict.fromkeys(columns, "")
    rows = [absent | dict(zip(header, map(_unguarded, line), strict=False)) for line in lines if line]
    for line, row in zip(filter(None, lines), rows, strict=True):
        if len(line) != len(header) or any(row[name] not in words for name, words in allowed.items()):
            raise ValueError(f"{path.name} in the output folder is damaged (row of {line[0]!r}): {_MEND}")
    return [{name: row[name] for name in columns} for row in rows]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([guarded(row[name]) for name in columns] for row in rows)


def guarded(cell: str) -> str:
    """A cell which no spreadsheet takes for a formula; a number stays as it is."""
    return f"'{cell}" if cell[:1] in _RISKY and not _is_number(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" else cell


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", cell) is not None
