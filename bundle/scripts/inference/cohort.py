"""A run over the cases of an input: each is read, segmented and written, and each is accounted for."""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from ..plain_exit import first_cause, plain_exit
from ..results import Manifest, Ranks, explained, write_report
from ..study import Archive, Case, Found, RefusedError, RemoteSeries, sha256_of
from .start import open_input

logger = logging.getLogger("mcanet")

Item = dict[str, Any]
Unit = tuple[str, Callable[[], Iterable[Item]]]

_LOOK_AGAIN_SECONDS = 1.0
_AHEAD_VOXELS = 2**26  # of a case, up to which it is read while the one before is at work
_REPORT = "report.html"  # no case id, so it can stand among them
_NOT_STORED = "its results are whole, but not stored on the server yet"


@dataclass(frozen=True)
class _Read:
    """What reading a case brought: the row that an earlier run finished it with, its voxels, or an error."""

    digest: str
    row: Mapping[str, str] | None
    item: Item | None
    problem: Exception | None
    seconds: float


class Cohort(IterableDataset):
    """The cases under ``dataset_dir`` that are still to do, read and preprocessed one after another.

    The next one is read while the one before is segmented and written, unless it is large.

    What is unfit goes to the manifest with its reason; what an earlier run finished with the same input,
    weights and settings is passed over.

    Args:
        dataset_dir: file, folder, or URL of a DICOMweb query, whose series are retrieved one after another.
        transform: preprocessing of ``{"image": Case}``.
        manifest: the output folder's account.
        series: which DICOM series are wanted, see :func:`scripts.study.find_cases`.
        limits: arguments of :class:`scripts.study.Limits`.
        split_pages: make each page of a picture file a case, instead of refusing the file.
        store: store what is written as DICOM on the server that the input came from, see :func:`may_store`.
        plain_http: allow a server other than this machine without encryption.
        channel_files: files that are one image, see :func:`scripts.study.find_cases`.

    Raises:
        SystemExit: there is nothing to read, or the selection or the URL is malformed.
    """

    def __init__(
        self,
        dataset_dir: str | Path,
        transform: Callable[[Item], Item],
        manifest: Manifest,
        series: str | None = None,
        limits: Mapping[str, Any] | None = None,
        split_pages: bool = False,
        store: bool = False,
        plain_http: bool = False,
        channel_files: int = 1,
    ) -> None:
        self.found = open_input(dataset_dir, series, limits, split_pages, plain_http, channel_files)
        self.transform = transform
        self.manifest = manifest
        self.store = self.found.server if store and isinstance(self.found, Archive) else None
        self.seen: set[str] = set()
        for notice in self.found.notices:
            logger.info("%s", notice)

    def __iter__(self) -> Iterator[Item]:
        units, ranks = list(self._units()), self.manifest.ranks
        while ranks and units:
            held = yield from self._share(units, ranks)
            if held:
                time.sleep(_LOOK_AGAIN_SECONDS)
            units = held
        for _, items in units:
            yield from items()

    def _units(self) -> Iterator[Unit]:
        """What processes share out among them: a name, and the cases that are still to do behind it."""
        for case, reason in self.found.refused:
            yield case.case_id, partial(self._refuse, case, reason)
        if isinstance(self.found, Archive):
            for series in self.found.series:
                yield series.case_id, partial(self._retrieved, self.found, series)
        else:
            cases = self.found.cases
            shares = [[case] for case in cases] if self.manifest.ranks else [cases] if cases else []
            for share in shares:
                yield share[0].case_id, partial(self._items, share)

    def _share(self, units: Iterable[Unit], ranks: Ranks) -> Generator[Item, None, list[Unit]]:
        """The cases that no other process holds; returns those to look at again, for their holder may be lost."""
        held = []
        for name, items in units:
            if not ranks.claim(name):
                held.append((name, items))
                continue
            if name not in ranks.entered():
                with self.manifest.turn():  # a lost holder may have left a row
                    seen = set(self.seen)
                yield from items()
                with ranks.turn():
                    ranks.enter(name, sorted(self.seen - seen))
            self.seen.update(ranks.entered()[name])
            ranks.release(name)
        return held

    def _refuse(self, case: Case, reason: str) -> tuple[()]:
        self.enter(case, "refused", reason)
        return ()

    def _retrieved(self, archive: Archive, series: RemoteSeries) -> Iterator[Item]:
        """The cases of a series, whose files are there until the next one is asked for."""
        with self.manifest.scratch() as folder:
            case, row, found, problem = series.case(Path(folder)), None, None, None
            started = time.perf_counter()
            try:
                listing = archive.look_up(series)
                row = self.manifest.whole(series.case_id, "listing_sha256", listing.sha256)
                if row is None:
                    found, listing = archive.retrieve(series, listing, Path(folder))
            except Exception as error:
                problem = explained(error) if isinstance(error, OSError) else error
            if problem is not None:
                self.account_for(case, problem, "", started)
            elif row is not None:
                self._earlier(case, row, listing.sha256)
            elif found is not None:
                for notice in found.notices:
                    logger.info("%s", notice)
                for unfit, reason in found.refused:
                    self.enter(unfit, "refused", reason)
                yield from self._items(found.cases, listing.sha256)

    def _items(self, cases: Sequence[Case], listing_sha256: str = "") -> Iterator[Item]:
        """The cases that are still to do, preprocessed."""
        for case, read in self._read_ahead(cases):
            started = time.perf_counter() - read.seconds
            if read.problem is not None:
                self.account_for(case, read.problem, read.digest, started)
            elif read.row is not None:
                self._earlier(case, read.row, listing_sha256)
            elif read.item is not None:
                read.item.update(
                    case=case, input_sha256=read.digest, listing_sha256=listing_sha256, started=started
                )
                yield read.item

    def _read_ahead(self, cases: Sequence[Case]) -> Iterator[tuple[Case, _Read]]:
        """Every case with what reading it brought, the next one being read meanwhile in a thread."""
        threads = torch.get_num_threads()  # asked, this thread's is settled, and does not become the reader's
        try:
            # of one thread, for two teams would fight over the cores
            with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as reader:
                ahead = None
                for case, following in zip_longest(cases, cases[1:]):
                    read = ahead.result() if ahead else self._read(case)
                    small = following and self._is_small(following)
                    ahead = reader.submit(self._read, following) if small else None
                    yield case, read
        finally:
            torch.set_num_threads(threads)  # the reader's number became that of all threads to come

    def _is_small(self, case: Case) -> bool:
        """Whether a case may be held beside another one."""
        info = self.found.info.get(case.case_id) if isinstance(self.found, Found) else None
        return info is not None and math.prod(info.shape) * info.channels <= _AHEAD_VOXELS

    def _read(self, case: Case) -> _Read:
        """Read and preprocess a case, unless an earlier run has finished it."""
        started, digest, row, item, problem = time.perf_counter(), "", None, None, None
        try:
            digest = sha256_of(case)
            row = self.manifest.whole(case.case_id, "input_sha256", digest)
            item = None if row else self.transform({"image": case})
        except Exception as error:
            problem = error
        return _Read(digest, row, item, problem, time.perf_counter() - started)

    def _earlier(self, case: Case, row: Mapping[str, str], listing_sha256: str) -> None:
        """Account for a case whose results an earlier run wrote, and store them if that is still to do."""
        listed = listing_sha256 in ("", row["listing_sha256"])
        if row["status"] == "done" and listed and (self.store is None or row["stored"] == self.store.url):
            self.seen.add(case.case_id)
            logger.info("%s: done in an earlier run", case.case_id)
            return
        self.complete(
            case,
            row["outputs"].split(";"),
            input_sha256=row["input_sha256"],
            warnings=[row["warnings"]] if row["warnings"] else [],
            seconds=float(row["seconds"]),
            listing_sha256=listing_sha256,
            stored=row["stored"],
        )

    def complete(self, case: Case, outputs: Sequence[str], **account: Any) -> None:
        """Enter a case whose files are whole as done, once they are stored where that is asked for.

        Until then it stands as failed with its outputs, so that whatever happens on the way, the next run stores
        these very files, and never a second SEG of the same case.

        Args:
            case: that is written.
            outputs: its files, as ``ResultsWriter.write`` gives them.
            account: more of ``Manifest.record``.

        Raises:
            SystemExit: the manifest cannot be written.
        """
        status, reason = "done", ""
        if self.store is not None:
            with plain_exit("cannot write the manifest"):
                self.manifest.record(case, "failed", f"{_NOT_STORED}: run again", outputs, **account)
            try:
                for name in outputs:
                    if name.endswith(".dcm"):
                        self.store.store(self.manifest.output_dir / name)
                account["stored"] = self.store.url
            except Exception as error:
                status, reason = "failed", f"{_NOT_STORED}: {plain_reason(error)}"
        self.enter(case, status, reason, outputs=outputs, **account)

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
        self.seen.add(case.case_id)
        remarks = row["reason"] or row["warnings"]
        if remarks:
            logger.warning("%s: %s: %s", case.case_id, status, remarks)

    def finish(self) -> None:
        """Write the report and let the folder go; of several processes, each speaks for the cases of all.

        Raises:
            SystemExit: with status 1, if a case of this run is not done, or there was none.
        """
        with plain_exit("cannot write the report"), self.manifest.turn():
            self.manifest.note_renamed(self.seen)
            self._report(self.manifest.ranks)
        status = [row["status"] for row in self.manifest.rows if row["case_id"] in self.seen]
        counts = ", ".join(f"{status.count(name)} {name}" for name in ("done", "refused", "failed"))
        account = self.manifest.output_dir / "manifest.csv"
        self.manifest.close()
        if not self.seen:
            raise SystemExit("none of the series holds an image that is wanted: see what was left out above")
        logger.info("%d cases: %s; see %s", len(self.seen), counts, account)
        if status.count("done") < len(self.seen):
            raise SystemExit(
                f"{len(self.seen) - status.count('done')} of {len(self.seen)} cases have no mask: see {account}"
            )

    def _report(self, ranks: Ranks | None) -> None:
        """Write the report, unless another process did so after the last case."""
        if ranks and [*ranks.entered()][-1:] == [_REPORT]:
            return
        write_report(self.manifest.output_dir)
        if ranks:
            ranks.enter(_REPORT)


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
