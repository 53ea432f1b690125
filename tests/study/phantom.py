"""DICOM series whose every voxel is a linear function of its place: a geometric error is a value error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from mcanet.scripts.study import RefusedError, find_cases, read_case
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

GRADIENT = np.array([3.0, 5.0, 7.0])
OFFSET = 40.0
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
PATIENT = {"PatientName": "Quill^Peregrine", "PatientID": "PQ-77120", "PatientBirthDate": "19520630"}


def linear(points: np.ndarray) -> np.ndarray:
    """The phantom's value at LPS millimetres, (..., 3)."""
    return points @ GRADIENT + OFFSET


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Row direction, column direction and normal as rows, turned by angles in degrees."""
    a, b, c = np.deg2rad([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).T


@dataclass
class Grid:
    """Where the phantom's voxels lie, in LPS millimetres."""

    columns: int = 12
    rows: int = 10
    slices: int = 6
    row_spacing: float = 1.5
    column_spacing: float = 1.25
    step: float = 2.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    origin: Sequence[float] = (-20.0, -30.0, 12.0)
    shear: Sequence[float] = (0.0, 0.0, 0.0)

    def position(self, index: float) -> np.ndarray:
        """Centre of the first pixel of a slice."""
        return np.asarray(self.origin) + index * (self.step * self.axes[2] + np.asarray(self.shear))

    def plane(self, index: float) -> np.ndarray:
        """Values of a slice, (rows, columns)."""
        row, column = np.mgrid[: self.rows, : self.columns]
        points = (
            self.position(index)
            + column[..., None] * self.column_spacing * self.axes[0]
            + row[..., None] * self.row_spacing * self.axes[1]
        )
        return linear(points)

    @property
    def orientation(self) -> list[float]:
        """ImageOrientationPatient."""
        return [*self.axes[0], *self.axes[1]]


def ds(values) -> list[str]:
    """Decimal strings of at most 16 characters."""
    return [f"{float(value):.10g}"[:16] for value in np.atleast_1d(values)]


def base(sop_class: str, modality: str, series: str) -> FileDataset:
    """A data set with identity and image attributes, but no pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = UID(sop_class)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.Modality = modality
    dataset.SeriesDescription = "phantom t1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    return dataset


def store(
    dataset: Dataset, values: np.ndarray, slope: float, intercept: float, bits: int = 16, signed: bool = True
) -> None:
    """Puts values into PixelData as whole stored numbers."""
    stored = np.rint((values - intercept) / slope)
    kind = np.dtype(
        f"<{'i' if signed else 'u'}{8 if bits > 32 else 4 if bits > 16 else 2 if bits > 8 else 1}"
    )
    assert stored.min() >= (-(2 ** (bits - 1)) if signed else 0), stored.min()
    assert stored.max() < 2 ** (bits - signed), stored.max()
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = kind.itemsize * 8
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = stored.astype(kind).tobytes()
    dataset["PixelData"].VR = "OW" if kind.itemsize > 1 else "OB"


def classic(
    grid: Grid | None = None,
    *,
    modality: str = "CT",
    slope: float = 1.0,
    intercept: float = -1024.0,
    rescale: bool = True,
    series: str | None = None,
    bits: int = 16,
    signed: bool = True,
) -> list[FileDataset]:
    """A series of single-frame files, ascending along the normal."""
    grid = grid or Grid()
    series = series or generate_uid()
    datasets = []
    for index in range(grid.slices):
        dataset = base({"CT": CT_CLASS}.get(modality, MR_CLASS), modality, series)
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = ds(grid.position(index))
        dataset.ImageOrientationPatient = ds(grid.orientation)
        dataset.PixelSpacing = ds([grid.row_spacing, grid.column_spacing])
        dataset.SliceThickness = ds(grid.step)[0]
        if rescale:
            dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope)[0], ds(intercept)[0]
        store(dataset, grid.plane(index), slope if rescale else 1, intercept if rescale else 0, bits, signed)
        datasets.append(dataset)
    return datasets


def item(**attributes) -> Dataset:
    """A sequence item."""
    result = Dataset()
    for keyword, value in attributes.items():
        setattr(result, keyword, value)
    return result


def sequence(**attributes) -> DicomSequence:
    """A sequence of one item."""
    return DicomSequence([item(**attributes)])


def enhanced(
    grid: Grid | None = None,
    *,
    order: Sequence[int] | None = None,
    slopes: Sequence[float] | None = None,
    change: Callable[[int, Dataset], None] | None = None,
) -> FileDataset:
    """One multi-frame file; ``order`` says which slice each frame shows, ``slopes`` the scale of each frame."""
    grid = grid or Grid()
    order = list(range(grid.slices)) if order is None else list(order)
    slopes = [0.5] * len(order) if slopes is None else slopes
    dataset = base(ENHANCED_MR, "MR", generate_uid())
    frames, groups = [], []
    for frame, (index, slope) in enumerate(zip(order, slopes, strict=True)):
        group = item(
            PlanePositionSequence=sequence(ImagePositionPatient=ds(grid.position(index))),
            FrameContentSequence=sequence(
                StackID="1", InStackPositionNumber=index + 1, TemporalPositionIndex=1
            ),
            PixelValueTransformationSequence=sequence(
                RescaleSlope=ds(slope)[0], RescaleIntercept="-100", RescaleType="US"
            ),
        )
        if change is not None:
            change(frame, group)
        groups.append(group)
        single = Dataset()
        store(single, grid.plane(index), slope, -100.0)
        frames.append(single.PixelData)
    store(dataset, grid.plane(order[0]), slopes[0], -100.0)
    dataset.NumberOfFrames = len(order)
    dataset.PixelData = b"".join(frames)
    dataset.SharedFunctionalGroupsSequence = sequence(
        PlaneOrientationSequence=sequence(ImageOrientationPatient=ds(grid.orientation)),
        PixelMeasuresSequence=sequence(
            PixelSpacing=ds([grid.row_spacing, grid.column_spacing]), SliceThickness=ds(grid.step)[0]
        ),
    )
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    return dataset


def write(
    folder: Path, datasets: Sequence[FileDataset] | FileDataset, names: Sequence[str] | None = None
) -> Path:
    """Writes data sets as files and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = [datasets] if isinstance(datasets, Dataset) else datasets
    for index, dataset in enumerate(datasets):
        name = names[index] if names else f"{index:03d}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder


def only(folder: Path, **options):
    """The one case of a folder that holds no other, read."""
    found = find_cases(folder, **options)
    assert not found.refused, found.refused
    assert len(found.cases) == 1, found.cases
    return read_case(found.cases[0])


def refusal(folder: Path, **options) -> str:
    """The reason of the one refused case of a folder that holds no fit one."""
    found = find_cases(folder, **options)
    assert not found.cases, found.cases
    assert len(found.refused) == 1, found.refused
    return found.refused[0][1]


def assert_right(image, quantum: float = 1.0) -> None:
    """Every voxel has the phantom's value at the place that the affine gives it."""
    array = image.numpy()[0]
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1)
    affine = np.asarray(image.affine, dtype=float)
    lps = (index @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]
    worst = float(np.abs(array.astype(np.float64) - linear(lps)).max())
    assert worst <= quantum / 2 + 1e-2, f"values are off by up to {worst}"


def reason_of(folder: Path) -> str:
    """Why the one case of a folder is refused, by its header or when it is read."""
    found = find_cases(folder)
    reasons = [reason for _, reason in found.refused]
    for case in found.cases:
        with pytest.raises(RefusedError) as error:
            read_case(case)
        reasons.append(str(error.value))
    assert len(reasons) == 1, reasons
    return reasons[0]
