"""Whether the files of one DICOM series are one image of one patient, or the reason why not."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from .case import RefusedError
from .entry import Entry
from .header import Header, shorten
from .source import OTHER_IDS, Source, differing, other_ids
from .tags import IDENTITY

MOST_PARTS = 10_000  # of a concatenation that are looked for
# By how much of itself a number may differ in one volume; identifiers do not.
_TOLERANCES = {"EchoTime": 0.01, "EffectiveEchoTime": 0.01, "DiffusionBValue": 0.001}
SINGLE = (
    "StackID",
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "EchoNumbers",
    *_TOLERANCES,
    "ConvolutionKernel",
    "ComplexImageComponent",
)
_OF_A_SERIES = ("SeriesNumber", "SeriesDescription", "SequenceName")
_COMPONENTS = {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY"}


def check_source(source: Source) -> None:
    """Refuses a file that holds no image, or one whose values cannot be told."""
    if source.problem:
        raise RefusedError(source.problem)
    pixels = source.pixels
    if pixels is None or not source.frames:
        raise RefusedError(f"{source.name}: Rows is missing, the file holds no image; fetch the series again")
    if not source.has_data:
        raise RefusedError(f"{source.name}: PixelData is missing; fetch the file again")
    grey = pixels.photometric in ("", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if grey != (pixels.samples == 1):
        raise RefusedError(
            f"{source.name}: PhotometricInterpretation is {shorten(pixels.photometric)} with SamplesPerPixel "
            f"{pixels.samples}; the two contradict each other, export the file again"
        )
    if "MOSAIC" in map(str.upper, source.header.shown("ImageType")):
        raise RefusedError(
            f"{source.name}: ImageType MOSAIC, the slices of a volume lie side by side in one image; export the series "
            "as enhanced MR, or convert it with dcm2niix"
        )
    if "ModalityLUTSequence" in source.header:
        raise RefusedError(
            f"{source.name}: ModalityLUTSequence maps its values by a table, which is not applied here; "
            "export the series with RescaleSlope and RescaleIntercept"
        )


def check_concatenations(sources: Sequence[Source]) -> None:
    """Refuses an enhanced image that was cut into several files of which not all are here."""
    parts: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        if uid := source.header.text("ConcatenationUID"):
            parts[uid].append(source)
    for files in parts.values():
        numbers = {file.header.integer("InConcatenationNumber") or 1 for file in files}
        total = max(*numbers, *(file.header.integer("InConcatenationTotalNumber") or 0 for file in files))
        if missing := sorted({*range(1, min(total, MOST_PARTS) + 1)} - numbers):
            raise RefusedError(
                f"{files[0].name}: part {missing[0]} of the {total} of its concatenation (InConcatenationNumber) "
                "is missing; fetch the series again"
            )


def check_mixture(entries: Sequence[Entry]) -> None:
    """Refuses images of several patients, series, matrix sizes or scales of values."""
    _check_patient(entries)
    for keyword in entries[0].source.alike:
        told = [(entry, entry.source.alike[keyword]) for entry in entries]
        _check_equal(keyword, told, "; one series must have one value, separate the images")
    for keyword, name in (("Rows", "rows"), ("Columns", "columns"), ("SamplesPerPixel", "samples")):
        told = [(entry, getattr(entry.pixels, name)) for entry in entries]
        _check_equal(keyword, told, "; a volume needs one matrix size, separate the images")
    if not entries[0].source.series:
        for keyword in _OF_A_SERIES:
            told = [(entry, entry.telling(keyword)) for entry in entries]
            advice = ", and SeriesInstanceUID is missing; put each series into a folder of its own"
            _check_equal(keyword, told, advice)
    _check_rescale(entries)


def _check_equal(
    keyword: str, told: Sequence[tuple[Entry, object]], advice: str, tolerance: float | None = None
) -> None:
    """Refuses images that tell different things of an attribute, or numbers further apart than a part of themselves."""
    for entry, found in told[1:]:
        first, value = told[0]
        if not (found == value if tolerance is None else same(str(found), str(value), tolerance)):
            raise RefusedError(
                f"{entry.name}: {keyword} is {shorten(found)}, but {shorten(value)} in {first.name}{advice}"
            )


def _check_patient(entries: Sequence[Entry]) -> None:
    """Refuses images of several patients; what only some of them tell of a patient is no other patient."""
    for keyword in (*IDENTITY, OTHER_IDS):
        told = [(entry, _person(entry.source.header, keyword)) for entry in entries]
        if keyword not in ("PatientID", "PatientName"):
            told = [(entry, values) for entry, values in told if values]
        other = next((entry for entry, values in told if values != told[0][1]), None)
        if other is not None:
            raise RefusedError(
                f"{other.name}: {keyword} differs from {told[0][0].name} under one SeriesInstanceUID; "
                "separate the patients"
            )


def _person(header: Header, keyword: str) -> tuple[str, ...]:
    """An attribute that identifies a patient; components of a name that are empty at its end mean nothing."""
    if keyword == OTHER_IDS:
        return tuple(text for item in other_ids(header) for text in item.shown("PatientID"))
    return tuple(
        "=".join(writing.rstrip("^ ") for writing in text.split("=")).rstrip("=")
        for text in header.shown(keyword)
    )


def check_one_volume(entries: Sequence[Entry]) -> None:
    """Refuses echoes, stacks or time points that share a series without sharing a position."""
    for keyword in (*SINGLE, "ImageType"):
        told = [(entry, value) for entry in entries if (value := _kind(entry, keyword))]
        advice = "; several volumes under one SeriesInstanceUID, separate them"
        _check_equal(keyword, told, advice, _TOLERANCES.get(keyword, 0.0))


def _kind(entry: Entry, keyword: str) -> str:
    """What tells volumes apart in an attribute; of ImageType magnitude, phase, real or imaginary alone."""
    value = entry.telling(keyword)
    if keyword != "ImageType":
        return value
    return "\\".join(sorted({*value.split("\\")} & _COMPONENTS))


def same(one: str, other: str, tolerance: float) -> bool:
    """Whether two texts are equal, or are numbers that differ by a part of themselves at most."""
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=tolerance)
    except ValueError:
        return False


def _check_rescale(entries: Sequence[Entry]) -> None:
    first = entries[0]
    for entry in entries:
        slope, intercept = entry.frame.slope, entry.frame.intercept
        if (slope is None) != (intercept is None):
            missing = "RescaleSlope" if slope is None else "RescaleIntercept"
            raise RefusedError(
                f"{entry.name}: {missing} is missing beside its partner; export the file again"
            )
        if (slope is None) != (first.frame.slope is None):
            without, other = (entry, first) if slope is None else (first, entry)
            raise RefusedError(
                f"{without.name}: RescaleSlope is missing, but {other.name} has it; "
                "all slices must be scaled or none, export the series again"
            )
        if slope is not None and intercept is not None:
            if not math.isfinite(slope) or slope == 0:
                raise RefusedError(
                    f"{entry.name}: RescaleSlope is {slope!r}, expected a finite number other than 0"
                )
            if not math.isfinite(intercept):
                raise RefusedError(
                    f"{entry.name}: RescaleIntercept is {intercept!r}, expected a finite number"
                )
    kinds = [(entry, entry.frame.rescale_type) for entry in entries]
    _check_equal("RescaleType", kinds, "; separate the images")


def check_equal_positions(entries: Sequence[Entry]) -> None:
    """Refuses two images at one place; the entries stand in their order along the normal."""
    for before, after in pairwise(entries):
        if max(abs(a - b) for a, b in zip(before.frame.position, after.frame.position, strict=True)) < 1e-3:
            raise RefusedError(
                f"{after.name}: ImagePositionPatient is {shorten(after.frame.position)}, the same as in "
                f"{before.name}{_what_differs(before, after)}; 4D or duplicated series, select one volume"
            )


def _what_differs(one: Entry, other: Entry) -> str:
    if one.source is other.source:
        for (keyword, a), (_, b) in zip(one.frame.telling, other.frame.telling, strict=False):
            if a != b:
                return f", but {keyword} is {shorten(a)} and {shorten(b)}"
        return ""
    found = differing(one.source.header, other.source.header)
    return f", but {found}" if found else ""
