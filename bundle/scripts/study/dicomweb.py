"""The series that a query to a DICOMweb server finds, retrieved one after another as files."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..hashing import digest
from .address import Address, parse_address
from .case import Case, RefusedError
from .find import Found, search
from .header import is_uid
from .limits import DEFAULT_LIMITS, Limits
from .selection import parse_selection
from .server import Listed, Server, ServerError, value
from .sop import IMAGELESS_MODALITIES

_WHO = ("PatientID", "PatientName", "PatientBirthDate")


@dataclass(frozen=True)
class RemoteSeries:
    """A series as a server lists it.

    Attributes:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        who: what the server lists of the patient's identity.
    """

    study: str
    uid: str
    who: tuple[str, ...] = field(repr=False)

    @property
    def case_id(self) -> str:
        """The id that the series has in a folder, too; several without a valid UID have one each."""
        return f"series-{digest(self.uid if is_uid(self.uid) else repr((self.study, self.uid)))}"

    def case(self, root: Path = Path("no folder")) -> Case:
        """The series as one case without files, to account for it where it is not, or not yet, retrieved."""
        return Case(self.case_id, "dicom", _shown(self.uid), (), root)


@dataclass(frozen=True)
class Listing:
    """What a server holds of a series.

    Attributes:
        instances: SOPInstanceUIDs, sorted.
        sha256: of them and of the patient's identity.
    """

    instances: list[str]
    sha256: str


class Archive:
    """The image series that a query finds.

    Args:
        url: the query, see :func:`parse_address`.
        series: which of them are wanted, by what their files say, as for :func:`find_cases`.
        limits: caps on untrusted input.
        plain_http: allow a host other than this machine without encryption.

    Attributes:
        server: that was asked.
        series: the image series, to be retrieved.
        refused: series that cannot be asked for, and what the query names and the server does not list, with the reason.
        notices: what was left out, a sentence each.

    Raises:
        ValueError: the URL, the selection, or credentials or authorities in the environment are malformed.
        RefusedError: the query finds no image series.
        ServerError: the server does not answer, or refuses.
        RuntimeError: dicomweb-client is not installed.
    """

    def __init__(
        self,
        url: str,
        series: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        plain_http: bool = False,
    ) -> None:
        address = parse_address(url, plain_http)
        parse_selection(series)
        self._selection, self._limits = series, limits
        self.server = Server(address.url)
        listed = self.server.search_series(
            address.filters, ("StudyInstanceUID", "SeriesInstanceUID", "Modality", *_WHO)
        )
        images = [entry for entry in listed if value(entry, "Modality") not in IMAGELESS_MODALITIES]
        self.notices = tuple(_passed_over(entry) for entry in listed if entry not in images)
        known = [_series(entry) for entry in images]
        count = Counter(one.uid for one in known)
        reasons = [(one, _unfit(one, count[one.uid])) for one in known]
        self.series = tuple(one for one, reason in reasons if not reason)
        unfit = dict.fromkeys((one.case(), reason) for one, reason in reasons if reason)
        self.refused = (*unfit, *_unlisted(address, listed))
        if not known:
            raise RefusedError(
                f"the query finds no image series among {len(listed)} series at {address.url}: check its "
                f"keywords ({', '.join(address.filters) or 'none given'}) and what the server holds"
            )

    def look_up(self, series: RemoteSeries) -> Listing:
        """Ask what the server holds of a series, without retrieving it.

        Raises:
            ServerError: after several tries, or it lists no instance.
        """
        instances = self.server.instances(series.study, series.uid)
        if not instances:
            raise ServerError(
                "the server lists the series, but no instance of it: it may have been deleted, or be closed to you; "
                "look into its log, then run again"
            )
        return _listing(series, instances)

    def retrieve(self, series: RemoteSeries, listing: Listing, folder: Path) -> tuple[Found, Listing]:
        """Write a series into an empty folder and search that, as :func:`find_cases` does.

        Returns:
            No case at all where the series holds no image or is not wanted, and the notices say why; and what was
            retrieved, which is another listing where the series changed meanwhile.

        Raises:
            ServerError: after several tries.
            RefusedError: what came is of another series or unreadable, or has too many files.
            OSError: the folder cannot be written.
        """
        into = folder / series.uid
        into.mkdir()
        came = self.server.retrieve(series.study, series.uid, listing.instances, into, self._limits)
        return search(folder, self._selection, self._limits), _listing(series, came)


def _listing(series: RemoteSeries, instances: list[str]) -> Listing:
    text = "\n".join((series.study, series.uid, *series.who, *instances))
    return Listing(instances, digest(text, 64))


def _series(entry: Listed) -> RemoteSeries:
    who = tuple(value(entry, keyword) for keyword in _WHO)
    return RemoteSeries(value(entry, "StudyInstanceUID"), value(entry, "SeriesInstanceUID"), who)


def _unfit(series: RemoteSeries, count: int) -> str:
    """Why a series cannot be asked for, or ``""``."""
    if not (is_uid(series.study) and is_uid(series.uid)):
        return "the server lists the series without a valid StudyInstanceUID and SeriesInstanceUID; mend it there"
    if count > 1:
        return f"the server lists the series in {count} studies; mend it there"
    return ""


def _unlisted(address: Address, listed: list[Listed]) -> Iterator[tuple[Case, str]]:
    """A case for each study and series that the query names and the server does not list."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        kind = keyword.removesuffix("InstanceUID").lower()
        there = {value(entry, keyword).strip(" \0") for entry in listed}
        for uid in dict.fromkeys(address.uids(keyword)):
            if uid not in there and "" not in there:  # a server that leaves it out has kept to the query
                reason = f"the server does not list this {kind}: check the UID and the query's other keywords"
                yield Case(f"{kind}-{digest(uid)}", "dicom", uid, (), Path("no folder")), reason


def _shown(uid: str) -> str:
    """A UID fit to be shown; what a server puts in the place of one may be anything."""
    return uid if is_uid(uid) else "a series without a valid UID"


def _passed_over(entry: Listed) -> str:
    uid, modality = _shown(value(entry, "SeriesInstanceUID")), value(entry, "Modality")
    return f"{uid}: left out, no image to segment (Modality {modality})"
