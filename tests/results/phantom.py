"""DICOM series written to disk whose geometry is known by formula, and the case objects that go with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mcanet.scripts.results import Label, label_table
from mcanet.scripts.study import Case
from monai.data import MetaTensor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAME, PATIENT_ID, BIRTH = "Mustermann^Erika", "PID-4711-XY", "19640812"
ANATOMY = ["91723000", "SCT", "Anatomical Structure"]

CONFIG = [
    {"value": 1, "name": "liver", "colour": [200, 90, 60], "category": ANATOMY,
     "type": ["10200004", "SCT", "Liver"]},
    {"value": 2, "name": "spleen", "colour": [90, 160, 220], "category": ANATOMY,
     "type": ["78961009", "SCT", "Spleen"]},
    {"value": 3, "name": "left kidney", "colour": [240, 200, 60], "category": ANATOMY,
     "type": ["64033007", "SCT", "Kidney"], "modifiers": [["7771000", "SCT", "Left"]]},
]  # fmt: skip


def table() -> tuple[Label, ...]:
    return label_table(CONFIG)


@dataclass(frozen=True)
class Geometry:
    """LPS geometry of a series: directions along rows, columns and the step from slice to slice."""

    row: Sequence[float]
    column: Sequence[float]
    step: Sequence[float]
    origin: Sequence[float] = (-31.25, 12.5, 40.125)
    spacing: tuple[float, float] = (0.7, 0.8)
    """Between rows, between columns, mm."""

    @property
    def affine(self) -> np.ndarray:
        """(column, row, slice) to RAS mm."""
        lps = np.eye(4)
        lps[:3, 0] = np.array(self.row) * self.spacing[1]
        lps[:3, 1] = np.array(self.column) * self.spacing[0]
        lps[:3, 2], lps[:3, 3] = self.step, self.origin
        return LPS_TO_RAS @ lps

    def position(self, index: int) -> list[float]:
        return [round(float(v), 6) for v in np.array(self.origin) + index * np.array(self.step)]


def _rotation(x: float, y: float, z: float) -> np.ndarray:
    (cx, sx), (cy, sy), (cz, sz) = ((np.cos(a), np.sin(a)) for a in np.radians([x, y, z]))
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )


_OBLIQUE = _rotation(17, -23, 31)
_TILT = np.radians(12)
GEOMETRIES = {
    "axial": Geometry((1, 0, 0), (0, 1, 0), (0, 0, 2.5)),
    "oblique": Geometry(_OBLIQUE[:, 0], _OBLIQUE[:, 1], _OBLIQUE[:, 2] * 1.9),
    "sagittal": Geometry((0, 1, 0), (0, 0, -1), (-1.3, 0, 0)),
    "coronal": Geometry((1, 0, 0), (0, 0, -1), (0, 1.7, 0)),
    "tilted": Geometry((1, 0, 0), (0, np.cos(_TILT), -np.sin(_TILT)), (0, 0, 2.5)),
}


@dataclass(frozen=True)
class Phantom:
    case: Case
    image: MetaTensor
    labels: torch.Tensor


def blobs(shape: Sequence[int], values: Sequence[int]) -> np.ndarray:
    """A mask with a ball for each value, all distinct and none symmetric in the grid."""
    mask = np.zeros(shape, np.uint8)
    grid = np.indices(shape)
    for number, value in enumerate(values):
        centre = [size * (0.25 + 0.22 * number + 0.05 * axis) for axis, size in enumerate(shape)]
        distance = sum(((g - c) / (0.16 * s)) ** 2 for g, c, s in zip(grid, centre, shape, strict=True))
        mask[distance <= 1] = value
    return mask


def write_series(
    folder: Path,
    geometry: Geometry,
    *,
    shape: tuple[int, int, int] = (40, 34, 9),
    values: Sequence[int] = (1, 2, 3),
    descending: bool = False,
    enhanced: bool = False,
    case_id: str = "phantom",
    **attributes: object,
) -> Phantom:
    """Write a series and return its case, image and mask.

    Args:
        folder: made; the files are named so that their order is not the slices'.
        geometry: of the grid.
        shape: columns, rows, slices.
        values: labels in the mask.
        descending: number the instances against the slices' order.
        enhanced: one multi-frame file with the frames out of order.
        case_id: of the case.
        attributes: DICOM keywords to set (None: to leave out) in every header.
    """
    folder.mkdir(parents=True)
    image = _intensities(shape)
    common = _common(geometry, shape, attributes)
    if enhanced:
        files = [_write_enhanced(folder, common, geometry, image)]
    else:
        files = [_write_slice(folder, common, geometry, image, k, descending) for k in range(shape[2])]
    affine = torch.from_numpy(geometry.affine)
    return Phantom(
        Case(case_id, "dicom", folder.name, tuple(sorted(files)), folder.parent),
        MetaTensor(torch.from_numpy(image)[None], affine=affine),
        MetaTensor(torch.from_numpy(blobs(shape, values))[None], affine=affine),
    )


def _intensities(shape: tuple[int, int, int]) -> np.ndarray:
    x, y, z = np.indices(shape)
    noise = np.random.default_rng(7).integers(0, 40, shape)
    return (100 + 9 * x + 7 * y + 5 * z + noise).astype(np.int16)


def _common(geometry: Geometry, shape: tuple[int, int, int], attributes: dict[str, object]) -> Dataset:
    data = Dataset()
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, PATIENT_ID, BIRTH
    data.PatientSex, data.Modality, data.StudyDate, data.StudyTime = "F", "CT", "20260102", "101112"
    data.StudyID, data.AccessionNumber, data.SeriesNumber = "S1", "ACC99", 3
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = generate_uid(), ""
    data.Manufacturer, data.ReferringPhysicianName = "Phantom Works", "Arzt^Hans"
    data.Rows, data.Columns, data.SamplesPerPixel = shape[1], shape[0], 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    for keyword, value in attributes.items():
        if value is not None:
            setattr(data, keyword, value)
        elif keyword in data:
            delattr(data, keyword)
    return data


def _save(data: Dataset, path: Path, sop_class: str) -> Path:
    data.SOPClassUID = data.get("SOPClassUID", sop_class)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, generate_uid()
    data.SOPInstanceUID = data.get("SOPInstanceUID", meta.MediaStorageSOPInstanceUID)
    data.file_meta = meta
    data.save_as(path, enforce_file_format=True)
    return path


def _write_slice(
    folder: Path, common: Dataset, geometry: Geometry, image: np.ndarray, index: int, descending: bool
) -> Path:
    data = Dataset()
    data.update(common)
    count = image.shape[2]
    data.InstanceNumber = count - index if descending else index + 1
    data.ImagePositionPatient = geometry.position(index)
    data.ImageOrientationPatient = [round(float(v), 8) for v in (*geometry.row, *geometry.column)]
    data.PixelSpacing = list(geometry.spacing)
    data.SliceThickness = 2.0
    data.RescaleSlope, data.RescaleIntercept, data.ImageType = 1, 0, ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PixelData = np.ascontiguousarray(image[:, :, index].T).tobytes()
    return _save(data, folder / f"{index * 7919 % 10007:05d}.dcm", CTImageStorage)


def _write_enhanced(folder: Path, common: Dataset, geometry: Geometry, image: np.ndarray) -> Path:
    """Frames in the file run 0, 2, 4, ... then 1, 3, 5, ... of the slices."""
    data = Dataset()
    data.update(common)
    data.Modality, data.InstanceNumber, data.ImageType = "MR", 1, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    order = [*range(0, image.shape[2], 2), *range(1, image.shape[2], 2)]
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(geometry.spacing), 2.0
    orientation.ImageOrientationPatient = [round(float(v), 8) for v in (*geometry.row, *geometry.column)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for index in order:
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = geometry.position(index)
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    data.NumberOfFrames = len(order)
    data.PixelData = b"".join(np.ascontiguousarray(image[:, :, k].T).tobytes() for k in order)
    return _save(data, folder / "enhanced.dcm", EnhancedMRImageStorage)
