"""The table of ``mcanet check``: what would be read and what refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.data import MetaTensor

from ..plain_exit import plain_exit
from .case import Case, RefusedError
from .dicomweb import Archive
from .find import Found
from .fitness import Mode, judge
from .info import Info
from .inputs import find_input
from .limits import DEFAULT_LIMITS, Limits, limits_of
from .read import read_case
from .server import ServerError


@dataclass(frozen=True)
class Row:
    """One case of the table.

    Attributes:
        status: ``fit`` or ``refused``.
        reason: why it is refused, or ``""``.
        shape: spatial shape; empty when refused.
        spacing: mm, or pixels for pictures; empty when refused.
    """

    case_id: str
    input: str
    kind: str
    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()


def check_found(
    found: Found,
    limits: Limits = DEFAULT_LIMITS,
    deep: bool = False,
    rules: Mapping[str, Any] | None = None,
    fitness: Mode = "refuse",
) -> list[Row]:
    """The table of a search.

    Args:
        found: what it found.
        limits: caps on untrusted input.
        deep: read every voxel too; else headers only.
        rules: what the task was trained on, see :func:`judge`; None compares nothing.
        fitness: see :func:`judge`.
    """
    rows = [_row(case, found.info[case.case_id], limits, deep, rules or {}, fitness) for case in found.cases]
    rows += [Row(case.case_id, case.input, case.kind, "refused", reason) for case, reason in found.refused]
    return rows


def _row(case: Case, info: Info, limits: Limits, deep: bool, rules: Mapping[str, Any], fitness: Mode) -> Row:
    try:
        image = read_case(case, limits) if deep else _outline(case, info)
        warnings = (*image.meta["warnings"], *judge(image, rules, fitness))
    except RefusedError as error:
        return Row(case.case_id, case.input, case.kind, "refused", str(error))
    return Row(case.case_id, case.input, case.kind, "fit", "", warnings, info.shape, info.spacing)


def _outline(case: Case, info: Info) -> MetaTensor:
    """An image of zeros that takes no memory, with a case's shape and place, for what headers can tell."""
    zeros = torch.zeros((1,) * (len(info.shape) + 1)).expand(info.channels, *info.shape)
    meta: dict[str, Any] = {"filename_or_obj": case.input, "kind": case.kind, "warnings": list(info.warnings)}
    if info.modality:
        meta["modality"] = info.modality
    return MetaTensor(zeros, affine=torch.as_tensor(info.affine), meta=meta)


def print_check(
    dataset_dir: str | Path,
    series: str | None = None,
    limits: Mapping[str, Any] | None = None,
    deep: bool = False,
    rules: Mapping[str, Any] | None = None,
    fitness: Mode = "refuse",
    plain_http: bool = False,
    channel_files: int = 1,
    split_pages: bool = False,
) -> None:
    """Prints the table, then what was left out; for configs.

    Args:
        dataset_dir: file, folder, or URL of a DICOMweb query, whose series are retrieved one after another.
        series: which DICOM series are wanted.
        limits: arguments of :class:`Limits`.
        deep: read every voxel too.
        rules: what the task was trained on, see :func:`judge`.
        fitness: see :func:`judge`.
        plain_http: allow a server other than this machine without encryption.
        channel_files: see :func:`find_cases`.
        split_pages: see :func:`find_cases`.

    Raises:
        SystemExit: with status 1, if a case is refused or there is nothing to read.
    """
    table: list[Row] = []
    notices: list[str] = []
    with plain_exit("cannot check the input"):
        bounds = limits_of(limits)
        whole = find_input(dataset_dir, series, limits, split_pages, plain_http, channel_files)
        for found in _portions(whole) if isinstance(whole, Archive) else [whole]:
            table += check_found(found, bounds, deep, rules, fitness)
            notices += found.notices
    print("\n".join([*_lines(table), *notices]))
    refused = sum(row.status == "refused" for row in table)
    if not table:
        raise SystemExit("none of the series holds an image that is wanted")
    if refused:
        raise SystemExit(f"{refused} of {len(table)} cases are refused")


def _portions(archive: Archive) -> Iterator[Found]:
    """What an archive's query finds, a series at a time, its files there until the next is asked for."""
    yield Found((), archive.refused, archive.notices)
    for series in archive.series:
        with TemporaryDirectory() as folder:
            try:
                found, _ = archive.retrieve(series, archive.look_up(series), Path(folder))
            except (ServerError, RefusedError) as error:
                found = Found((), ((series.case(), str(error)),), ())
            yield found


def _lines(rows: Sequence[Row]) -> list[str]:
    """The table as aligned text: the reason or the warnings come last, since they are long."""
    table = [("status", "case_id", "kind", "shape", "spacing", "input", "")]
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        spacing = " x ".join(f"{size:.4g}" for size in row.spacing)
        remarks = row.reason or "; ".join(row.warnings)
        table.append((row.status, row.case_id, row.kind, shape, spacing, row.input, remarks))
    widths = [max(len(line[column]) for line in table) for column in range(6)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[6]]).rstrip()
        for line in table
    ]
