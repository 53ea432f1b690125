"""A CT series on disk, of any length, for the benchmarks."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SIZE = 512  # rows and columns
SPACING = 0.75  # mm, in the plane
STEP = 1.5  # mm, from slice to slice


def make_series(folder: Path, slices: int) -> list[Path]:
    """Write a series of a noisy, slowly changing disc in air; the same files' pixels at every call."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    noise = np.random.default_rng(0).normal(0, 30, (SIZE, SIZE))
    rows, columns = np.ogrid[:SIZE, :SIZE]
    files = []
    for index in range(slices):
        radius = 150 + 60 * np.sin(index / 40)
        inside = (rows - 256) ** 2 + (columns - 256) ** 2 < radius**2
        pixels = (np.where(inside, 40, -1000) + np.roll(noise, 7 * index)).astype(np.int16)
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Bench^Mark", "B1", "", "O"
        data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = ""
        data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 1, index + 1
        data.Rows, data.Columns, data.SamplesPerPixel = SIZE, SIZE, 1
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.ImagePositionPatient = [-192.0, -192.0, index * STEP]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [SPACING, SPACING], STEP
        data.PixelData = pixels.tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index:04d}.dcm"
        data.save_as(path, enforce_file_format=True)
        files.append(path)
    return files
