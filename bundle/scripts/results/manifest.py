"""The account of every case (manifest.csv) and the table of all measurements, true at any moment."""

import json
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .. import __version__
from ..lock import FolderLock, LockedError
from .measurements import COLUMNS as MEASURED
from .ranks import Ranks
from .staging import PARTIAL, explained, holds_results, recover, refuse_foreign_report
from .tables import Row, read_table, write_table

COLUMNS = (
    "case_id",
    "input",
    "kind",
    "status",
    "reason",
    "outputs",
    "seconds",
    "input_sha256",
    "model_sha256",
    "warnings",
    "versions",
    "device",
    "settings_sha256",
    "started",
    "finished",
    "listing_sha256",
    "stored",
)
MEASUREMENT_COLUMNS = ("case_id", *MEASURED)
STATUSES = ("done", "refused", "failed")
_EARLIER = "an earlier run's result"


class Manifest:
    """The manifest of an output folder, held by one process at a time, or by the processes of one run.

    Every ``record`` replaces manifest.csv (and measurements.csv) as a whole by renaming, so that a run
    killed at any moment leaves both readable and true. Rows of earlier runs stay until their case is done
    anew. Use as a context manager, or call ``close``.

    Args:
        output_dir: made if it does not exist.
        provenance: what holds for all cases of the run: ``model_sha256``, ``device``, ``versions`` (default:
            those of the packages in use) and ``settings_sha256`` (optional: a hash of the settings which
            change the result; a case done with another is done anew).
        run: what the processes of one run have in common, where several share the folder; each of them sees
            the rows of all in its ``turn``, and takes no case that another holds in ``ranks``.

    Raises:
        LockedError: another run is writing to the folder.
        OSError: the folder cannot be written, or lacks the file locks that several processes need.
        ValueError: the folder holds a manifest.csv or a report.html that is not one of ours.
    """

    def __init__(
        self, output_dir: Path | str, provenance: Mapping[str, str] | None = None, run: str = ""
    ) -> None:
        self.output_dir = Path(output_dir)
        given = dict(provenance or {})
        self._provenance = {"versions": versions()} | {
            key: given[key]
            for key in ("model_sha256", "device", "versions", "settings_sha256")
            if given.get(key)
        }
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._replaced: dict[str, str] = {}  # inputs whose results gave way in this run
            self.ranks = Ranks(self.output_dir) if run else None
            with self.ranks.turn() if self.ranks else nullcontext():
                self._open(run)
        except OSError as error:
            raise explained(error) from None

    def _open(self, run: str) -> None:
        self._lock = FolderLock(self.output_dir, run)
        try:
            if not self._lock.first:
                self._reload()
                return
            refuse_foreign_report(self.output_dir)
            recover(self.output_dir)
            self._rows = {row["case_id"]: row for row in read_manifest(self.output_dir)}
            self._measured: dict[str, list[Row]] = {}
            self._load_measurements()
            if self.ranks:
                self._save(("manifest.csv", "measurements.csv"))  # mended, for the others to read
                self.ranks.begin()
                if not self._lock.share():
                    raise LockedError("another run took the output folder: wait for it, or choose another")
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another run have the folder; the last of several processes clears what killed ones left."""
        if self.ranks:
            with self.ranks.turn():
                if self._lock.alone():
                    recover(self.output_dir)
            self.ranks.close()
        self._lock.close()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep the other processes of the run from the tables, which are as the last of them left them."""
        if self.ranks is None:
            yield
            return
        with self.ranks.turn():
            self._reload()
            yield

    @property
    def rows(self) -> list[Row]:
        """One row a case, by case id, with the keys of ``COLUMNS``; a copy."""
        return [dict(row) for _, row in sorted(self._rows.items())]

    def whole(self, case_id: str, key: str, sha256: str) -> Row | None:
        """The case's row, if all its files are there, made with these weights and settings.

        They may still wait to be stored on a server: such a case is ``failed``, but has outputs.

        Args:
            case_id: of the case.
            key: which column tells its input, ``input_sha256`` or ``listing_sha256``.
            sha256: what must stand there; nothing matches ``""``.
        """
        row = self._rows.get(case_id)
        if row is None or not sha256:
            return None
        expected = {name: self._provenance.get(name, "") for name in ("model_sha256", "settings_sha256")}
        expected[key] = sha256
        outputs = [name for name in row["outputs"].split(";") if name]
        there = (
            all(row[name] == value for name, value in expected.items())
            and bool(outputs)
            and all(_holds(self.output_dir / name) for name in outputs)
        )
        return dict(row) if there else None

    def scratch(self) -> "TemporaryDirectory[str]":
        """A hidden folder under the output folder; if this run is killed, the next one clears it."""
        return TemporaryDirectory(prefix=PARTIAL, dir=self.output_dir)

    def forget(self, case_id: str) -> None:
        """Drop the case's rows: its files are about to be replaced, and no row may tell of other ones."""
        with self.turn():
            if case_id in self._rows:
                self._replaced[case_id] = self._rows.pop(case_id)["input_sha256"]
                self._measured.pop(case_id, None)
                self._save(("manifest.csv", "measurements.csv"))

    def record(
        self,
        case: Any,
        status: str,
        reason: str = "",
        outputs: Sequence[str] = (),
        seconds: float = 0.0,
        input_sha256: str = "",
        warnings: Iterable[str] = (),
        listing_sha256: str = "",
        stored: str = "",
    ) -> Row:
        """Enter how a case ended, in place of what an earlier run said of it.

        Args:
            case: a ``study.Case``.
            status: ``"done"``, ``"refused"`` (the input is unfit) or ``"failed"`` (ours).
            reason: why, where the status is not done.
            outputs: the case's files, relative to the output folder, as ``ResultsWriter.write`` returns them.
            seconds: how long the case took.
            input_sha256: hash of the input's files.
            warnings: what the reader or the network had to say.
            listing_sha256: hash of what a DICOMweb server lists of the series.
            stored: the server that the results were stored on.

        Returns:
            The row as it stands in the table, fit to be shown: paths are masked.

        Raises:
            ValueError: an unknown status, or no reason where one is due.
            OSError: the tables cannot be written; those on the disk are as they were.
        """
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
        if status != "done" and not reason:
            raise ValueError(f"a case that is {status} needs a reason, got {reason!r}")
        notes = [*warnings]
        before = self._replaced.pop(case.case_id, input_sha256)
        if before != input_sha256:
            notes.append("it replaced the result of an input of this name with another content")
        if status != "done" and not outputs and holds_results(self.output_dir / case.case_id):
            notes.append("the case's folder still holds the result of an earlier run")
        finished = datetime.now(timezone.utc)
        values = {
            "case_id": case.case_id,
            "input": case.input,
            "kind": case.kind,
            "status": status,
            "reason": _shown(reason, case),
            "outputs": ";".join(outputs),
            "seconds": f"{seconds:.3f}",
            "input_sha256": input_sha256,
            "warnings": _shown(" | ".join(notes), case),
            "started": _timestamp(finished - timedelta(seconds=seconds)),
            "finished": _timestamp(finished),
            "listing_sha256": listing_sha256,
            "stored": stored,
        } | self._provenance
        row = {key: _one_line(values.get(key, "")) for key in COLUMNS}
        self._replace(row)
        return dict(row)

    def note_renamed(self, case_ids: Collection[str]) -> None:
        """Say in earlier rows that a file has another case id now, for another of its name has come; with the turn only.

        Args:
            case_ids: of the run at hand.
        """
        now = {
            row["input"]: case_id for case_id in case_ids if (row := self._rows[case_id])["kind"] != "dicom"
        }
        for case_id, row in self._rows.items():
            if row["input"] in now:
                notes = [
                    note for note in row["warnings"].split(" | ") if note and not note.startswith(_EARLIER)
                ]
                if case_id not in case_ids:
                    notes.append(f"{_EARLIER}: an input of this name is the case {now[row['input']]} now")
                row["warnings"] = " | ".join(notes)
        self._save(("manifest.csv",))

    def _replace(self, row: Row) -> None:
        with self.turn():
            case_id = row["case_id"]
            self._rows[case_id] = row
            self._measured.pop(case_id, None)
            if row["status"] == "done":
                self._measured[case_id] = self._measured_rows(case_id)
                self._save(("measurements.csv", "manifest.csv"))
            else:
                self._save(("manifest.csv", "measurements.csv"))

    def _reload(self) -> None:
        """Take the tables from the disk; measurements without a done row are a killed process's, half told."""
        self._rows = {row["case_id"]: row for row in read_manifest(self.output_dir)}
        self._measured = {case_id: [] for case_id, row in self._rows.items() if row["status"] == "done"}
        for row in read_measurements(self.output_dir):
            if row["case_id"] in self._measured:
                self._measured[row["case_id"]].append(row)

    def _load_measurements(self) -> None:
        """Bring the rows in step with the case folders, which a killed run may have left a step ahead."""
        earlier: dict[str, list[Row]] = {}
        for row in read_measurements(self.output_dir):
            earlier.setdefault(row["case_id"], []).append(row)
        for case_id, row in list(self._rows.items()):
            if row["status"] != "done":
                continue
            account = self._account(case_id)
            if any(account.get(key, row[key]) != row[key] for key in ("input_sha256", "model_sha256")):
                del self._rows[case_id]
            else:
                self._measured[case_id] = self._measured_rows(case_id) or earlier.get(case_id, [])

    def _account(self, case_id: str) -> dict[str, Any]:
        try:
            account = json.loads(
                (self.output_dir / case_id / "measurements.json").read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return {}
        return account if isinstance(account, dict) else {}

    def _measured_rows(self, case_id: str) -> list[Row]:
        labels = self._account(case_id).get("labels", [])
        return [{"case_id": case_id} | {key: _cell(label.get(key)) for key in MEASURED} for label in labels]

    def _save(self, order: Sequence[str]) -> None:
        """Write both tables, in the order in which no done case is ever without its measurements."""
        tables = {
            "manifest.csv": (COLUMNS, self.rows),
            "measurements.csv": (
                MEASUREMENT_COLUMNS,
                [row for _, rows in sorted(self._measured.items()) for row in rows],
            ),
        }
        try:
            for name in order:
                write_table(self.output_dir / name, *tables[name])
        except OSError as error:
            raise explained(error) from None


def _holds(file: Path) -> bool:
    """Whether a file is there, and holds something."""
    return file.is_file() and file.stat().st_size > 0


def read_manifest(output_dir: Path | str) -> list[Row]:
    """The rows of an output folder's manifest.csv, none if there is none; needs no lock."""
    return read_table(Path(output_dir) / "manifest.csv", COLUMNS, {"status": STATUSES})


def read_measurements(output_dir: Path | str) -> list[Row]:
    """The rows of an output folder's measurements.csv, none if there is none; needs no lock."""
    return read_table(Path(output_dir) / "measurements.csv", MEASUREMENT_COLUMNS, {})


def versions() -> str:
    """The versions that made a result: ours, Python's and those of the packages that touch the data."""
    parts = [f"mcanet {__version__}", f"python {platform.python_version()}"]
    for package in ("torch", "monai", "numpy", "pydicom", "highdicom", "nibabel"):
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return "; ".join(parts)


def _cell(value: Any) -> str:
    """A measured value as text: empty for what there is not, true and false in lower case."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(text: str, case: Any) -> str:
    """``text`` with the case's files named as messages name them, which masks a patient's name in a path."""
    for file in case.files:
        text = text.replace(str(file), case.relative(file))
    return text.replace(str(case.root), "the input folder")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _timestamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
