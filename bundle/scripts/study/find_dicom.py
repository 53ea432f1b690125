"""Groups DICOM files into series and plans each."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..hashing import digest, file_digest
from .case import Case, RefusedError
from .info import Info
from .kinds import DICOM_SUFFIXES, is_suffixless
from .limits import Limits
from .privacy import Masker
from .selection import Selection
from .series import GEOMETRIC, make_plan
from .sop import left_out
from .source import CutError, Source, masker_of, read_source

_PLACE = ("StudyInstanceUID", "FrameOfReferenceUID", "Modality")
_NO_QUOTES = str.maketrans("'\"", "\u2019\u201d")
_SEVERAL = 3  # files, from which on they are taken for slices by their names


@dataclass(frozen=True)
class Headers:
    """What reading the headers of a folder gave.

    Attributes:
        sources: readable DICOM files.
        broken: files that claim to be DICOM and cannot be read, with the reason.
        doubtful: files without suffix that are not readable as DICOM, with the reason.
        cut: identifying texts of broken files, as far as these go.
    """

    sources: tuple[Source, ...]
    broken: tuple[tuple[Path, str], ...]
    doubtful: tuple[tuple[Path, str], ...]
    cut: frozenset[str] = frozenset()

    @property
    def identities(self) -> set[str]:
        """Every identifying text of every file."""
        return {text for source in self.sources for text in source.identity} | self.cut


def read_headers(
    certain: Iterable[Path],
    doubtful: Iterable[Path],
    show: Callable[[Path], str],
    limits: Limits,
    extra: Iterable[str],
) -> Headers:
    """Reads the header of every file that is or may be DICOM."""
    extra = tuple(extra)
    sources: list[Source] = []
    cut: set[str] = set()
    failed: tuple[list[tuple[Path, str]], list[tuple[Path, str]]] = ([], [])
    for which, files in enumerate((certain, doubtful)):
        for file in files:
            try:
                sources.append(read_source(file, show(file), limits, extra))
            except RefusedError as error:
                failed[which].append((file, str(error)))
                cut.update(error.identity if isinstance(error, CutError) else ())
    return Headers(tuple(sources), tuple(failed[0]), tuple(failed[1]), frozenset(cut))


class SeriesSearch:
    """Sorts headers into fit cases, refusals and notices.

    Args:
        root: the searched folder.
        mask: hides the patient's identity in paths.
        selection: which series are wanted.
        limits: caps.
    """

    def __init__(self, root: Path, mask: Masker, selection: Selection, limits: Limits) -> None:
        self.root, self.mask, self.selection, self.limits = root, mask, selection, limits
        self.fit: list[tuple[Case, Info]] = []
        self.refused: list[tuple[Case, str]] = []
        self.notices: list[str] = []
        self.unwanted = 0
        self.told: set[Path] = set()  # folders whose damage a refused series tells of

    def show(self, path: Path) -> str:
        """A path as messages name it, without what would begin a quotation."""
        return self.mask(path.relative_to(self.root).as_posix()).translate(_NO_QUOTES)

    def _reworded(self, reason: str, file: Path) -> str:
        """A reason that was worded before the patient's name was known, with the file's masked name."""
        return reason and reason.replace(file.relative_to(self.root).as_posix(), self.show(file))

    def run(self, headers: Headers, others: Iterable[Path], lost: Mapping[str, str]) -> None:
        """Fills ``fit``, ``refused`` and ``notices``.

        Args:
            headers: of the files that are or may be DICOM.
            others: files that are nothing that can be read, and links that are not followed.
            lost: a file that a DICOMDIR names and that is not there, by SeriesInstanceUID.
        """
        groups, imageless = self._groups(headers.sources)
        suffixless = {s.file.parent for group in groups.values() for s in group if is_suffixless(s.file)}
        broken = self._broken(headers, imageless, _strays(groups))
        unread = [file for file, _ in headers.doubtful]
        damaged = self._damaged(
            broken, headers, suffixless, _like_slices([*others, *unread], groups.values())
        )
        for key, group in groups.items():
            self._series(key, group, damaged, lost.get(key, ""))
        for files in _like_each_other(file for file in unread if file.parent not in self.told):
            reason = (
                f"{self.show(files[0])}: no DICOM, nor are the {len(files) - 1} others that are named like it"
            )
            broken.append((files[0], f"{reason}; if they are slices, fetch them again, else move them away"))
        unknown = "; whether the selection wants it is unknown" if self.selection.terms else ""
        for file, reason in broken:
            if file.parent not in self.told:
                self._refuse_file(file, f"{reason}{unknown}")

    def _broken(
        self, headers: Headers, imageless: Iterable[Source], strays: Iterable[Source]
    ) -> list[tuple[Path, str]]:
        """Files that are DICOM and of no use, with the reason."""
        lacking = [(source, "PixelData is missing") for source in imageless]
        lacking += [(source, "SeriesInstanceUID is missing, unlike beside it") for source in strays]
        return [
            *((file, self._reworded(reason, file)) for file, reason in headers.broken),
            *((source.file, f"{source.name}: {what}; fetch the file again") for source, what in lacking),
        ]

    def _damaged(
        self,
        broken: Iterable[tuple[Path, str]],
        headers: Headers,
        suffixless: Collection[Path],
        like_slices: Iterable[Path],
    ) -> dict[Path, str]:
        """Why the series of a folder may lack a slice, by folder; what no series may lack goes to the notices."""
        reasons = list(broken)
        for file, reason in headers.doubtful:
            if file.parent in suffixless:
                reasons.append((file, self._reworded(reason, file)))
            else:
                self.notices.append(f"{self.show(file)}: left out, neither DICOM, NIfTI nor a picture")
        advice = "named as the slices are, and no DICOM; fetch it again, or move it away"
        reasons += [(file, f"{self.show(file)}: {advice}") for file in like_slices]
        return {file.parent: reason for file, reason in reversed(reasons)}  # of several the first

    def _groups(self, sources: Iterable[Source]) -> tuple[dict[str, list[Source]], list[Source]]:
        """Image files by SeriesInstanceUID, or without one by folder; and those whose pixels are missing.

        A file cut off within its SeriesInstanceUID would be a series of its own, so the latter belong to none.
        """
        imageless: list[Source] = []
        groups: dict[str, list[Source]] = defaultdict(list)
        for source in sources:
            problem = self._reworded(source.problem, source.file)
            source = replace(source, name=self.show(source.file), problem=problem)
            source.header.name = source.name
            reason = left_out(source)
            if reason:
                self.notices.append(f"{source.name}: left out, {reason}")
                continue
            if not source.has_data:
                imageless.append(source)
                continue
            folder = source.file.parent.relative_to(self.root).as_posix()
            without = f"folder:{folder}:{source.alike['FrameOfReferenceUID']}:{source.modality}"
            groups[source.series or without].append(source)
        return groups, imageless

    def _series(self, key: str, group: list[Source], damaged: dict[Path, str], lost: str) -> None:
        term = self.selection.failing(group[0].attributes)
        if term is not None:
            self.unwanted += 1
            self.notices.append(
                f"{self._folder(group)}: a series of {len(group)} files left out by the selection "
                f"{term.keyword}{term.operator}{term.value}"
            )
            return
        case_id = f"series-{digest(key)}"
        whole = self._case(case_id, group)
        if all(source.frames and all(frame.localizer for frame in source.frames) for source in group):
            self.notices.append(
                f"{self._folder(group)}: left out, a series of {len(group)} localizer files "
                "(ImageType LOCALIZER)"
            )
            return
        folder = next((source.file.parent for source in group if source.file.parent in damaged), None)
        if folder is not None:
            self.told.add(folder)
            self.refused.append((whole, f"{damaged[folder]}; the series beside it may lack that slice"))
            return
        if lost:
            reason = f"{self.mask(lost)} is named in the DICOMDIR and not there; copy the disc again"
            self.refused.append((whole, f"{reason}, or take the DICOMDIR away"))
            return
        try:
            group = self._without_copies(group)
        except RefusedError as error:
            self.refused.append((whole, _without_identity(error, group)))
            return
        for part in [[source] for source in group] if _are_pictures(group) else [group]:
            single = len(part) < len(group)
            self._plan(
                part, f"{case_id}-{digest(part[0].sop_instance or part[0].name, 6)}" if single else case_id
            )

    def _plan(self, group: list[Source], case_id: str) -> None:
        case = self._case(case_id, group)
        try:
            plan = make_plan(group, self.limits)
        except RefusedError as error:
            self.refused.append((case, _without_identity(error, group)))
        except Exception as error:
            reason = f"{case.input}: cannot be read ({type(error).__name__}); export the series again"
            self.refused.append((case, reason))
        else:
            info = Info(plan.shape, plan.warnings, plan.modality, plan.channels, plan.affine)
            self.fit.append((case, info))

    def _folder(self, group: Sequence[Source]) -> str:
        """The series' folder, or its file where it has one only."""
        if len(group) == 1:
            return group[0].name
        common = group[0].file.parent
        while not all(source.file.is_relative_to(common) for source in group):
            common = common.parent
        return self.show(common)

    def _case(self, case_id: str, group: Sequence[Source]) -> Case:
        files, names = tuple(source.file for source in group), tuple(source.name for source in group)
        return Case(case_id, "dicom", self._folder(group), files, self.root, names)

    def _refuse_file(self, file: Path, reason: str) -> None:
        name = self.show(file)
        case_id = f"file-{digest(file.relative_to(self.root).as_posix())}"
        self.refused.append((Case(case_id, "dicom", name, (file,), self.root, (name,)), reason))

    def _without_copies(self, group: list[Source]) -> list[Source]:
        """Drops exact copies; two contents under one SOPInstanceUID are refused."""
        first_of: dict[str, Source] = {}
        kept = []
        for source in group:
            first = first_of.setdefault(source.sop_instance, source) if source.sop_instance else source
            if first is source:
                kept.append(source)
            elif file_digest(first.file) == file_digest(source.file):
                self.notices.append(f"{source.name}: left out, the same bytes as {first.name}")
            else:
                raise RefusedError(
                    f"{source.name}: SOPInstanceUID is {source.sop_instance!r} as in {first.name}, "
                    "but the content differs; remove one of the two"
                )
        return kept


def _without_identity(error: RefusedError, group: Sequence[Source]) -> str:
    """A reason, which may quote what repeats the patient's name; its files are named by masked names."""
    return masker_of(group).quoted(str(error))


def _strays(groups: dict[str, list[Source]]) -> list[Source]:
    """Takes out the files without a series whose folder, study and frame of reference are those of a series."""

    def place(source: Source) -> tuple[object, ...]:
        return source.file.parent, *(source.alike[keyword] for keyword in _PLACE)

    places = {place(source) for group in groups.values() for source in group if source.series}
    strays = [
        key
        for key, (first, *_) in groups.items()
        if not first.series and first.alike["FrameOfReferenceUID"] and place(first) in places
    ]
    return [source for key in strays for source in groups.pop(key)]


def _like_slices(others: Iterable[Path], groups: Iterable[Sequence[Source]]) -> Iterator[Path]:
    """Files that stand in a series' folder under a slice's name with another number, whatever they end in."""
    slices = [source.file for group in groups if len(group) > 1 for source in group]
    taken = {(file.parent, _slice_name(file)) for file in slices}
    patterns = {(folder, re.sub(r"\d+", "#", name)) for folder, name in taken if re.search(r"\d", name)}
    for file in others:
        names = [file.name, file.stem, file.name.split(".")[0]]
        if any((file.parent, name) in taken for name in names):  # what goes with a slice
            continue
        if any((file.parent, re.sub(r"\d+", "#", name)) in patterns for name in names):
            yield file


def _like_each_other(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Those of a folder whose names differ in their numbers alone, where there are several, as the slices of a study."""
    alike: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in files:
        if re.search(r"\d", file.name):
            alike[file.parent, re.sub(r"\d+", "#", file.name)].append(file)
    yield from (found for found in alike.values() if len(found) >= _SEVERAL)


def _slice_name(file: Path) -> str:
    return file.stem if file.suffix.lower() in DICOM_SUFFIXES else file.name


def _are_pictures(group: Sequence[Source]) -> bool:
    """Whether the files of one series are pictures of their own, such as two X-rays."""
    return len(group) > 1 and all(
        source.pixels is not None
        and source.pixels.frames == 1
        and not source.frames[0].position
        and not source.frames[0].orientation
        and (source.modality not in GEOMETRIC or source.pixels.samples > 1)
        for source in group
    )
