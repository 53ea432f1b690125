"""What DICOM says of each frame, at the root of a file or in its functional groups."""

from dataclasses import dataclass, replace

from .case import RefusedError
from .header import Header, shorten

_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
MOST_FRAMES = 2**14
_FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
)
_TELLING = (
    ("FrameContentSequence", "StackID"),
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("FrameContentSequence", "FrameAcquisitionDateTime"),
    ("FrameContentSequence", "FrameAcquisitionNumber"),
    ("FrameContentSequence", "DimensionIndexValues"),
)  # fmt: skip


@dataclass(frozen=True)
class FrameHeader:
    """Geometry and value scale of one frame; empty tuples and None where the file says nothing."""

    index: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    thickness: float | None
    between: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]
    stack_position: int | None = None
    telling: tuple[tuple[str, str], ...] = ()

    @property
    def localizer(self) -> bool:
        """Whether the frame serves to plan others."""
        return "LOCALIZER" in self.image_type

    @property
    def doubts_of_hounsfield(self) -> list[str]:
        """What of a CT's header lets its values be no Hounsfield units, in words."""
        doubts = ["without RescaleSlope"] if self.slope is None else []
        if self.rescale_type.upper() not in ("", "HU"):
            doubts.append(f"whose RescaleType is {shorten(self.rescale_type)}")
        return doubts


def frame_headers(header: Header, frames: int) -> tuple[FrameHeader, ...]:
    """One entry a frame.

    Raises:
        RefusedError: the functional groups do not cover the frames.
    """
    per_frame = header.items("PerFrameFunctionalGroupsSequence")
    shared = header.group("SharedFunctionalGroupsSequence")
    if frames > MOST_FRAMES:
        raise header.refusal("NumberOfFrames", f"is {frames}, more than {MOST_FRAMES}; split the file")
    if not per_frame and shared is None:
        frame = _frame(0, [header], header)
        return tuple(replace(frame, index=index) for index in range(frames))
    if per_frame and len(per_frame) != frames:
        raise RefusedError(
            f"{header.name}: PerFrameFunctionalGroupsSequence has {len(per_frame)} items, but "
            f"NumberOfFrames is {frames}; export the file again"
        )
    if not per_frame and frames > 1:
        raise header.refusal(
            "PerFrameFunctionalGroupsSequence", f"is missing for {frames} frames; export again"
        )
    per_frame = per_frame or [header]
    return tuple(
        _frame(index, [item, *([shared] if shared else [])], header) for index, item in enumerate(per_frame)
    )


def _frame(index: int, holders: list[Header], root: Header) -> FrameHeader:
    def find(keyword: str) -> Header:
        """The functional group that has the attribute: the frame's own, the shared, else the root."""
        if holders != [root]:
            for holder in holders:
                group = holder.group(_GROUPS[keyword])
                if group is not None and keyword in group:
                    group.path = f"{_GROUPS[keyword]} of frame {index + 1}: "
                    return group
        return root

    return FrameHeader(
        index=index,
        position=find("ImagePositionPatient").numbers("ImagePositionPatient", 3),
        orientation=find("ImageOrientationPatient").numbers("ImageOrientationPatient", 6),
        spacing=find("PixelSpacing").numbers("PixelSpacing", 2),
        thickness=find("SliceThickness").number("SliceThickness"),
        between=find("SpacingBetweenSlices").number("SpacingBetweenSlices"),
        slope=find("RescaleSlope").number("RescaleSlope"),
        intercept=find("RescaleIntercept").number("RescaleIntercept"),
        rescale_type=find("RescaleType").text("RescaleType"),
        image_type=_image_type(holders, root),
        stack_position=_stack_position(holders),
        telling=_telling(holders) if holders != [root] else (),
    )


def _image_type(holders: list[Header], root: Header) -> tuple[str, ...]:
    for holder in holders:
        for keyword in _FRAME_TYPES:
            group = holder.group(keyword)
            if group is not None and "FrameType" in group:
                return tuple(text.upper() for text in group.texts("FrameType"))
    return tuple(text.upper() for text in root.texts("ImageType"))


def _stack_position(holders: list[Header]) -> int | None:
    group = holders[0].group("FrameContentSequence")
    return group.integer("InStackPositionNumber") if group is not None else None


def _telling(holders: list[Header]) -> tuple[tuple[str, str], ...]:
    found = []
    for sequence, keyword in _TELLING:
        for holder in holders:
            group = holder.group(sequence)
            if group is not None and keyword in group:
                found.append((keyword, "\\".join(group.shown(keyword))))
                break
    return tuple(found)
