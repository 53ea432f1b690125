"""Finds the cases of a folder: every DICOM series, NIfTI file and picture, to any depth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .case import Case, Kind, RefusedError
from .channels import group_channels
from .dicomdir import missing_files
from .find_dicom import SeriesSearch, read_headers
from .info import Info
from .kinds import DICOM_SUFFIXES, NIFTI_SUFFIXES, PICTURE_SUFFIXES, Guess, guess, stem_of
from .limits import DEFAULT_LIMITS, Limits
from .nifti import read_nifti_header
from .picture import read_picture_header
from .privacy import Masker, safe_id, with_hash, with_page
from .selection import parse_selection
from .walk import Walked, natural_key, walk


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        cases: fit by their headers, naturally sorted by input.
        refused: unfit cases with the reason, a sentence each.
        notices: what was left out, a sentence each.
        info: shape, spacing and warnings by case id of the fit cases.
        nothing: why there is no case at all, or ``""``.
    """

    cases: tuple[Case, ...]
    refused: tuple[tuple[Case, str], ...]
    notices: tuple[str, ...]
    info: dict[str, Info] = field(default_factory=dict)
    nothing: str = ""


def find_cases(
    root: str | Path,
    *,
    series: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    split_pages: bool = False,
    channel_files: int = 1,
) -> Found:
    """Searches a folder, or looks at one file, reading headers only.

    Args:
        root: file or folder.
        series: which DICOM series are wanted, such as ``"Modality=MR,SeriesDescription~t1"``; other kinds
            of input are then left out.
        limits: caps on untrusted input.
        split_pages: make each page of a picture file a case, instead of refusing the file.
        channel_files: NIfTI files or pictures that are one image, a channel each: ``…_0000``, ``…_0001``.

    Raises:
        RefusedError: ``root`` is empty, missing, or holds nothing that could be read.
        ValueError: the selection is malformed, or no image has so few files.
    """
    if root == "":  # Path would take it for the working directory
        raise RefusedError("the input is an empty path; give a file or a folder")
    root = Path(root)
    if channel_files < 1:
        raise ValueError(f"channel_files must be at least 1, got {channel_files!r}")
    if not root.exists():
        raise RefusedError(f"the input {root.name!r} does not exist; give a file or a folder")
    found = search(root, series, limits, split_pages, channel_files)
    if found.nothing:
        raise RefusedError(found.nothing)
    return found


def search(
    root: Path,
    series: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    split_pages: bool = False,
    channel_files: int = 1,
) -> Found:
    """As :func:`find_cases`, of what exists; to find nothing is no error."""
    selection = parse_selection(series)
    if root.is_dir():
        root = root.resolve()
        walked = walk(root, limits)
    else:  # a link to a file keeps its name
        name, root = root.name, root.parent.resolve()
        walked = Walked([root / name])
    files = walked.files
    guesses = {file: guess(file) for file in files}
    headers = read_headers(
        [file for file in files if guesses[file].kind == "dicom"],
        [file for file in files if guesses[file].kind == "maybe"],
        lambda file: file.relative_to(root).as_posix(),
        limits,
        selection.keywords,
    )
    mask = Masker(headers.identities)
    dicom = SeriesSearch(root, mask, selection, limits)
    lost: dict[str, str] = {}
    for file in (file for file in files if file.name.lower() == "dicomdir"):
        lost |= missing_files(file, files, limits)
    dicom.run(headers, [*walked.astray, *(file for file in files if guesses[file].kind == "other")], lost)
    others = _FileSearch(root, mask, limits, split_pages, wanted=not selection.terms)
    others.run(guesses)
    for folder, problem in walked.closed:
        others.refuse_folder(folder, problem)
    if channel_files > 1:
        others.join_channels(channel_files)
    found = _merge(dicom, others, [mask(notice) for notice in walked.notices])
    if found.cases or found.refused:
        return found
    if dicom.unwanted:
        nothing = f"the selection {series!r} leaves out all {dicom.unwanted} DICOM series; widen it"
    else:
        nothing = _nothing(len(files), found.notices)
    return replace(found, nothing=nothing)


def _nothing(files: int, notices: Sequence[str]) -> str:
    looked = ", ".join((*DICOM_SUFFIXES, *NIFTI_SUFFIXES, *PICTURE_SUFFIXES))
    first = f"; {notices[0]}" if notices else ""
    return (
        f"nothing to read: expected DICOM images of any name or {looked} at any depth, "
        f"found {files} files{first}"
    )


def _merge(dicom: SeriesSearch, others: "_FileSearch", notices: list[str]) -> Found:
    fit, refused = dicom.fit + others.fit, dicom.refused + others.refused
    cases = _distinct([case for case, _ in fit] + [case for case, _ in refused])
    known = sorted(
        zip(cases[: len(fit)], (info for _, info in fit), strict=True),
        key=lambda pair: natural_key(pair[0].input),
    )
    unfit = sorted(
        zip(cases[len(fit) :], (reason for _, reason in refused), strict=True),
        key=lambda pair: natural_key(pair[0].input),
    )
    return Found(
        cases=tuple(case for case, _ in known),
        refused=tuple(unfit),
        notices=tuple(sorted((*notices, *dicom.notices, *others.notices), key=natural_key)),
        info={case.case_id: info for case, info in known},
    )


class _FileSearch:
    """Sorts NIfTI files, pictures and everything else into fit cases, refusals and notices."""

    def __init__(self, root: Path, mask: Masker, limits: Limits, split_pages: bool, wanted: bool) -> None:
        self.root, self.mask, self.limits = root, mask, limits
        self.split_pages, self.wanted = split_pages, wanted
        self.fit: list[tuple[Case, Info]] = []
        self.refused: list[tuple[Case, str]] = []
        self.notices: list[str] = []

    def run(self, guesses: dict[Path, Guess]) -> None:
        for file, what in guesses.items():
            name = self.mask(file.relative_to(self.root).as_posix())
            if what.kind == "other":
                self.notices.append(f"{name}: left out, {what.reason}")
            elif what.kind in ("nifti", "picture", "pair"):
                if self.wanted:
                    self._file(file, name, what.kind)
                else:
                    self.notices.append(f"{name}: left out, the series selection wants DICOM")

    def refuse_folder(self, folder: Path, problem: str) -> None:
        """Account for a folder that cannot be opened: whole studies may lie in it."""
        place = folder.relative_to(self.root).as_posix()
        name = self.mask(place)
        case = Case(with_hash("folder", place), "dicom", name, (folder,), self.root, (name,))
        reason = f"{name}: the folder cannot be opened ({problem}); change its permissions, or move it away"
        self.refused.append((case, reason))

    def join_channels(self, count: int) -> None:
        """Make one case of an image's channels."""
        self.fit, broken = group_channels(self.fit, count)
        self.refused += broken

    def _file(self, file: Path, name: str, kind: str) -> None:
        case = self._case(file, name, "picture" if kind == "picture" else "nifti")
        try:
            if kind == "pair":
                raise RefusedError(
                    f"{name}: one half of a NIfTI or Analyze pair of .hdr and .img; "
                    "convert it to one .nii.gz file with nibabel.save(nibabel.load(...), ...)"
                )
            if kind == "nifti":
                header = read_nifti_header(file, name, self.limits)
                volumes, affine = header.volumes, header.affine
                info = Info(header.shape, header.warnings, channels=volumes, affine=affine)
                self.fit.append((case, info))
                return
            head = read_picture_header(file, name, self.limits, split_pages=self.split_pages)
            info = Info(head.shape, head.warnings, channels=1 if head.grey else 3)
            if head.pages == 1:
                self.fit.append((case, info))
            for page in range(head.pages if head.pages > 1 else 0):
                self.fit.append((replace(case, page=page, case_id=with_page(case.case_id, page)), info))
        except RefusedError as error:
            self.refused.append((case, str(error)))

    def _case(self, file: Path, name: str, kind: Kind) -> Case:
        path, stem = file.relative_to(self.root).as_posix(), stem_of(file)
        case_id = safe_id(stem, path) if self.mask(stem) == stem else with_hash(kind, path)
        return Case(case_id, kind, name, (file,), self.root, (name,))


def _distinct(cases: list[Case]) -> list[Case]:
    """Adds a hash of the path to every id that occurs more than once, on any file system."""
    found, hashed = list(cases), set[int]()
    while True:  # a file may have the name that another one's hash gives
        count = Counter(case.case_id.casefold() for case in found)
        alike = {i for i, case in enumerate(found) if count[case.case_id.casefold()] > 1} - hashed
        if not alike:
            return found
        hashed |= alike
        found = [_hashed(case) if i in alike else case for i, case in enumerate(found)]


def _hashed(case: Case) -> Case:
    place = f"{case.files[0].relative_to(case.root).as_posix()}:{case.page}"
    return replace(case, case_id=with_hash(case.case_id, place))
