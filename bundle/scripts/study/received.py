"""An instance that a server sent, filed once its own words show that it is of the series asked for."""

import os
from pathlib import Path

from .case import RefusedError
from .header import is_uid
from .limits import Limits
from .source import read_source


def file_instance(part: bytes, number: int, study: str, series: str, folder: Path, limits: Limits) -> str:
    """Write an instance into a folder as ``<SOPInstanceUID>.dcm``.

    Args:
        part: the file's bytes.
        number: which part of the answer it is, from 1.
        study: the StudyInstanceUID asked for.
        series: the SeriesInstanceUID asked for.
        folder: of what came before.
        limits: caps.

    Returns:
        Its SOPInstanceUID; by the data set, for the file meta information tells nothing of the image.

    Raises:
        RefusedError: it is of another series, no DICOM file, or differs from one of the same UID that came before.
    """
    file, name = folder / "instance", f"instance {number} of the server's answer"
    file.write_bytes(part)
    source = read_source(file, name, limits)
    found = {"StudyInstanceUID": str(source.alike["StudyInstanceUID"]), "SeriesInstanceUID": source.series}
    for keyword, asked in (("StudyInstanceUID", study), ("SeriesInstanceUID", series)):
        if found[keyword] != asked:
            shown = found[keyword] if is_uid(found[keyword]) else "no UID"
            raise RefusedError(f"{name}: {keyword} is {shown}, asked for was {asked}; mend the series there")
    uid = source.sop_instance
    if not is_uid(uid):
        raise RefusedError(f"{name}: SOPInstanceUID is no UID; mend the series there")
    target = folder / f"{uid}.dcm"
    if target.exists() and target.read_bytes() != part:
        raise RefusedError(
            f"{name}: SOPInstanceUID is {uid!r} as in one before it, but the content differs; "
            "remove one of the two there"
        )
    os.replace(file, target)
    return uid
