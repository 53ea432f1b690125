"""Checks a compressed frame against its DICOM header before a decoder sees it."""

from .case import RefusedError
from .source import Pixels
from .syntax import HTJ2K, JPEG_2000, RLE

_NO_LENGTH = {0x01, *range(0xD0, 0xD8)}
_NOT_FRAMES = {0xC4, 0xC8, 0xCC}
_J2K_DEPTH = 42  # byte of the first component's depth, with its sign
_J2K_TILES = {0x90, 0x93, 0xD9}  # markers that end the main header


def check_codestream(data: bytes, pixels: Pixels, name: str) -> bytes:
    """The codestream, without what may surround it.

    Raises:
        RefusedError: it is truncated, or its size or depth is not what the header says.
    """
    if pixels.syntax == RLE:
        _check_rle(data, pixels, name)
        return data
    if pixels.syntax in JPEG_2000 | HTJ2K:
        start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
        data = data[max(start, 0) :]
        found = _j2k_size(data) if start >= 0 else None
    else:
        found = _jpeg_size(data)
    if found is None:
        raise RefusedError(
            f"{name}: PixelData begins with {data[:4]!r}, no frame of its transfer syntax; export the file again"
        )
    if pixels.syntax in JPEG_2000 | HTJ2K:
        _check_j2k(data, pixels, name)
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise RefusedError(
            f"{name}: a compressed frame is truncated, its end marker is missing; fetch the file again"
        )
    rows, columns, samples, bits = found
    for keyword, value, expected in (
        ("Rows", rows, pixels.rows),
        ("Columns", columns, pixels.columns),
        ("SamplesPerPixel", samples, pixels.samples),
    ):
        if value != expected:
            raise RefusedError(
                f"{name}: {keyword} is {expected}, but the compressed frame says {value}; export it again"
            )
    _check_depth(bits, pixels, name)
    return data


def _check_depth(bits: int, pixels: Pixels, name: str) -> None:
    if bits > pixels.allocated:
        raise RefusedError(
            f"{name}: BitsAllocated is {pixels.allocated}, but the compressed frame has {bits} bits; "
            "export the file again"
        )
    if bits <= pixels.high_bit != pixels.stored - 1:
        raise RefusedError(
            f"{name}: HighBit is {pixels.high_bit} with BitsStored {pixels.stored}, but the compressed frame has {bits} "
            "bits; export the file again"
        )
    if pixels.signed and bits < pixels.stored and pixels.syntax not in JPEG_2000 | HTJ2K:
        raise RefusedError(
            f"{name}: BitsStored is {pixels.stored}, but the compressed frame has {bits} bits, so the sign is "
            "unknown; export the file again"
        )


def _check_j2k(data: bytes, pixels: Pixels, name: str) -> None:
    """Refuses a stream whose sign or colours are not those of the header."""
    if data[_J2K_DEPTH] & 0x80 and not pixels.signed:
        raise RefusedError(
            f"{name}: PixelRepresentation is 0, but the compressed frame has a sign; export the file again"
        )
    if pixels.photometric in ("YBR_FULL", "YBR_FULL_422") and _j2k_transforms(data):
        raise RefusedError(
            f"{name}: PhotometricInterpretation is {pixels.photometric}, but the compressed frame holds RGB that it "
            "transforms itself (YBR_RCT or YBR_ICT); export the file again"
        )


def _j2k_transforms(data: bytes) -> bool:
    """Whether the COD marker of JPEG 2000 asks for the transform of colours."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF and data[at + 1] not in _J2K_TILES:
        if data[at + 1] == 0x52:
            return data[at + 8] == 1
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _check_rle(data: bytes, pixels: Pixels, name: str) -> None:
    count = int.from_bytes(data[:4], "little")
    expected = pixels.samples * pixels.allocated // 8
    offsets = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "little") for i in range(min(count, 15))]
    if count != expected or offsets[:1] != [64] or offsets != sorted(offsets) or offsets[-1] >= len(data):
        raise RefusedError(
            f"{name}: an RLE frame has {count} segments at {offsets[:4]}, expected {expected} from 64; "
            "fetch the file again"
        )


def _jpeg_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, samples and bits from the frame header of JPEG or JPEG-LS."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES):
            rows, columns = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
            return rows, columns, data[at + 9], data[at + 4]
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _j2k_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, samples and bits from the SIZ marker of JPEG 2000."""
    if len(data) < 48:
        return None
    width, height, left, top = (int.from_bytes(data[i : i + 4], "big") for i in (8, 12, 16, 20))
    return height - top, width - left, int.from_bytes(data[40:42], "big"), (data[_J2K_DEPTH] & 0x7F) + 1
