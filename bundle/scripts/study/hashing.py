"""Hashes of what a case holds."""

import hashlib
from pathlib import Path

from .case import Case


def file_digest(file: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    result = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(2**20):
            result.update(chunk)
    return result.hexdigest()


def sha256_of(case: Case) -> str:
    """SHA-256 over a case's content, whatever its files are called and wherever they lie.

    For one file it is the file's own hash; for several, the hash of their sorted hashes.
    """
    digests = sorted(file_digest(file) for file in case.files)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
