"""One DICOM file's header: how its pixels are stored and where each of its frames lies."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.uid import MediaStorageDirectoryStorage

from .case import RefusedError
from .enhanced import FrameHeader, frame_headers
from .header import Header, shorten
from .limits import Limits
from .opening import BoundedFile, open_dataset
from .privacy import Masker
from .quiet import quiet
from .syntax import DEFLATED, NATIVE, describe_syntax, is_known
from .tags import ALIKE, IDENTITY, TELLING, wanted_tags

_INTEGER_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_REAL_TAGS = (b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09")
OTHER_IDS = "OtherPatientIDsSequence"


@dataclass(frozen=True)
class Pixels:
    """How a file stores its pixels.

    Attributes:
        offset: byte where the pixel data element begins (in the unpacked stream when deflated).
        signed: whether PixelRepresentation says so.
        real: whether the pixels are stored as floats.
    """

    syntax: str
    offset: int
    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: int
    photometric: str
    real: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.allocated // 8


@dataclass(frozen=True)
class Source:
    """One DICOM file, without its pixels.

    Attributes:
        alike: attributes that must be equal throughout a series.
        identity: texts that identify the patient, to keep them out of messages.
        pixels: None where the file holds no image.
        problem: why the header makes no image, or ``""``.
        attributes: what a selection asks for.
    """

    file: Path
    name: str
    sop_class: str
    sop_instance: str
    series: str
    modality: str
    alike: dict[str, object]
    identity: tuple[str, ...] = field(repr=False)
    pixels: Pixels | None
    frames: tuple[FrameHeader, ...]
    header: Header = field(repr=False)
    has_data: bool = True
    problem: str = ""
    attributes: dict[str, str] = field(default_factory=dict, repr=False)


class CutError(RefusedError):
    """A header that ends too early.

    Attributes:
        identity: texts that identify the patient, as far as it goes.
    """

    def __init__(self, reason: str, identity: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.identity = identity


def masker_of(sources: Iterable[Source]) -> Masker:
    """What keeps the patient out of words about a series, which may quote a header.

    Other patients' ids are numbers like any other.
    """
    return Masker(text for source in sources for text in source.identity)


def identity_of(header: Header) -> tuple[str, ...]:
    """Texts that identify the patient, other ids of theirs included."""
    places = [(header, keyword) for keyword in IDENTITY] + [(item, "PatientID") for item in other_ids(header)]
    return tuple(text for place, keyword in places for text in place.identifying(keyword))


def other_ids(header: Header) -> list[Header]:
    """The items that hold further ids of the patient."""
    with suppress(RefusedError):  # that sequence is no reason to refuse an image
        return header.items(OTHER_IDS)
    return []


def read_source(file: Path, name: str, limits: Limits, extra: Iterable[str] = ()) -> Source:
    """Reads one file's header.

    Args:
        file: a DICOM file.
        name: how messages name it.
        limits: caps.
        extra: further attributes, kept as text for a selection.

    Raises:
        RefusedError: the header cannot be read.
    """
    extra = tuple(extra)
    try:
        stream, preamble, syntax = open_dataset(file, name, limits)
        with stream, quiet():
            bounded = BoundedFile(stream, limits, name)
            dataset = pydicom.dcmread(
                bounded,  # type: ignore[arg-type]
                stop_before_pixels=True,
                force=not preamble,
                specific_tags=list(wanted_tags(extra)),
            )
            offset = stream.tell()
            tag, rest = stream.read(4), stream.read(4)
            if bounded.cut or bounded.empty_reads > 1 or offset > stream.seek(0, os.SEEK_END):
                header = Header(dataset, name, limits=limits)
                raise CutError(f"{name}: its header is truncated; fetch the file again", identity_of(header))
        head = 12 if rest[:2] in (b"OB", b"OW", b"OF", b"OD", b"UN") else 8
        left = file.stat().st_size - offset - head if syntax != DEFLATED else None
        return _source(file, Header(dataset, name, limits=limits), _Place(syntax, offset, tag, left), extra)
    except RefusedError:
        raise
    except RecursionError:
        raise RefusedError(f"{name}: its sequences are nested too deeply; export the file again") from None
    except MemoryError:
        raise RefusedError(f"{name}: its header needs more memory than there is; export it again") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RefusedError(f"{name}: cannot be read ({reason}); check the file") from None
    except Exception as error:
        raise RefusedError(
            f"{name}: it is no readable DICOM file ({type(error).__name__}); fetch or export it again"
        ) from None


@dataclass(frozen=True)
class _Place:
    """Where reading the header stopped: the tag found there and the bytes after its length, None where unknown."""

    syntax: str
    offset: int
    tag: bytes
    left: int | None

    @property
    def has_data(self) -> bool:
        return self.tag in _INTEGER_TAGS + _REAL_TAGS


def _source(file: Path, header: Header, place: _Place, extra: tuple[str, ...]) -> Source:
    meta = getattr(header.dataset, "file_meta", None)
    media_class = Header(meta, header.name).text("MediaStorageSOPClassUID") if meta is not None else ""
    if (
        not place.has_data
        and "SeriesInstanceUID" not in header
        and media_class != MediaStorageDirectoryStorage
    ):
        raise CutError(
            f"{header.name}: SeriesInstanceUID and PixelData are missing; fetch the file again",
            identity_of(header),
        )
    pixels: Pixels | None = None
    frames: tuple[FrameHeader, ...] = ()
    problem = ""
    try:
        if "Rows" in header or place.has_data:
            pixels = _pixels(header, place)
            frames = frame_headers(header, pixels.frames)
            _check_length(header, pixels, place)
    except RefusedError as error:
        pixels, problem = None, str(error)
    return Source(
        file=file,
        name=header.name,
        sop_class=media_class or header.text("SOPClassUID"),
        sop_instance=header.text("SOPInstanceUID"),
        series=header.text("SeriesInstanceUID"),
        modality=header.text("Modality").upper(),
        alike={keyword: header.text(keyword) for keyword in ALIKE},
        identity=identity_of(header),
        pixels=pixels,
        frames=frames,
        header=header,
        has_data=place.has_data,
        problem=problem,
        attributes={keyword: "\\".join(header.shown(keyword)) for keyword in extra},
    )


_RANGES: dict[str, tuple[int | None, int, int]] = {
    "Rows": (None, 1, 65535),
    "Columns": (None, 1, 65535),
    "SamplesPerPixel": (1, 1, 3),
    "BitsAllocated": (None, 8, 64),
    "BitsStored": (0, 0, 64),
    "HighBit": (-1, 0, 63),
    "PixelRepresentation": (-1, 0, 1),
    "PlanarConfiguration": (0, 0, 1),
    "NumberOfFrames": (1, 1, 2**31),
}
"""Default (None: required), least and greatest value of the attributes that describe pixels."""


def _pixels(header: Header, place: _Place) -> Pixels:
    """Checks how the pixels are stored."""
    if place.syntax and not is_known(place.syntax):
        raise RefusedError(
            f"{header.name}: TransferSyntaxUID is {describe_syntax(place.syntax)}, which this reader does not "
            "decode; convert the file to Explicit VR Little Endian"
        )
    found = {keyword: _in_range(header, keyword) for keyword in _RANGES}
    allocated, real = found["BitsAllocated"], place.tag in _REAL_TAGS
    stored = found["BitsStored"] or allocated
    high_bit = stored - 1 if found["HighBit"] < 0 else found["HighBit"]
    if allocated not in (8, 16, 32, 64) or stored > allocated or not stored - 1 <= high_bit < allocated:
        raise RefusedError(
            f"{header.name}: BitsAllocated {allocated}, BitsStored {stored} and HighBit {high_bit} do not fit "
            "together; export the file again"
        )
    if found["PixelRepresentation"] < 0 and allocated > 8 and not real:
        raise header.refusal(
            "PixelRepresentation", "is missing, so the sign is unknown; export the file again"
        )
    if found["SamplesPerPixel"] == 2:
        raise header.refusal("SamplesPerPixel", "is 2, expected 1 or 3; export the file again")
    return Pixels(
        syntax=place.syntax,
        offset=place.offset,
        frames=found["NumberOfFrames"],
        rows=found["Rows"],
        columns=found["Columns"],
        samples=found["SamplesPerPixel"],
        allocated=allocated,
        stored=stored,
        high_bit=high_bit,
        signed=found["PixelRepresentation"] == 1,
        planar=found["PlanarConfiguration"],
        photometric=header.text("PhotometricInterpretation").upper(),
        real=real,
    )


def _in_range(header: Header, keyword: str) -> int:
    default, low, high = _RANGES[keyword]
    value = header.integer(keyword)
    if value is None:
        if default is None:
            raise header.refusal(keyword, "is missing; export the file again")
        return default
    if not low <= value <= high:
        raise header.refusal(keyword, f"is {value}, expected {low} to {high}; export the file again")
    return value


def _check_length(header: Header, pixels: Pixels, place: _Place) -> None:
    """Refuses uncompressed pixels that the file is too short for."""
    if place.left is None or not place.has_data or (pixels.syntax and pixels.syntax not in NATIVE):
        return
    expected = pixels.frame_bytes * pixels.frames
    if place.left < expected:
        raise RefusedError(
            f"{header.name}: PixelData is truncated: {max(place.left, 0)} bytes, expected {expected}; "
            "fetch the file again"
        )


def differing(one: Header, other: Header) -> str:
    """The first attribute that tells two images at one place apart: ``EchoTime is '10' and '20'``."""
    for keyword in TELLING:
        a, b = "\\".join(one.shown(keyword)), "\\".join(other.shown(keyword))
        if a != b:
            return f"{keyword} is {shorten(a)} and {shorten(b)}"
    return ""
