"""SHA-256 of texts and files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path


def digest(text: str, length: int = 12) -> str:
    """The first ``length`` digits, of 64, of a text's hash; surrogates stand for the bytes of a file's name."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]


def file_digest(file: str | Path) -> str:
    """The hash of a file, read in pieces."""
    result = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(2**20):
            result.update(chunk)
    return result.hexdigest()


def together(digests: Sequence[str]) -> str:
    """One hash for several files: a single one's own, else the hash of their hashes in this order."""
    return digests[0] if len(digests) == 1 else digest("".join(digests), 64)
