"""A labelled case, and what a folder of them holds."""

import os
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...study import Case
from ...study.kinds import NIFTI_SUFFIXES

# images of formats that are not read: passed over in silence, they would be missed too late
NOT_READ = (
    ".nrrd",
    ".mha",
    ".mhd",
    ".gif",
    ".webp",
    ".jp2",
    ".svs",
    ".dcm",
    ".hdr",
    ".img",
    ".npy",
    ".npz",
    ".mat",
    ".ppm",
    ".pgm",
    ".pbm",
    ".mgz",
)


@dataclass(frozen=True)
class Pair:
    """A labelled case.

    Attributes:
        case: its name.
        images: one file, or one file a channel.
        label: the mask.
    """

    case: str
    images: tuple[Path, ...]
    label: Path

    def item(self) -> dict[Hashable, Any]:
        """``{"image": …, "label": …, "case": name}`` as :class:`scripts.study.LoadStudyd` takes it."""
        image: Any = str(self.images[0])
        if len(self.images) > 1:
            first = self.images[0]
            kind: Any = "nifti" if first.name.lower().endswith(NIFTI_SUFFIXES) else "picture"
            root = Path(os.path.commonpath([file.parent for file in self.images]))
            image = Case(self.case, kind, first.relative_to(root).as_posix(), self.images, root)
        return {"image": image, "label": str(self.label), "case": self.case}


@dataclass(frozen=True)
class Layout:
    """What a folder of labelled data holds.

    Attributes:
        name: of the layout.
        pairs: sorted by their images' paths.
        problems: what has no partner, a sentence each.
        labels: names by value as ``dataset.json`` declares them, without the background; None: it does not.
        channels: names of the image's channels, as ``dataset.json`` has them.
        channels_in_file: as ``dataset.json`` names them, where each image is one file; 1: it does not, or names one.
        remarks: what it says that is not followed, in a few words each.
    """

    name: str
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()
    labels: dict[int, str] | None = field(default=None, hash=False)
    channels: tuple[str, ...] = ()
    channels_in_file: int = 1
    remarks: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """Of the first channel, or ``""``."""
        return next(iter(self.channels), "")


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files, which desktop systems leave."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def same_name(name: str) -> str:
    """A name as it is compared: desktop systems decompose letters with accents."""
    return unicodedata.normalize("NFC", name)


def shown(file: Path) -> str:
    """A file in a message, with its folder."""
    return f"{file.parent.name}/{file.name}"


def in_order(pairs: list[Pair]) -> tuple[Pair, ...]:
    """By their images' paths, so that a split does not hang on the order of a listing."""
    return tuple(sorted(pairs, key=lambda pair: str(pair.images[0])))
