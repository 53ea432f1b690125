"""DICOM Segmentation: the mask as a clinic's viewer opens it on the source series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..replacing import replacing
from ..study.case import Case
from .labels import Code, Label
from .nifti import affine_of, as_labels
from .segframes import pack_frames, slices_first, write_binary
from .sources import SourceError, Sources, discreet, read_sources

MANUFACTURER = "MCANet MONAI bundle"
ALGORITHM = "MCANet"


def write_seg(
    labels: Any,
    case: Case,
    table: Sequence[Label],
    path: Path,
    *,
    affine: np.ndarray | None = None,
    labelmap: bool = False,
    all_slices: bool = False,
    deidentify: bool = False,
    model_sha256: str = "",
) -> None:
    """Write a DICOM SEG of a mask on the grid of its source series.

    Every label of the table becomes a segment, whether the mask holds it or not, so that a segment's name
    and codes never depend on which labels are present. The number of a segment is its place in the table,
    from 1 (BINARY, as DICOM demands), or the label's value (LABELMAP).

    Args:
        labels: whole numbers (1, X, Y, Z), indexed column, row, slice.
        case: the DICOM case that was segmented; its headers are read anew.
        table: the labels.
        path: where to write; ends in ``.dcm``.
        affine: (4, 4), index to RAS mm; default: that of ``labels`` (a MetaTensor).
        labelmap: write a LABELMAP segmentation (RLE) instead of a BINARY one.
        all_slices: keep frames without a label, for readers that count on one frame a slice and segment.
        deidentify: replace the patient's identity, which is else copied from the source.
        model_sha256: hash of the weights.

    Raises:
        FileNotFoundError: a source file vanished.
        ValueError: the mask holds a value outside the table, or does not lie on the source series; highdicom is
            not installed, or refuses the headers of the series.
    """
    mask = as_labels(labels, 3)
    grid = affine_of(labels) if affine is None else affine
    numbers = [label.value if labelmap else index for index, label in enumerate(table, 1)]
    frames = _frames(mask, table, numbers)
    import_highdicom()
    described = [_description(*pair, model_sha256) for pair in zip(table, numbers, strict=True)]
    made_by = equipment(model_sha256)
    with replacing(path) as temporary, discreet("a DICOM SEG"):
        sources = read_sources(case, grid, mask.shape, deidentify=deidentify)
        if labelmap:
            segmentation = _segmentation(frames, sources, described, made_by, not all_slices)
            segmentation.save_as(temporary)
        else:
            _write_binary(frames, sources, described, made_by, all_slices, temporary)


def _segmentation(
    frames: np.ndarray, sources: Sources, described: Sequence[Any], made_by: dict[str, Any], omit_empty: bool
) -> Any:
    """A labelmap, or (with one description) the binary SEG of one segment.

    Args:
        frames: uint8 (slice, row, column) of segment numbers.
        sources: what the mask was made from.
        described: highdicom's descriptions of the segments.
        made_by: as ``equipment`` gives it.
        omit_empty: leave frames without a segment out.
    """
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    binary = len(described) == 1 and not omit_empty and frames.strides[0] == 0
    packed = not binary and frames[0].size % 2 == 0  # of an odd number of pixels, gdcm's RLE ends the process
    segmentation = hd.seg.Segmentation(
        source_images=sources.images,
        further_source_images=sources.further or None,
        pixel_array=frames,
        segmentation_type="BINARY" if binary else "LABELMAP",
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=series_number(sources.images[0], 1),
        series_description=f"{ALGORITHM} segmentation",
        sop_instance_uid=hd.UID(),
        instance_number=1,
        content_label="SEGMENTATION",
        content_description="Made by software, to be checked by a reader",
        transfer_syntax_uid=RLELossless if packed else ExplicitVRLittleEndian,
        omit_empty_frames=omit_empty,
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=sources.spacing,
            slice_thickness=sources.thickness,
            spacing_between_slices=sources.between,
        ),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", sources.orientation),
        plane_positions=[hd.PlanePositionSequence("PATIENT", place) for place in sources.positions],
        **made_by,
    )
    sources.restore_classes(segmentation)
    return segmentation


def _write_binary(
    frames: np.ndarray,
    sources: Sources,
    described: Sequence[Any],
    made_by: dict[str, Any],
    all_slices: bool,
    path: Path,
) -> None:
    """Have highdicom build the SEG of one segment that fills every slice, then write the frames of all."""
    filled = np.broadcast_to(np.uint8(1), frames.shape)
    skeleton = _segmentation(filled, sources, described[:1], made_by, omit_empty=False)
    skeleton.SegmentSequence = list(described)
    places = [
        item.PlanePositionSequence[0].ImagePositionPatient
        for item in skeleton.PerFrameFunctionalGroupsSequence
    ]
    offsets = np.linalg.norm(np.array(places, np.float64)[:, None] - sources.positions, axis=-1)
    order = offsets.argmin(axis=1).tolist()
    write_binary(skeleton, pack_frames(frames, len(described), order, all_slices), order, path)


def import_highdicom() -> Any:
    """highdicom, or an error that says what to do without it."""
    try:
        import highdicom
    except (ImportError, AttributeError) as error:  # what an older pydicom lacks
        raise SourceError(
            "DICOM SEG and SR need highdicom 0.28 or newer with pydicom 3.0.1 or newer: install them, or run "
            f"with seg off ({error})"
        ) from error
    return highdicom


def equipment(model_sha256: str) -> dict[str, Any]:
    """What made the object, as highdicom's constructors take it; the serial number is the weights' hash."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": ALGORITHM,
        "software_versions": __version__,
        "device_serial_number": model_sha256[:64] or "unknown",
    }


def series_number(source: Any, offset: int) -> int:
    """A number for a derived series, which sorts after the source's own."""
    try:
        own = int(source.get("SeriesNumber") or 0)
    except (TypeError, ValueError):  # pydicom leaves what is no number as it is
        own = 0
    return 1000 * own % 10**9 + 500 + offset


def coded(code: Code) -> Any:
    """A code as highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _frames(mask: np.ndarray, table: Sequence[Label], numbers: Sequence[int]) -> np.ndarray:
    """The mask as (slice, row, column) of segment numbers."""
    known = np.zeros(256, bool)
    known[[0, *(label.value for label in table)]] = True
    frames = slices_first(mask)
    if list(numbers) == list(range(1, len(table) + 1)) == [label.value for label in table]:
        held = np.arange(256) <= frames.max()
    else:
        held = np.zeros(256, bool)
        held[np.concatenate([np.unique(frame) for frame in frames])] = True
    if (held & ~known).any():
        raise ValueError(
            f"the mask holds the values {np.flatnonzero(held & ~known).tolist()}, which the label table does "
            "not describe"
        )
    lookup = np.zeros(256, np.uint8)
    lookup[[label.value for label in table]] = numbers
    return frames if np.array_equal(lookup[known], np.flatnonzero(known)) else lookup[frames]


def _description(label: Label, number: int, model_sha256: str) -> Any:
    import highdicom as hd
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes

    identification = hd.AlgorithmIdentificationSequence(
        name=ALGORITHM,
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        source=MANUFACTURER,
        parameters={"model_sha256": model_sha256} if model_sha256 else None,
    )
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=coded(label.category),
        segmented_property_type=coded(label.type),
        anatomic_regions=[coded(label.region)] if label.region else None,
        algorithm_type="AUTOMATIC",
        algorithm_identification=identification,
        display_color=CIELabColor.from_rgb(*label.colour),
    )
    if label.modifiers:
        type_item = description.SegmentedPropertyTypeCodeSequence[0]
        type_item.SegmentedPropertyTypeModifierCodeSequence = [coded(code) for code in label.modifiers]
    return description
