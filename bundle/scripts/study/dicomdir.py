"""What a DICOMDIR says should lie beside it: a disc of which half was copied shows no other way."""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pydicom

from .limits import Limits
from .quiet import quiet


def missing_files(file: Path, present: Collection[Path], limits: Limits) -> dict[str, str]:
    """The first missing file of each series of which others are there, by SeriesInstanceUID.

    Files are compared in any case, as discs are read. A DICOMDIR that cannot be read says nothing.

    Args:
        file: the DICOMDIR (PS3.3, annex F).
        present: all files of the folder.
        limits: caps on untrusted input.
    """
    there, named = {_plain(path) for path in present}, _named_files(file, limits)
    lacking = {
        series: [name for name in names if _plain(file.parent / name) not in there]
        for series, names in named.items()
    }
    return {series: names[0] for series, names in lacking.items() if 0 < len(names) < len(named[series])}


def _named_files(file: Path, limits: Limits) -> dict[str, list[str]]:
    """Relative paths by SeriesInstanceUID: a series' record stands before those of its images."""
    named: dict[str, list[str]] = defaultdict(list)
    try:
        limits.check_file(file.stat().st_size, file.name)
        with quiet():
            series = ""
            for record in pydicom.dcmread(
                file, specific_tags=["DirectoryRecordSequence"]
            ).DirectoryRecordSequence:
                kind = record.get("DirectoryRecordType")
                series = str(record.get("SeriesInstanceUID", "")) if kind == "SERIES" else series
                place = record.get("ReferencedFileID")
                if kind == "IMAGE" and place:
                    named[series].append(place if isinstance(place, str) else "/".join(place))
    except Exception:  # whatever its bytes make of it
        return {}
    return named


def _plain(path: Path) -> str:
    return path.as_posix().casefold()
