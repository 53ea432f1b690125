"""Images whose channels lie in a file each, named as nnU-Net names them: ``case_0000.nii.gz``, ``case_0001.nii.gz``."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from monai.data import MetaTensor

from .case import Case
from .grid import check_same_grid
from .info import Info
from .kinds import stem_of
from .privacy import safe_id, with_page

CHANNEL = re.compile(r"(.+)_(\d{4})")


def stack(images: Sequence[MetaTensor]) -> MetaTensor:
    """One image (channels, …) of images on one grid, with the meta data of the first.

    Raises:
        RefusedError: they do not lie on one grid.
    """
    for image in images[1:]:
        check_same_grid(images[0], image)
    stacked = torch.cat([image.as_tensor() for image in images])
    return MetaTensor(stacked, meta=images[0].meta)


def group_channels(
    fit: Sequence[tuple[Case, Info]], count: int
) -> tuple[list[tuple[Case, Info]], list[tuple[Case, str]]]:
    """Make one case of the ``count`` files of an image's channels.

    Args:
        fit: cases of one file.
        count: files an image.

    Returns:
        Cases, and those that lack a channel with the reason.
    """
    groups: dict[tuple[Path, str, int | None], dict[int, tuple[Case, Info]]] = defaultdict(dict)
    twins: dict[tuple[Path, str, int | None], Case] = {}
    whole, broken = [], []
    for case, info in fit:
        match = CHANNEL.fullmatch(stem_of(case.files[0]))
        if match is None:
            broken.append(
                (case, f"{case.input}: the task takes {count} files an image, named …_0000, …_0001")
            )
        else:
            key = case.files[0].parent, match[1], case.page
            if groups[key].setdefault(int(match[2]), (case, info))[0] is not case:
                twins[key] = case
    for key, channels in groups.items():
        first, info = channels[min(channels)]
        if key in twins:
            broken.append(
                (first, f"{twins[key].input}: another file is the same channel; move one of them away")
            )
        elif sorted(channels) != list(range(count)):
            held = ", ".join(f"_{i:04}" for i in sorted(channels))
            broken.append(
                (first, f"{first.input}: found the channels {held}, expected _0000 to _{count - 1:04}")
            )
        else:
            whole.append(
                (_joined([channels[i][0] for i in range(count)], key[1]), replace(info, channels=count))
            )
    return whole, broken


def _joined(cases: Sequence[Case], stem: str) -> Case:
    """One case of all files; it is named by ``stem`` unless its own name is masked."""
    first = cases[0]
    named = first.case_id == with_page(stem_of(first.files[0]), first.page)
    return replace(
        first,
        case_id=with_page(safe_id(stem, first.input), first.page) if named else first.case_id,
        files=tuple(case.files[0] for case in cases),
        shown=tuple(case.input for case in cases),
    )
