"""What one input is: the unit that is read, segmented and accounted for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..hashing import file_digest, together

Kind = Literal["dicom", "nifti", "picture"]


class RefusedError(ValueError):
    """The input is unfit; the message names the file, the attribute, the value found and what to do.

    It never carries a patient's name, id or birth date.
    """


@dataclass(frozen=True)
class Case:
    """One DICOM image series, NIfTI file or picture.

    Attributes:
        case_id: name of the case's result folder, matches ``[A-Za-z0-9._-]{1,64}``.
        kind: how the files are read.
        input: the file, or the series' folder, relative to the searched folder (POSIX separators);
            parts that repeat the patient's name or id from a DICOM header are masked.
        files: the files of the case, absolute.
        root: the searched folder; messages name files relative to it.
        shown: the name of each file in messages, masked like ``input``; empty means relative to ``root``.
        page: page of a picture file that holds several, split on request.
    """

    case_id: str
    kind: Kind
    input: str
    files: tuple[Path, ...] = field(repr=False)
    root: Path = field(repr=False)
    shown: tuple[str, ...] = field(default=(), repr=False, compare=False)
    page: int | None = None

    def relative(self, file: Path) -> str:
        """``file`` as messages name it."""
        if self.shown and file in self.files:
            return self.shown[self.files.index(file)]
        return file.relative_to(self.root).as_posix()


def sha256_of(case: Case) -> str:
    """SHA-256 over a case's content, whatever its files are called and wherever they lie.

    Of several files the order is that of the channels; those of a DICOM series have none.
    """
    digests = [file_digest(file) for file in case.files]
    return together(sorted(digests) if case.kind == "dicom" else digests)
