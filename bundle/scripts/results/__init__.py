"""What goes out: NIfTI, DICOM SEG and SR, measurements, preview, report and the manifest."""

from ..lock import LockedError
from .agreement import expected_dice
from .bids import is_our_bids, write_bids
from .labels import Code, Label, class_labels, label_table
from .manifest import Manifest, read_manifest, read_measurements
from .measurements import measure
from .nifti import write_image, write_nifti, write_picture
from .postprocess import PostProcess, PostProcessd
from .preview import preview
from .ranks import Ranks
from .report import write_report
from .seg import write_seg
from .sr import write_sr
from .staging import explained
from .writer import ResultsWriter

__all__ = [
    "Code",
    "Label",
    "LockedError",
    "Manifest",
    "PostProcess",
    "PostProcessd",
    "Ranks",
    "ResultsWriter",
    "class_labels",
    "expected_dice",
    "explained",
    "is_our_bids",
    "label_table",
    "measure",
    "preview",
    "read_manifest",
    "read_measurements",
    "write_bids",
    "write_image",
    "write_nifti",
    "write_picture",
    "write_report",
    "write_seg",
    "write_sr",
]
