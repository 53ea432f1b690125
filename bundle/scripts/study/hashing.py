"""Hashes of what a case holds."""

import hashlib

from ..verify import file_digest
from .case import Case


def sha256_of(case: Case) -> str:
    """SHA-256 over a case's content, whatever its files are called and wherever they lie.

    For one file it is the file's own hash; for several, the hash of their hashes: sorted for a DICOM series, else in
    their order, which is that of the channels.
    """
    digests = [file_digest(file) for file in case.files]
    if case.kind == "dicom":
        digests.sort()
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
