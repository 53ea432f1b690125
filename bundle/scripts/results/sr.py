"""DICOM structured report (TID 1500): the measurements beside the SEG, as a clinic's archive takes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from .. import __version__
from ..replacing import replacing
from ..study.case import Case
from .labels import Code, Label
from .seg import ALGORITHM, MANUFACTURER, coded, equipment, import_highdicom, series_number
from .sources import Sources, discreet, read_sources

_SEG_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SegmentSequence",
)
_PROCEDURES = {
    "CT": Code("77477000", "SCT", "Computed Tomography"),
    "MR": Code("113091000", "SCT", "Magnetic Resonance Imaging"),
}
_OTHER_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_VOLUME, _MILLILITRE = Code("118565006", "SCT", "Volume"), Code("ml", "UCUM", "ml")
_INTENSITIES = {
    "CT": (Code("112031", "DCM", "Attenuation Coefficient"), Code("[hnsf'U]", "UCUM", "Hounsfield unit")),
    "MR": (Code("110852", "DCM", "MR signal intensity"), Code("1", "UCUM", "no units")),
}
_STATISTICS = {
    "mean": Code("373098007", "SCT", "Mean"),
    "std": Code("386136009", "SCT", "Standard Deviation"),
    "min": Code("255605001", "SCT", "Minimum"),
    "max": Code("56851009", "SCT", "Maximum"),
}


def write_sr(
    measurements: Sequence[Mapping[str, Any]],
    case: Case,
    table: Sequence[Label],
    seg: Path,
    path: Path,
    *,
    affine: np.ndarray,
    shape: Sequence[int],
    deidentify: bool = False,
    model_sha256: str = "",
) -> None:
    """Write the measurements of a case as a Comprehensive 3D SR that refers to the segments of a SEG.

    Volumes are in ml; intensities are given for CT (Hounsfield units) and MR (no unit). The report is neither
    verified nor final: a person has not seen it.

    Args:
        measurements: rows of ``measure``, one a label of the table.
        case: the DICOM case; its headers are read anew.
        table: the labels, in the order of the SEG's segments.
        seg: the SEG file.
        path: where to write; ends in ``.dcm``.
        affine: (4, 4), index to RAS mm.
        shape: columns, rows, slices.
        deidentify: replace the patient's identity.
        model_sha256: hash of the weights.

    Raises:
        FileNotFoundError: a source file vanished.
        ValueError: highdicom is not installed, or refuses the headers of the series.
    """
    hd = import_highdicom()
    with replacing(path) as temporary, discreet("a DICOM SR"):
        sources = read_sources(case, affine, shape, deidentify=deidentify)
        segmentation = pydicom.dcmread(seg, stop_before_pixels=True, specific_tags=list(_SEG_TAGS))
        segments = [item for item in segmentation.SegmentSequence if item.SegmentNumber > 0]
        groups = [
            _group(row, label, int(item.SegmentNumber), segmentation, sources, model_sha256)
            for row, label, item in zip(measurements, table, segments, strict=True)
        ]
        report = hd.sr.Comprehensive3DSR(
            evidence=[*sources.images, *sources.further, segmentation],
            content=_content(groups, sources, model_sha256),
            series_instance_uid=hd.UID(),
            series_number=series_number(sources.images[0], 2),
            series_description=f"{ALGORITHM} measurements",
            sop_instance_uid=hd.UID(),
            instance_number=1,
            is_complete=True,
            **equipment(model_sha256),
        )
        sources.restore_classes(report)
        report.save_as(temporary)


def _content(groups: Sequence[Any], sources: Sources, model_sha256: str) -> Any:
    """The measurement report with its observer: this software."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(),
        name=f"{ALGORITHM} {__version__}",
        manufacturer_name=MANUFACTURER,
        model_name=ALGORITHM,
        serial_number=model_sha256[:64] or "unknown",
    )
    observer = hd.sr.ObserverContext(codes.DCM.Device, device)
    modality = sources.images[0].get("Modality", "")
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=coded(_PROCEDURES.get(modality, _OTHER_PROCEDURE)),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return report[0]


def _group(
    row: Mapping[str, Any],
    label: Label,
    number: int,
    segmentation: Any,
    sources: Sources,
    model_sha256: str,
) -> Any:
    """The measurements of one segment."""
    import highdicom as hd

    source = sources.images[0]
    algorithm = hd.sr.AlgorithmIdentification(
        name=ALGORITHM, version=__version__, parameters=[f"model_sha256={model_sha256 or 'unknown'}"]
    )
    measured = [_measurement(_VOLUME, row["volume_ml"], _MILLILITRE)]
    known = sources.hounsfield if source.get("Modality") == "CT" else source.get("Modality") in _INTENSITIES
    if known and row["mean"] is not None:
        name, unit = _INTENSITIES[source.Modality]
        measured += [_measurement(name, row[key], unit, how) for key, how in _STATISTICS.items()]
    site = hd.sr.FindingSite(
        anatomic_location=coded(label.region or label.type),
        topographical_modifier=coded(label.modifiers[0]) if label.modifiers else None,
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=label.name),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=hd.sr.SourceSeriesForSegmentation(source.SeriesInstanceUID),
        ),
        finding_category=coded(label.category),
        finding_type=coded(label.type),
        finding_sites=[site],
        algorithm_id=algorithm,
        measurements=measured,
    )


def _measurement(name: Code, value: float, unit: Code, derivation: Code | None = None) -> Any:
    import highdicom as hd

    return hd.sr.Measurement(
        name=coded(name),
        value=float(value),
        unit=coded(unit),
        derivation=coded(derivation) if derivation else None,
    )
