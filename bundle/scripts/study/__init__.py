"""What comes in: finds cases and reads them strictly."""

from .address import is_address
from .case import Case, RefusedError, sha256_of
from .check import Row, check_found, print_check
from .dicomweb import Archive, RemoteSeries
from .find import Found, find_cases
from .fitness import judge
from .info import Info
from .inputs import find_input
from .limits import Limits, limits_of
from .read import read_case
from .transform import JudgeFitnessd, LoadStudyd, single_case

__all__ = [
    "Archive",
    "Case",
    "Found",
    "Info",
    "JudgeFitnessd",
    "Limits",
    "LoadStudyd",
    "RefusedError",
    "RemoteSeries",
    "Row",
    "check_found",
    "find_cases",
    "find_input",
    "is_address",
    "judge",
    "limits_of",
    "print_check",
    "read_case",
    "sha256_of",
    "single_case",
]
