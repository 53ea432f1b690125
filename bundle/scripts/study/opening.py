"""Opens DICOM files: with or without preamble, deflated, never past the limits."""

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from .case import RefusedError
from .limits import Limits
from .syntax import DEFLATED


class BoundedFile(io.RawIOBase):
    """A file whose header may neither be gigantic nor nested without end.

    Attributes:
        cut: whether a value was shorter than its length; one empty read is how a data set ends.
    """

    def __init__(self, stream: BinaryIO, limits: Limits, name: str) -> None:
        super().__init__()
        self.stream = stream
        self.bytes_left = limits.max_header_bytes
        self.reads_left = limits.max_header_reads
        self.title = name
        self.empty_reads = 0
        self.cut = False

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        data = self.stream.read(min(size, self.bytes_left + 1) if size >= 0 else self.bytes_left + 1)
        if 0 < len(data) < size:
            self.cut = True
        self.empty_reads += not data
        self.bytes_left -= len(data)
        self.reads_left -= 1
        if self.bytes_left < 0 or self.reads_left < 0:
            raise RefusedError(
                f"{self.title}: the DICOM header goes on beyond max_header_bytes or max_header_reads; "
                "export the file again or raise the limit"
            )
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (132 bytes or more) is DICOM, with or without preamble."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return (group == 2 and element <= 0x16 and explicit) or (
        group == 8 and element <= 0x18 and (explicit or length < 1024)
    )


def open_dataset(file: Path, name: str, limits: Limits) -> tuple[BinaryIO, bool, str]:
    """Opens a DICOM file; a deflated one is unpacked within the limits.

    Returns:
        The stream, whether it begins with a preamble, and the transfer syntax (or "").
    """
    stream = open(file, "rb")  # noqa: SIM115
    try:
        limits.check_file(file.stat().st_size, name)
        head = stream.read(132)
        preamble = head[128:132] == b"DICM"
        if not looks_like_dicom(head):
            raise RefusedError(
                f"{name}: it begins as no DICOM file, with neither its mark nor a data set; fetch it again"
            )
        stream.seek(132 if preamble else 0)
        syntax, end = _meta(stream, name)
        if syntax != DEFLATED:
            stream.seek(0)
            return stream, preamble, syntax
        stream.seek(end)
        with stream:
            return io.BytesIO(_inflate(stream, name, limits)), False, syntax
    except BaseException:
        stream.close()
        raise


def _meta(stream: BinaryIO, name: str) -> tuple[str, int]:
    """The transfer syntax from the file meta information, and where that ends."""
    syntax = ""
    for _ in range(64):
        at = stream.tell()
        head = stream.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return syntax, at
        tag, length = head[:4], int.from_bytes(head[6:8], "little")
        if head[4:6] in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
            length = int.from_bytes(stream.read(4), "little")
        if length > 2**16:
            break
        value = stream.read(length)
        if tag == b"\x02\x00\x10\x00":
            syntax = value.decode("latin-1").strip(" \0")
    raise RefusedError(f"{name}: its DICOM file meta information is damaged; export the file again")


def _inflate(stream: BinaryIO, name: str, limits: Limits) -> bytes:
    packed = zlib.decompressobj(-zlib.MAX_WBITS)
    parts, size = [], 0
    while not packed.eof:
        chunk = packed.unconsumed_tail or stream.read(2**20)
        if not chunk:
            break
        parts.append(packed.decompress(chunk, 2**24))
        size += len(parts[-1])
        limits.check_unpacked(size, name, "max_deflated_bytes")
    if not packed.eof:
        raise RefusedError(f"{name}: the deflated data set is truncated; fetch the file again")
    return b"".join(parts)
