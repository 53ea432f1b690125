"""The DICOM instances that a mask was made from: what a SEG or SR takes over from them and refers to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, generate_uid
from pydicom.valuerep import DA, DT, TM, format_number_as_ds

from ..study.case import Case
from ..study.enhanced import FrameHeader, frame_headers
from ..study.geometry import SPACING_TOLERANCE, Plane, axes
from ..study.header import Header
from ..study.quiet import quiet

LPS = np.diag([-1.0, -1.0, 1.0])
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_REFERENCE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImageType",
    *_GEOMETRY,
)
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_SCALE = ("RescaleSlope", "RescaleType")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_ASKED_FOR = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
# Images of other classes are found with the geometry of these (secondary capture, nuclear medicine, private
# classes), but highdicom tells by the class whether an image has frames.
_SINGLE_FRAME = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage)
_TIMES = {"DA": DA, "TM": TM, "DT": DT}
_IN_PLANE = 0.05  # of a pixel, by which rounding may move the last one of a row


class SourceError(ValueError):
    """The source series does not fit the mask, or its headers no DICOM object."""


@contextmanager
def discreet(what: str) -> Iterator[None]:
    """Work with pydicom and highdicom without their warnings, log lines and messages.

    Those may quote the values they are about, and so a patient's name or birth date.

    Args:
        what: that is being made, for the message.

    Raises:
        SourceError: in place of any error other than ours and the disk's.
    """
    try:
        with quiet():
            yield
    except (OSError, MemoryError, SourceError):
        raise
    except Exception as error:
        raise SourceError(
            f"{what} could not be made from the headers of the series ({type(error).__name__}): check them "
            "with a validator such as dciodvfy, or run with seg off"
        ) from None


@dataclass(frozen=True)
class Sources:
    """The source instances of a volume.

    Attributes:
        images: single-frame instances in the order of the volume's slices, or one multi-frame instance.
        further: more multi-frame instances of the same volume.
        positions: (slices, 3), LPS mm, of the first pixel of each slice, as the source has them.
        orientation: (6,) direction cosines along a row, then along a column.
        spacing: mm between rows, then between columns.
        thickness: of a slice, mm.
        between: distance of two slices along their normal in mm, None for a single slice.
        hounsfield: whether the values of a CT are Hounsfield units, as far as its header says.
        classes: true SOP class by SOP instance, of instances that are presented to highdicom as CT images.
    """

    images: list[Dataset]
    further: list[Dataset]
    positions: np.ndarray
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    between: float | None
    hounsfield: bool
    classes: dict[str, str] = field(default_factory=dict)

    def restore_classes(self, dataset: Dataset) -> None:
        """Put the true SOP classes into all references of a new object."""
        for item in _all_items(dataset) if self.classes else ():
            instance = item.get("ReferencedSOPInstanceUID")
            if instance in self.classes:
                item.ReferencedSOPClassUID = self.classes[instance]


@dataclass(frozen=True)
class _Frame:
    owner: int
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    header: FrameHeader


def read_sources(
    case: Case, affine: np.ndarray, shape: Sequence[int], *, deidentify: bool = False
) -> Sources:
    """Read the headers of a DICOM case's files and match their frames to a grid.

    Args:
        case: a DICOM case.
        affine: (4, 4), index (column, row, slice) to RAS mm.
        shape: columns, rows, slices.
        deidentify: replace what tells who the patient is.

    Raises:
        FileNotFoundError: a file of the case is no longer there.
        SourceError: the files have no frame where the grid has a slice.
    """
    headers = [_header(case, file) for file in case.files]
    frames = [frame for owner, header in enumerate(headers) for frame in _frames(owner, header)]
    volume = [frame for frame in frames if not frame.header.localizer]
    chosen = _match(case, volume or frames, LPS @ affine[:3], shape)
    first = chosen[0]
    positions = np.array([frame.position for frame in chosen])
    between = None
    if len(chosen) > 1:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        between = abs(float(normal @ (positions[-1] - positions[0]))) / (len(chosen) - 1)
    told = [_number(headers[first.owner].get("SliceThickness")), between or 0.0]
    thickness = next((value for value in told if value > 0), np.linalg.norm(affine[:3, 2]))
    owners = list(dict.fromkeys(frame.owner for frame in chosen))
    headers[owners[0]] = _header(case, case.files[owners[0]], full=True)
    used = [headers[owner] for owner in owners]
    sources = Sources(
        images=used[:1] if _is_multiframe(used[0]) else used,
        further=used[1:] if _is_multiframe(used[0]) else [],
        positions=positions,
        orientation=tuple(map(_decimal, first.orientation.tolist())),
        spacing=(float(first.spacing[0]), float(first.spacing[1])),
        thickness=_decimal(float(thickness)),
        between=_decimal(between) if between else None,
        hounsfield=not first.header.doubts_of_hounsfield,
    )
    _complete(sources, case, deidentify)
    return sources


def _all_items(dataset: Dataset) -> Iterator[Dataset]:
    """Every item of every sequence in a dataset."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _all_items(item)


def _header(case: Case, file: Path, full: bool = False) -> Dataset:
    """A file's header, whole or only what a reference needs."""
    wanted = None if full else [*_REFERENCE, *_GROUPS, *_SCALE]
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=wanted)
    except FileNotFoundError:
        message = f"{case.relative(file)} vanished while its case was worked on: bring it back and run again"
        raise FileNotFoundError(2, message) from None
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not header.get(keyword):
            setattr(header, keyword, header.file_meta.get(f"MediaStorage{keyword}", ""))
    if not header.SOPInstanceUID:
        raise SourceError(
            f"{case.relative(file)}: SOPInstanceUID is missing, so that no DICOM object can refer to the image: "
            "export the series again, or run with seg off"
        )
    return header


def _is_multiframe(header: Dataset) -> bool:
    return any(name in header for name in _GROUPS)


def _frames(owner: int, header: Dataset) -> Iterator[_Frame]:
    """Every frame that has a place in the patient, as the reader takes it."""
    told = Header(header, "")
    for frame in frame_headers(told, told.integer("NumberOfFrames") or 1):
        if frame.position and frame.orientation and frame.spacing:
            plane = Plane("", frame.position, frame.orientation, frame.spacing)
            directions = axes(plane)[:2].ravel()  # as the grid was made of them
            yield _Frame(owner, np.array(frame.position), directions, np.array(frame.spacing), frame)


def _number(value: Any) -> float:
    """A header's number, 0 where it is none or not finite."""
    try:
        return float(value) if np.isfinite(float(value)) else 0.0
    except (TypeError, ValueError):
        return 0.0


def _match(case: Case, frames: Sequence[_Frame], grid: np.ndarray, shape: Sequence[int]) -> list[_Frame]:
    """The frame of every slice, whose first pixel must lie where the grid says, by less than a tenth of its steps."""
    steps = np.linalg.norm(grid[:, :3], axis=0)
    allowed = _IN_PLANE + SPACING_TOLERANCE * max(shape[:2])  # the reader takes slices that differ so
    candidates = [frame for frame in frames if _in_plane_error(frame, grid, shape) < allowed]
    if not candidates:
        raise SourceError(f"{case.input}: no frame of the series has the orientation and spacing of the mask")
    positions = np.array([frame.position for frame in candidates])
    chosen = []
    for index in range(shape[2]):
        expected = grid[:, 3] + index * grid[:, 2]
        distances = np.linalg.norm(positions - expected, axis=1)
        nearest = int(distances.argmin())
        if distances[nearest] > max(0.1 * steps.max(), 0.1):
            raise SourceError(
                f"{case.input}: slice {index + 1} of the mask is at {expected.round(3).tolist()} mm (LPS), "
                f"but the nearest frame of the series is {distances[nearest]:.3f} mm away"
            )
        chosen.append(candidates[nearest])
    return chosen


def _in_plane_error(frame: _Frame, grid: np.ndarray, shape: Sequence[int]) -> float:
    """By how many pixels a frame's last row or column misses the grid's."""
    errors = [
        np.linalg.norm(frame.orientation[:3] * frame.spacing[1] - grid[:, 0]) * shape[0] / frame.spacing[1],
        np.linalg.norm(frame.orientation[3:] * frame.spacing[0] - grid[:, 1]) * shape[1] / frame.spacing[0],
    ]
    return float(max(errors))


def _complete(sources: Sources, case: Case, deidentify: bool) -> None:
    """Fill in what highdicom asks of a source and what files in use often lack."""
    first = sources.images[0]
    _drop_unreadable(first)
    if deidentify:
        _deidentify(first)
    _make_readable(first)
    for keyword in _ASKED_FOR:
        if first.get(keyword) is None:
            setattr(first, keyword, "")
    series = first.get("SeriesInstanceUID") or generate_uid(
        entropy_srcs=[str(first.SOPInstanceUID), "series"]
    )
    reference = first.get("FrameOfReferenceUID") or generate_uid(entropy_srcs=[series, "frame of reference"])
    study = first.get("StudyInstanceUID") or generate_uid(entropy_srcs=[series, "study"])
    for image in [*sources.images, *sources.further]:
        image.FrameOfReferenceUID, image.StudyInstanceUID, image.SeriesInstanceUID = reference, study, series
        if not _is_multiframe(image):
            if image.SOPClassUID not in _SINGLE_FRAME:
                sources.classes[image.SOPInstanceUID] = image.SOPClassUID
                image.SOPClassUID = CTImageStorage
            image.ImageOrientationPatient = list(sources.orientation)  # equal but for rounding
            image.PixelSpacing = list(sources.spacing)
            image.SliceThickness = sources.thickness
            if sources.between:
                image.SpacingBetweenSlices = sources.between
        else:
            _share_geometry(image, sources)


def _drop_unreadable(dataset: Dataset) -> None:
    """Take out the elements, at any depth, whose bytes make no value, such as numbers of a wrong length."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]  # is read now
        except Exception:  # whatever its bytes make of it
            del dataset[tag]
            continue
        for item in element.value if element.VR == "SQ" else ():
            _drop_unreadable(item)


def _make_readable(header: Dataset) -> None:
    """Mend what highdicom refuses to copy: character sets, values of no or of another kind, dates that are none.

    The text becomes UTF-8, which holds the names of the labels, too.
    """
    header.decode()
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_ASKED_FOR, *_UIDS):
        if isinstance(header.get(keyword), MultiValue):
            setattr(header, keyword, header[keyword].value[0])
    sex = str(header.get("PatientSex") or "").strip().upper()
    header.PatientSex = sex if sex in ("M", "F", "O") else ""
    for element in list(header):
        if element.VR in _TIMES and element.value:
            try:
                _TIMES[element.VR](str(element.value))
            except ValueError:
                element.value = ""


def _decimal(value: float) -> float:
    """The nearest number that DICOM's decimal strings of 16 characters hold."""
    return float(format_number_as_ds(value))


def _share_geometry(image: Dataset, sources: Sources) -> None:
    """Put the geometry of a multi-frame header where highdicom looks for it."""
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = list(sources.spacing)
    measures.SliceThickness = sources.thickness
    if sources.between:
        measures.SpacingBetweenSlices = sources.between
    orientation.ImageOrientationPatient = list(sources.orientation)
    groups = deepcopy(image.get("SharedFunctionalGroupsSequence")) or [Dataset()]
    groups[0].PixelMeasuresSequence = [measures]
    groups[0].PlaneOrientationSequence = [orientation]
    image.SharedFunctionalGroupsSequence = groups
    for item in image.get("PerFrameFunctionalGroupsSequence") or []:
        for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if name in item:
                del item[name]


def _deidentify(header: Dataset) -> None:
    """Keep of a header only what a reference needs; the UIDs stay, or the result would open on no series."""
    for element in list(header):
        if element.keyword not in (*_REFERENCE, *_GROUPS, "SeriesNumber"):
            del header[element.tag]
    header.PatientName = "Anonymous^"
    header.PatientID = "anonymous"
    header.PatientIdentityRemoved = "YES"
    header.LongitudinalTemporalInformationModified = "REMOVED"
    header.DeidentificationMethod = "Only UIDs and geometry were taken over from the source"
