"""DICOM objects that are no images to segment."""

from pydicom.uid import MediaStorageDirectoryStorage

from .source import Source

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = {
    "88": "a structured report",
    "66.4": "a segmentation",
    "66.7": "a segmentation",
    "66": "raw data, a registration or a surface",
    "67": "a real world value mapping",
    "68": "a surface scan",
    "11": "a presentation state",
    "481": "a radiotherapy object",
    "104": "an encapsulated document",
    "9": "a waveform",
    "4.2": "spectroscopy",
    "78": "an ophthalmic measurement",
    "79": "an ophthalmic measurement",
    "200": "a display parameter object",
}
_RT_IMAGE = _STORAGE + "481.1"
IMAGELESS_MODALITIES = (
    "SR", "SEG", "PR", "KO", "REG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "DOC", "ECG", "RWV", "FID",
    "PLAN",
)  # fmt: skip


def left_out(source: Source) -> str:
    """Why a DICOM file is no image to read, or ``""``."""
    modality = f" (Modality {source.modality})" if source.modality else ""
    if source.sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in source.header:
        return "a DICOMDIR, the files are found without it"
    if source.sop_class.startswith(_STORAGE) and source.sop_class != _RT_IMAGE:
        number = source.sop_class[len(_STORAGE) :]
        for prefix in sorted(_CLASSES, key=len, reverse=True):
            if number == prefix or number.startswith(prefix + "."):
                return _CLASSES[prefix] + modality
    if source.modality in IMAGELESS_MODALITIES:
        return "no image to segment" + modality
    imageless = source.pixels is None and not source.problem  # and not one whose pixels are unfit
    if imageless and source.sop_class and not source.sop_class.startswith(_STORAGE):
        return "a DICOM object without an image" + modality
    return ""
