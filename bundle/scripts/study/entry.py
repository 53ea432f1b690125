"""A frame of a file as a place in a volume."""

from dataclasses import dataclass

from .enhanced import FrameHeader
from .geometry import Plane
from .source import Pixels, Source


@dataclass(frozen=True)
class Entry:
    """One frame of one file in the plan of a volume."""

    source: Source
    frame: FrameHeader

    @property
    def name(self) -> str:
        """File, and frame where the file has several."""
        many = self.source.pixels is not None and self.source.pixels.frames > 1
        return f"{self.source.name} (frame {self.frame.index + 1})" if many else self.source.name

    def telling(self, keyword: str) -> str:
        """An attribute that tells volumes apart, of the frame or of its file, as text."""
        if keyword == "ImageType":
            return "\\".join(self.frame.image_type)
        for name, value in self.frame.telling:
            if name == keyword:
                return value
        return "\\".join(self.source.header.shown(keyword))

    @property
    def plane(self) -> Plane:
        """Where the frame lies."""
        return Plane(self.name, self.frame.position, self.frame.orientation, self.frame.spacing)

    @property
    def pixels(self) -> Pixels:
        """How the frame is stored."""
        assert self.source.pixels is not None
        return self.source.pixels
