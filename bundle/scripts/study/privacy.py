"""Keeps what identifies a patient out of names and messages."""

import hashlib
import re
from collections.abc import Iterable

_SPLIT = re.compile(r"[\W_]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|manifest\.csv|measurements\.csv|report\.html", re.IGNORECASE
)
MASK = "***"
SHORTEST_NAME = 3
SHORTEST_NUMBER = 4


def digest(text: str, length: int = 12) -> str:
    """A short, stable hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]


class Masker:
    """Masks parts of paths that repeat a patient's name, id or birth date.

    A whole value is masked however its parts are joined (``Doe^Jane`` in ``doe_jane``), and each part on its
    own from three letters or four digits on; shorter ones would blot out half of every path.

    Args:
        identities: texts of identifying attributes.
    """

    def __init__(self, identities: Iterable[str] = ()) -> None:
        inside: set[str] = set()
        alone: set[str] = set()
        for text in set(identities):
            parts = [part for part in _SPLIT.split(text) if part]
            if not parts:
                continue
            whole = r"[\W_]*".join(re.escape(part) for part in parts)
            (inside if sum(map(len, parts)) >= SHORTEST_NAME else alone).add(whole)
            for part in parts:
                if len(part) >= (SHORTEST_NUMBER if part.isdecimal() else SHORTEST_NAME):
                    inside.add(re.escape(part))
            if len(parts) == 1 and re.fullmatch(r"(19|20)\d{6}", parts[0]):
                inside.add(rf"{parts[0][:4]}[\W_]*{parts[0][4:6]}[\W_]*{parts[0][6:]}")
        union = sorted(inside, key=len, reverse=True)
        union += [f"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])" for word in sorted(alone)]
        self._pattern = re.compile("|".join(union), re.IGNORECASE) if union else None

    def __call__(self, path: str) -> str:
        """``path`` fit to be shown: masked part by part, and without control characters."""
        if self._pattern is not None:
            path = "/".join(self._pattern.sub(MASK, part) for part in path.split("/"))
        path = path.encode("utf-8", "backslashreplace").decode("utf-8")
        return "".join(char if char.isprintable() else "?" for char in path)


def safe_id(stem: str, relative: str) -> str:
    """A case id from a file's stem; a hash of the relative path is added where the stem had to be changed."""
    name = _UNSAFE.sub("-", stem).strip(".-_ ")
    if name == stem and 0 < len(name) <= 64 and not _RESERVED.fullmatch(name):
        return name
    return with_hash(name or "case", relative)


def with_hash(name: str, relative: str) -> str:
    """``name`` made distinct by a hash of where the file lies."""
    return f"{name[:55]}-{digest(relative, 8)}"
