"""An input is a file or folder, or a query to a DICOMweb server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .address import is_address
from .dicomweb import Archive
from .find import Found, find_cases
from .limits import limits_of


def find_input(
    dataset_dir: str | Path,
    series: str | None = None,
    limits: Mapping[str, Any] | None = None,
    split_pages: bool = False,
    plain_http: bool = False,
    channel_files: int = 1,
) -> Found | Archive:
    """The cases of a folder, or the series that a query finds; for what is raised see both.

    Args:
        dataset_dir: file, folder, or URL of a DICOMweb query.
        series: which DICOM series are wanted.
        limits: arguments of :class:`Limits`.
        split_pages: see :func:`find_cases`.
        plain_http: allow a server other than this machine without encryption.
        channel_files: see :func:`find_cases`.
    """
    bounds = limits_of(limits)
    if is_address(dataset_dir):
        return Archive(str(dataset_dir), series, bounds, plain_http)
    return find_cases(
        str(dataset_dir), series=series, limits=bounds, split_pages=split_pages, channel_files=channel_files
    )
