"""DICOM transfer syntaxes by what must be done to read them."""

from pydicom.uid import UID

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED))
RLE = "1.2.840.10008.1.2.5"
JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91))
HTJ2K = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
PACKED = JPEG | JPEG_LS | JPEG_2000 | HTJ2K | {RLE}
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81))


def is_known(syntax: str) -> bool:
    """Whether pixels of this transfer syntax are read."""
    return syntax in NATIVE or syntax in PACKED


def describe_syntax(syntax: str) -> str:
    """A transfer syntax as messages show it."""
    name = UID(syntax).name
    return ascii(syntax) if name == syntax else f"{syntax!a} ({name})"
