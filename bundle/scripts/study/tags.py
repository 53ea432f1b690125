"""The DICOM attributes that are read; everything else in a header is passed over."""

from functools import lru_cache

from .header import tag_of

IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
)
ALIKE = (
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "PhotometricInterpretation",
    "Units",
    "RescaleType",
)
TELLING = (
    "EchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "TriggerTime",
    "InversionTime",
    "RepetitionTime",
    "FlipAngle",
    "DiffusionBValue",
    "FrameReferenceTime",
    "AcquisitionTime",
    "ContentTime",
    "ImageType",
    "CardiacNumberOfImages",
    "ScanOptions",
    "NumberOfTemporalPositions",
    "StackID",
    "KVP",
    "SequenceName",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "SliceLocation",
    "InstanceNumber",
    "SeriesNumber",
    "SeriesDescription",
)
READ = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SpecificCharacterSet",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagesInAcquisition",
    "NumberOfSlices",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "PixelPaddingValue",
    "LossyImageCompression",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "PixelPaddingRangeLimit",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DirectoryRecordSequence",
    "OtherPatientIDsSequence",
)


@lru_cache(maxsize=16)
def wanted_tags(extra: tuple[str, ...]) -> tuple[int, ...]:
    """The tags to read, with those of ``extra`` keywords."""
    return tuple(sorted(tag_of(keyword) for keyword in {*READ, *IDENTITY, *ALIKE, *TELLING, *extra}))
