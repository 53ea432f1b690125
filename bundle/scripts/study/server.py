"""A DICOMweb server: search (QIDO-RS), retrieve (WADO-RS) and store (STOW-RS), errors as plain sentences."""

import logging
import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from pydicom.datadict import tag_for_keyword

from .address import PASSWORD, TOKEN, USER
from .credentials import certificate_problem, check_authorities, signer
from .limits import DEFAULT_LIMITS, Limits
from .received import file_instance

logger = logging.getLogger("mcanet")

PAUSES = (1.0, 2.0, 4.0)  # seconds before each further try
TIMEOUT = (10.0, 120.0)  # seconds to connect, and without a byte
AWAY = 1800.0  # seconds without an answer, after which nothing is tried twice
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_T = TypeVar("_T")

Listed = dict[str, Any]  # DICOM JSON: {tag: {"vr": …, "Value": […]}}


class ServerError(OSError):
    """The server or the way to it failed; the message holds neither query nor credentials.

    Args:
        words: what is wrong and what to do.
        transient: whether another try may do better.
        status: of HTTP, 0 where there is none.
    """

    def __init__(self, words: str, transient: bool = False, status: int = 0) -> None:
        super().__init__(words)
        self.transient = transient
        self.status = status


class Server:
    """A connection; credentials come from the environment.

    Args:
        url: root of the service.

    Raises:
        RuntimeError: dicomweb-client is not installed.
        ValueError: the credentials or certificate authorities in the environment are unusable.
    """

    def __init__(self, url: str) -> None:
        try:
            import requests
            from dicomweb_client import DICOMwebClient
        except ImportError:
            raise RuntimeError("DICOMweb needs dicomweb-client: pip install dicomweb-client") from None
        if url.startswith("https:"):
            check_authorities()
        for name in ("dicomweb_client", "urllib3"):  # they repeat whatever the server says
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.url = url
        self._session = requests.Session()
        self._session.auth = signer()
        self._away_since = 0.0  # of the clock, 0 while it answers
        self._cut = False  # whether the last answer is not all
        self._session.hooks["response"].append(self._note_cut)
        self._session.max_redirects = 0  # credentials and images go to the named server and to no other
        self._client = DICOMwebClient(url, session=self._session, timeout=TIMEOUT)
        self._client.set_http_retry_params(retry=False)

    def search_series(self, filters: dict[str, str], fields: tuple[str, ...]) -> list[Listed]:
        """What the server lists of all series that a query finds.

        Raises:
            ServerError: it does not answer, refuses, cuts its list, or passes over a filter.
        """

        def page(offset: int) -> list[Listed]:
            return self._client.search_for_series(
                fields=[*fields, *filters], search_filters=dict(filters), offset=offset
            )

        found = self._listed(page, ("StudyInstanceUID", "SeriesInstanceUID"))
        for keyword, wanted in filters.items():
            if any(_contradicts(keyword, wanted, value(entry, keyword)) for entry in found):
                raise ServerError(
                    f"the server does not search by {keyword}, or not for such a value: leave it out of the query "
                    "and narrow with --series"
                )
        return found

    def instances(self, study: str, series: str) -> list[str]:
        """Sorted SOPInstanceUIDs of a series; none where there is no such series.

        Raises:
            ServerError: after several tries.
        """
        return self._patiently(lambda: self._instances(study, series))

    def _instances(self, study: str, series: str) -> list[str]:
        def page(offset: int) -> list[Listed]:
            return self._client.search_for_instances(study, series, fields=["SOPInstanceUID"], offset=offset)

        return sorted(value(entry, "SOPInstanceUID") for entry in self._listed(page, ("SOPInstanceUID",)))

    def _listed(self, page: Callable[[int], list[Listed]], key: tuple[str, ...]) -> list[Listed]:
        """All that a search finds.

        Raises:
            ServerError: the server's last page says that there is more.
        """
        with self._plainly():
            found = _all_pages(page, key)
        if self._cut:
            raise ServerError(
                f"the server cuts its list: it lists {len(found)} and says that there are more; narrow the query, "
                "or raise the server's limit"
            )
        return found

    def _note_cut(self, answer: Any, **_: Any) -> None:
        """Remember whether an answer says that it is not all (by a warning, in older editions by its status)."""
        self._cut = answer.status_code == 206 or "additional results" in answer.headers.get("Warning", "")

    def retrieve(
        self, study: str, series: str, instances: list[str], folder: Path, limits: Limits = DEFAULT_LIMITS
    ) -> list[str]:
        """Write the instances of a series into an empty folder, byte by byte as the server sends them.

        Args:
            study: StudyInstanceUID.
            series: SeriesInstanceUID.
            instances: what must come, as :meth:`instances` gives it.
            folder: gets ``<SOPInstanceUID>.dcm``.
            limits: caps.

        Returns:
            What came: these instances, or those that the server lists afterwards, where the series changed meanwhile.

        Raises:
            ServerError: after several tries, or not all instances came.
            RefusedError: what came is of another series, or unreadable.
            OSError: the folder cannot be written.
        """
        return self._patiently(lambda: self._retrieve(study, series, instances, folder, limits))

    def _retrieve(
        self, study: str, series: str, instances: list[str], folder: Path, limits: Limits
    ) -> list[str]:
        # Not the client's iter_series: it takes an answer that broke off for a whole one, and encodes anew.
        for file in folder.iterdir():  # of an earlier try
            file.unlink()
        body, most = folder / "body", len(instances) * limits.max_file_bytes
        url = f"{self.url}/studies/{study}/series/{series}"
        with (
            self._plainly(),
            self._session.get(url, headers={"Accept": _ACCEPT}, stream=True, timeout=TIMEOUT) as answer,
        ):
            answer.raise_for_status()
            boundary = _boundary(answer.headers.get("Content-Type", ""))
            with open(body, "wb") as opened:
                for chunk in answer.iter_content(2**20):
                    opened.write(chunk)
                    if opened.tell() > most:
                        raise ServerError(
                            f"the server's answer goes on beyond {len(instances)} instances of max_file_bytes = "
                            f"{limits.max_file_bytes}: look into its log, or raise the limit"
                        )
        came = {
            file_instance(part, number, study, series, folder, limits)
            for number, part in enumerate(_parts(body, boundary), 1)
        }
        body.unlink()
        if came != set(instances):
            self._check_growth(came, self._instances(study, series))
        return sorted(came)

    @staticmethod
    def _check_growth(came: set[str], listed: list[str]) -> None:
        """Whether what came is what the server lists by now."""
        if came and came == set(listed):
            return
        known = len(came & set(listed))
        strange = bool(came) and not known
        raise ServerError(
            f"the server lists {len(listed)} instances of the series and sent {known} of them and {len(came) - known} "
            + ("others: look into its log" if strange else "others: it may still be receiving it; run again"),
            transient=not strange,
        )

    def store(self, file: Path) -> None:
        """Store a DICOM file, unless the server has it already.

        Raises:
            ServerError: it was not stored, or it is unknown whether it was.
        """
        dataset = pydicom.dcmread(file)

        def send() -> None:
            if self._holds(dataset):  # an answer may have been lost
                return
            with self._plainly():
                answer = self._client.store_instances([dataset])
            if answer.get("FailedSOPSequence"):
                failure = answer.FailedSOPSequence[0].get("FailureReason", "unknown")
                raise ServerError(f"the server does not take {file.name} (failure reason {failure})")
            taken = [
                item.get("ReferencedSOPInstanceUID") for item in answer.get("ReferencedSOPSequence") or []
            ]
            if dataset.SOPInstanceUID not in taken and not self._holds(dataset):
                # such as a portal's page, or an answer of a type that the client passes over
                raise ServerError(
                    f"the server at {self.url} neither says that it took {file.name} nor lists it: look into its log",
                    transient=True,
                )

        self._patiently(send)

    def _holds(self, dataset: pydicom.Dataset) -> bool:
        """Whether the server lists an instance; some answer with 404 where they have nothing of its series."""
        try:
            return dataset.SOPInstanceUID in self._instances(
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID
            )
        except ServerError as error:
            if error.status == 404:
                return False
            raise

    def _patiently(self, action: Callable[[], _T]) -> _T:
        """The action's result, tried again after each pause while its errors are transient.

        Raises:
            ServerError: of the last try, which is the first one where the server has been away for long.
        """
        long_away = self._away_since and time.monotonic() - self._away_since > AWAY
        try:
            result = action() if long_away else _tried_again(action)
        except ServerError as error:
            away = error.transient and not error.status
            self._away_since = (self._away_since or time.monotonic()) if away else 0.0
            raise
        self._away_since = 0.0
        return result

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Reword what goes wrong: the text of requests' errors quotes the query.

        Raises:
            ServerError: in place of every error but those of the disk.
        """
        import requests

        at = f"the server at {self.url}"
        try:
            yield
        except requests.HTTPError as error:
            status = getattr(error.response, "status_code", 0)
            raise ServerError(f"{at} {_meaning(status)}", status in _TRANSIENT, status) from None
        except requests.TooManyRedirects:
            raise ServerError(f"{at} points to another address: give that one") from None
        except (requests.exceptions.JSONDecodeError, ValueError, KeyError, TypeError, AttributeError):
            raise ServerError(f"{at} does not answer as DICOMweb does: check the path in the URL") from None
        except requests.RequestException as error:
            if problem := certificate_problem(error):
                raise ServerError(f"the certificate of {at} is not trusted: {problem}") from None
            raise ServerError(
                f"{at} cannot be reached, or the connection broke off ({type(error).__name__}): check that it runs, "
                "its host and port, then run again",
                transient=True,
            ) from None


def value(entry: Listed, keyword: str) -> str:
    """The first value of an attribute as text, ``""`` where there is none or it is malformed."""
    element = entry.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    first = first.get("Alphabetic") if isinstance(first, dict) else first
    return str(first) if isinstance(first, str | int | float) else ""


def _all_pages(page: Callable[[int], list[Listed]], key: tuple[str, ...]) -> list[Listed]:
    """All pages of an answer, until one brings nothing new: some servers take no offset."""
    found: dict[tuple[str, ...], Listed] = {}
    while True:
        before = len(found)
        for entry in page(before):
            found.setdefault(tuple(value(entry, keyword) for keyword in key), entry)
        if len(found) == before:
            return list(found.values())


def _contradicts(keyword: str, wanted: str, found: str) -> bool:
    """Whether an attribute that the server lists shows that it did not filter; names match too freely to tell."""
    if not found or set("*?\\") & set(wanted) or keyword.endswith(("Name", "Date", "Time")):
        return False
    allowed = wanted.split(",") if keyword.endswith("UID") else [wanted]
    return found.strip().casefold() not in [text.strip().casefold() for text in allowed]


def _tried_again(action: Callable[[], _T]) -> _T:
    for pause in PAUSES:
        try:
            return action()
        except ServerError as error:
            if not error.transient:
                raise
            logger.info("%s; trying again in %g s", error, pause)
            time.sleep(pause)
    return action()


def _meaning(status: int) -> str:
    """What an HTTP status means to the user."""
    if status in (401, 403):
        return (
            f"refuses access (status {status}): check {USER} and {PASSWORD}, or {TOKEN}, in the environment"
        )
    if status == 404:
        return "has nothing there (status 404): check the path in the URL, such as /dicom-web"
    return f"answers with status {status}: look into its log"


def _boundary(content_type: str) -> bytes:
    """What separates the parts of a multipart answer."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise ValueError(f"expected multipart/related, received {content_type!r}")
    return boundary.encode()


def _parts(body: Path, boundary: bytes) -> Iterator[bytes]:
    """The parts of a multipart answer, one at a time.

    Raises:
        ServerError: it ends before its closing mark.
    """
    mark = b"--" + boundary
    if body.stat().st_size:
        with open(body, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(mark)
            while at >= 0:
                at += len(mark)
                if data[at : at + 2] == b"--":
                    return
                start, at = data.find(b"\r\n\r\n", at), data.find(b"\r\n" + mark, at)
                if at >= 0:
                    yield data[start + 4 : at]
                    at += 2
    raise ServerError("the connection broke off in the middle of a series: run again", transient=True)
