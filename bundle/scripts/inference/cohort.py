"""A run over the cases of an input: each is read, segmented and written, and each is accounted for."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from ..plain_exit import plain_exit
from ..results import Manifest, write_report
from ..study import Case, RefusedError, sha256_of
from .start import open_input

logger = logging.getLogger("mcanet")


class Cohort(IterableDataset):
    """The cases under ``dataset_dir`` that are still to do, read and preprocessed one after another.

    What is unfit goes to the manifest with its reason; what an earlier run finished with the same input,
    weights and settings is passed over.

    Args:
        dataset_dir: file or folder.
        transform: preprocessing of ``{"image": Case}``.
        manifest: the output folder's account.
        series: which DICOM series are wanted, see :func:`scripts.study.find_cases`.
        limits: arguments of :class:`scripts.study.Limits`.
        split_pages: make each page of a picture file a case, instead of refusing the file.

    Raises:
        SystemExit: there is nothing to read, or the selection is malformed.
    """

    def __init__(
        self,
        dataset_dir: str | Path,
        transform: Callable[[dict[str, Any]], dict[str, Any]],
        manifest: Manifest,
        series: str | None = None,
        limits: Mapping[str, Any] | None = None,
        split_pages: bool = False,
    ) -> None:
        self.found = open_input(dataset_dir, series, limits, split_pages)
        self.transform = transform
        self.manifest = manifest
        for notice in self.found.notices:
            logger.info("%s", notice)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for case, reason in self.found.refused:
            self.enter(case, "refused", reason)
        for case in self.found.cases:
            started, digest, problem = time.perf_counter(), "", None
            try:
                digest = sha256_of(case)
                if self.manifest.is_done(case.case_id, digest):
                    logger.info("%s: done in an earlier run", case.case_id)
                    continue
                item = {
                    **self.transform({"image": case}),
                    "case": case,
                    "input_sha256": digest,
                    "started": started,
                }
            except Exception as error:
                problem = error
            if problem is None:
                yield item
            else:
                self.account_for(case, problem, digest, started)

    def account_for(self, case: Case, error: Exception, digest: str, started: float) -> None:
        """Enter a case that ended in an error: refused if its input is unfit, else failed."""
        error = first_cause(error)
        status, reason = (
            ("refused", str(error)) if isinstance(error, RefusedError) else ("failed", plain_reason(error))
        )
        self.enter(case, status, reason, input_sha256=digest, seconds=time.perf_counter() - started)

    def enter(self, case: Case, status: str, reason: str = "", **account: Any) -> None:
        """Enter a case in the manifest, and say so where it is not done or drew warnings.

        Raises:
            SystemExit: the manifest cannot be written.
        """
        with plain_exit("cannot write the manifest"):
            row = self.manifest.record(case, status, reason, **account)
        remarks = row["reason"] or row["warnings"]
        if remarks:
            logger.warning("%s: %s: %s", case.case_id, status, remarks)

    def finish(self) -> None:
        """Write the report and let the folder go.

        Raises:
            SystemExit: with status 1, if a case of this run is not done.
        """
        with plain_exit("cannot write the report"):
            write_report(self.manifest.output_dir)
        ids = {case.case_id for case in (*self.found.cases, *(case for case, _ in self.found.refused))}
        status = [row["status"] for row in self.manifest.rows if row["case_id"] in ids]
        counts = ", ".join(f"{status.count(name)} {name}" for name in ("done", "refused", "failed"))
        account = self.manifest.output_dir / "manifest.csv"
        self.manifest.close()
        logger.info("%d cases: %s; see %s", len(ids), counts, account)
        if status.count("done") < len(ids):
            raise SystemExit(
                f"{len(ids) - status.count('done')} of {len(ids)} cases have no mask: see {account}"
            )


def first_cause(error: Exception) -> Exception:
    """The error of a transform, which MONAI's Compose raises a RuntimeError from."""
    while type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def plain_reason(error: Exception) -> str:
    """What the manifest says of an error; the text of unforeseen ones stays out, it may quote the patient."""
    place, line = "?", 0
    traceback = error.__traceback__
    while traceback is not None:
        place, line = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    ours = isinstance(error, ValueError) and Path(place).is_relative_to(Path(__file__).parents[1])
    if ours or isinstance(error, OSError | MemoryError | torch.OutOfMemoryError):
        return str(error) or type(error).__name__
    return f"unexpected {type(error).__name__} at {Path(place).name}:{line}; please report it with this line"
