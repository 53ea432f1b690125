"""Make a DICOM study of both hippocampi from the MNI152 T1 template that nilearn's package carries."""

import argparse
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import apply_affine
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
SIDES = {"left": -27.0, "right": 27.0}  # mm right of the midline
CENTRE_AS = (-21.0, -14.0)  # mm anterior and superior
SIZE = (36, 50, 36)  # voxels of 1 mm, as the training data were cropped


def main() -> None:
    """Write one series a side under the folder given."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("output_dir", type=Path)
    output_dir = arguments.parse_args().output_dir
    template = nibabel.load(template_path())
    for number, (side, x) in enumerate(SIDES.items(), start=1):
        folder = output_dir / side
        folder.mkdir(parents=True, exist_ok=True)
        voxels, affine = crop(template, (x, *CENTRE_AS))
        for index, instance in enumerate(series(voxels, affine, side, number)):
            instance.save_as(folder / f"IM{index + 1:04d}.dcm", enforce_file_format=True)
    print(f"DICOM study of both hippocampi: {output_dir}")


def template_path() -> Path:
    """The template inside nilearn's installed package, found without importing nilearn's dependencies."""
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "the demo needs nilearn's template: run 'make demo', or pip install --no-deps nilearn"
        )
    return Path(spec.submodule_search_locations[0]) / TEMPLATE


def crop(image: nibabel.Nifti1Image, centre: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (R, A, S) of :data:`SIZE` around a point in mm, as uint16, and their affine."""
    image = nibabel.as_closest_canonical(image)
    middle = np.rint(apply_affine(np.linalg.inv(image.affine), centre)).astype(int)
    start = middle - np.array(SIZE) // 2
    part = image.slicer[tuple(slice(a, a + n) for a, n in zip(start, SIZE, strict=True))]
    data = np.asarray(part.dataobj, dtype=np.float64)
    return np.rint(data * (4000 / data.max())).astype(np.uint16), part.affine


def series(voxels: np.ndarray, affine: np.ndarray, side: str, number: int) -> list[Dataset]:
    """Axial MR slices, one instance each, from the feet up."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    columns, rows = lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]
    instances = []
    for index in range(voxels.shape[2]):
        instance = Dataset()
        instance.file_meta = FileMetaDataset()
        instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        instance.SOPClassUID = MRImageStorage
        instance.SOPInstanceUID = uid(side, index)
        instance.StudyInstanceUID, instance.FrameOfReferenceUID = uid("study"), uid("frame")
        instance.SeriesInstanceUID = uid(side)
        instance.PatientName, instance.PatientID = "MNI152^Template", "MNI152"
        instance.PatientBirthDate, instance.PatientSex, instance.AccessionNumber = "", "O", ""
        instance.StudyDate, instance.StudyTime, instance.StudyID = "20090101", "000000", "1"
        instance.ReferringPhysicianName, instance.Manufacturer = "", "MNI"
        instance.Modality, instance.SeriesDescription = "MR", f"T1 hippocampus {side}"
        instance.SeriesNumber, instance.InstanceNumber = number, index + 1
        instance.ScanningSequence, instance.SequenceVariant = "GR", "SP"
        instance.ScanOptions, instance.MRAcquisitionType, instance.EchoTime = "", "3D", None
        instance.EchoTrainLength, instance.ImageType = None, ["DERIVED", "SECONDARY", "OTHER"]
        instance.ImageOrientationPatient = [*columns, *rows]
        instance.ImagePositionPatient = list(lps[:3, :3] @ [0, 0, index] + lps[:3, 3])
        instance.PixelSpacing = [spacing[1], spacing[0]]
        instance.SliceThickness = instance.SpacingBetweenSlices = spacing[2]
        instance.Rows, instance.Columns = voxels.shape[1], voxels.shape[0]
        instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
        instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
        instance.PixelRepresentation, instance.PositionReferenceIndicator = 0, ""
        instance.PixelData = np.ascontiguousarray(voxels[:, :, index].T).tobytes()
        instances.append(instance)
    return instances


def uid(*what: object) -> UID:
    """The same UID for the same thing on every run."""
    return generate_uid(entropy_srcs=["mcanet demo", *map(str, what)])


if __name__ == "__main__":
    main()
