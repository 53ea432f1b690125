"""From the files of one DICOM series to the plan of one volume, or the reason why there is none."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from .case import RefusedError
from .enhanced import FrameHeader
from .geometry import Plane, affine_ras, axes, check_alike, check_plane, order, slice_step
from .header import Header, shorten
from .limits import Limits
from .source import OTHER_IDS, Pixels, Source, differing, masker_of, other_ids
from .syntax import LOSSY
from .tags import IDENTITY

MOST_PARTS = 10_000  # of a concatenation that are looked for
GEOMETRIC = ("CT", "MR", "PT", "NM")
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
ALIKE_IN_ONE = ("FlipAngle", "InversionTime", "KVP", "ContrastBolusAgent", "ImageType")
_OF_A_SERIES = ("SeriesNumber", "SeriesDescription", "SequenceName")
_COMPONENTS = {"M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY"}


@dataclass(frozen=True)
class Entry:
    """One frame of one file in the plan of a volume."""

    source: Source
    frame: FrameHeader

    @property
    def name(self) -> str:
        """File, and frame where the file has several."""
        many = self.source.pixels is not None and self.source.pixels.frames > 1
        return f"{self.source.name} (frame {self.frame.index + 1})" if many else self.source.name

    def telling(self, keyword: str) -> str:
        """An attribute that tells volumes apart, of the frame or of its file, as text."""
        if keyword == "ImageType":
            return "\\".join(self.frame.image_type)
        for name, value in self.frame.telling:
            if name == keyword:
                return value
        return "\\".join(self.source.header.shown(keyword))

    @property
    def plane(self) -> Plane:
        """Where the frame lies."""
        return Plane(self.name, self.frame.position, self.frame.orientation, self.frame.spacing)

    @property
    def pixels(self) -> Pixels:
        """How the frame is stored."""
        assert self.source.pixels is not None
        return self.source.pixels


@dataclass(frozen=True)
class Plan:
    """What will be read: a volume's slices in order, or one picture.

    Attributes:
        affine: (column, row, slice) to RAS millimetres; identity for a picture.
        shape: spatial shape, (columns, rows, slices) or (columns, rows).
    """

    entries: tuple[Entry, ...]
    shape: tuple[int, ...]
    channels: int
    affine: np.ndarray
    modality: str
    warnings: tuple[str, ...] = ()
    spacing: tuple[float, ...] = field(default=())


def make_plan(sources: Sequence[Source], limits: Limits) -> Plan:
    """Plans one case from the headers of its files; its warnings quote nothing of the patient.

    Raises:
        RefusedError: the series is not one regular volume and not one picture.
    """
    for source in sources:
        _check_source(source)
    _check_concatenations(sources)
    entries = [Entry(source, frame) for source in sources for frame in source.frames]
    warnings: list[str] = []
    kept = [entry for entry in entries if not entry.frame.localizer]
    if 0 < len(kept) < len(entries):
        warnings.append(
            f"left out {len(entries) - len(kept)} localizer image(s) of the series (ImageType LOCALIZER)"
        )
        entries = kept
    _check_mixture(entries)
    placed = any(entry.frame.position or entry.frame.orientation for entry in entries)
    plan = (_volume if placed else _picture)(entries, limits, warnings)
    if not plan.warnings:
        return plan
    return replace(plan, warnings=tuple(map(masker_of(sources).quoted, plan.warnings)))


def _check_source(source: Source) -> None:
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


def _check_concatenations(sources: Sequence[Source]) -> None:
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


def _check_mixture(entries: Sequence[Entry]) -> None:
    first = entries[0]
    _check_patient(entries)
    for entry in entries:
        for keyword, value in first.source.alike.items():
            found = entry.source.alike[keyword]
            if found != value:
                raise RefusedError(
                    f"{entry.name}: {keyword} is {shorten(found)}, but {shorten(value)} in {first.name}; "
                    "one series must have one value, separate the images"
                )
        for keyword, found, value in (
            ("Rows", entry.pixels.rows, first.pixels.rows),
            ("Columns", entry.pixels.columns, first.pixels.columns),
            ("SamplesPerPixel", entry.pixels.samples, first.pixels.samples),
        ):
            if found != value:
                raise RefusedError(
                    f"{entry.name}: {keyword} is {found}, but {value} in {first.name}; "
                    "a volume needs one matrix size, separate the images"
                )
    if not first.source.series:
        _check_one_series(entries)
    _check_rescale(entries)


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


def _check_one_series(entries: Sequence[Entry]) -> None:
    """Refuses images without SeriesInstanceUID that tell of several series."""
    first = entries[0]
    for keyword in _OF_A_SERIES:
        for entry in entries:
            found, value = entry.telling(keyword), first.telling(keyword)
            if found != value:
                raise RefusedError(
                    f"{entry.name}: {keyword} is {shorten(found)}, but {shorten(value)} in {first.name}, and "
                    "SeriesInstanceUID is missing; put each series into a folder of its own"
                )


def _check_one_volume(entries: Sequence[Entry]) -> None:
    """Refuses echoes, stacks or time points that share a series without sharing a position."""
    for keyword in (*SINGLE, "ImageType"):
        told = [(entry, value) for entry in entries if (value := _kind(entry, keyword))]
        for entry, value in told[1:]:
            if not _same(value, told[0][1], _TOLERANCES.get(keyword, 0.0)):
                raise RefusedError(
                    f"{entry.name}: {keyword} is {shorten(value)}, but {shorten(told[0][1])} in {told[0][0].name}; "
                    "several volumes under one SeriesInstanceUID, separate them"
                )


def _kind(entry: Entry, keyword: str) -> str:
    """What tells volumes apart in an attribute; of ImageType magnitude, phase, real or imaginary alone."""
    value = entry.telling(keyword)
    if keyword != "ImageType":
        return value
    return "\\".join(sorted({*value.split("\\")} & _COMPONENTS))


def _same(one: str, other: str, tolerance: float) -> bool:
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
        if entry.frame.rescale_type != first.frame.rescale_type:
            raise RefusedError(
                f"{entry.name}: RescaleType is {shorten(entry.frame.rescale_type)}, but "
                f"{shorten(first.frame.rescale_type)} in {first.name}; separate the images"
            )


def _picture(entries: list[Entry], limits: Limits, warnings: list[str]) -> Plan:
    first = entries[0]
    modality = first.source.modality
    if modality in GEOMETRIC and first.pixels.samples == 1 and first.pixels.photometric != "PALETTE COLOR":
        raise RefusedError(
            f"{first.name}: ImagePositionPatient and ImageOrientationPatient are missing in a {modality} "
            "image; export the series again with its geometry"
        )
    if len(entries) > 1:
        raise RefusedError(
            f"{entries[1].name}: {len(entries)} frames without ImagePositionPatient in one file or series; "
            "a film is no volume, give single frames"
        )
    channels = 3 if first.pixels.samples > 1 or first.pixels.photometric == "PALETTE COLOR" else 1
    shape = (first.pixels.columns, first.pixels.rows)
    limits.check_voxels((channels, *shape), first.name)
    if first.pixels.photometric == "MONOCHROME1":
        warnings.append("PhotometricInterpretation MONOCHROME1: values inverted, so that brighter is larger")
    warnings += _pixel_warnings(entries)
    return Plan(tuple(entries), shape, channels, np.eye(4), modality, tuple(warnings), (1.0, 1.0))


def _volume(entries: list[Entry], limits: Limits, warnings: list[str]) -> Plan:
    first = entries[0]
    if first.pixels.samples > 1 or first.pixels.photometric == "PALETTE COLOR":
        raise RefusedError(
            f"{first.name}: PhotometricInterpretation is {shorten(first.pixels.photometric)}, a colour "
            "image with a place in the patient; expected grey values, export the original series"
        )
    planes = [entry.plane for entry in entries]
    for plane in planes:
        check_plane(plane)
    check_alike(planes)
    sequence = order(planes)
    entries = [entries[index] for index in sequence]
    planes = [planes[index] for index in sequence]
    shape = (first.pixels.columns, first.pixels.rows, len(entries))
    limits.check_voxels(shape, first.name)
    if len(entries) == 1:
        step, more = _single_slice(entries[0])
    else:
        _check_equal_positions(entries)
        _check_one_volume(entries)
        step, more = slice_step(planes)
        warnings += _mixed_acquisitions(entries)
        warnings += _spacing_warnings(entries, step, float(step @ axes(planes[0])[2]))
    affine = affine_ras(planes[0], step)
    if not first.source.series:
        warnings.append("SeriesInstanceUID is missing: the images of one folder taken as one series")
    warnings += more + _lost_ends(entries) + _fewer_than_told(entries) + _pixel_warnings(entries)
    spacing = tuple(float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return Plan(tuple(entries), shape, 1, affine, first.source.modality, tuple(warnings), spacing)


def _single_slice(entry: Entry) -> tuple[np.ndarray, list[str]]:
    for keyword, value in (
        ("SpacingBetweenSlices", entry.frame.between),
        ("SliceThickness", entry.frame.thickness),
    ):
        if value is not None and math.isfinite(value) and value > 0:
            return axes(entry.plane)[2] * value, [
                f"a single slice, its extent taken from {keyword} = {value:g} mm"
            ]
    raise RefusedError(
        f"{entry.name}: SliceThickness is {entry.frame.thickness!r} in a series of one slice, expected a "
        "number above 0 mm; export the series again with it"
    )


def _check_equal_positions(entries: Sequence[Entry]) -> None:
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


def _mixed_acquisitions(entries: Sequence[Entry]) -> list[str]:
    """Warnings where slices were taken in two ways, as where two acquisitions lie interleaved."""
    warnings = []
    for keyword in ALIKE_IN_ONE:
        values = [value for value in (entry.telling(keyword) for entry in entries) if value]
        other = next((value for value in values if not _same(value, values[0], 0.01)), None)
        if other is not None:
            warnings.append(
                f"{keyword} is {shorten(values[0])} and {shorten(other)} in one series: slices of two acquisitions?"
            )
    for keyword in SINGLE:
        without = sum(not entry.telling(keyword) for entry in entries)
        if 0 < without < len(entries):
            warnings.append(
                f"{keyword} is missing in {without} of {len(entries)} slices: slices of two acquisitions?"
            )
    return warnings


def _spacing_warnings(entries: Sequence[Entry], step: np.ndarray, height: float) -> list[str]:
    """A warning where the header's spacing is neither that along the normal nor that along a tilt."""
    between = entries[0].frame.between
    if between is None or not math.isfinite(between):
        return []
    tilted = float(np.linalg.norm(step))
    if min(abs(abs(between) - height), abs(abs(between) - tilted)) <= max(0.01 * height, 0.02):
        return []
    return [
        f"SpacingBetweenSlices is {between:g} mm, but the positions are {height:.4g} mm apart; positions used"
    ]


def _lost_ends(entries: Sequence[Entry]) -> list[str]:
    """Warnings where numbers tell that the series began earlier or went on."""
    numbers = [entry.frame.stack_position for entry in entries]
    what = "InStackPositionNumber"
    if any(number is None for number in numbers):
        what = "InstanceNumber"
        numbers = [_soft_integer(entry, "InstanceNumber") for entry in entries]
    found = sorted(number for number in numbers if number is not None)
    if len(found) < len(entries):
        return []
    if len(set(found)) < len(found):
        several_frames = len({entry.source.file for entry in entries}) < len(entries)
        if several_frames or len(set(found)) == 1:
            return []
        return [f"{what} comes twice in one series: slices of two acquisitions?"]
    warnings = []
    if found[0] > 1 and found[-1] - found[0] == len(found) - 1:
        warnings.append(f"{what} begins at {found[0]}: the first or last slices may be missing")
    elif found[-1] - found[0] != len(found) - 1:
        warnings.append(
            f"{what} runs from {found[0]} to {found[-1]} over {len(found)} slices: some may be missing"
        )
    return warnings


def _fewer_than_told(entries: Sequence[Entry]) -> list[str]:
    """Warnings where a header tells of more slices than there are (NumberOfSlices: of PET)."""
    told = (
        (keyword, _soft_integer(entries[0], keyword)) for keyword in ("ImagesInAcquisition", "NumberOfSlices")
    )
    return [
        f"{keyword} is {expected}, but there are {len(entries)} slices"
        for keyword, expected in told
        if expected is not None and expected > len(entries)
    ]


def _soft_integer(entry: Entry, keyword: str) -> int | None:
    """A number that only serves a warning: None where it is no number."""
    try:
        return entry.source.header.integer(keyword)
    except RefusedError:
        return None


def _pixel_warnings(entries: Sequence[Entry]) -> list[str]:
    first = entries[0]
    grey_ct = first.source.modality == "CT" and first.pixels.samples == 1
    doubts = first.frame.doubts_of_hounsfield if grey_ct else []
    warnings = [f"CT {doubt}: the values may not be Hounsfield units" for doubt in doubts]
    if any(
        entry.pixels.syntax in LOSSY or entry.source.header.text("LossyImageCompression") == "01"
        for entry in entries
    ):
        warnings.append("the images were compressed with loss")
    padding = first.source.header.numbers("PixelPaddingValue", signed=first.pixels.signed)
    if padding:
        warnings.append(
            f"PixelPaddingValue is {padding[0]:g}: padded voxels are kept, scaled like the others"
        )
    if len(first.frame.position) == 3 and first.pixels.photometric == "MONOCHROME1":
        warnings.append("PhotometricInterpretation MONOCHROME1: for display only, values kept")
    return warnings
