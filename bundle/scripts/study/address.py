"""The address of a DICOMweb server, which ``dataset_dir`` takes in place of a folder."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .header import is_uid

SCHEMES = ("dicomweb+https", "dicomweb+http")
KEYWORDS = (
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "PatientID",
    "PatientName",
    "ReferringPhysicianName",
)
"""What a query may ask for: attributes that QIDO-RS searches series by."""
USER, PASSWORD, TOKEN = "MCANET_DICOMWEB_USER", "MCANET_DICOMWEB_PASSWORD", "MCANET_DICOMWEB_TOKEN"


@dataclass(frozen=True)
class Address:
    """A server and what is wanted of it.

    Attributes:
        url: root of the service, without a query; fit to be shown.
        filters: wanted values by keyword; they may identify a patient.
    """

    url: str
    filters: dict[str, str] = field(repr=False)

    def uids(self, keyword: str) -> list[str]:
        """The UIDs that the query names by a keyword; none where it holds wildcards."""
        wanted = [uid.strip() for uid in self.filters.get(keyword, "").split(",")]
        return wanted if all(map(is_uid, wanted)) else []


def is_address(dataset_dir: str | Path) -> bool:
    """Whether an input is a URL; whether a good one is for :func:`parse_address` to say."""
    return "://" in str(dataset_dir)


def parse_address(text: str, plain_http: bool = False) -> Address:
    """Parses ``dicomweb+https://host:port/path?Modality=MR``.

    Args:
        text: the URL; no message repeats more of it than scheme, host and keywords.
        plain_http: allow a host other than this machine without encryption.

    Raises:
        ValueError: it is malformed, holds a password or an unknown keyword, or would send images in the clear.
    """
    parts = _split(text)
    if parts.scheme not in SCHEMES:
        expected = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"expected a path or a URL that begins with {expected}, received {parts.scheme}://")
    if "@" in parts.netloc:
        raise ValueError(
            f"the URL holds a user or a password: leave them out and set {USER} and {PASSWORD} (or {TOKEN}) in "
            "the environment"
        )
    if not parts.hostname or ":" in parts.hostname or parts.fragment:
        raise ValueError(
            f"expected {parts.scheme}://host:port/path?Keyword=value, with the host's name or IPv4"
        )
    if parts.scheme == "dicomweb+http" and not plain_http and not _is_this_machine(parts.hostname):
        raise ValueError(
            f"plain http to {parts.hostname} would send images and passwords unencrypted: use dicomweb+https://, "
            "or allow it with --plain_http true"
        )
    url = f"{parts.scheme.removeprefix('dicomweb+')}://{parts.netloc}{parts.path.rstrip('/')}"
    return Address(url, _filters(parts.query))


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # whose words may quote a password
        raise ValueError("the URL is malformed: check host and port") from None
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _filters(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    filters = dict(pairs)
    unknown = [keyword for keyword in filters if keyword not in KEYWORDS]
    if unknown:
        raise ValueError(f"a query cannot ask for {unknown[0]!r}: expected some of {', '.join(KEYWORDS)}")
    if len(filters) < len(pairs) or "" in filters.values():
        raise ValueError(
            "expected every keyword of the query once, and with a value: Keyword=value&Keyword=value"
        )
    return filters
