"""Keeps what identifies a patient out of names and messages."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_SPLIT = re.compile(r"[\W_]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|manifest\.csv|measurements\.csv|report\.html|dseg\.tsv"
    r"|dataset_description\.json",
    re.IGNORECASE,
)
MASK = "***"
_KEPT = 2**16  # parts of paths
SHORTEST_NAME = 3
SHORTEST_NUMBER = 4
_EAST_ASIAN = "\u2e80"  # from here on a letter is a syllable or a word


def digest(text: str, length: int = 12) -> str:
    """A short, stable hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]


class Masker:
    """Masks parts of paths that repeat a patient's name, id or birth date.

    A whole value, or one of a name's writings (``Yamada^Tarou=山田^太郎``), is masked however its parts are joined
    (``Doe^Jane`` in ``doe_jane``), and each part on its own from three letters or four digits on; shorter ones would
    blot out half of every path. Of other scripts' letters two, and one of East Asia's, are enough.

    Args:
        identities: texts of identifying attributes.
    """

    def __init__(self, identities: Iterable[str] = ()) -> None:
        inside: set[str] = set()
        alone: set[str] = set()
        for text in {writing for identity in identities for writing in _composed(identity).split("=")}:
            parts = [part for part in _SPLIT.split(text) if part]
            if not parts:
                continue
            whole = r"[\W_]*".join(re.escape(part) for part in parts)
            joined = "".join(parts)
            (inside if len(joined) >= min(SHORTEST_NAME, _shortest(joined)) else alone).add(whole)
            inside.update(re.escape(part) for part in parts if len(part) >= _shortest(part))
            if len(parts) == 1 and re.fullmatch(r"(19|20)\d{6}", parts[0]):
                inside.add(rf"{parts[0][:4]}[\W_]*{parts[0][4:6]}[\W_]*{parts[0][6:]}")
        union = sorted(inside, key=len, reverse=True)
        union += [f"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])" for word in sorted(alone)]
        self._pattern = re.compile("|".join(union), re.IGNORECASE) if union else None
        self._masked = lru_cache(_KEPT)(self._mask)  # the same parts come again with every file

    def __call__(self, path: str) -> str:
        """``path`` fit to be shown: masked part by part, and without control characters."""
        return "/".join(map(self._masked, path.split("/")))

    def _mask(self, part: str) -> str:
        part = _composed(part)
        if self._pattern is not None:
            part = self._pattern.sub(MASK, part)
        part = part.encode("utf-8", "backslashreplace").decode("utf-8")
        return "".join(char if char.isprintable() else "?" for char in part)


def _composed(text: str) -> str:
    """One form of each letter: file systems write ``ö`` as one sign or as two."""
    return unicodedata.normalize("NFC", text)


def _shortest(part: str) -> int:
    """From which length on a part of a value tells a person."""
    if part.isdecimal():
        return SHORTEST_NUMBER
    return 1 if min(part) >= _EAST_ASIAN else SHORTEST_NAME if part.isascii() else SHORTEST_NAME - 1


def safe_id(stem: str, relative: str) -> str:
    """A case id from a file's stem; a hash of the relative path is added where the stem had to be changed."""
    name = _UNSAFE.sub("-", stem).strip(".-_ ")
    if name == stem and 0 < len(name) <= 64 and not _RESERVED.fullmatch(name):
        return name
    return with_hash(name or "case", relative)


def with_page(name: str, page: int | None) -> str:
    """``name`` made that of a page, where a file is split into them."""
    return name if page is None else f"{name[:54]}-p{page + 1}"


def with_hash(name: str, relative: str) -> str:
    """``name`` made distinct by a hash of where the file lies."""
    return f"{name[:55]}-{digest(relative, 8)}"
