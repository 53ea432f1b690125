"""What a file is, by its first bytes and its name."""

from dataclasses import dataclass
from pathlib import Path

from .opening import looks_like_dicom

NIFTI_SUFFIXES = (".nii", ".nii.gz")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".dc3")
DESKTOP_FILES = (".ds_store", "thumbs.db", "desktop.ini")
_HEADERS = (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")


@dataclass(frozen=True)
class Guess:
    """What a file seems to be.

    Attributes:
        kind: ``dicom``, ``nifti``, ``picture``, ``pair`` (of .hdr and .img), ``other``, or ``maybe`` where
            there is no known suffix and no text: a damaged slice if its neighbours are slices.
        reason: why an ``other`` file is left out.
    """

    kind: str
    reason: str = ""


def stem_of(file: Path) -> str:
    """The file's name without its suffix, ``.nii.gz`` being one."""
    name = file.name
    for suffix in sorted((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES), key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return file.stem


def guess(file: Path) -> Guess:
    """Looks at the first bytes and the name; DICOM's mark counts more than any name."""
    name = file.name.lower()
    if name.startswith("._") or name in DESKTOP_FILES:
        return Guess("other", "a file of the desktop system")
    if name == "dicomdir":
        return Guess("other", "a DICOMDIR, the files are found without it")
    try:
        with open(file, "rb") as stream:
            head = stream.read(512)
    except OSError as error:
        if is_suffixless(file):
            return Guess("dicom")  # as slices are; reading its header says why it cannot be
        if not name.endswith((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES, *DICOM_SUFFIXES)):
            return Guess("other", f"it cannot be opened: {error.strerror}")
        head = b""
    return _guess_content(file, name, head)


def _guess_content(file: Path, name: str, head: bytes) -> Guess:
    if head[128:132] == b"DICM" and head[:4] not in _HEADERS:
        return Guess("dicom")
    for kind, suffixes in (
        ("nifti", NIFTI_SUFFIXES),
        ("picture", PICTURE_SUFFIXES),
        ("dicom", DICOM_SUFFIXES),
    ):
        if name.endswith(suffixes):
            return Guess(kind)
    if name.endswith((".hdr", ".hdr.gz")) and (name.endswith(".gz") or head[:4] in _HEADERS):
        return Guess("pair")
    if looks_like_dicom(head):
        return Guess("dicom")
    if name.endswith((".img", ".img.gz")):
        return Guess("other", "the voxels of a pair, named with its .hdr file")
    if is_suffixless(file) and not _is_text(head):
        return Guess("maybe", "neither DICOM, NIfTI nor a picture")
    return Guess("other", "neither DICOM, NIfTI nor a picture")


def is_suffixless(file: Path) -> bool:
    """Whether a file has no suffix but, at most, a number, as slices often have."""
    return not file.suffix or file.suffix[1:].isdecimal()


def _is_text(head: bytes) -> bool:
    return bool(head) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
