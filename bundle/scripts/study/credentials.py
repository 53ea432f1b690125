"""Who asks a DICOMweb server, and whether it is that server: both from the environment."""

import os
import ssl
from collections.abc import Callable
from typing import Any

from .address import PASSWORD, TOKEN, USER

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # OpenSSL's codes where an issuer is not known


def signer() -> Callable[[Any], Any]:
    """What signs every request; never None, for which requests would look into a .netrc file."""
    from requests.auth import HTTPBasicAuth

    # secrets that are mounted as files often end in a line break
    user, password, token = (os.environ.get(name, "").rstrip("\r\n") for name in (USER, PASSWORD, TOKEN))
    if bool(user) != bool(password) or (user and token):
        raise ValueError(f"set both {USER} and {PASSWORD}, or {TOKEN} alone, in the environment")
    if not (token.isascii() and token.isprintable()):
        raise ValueError(
            f"{TOKEN} in the environment holds a line break, or a letter that no token has: set it anew"
        )
    basic = HTTPBasicAuth(user.encode(), password.encode())

    def sign(request: Any) -> Any:
        # Quoted or not means the same, but Orthanc's plug-in 1.7 knows no quoted wildcards and lists.
        request.url = request.url.replace("%2A", "*").replace("%2C", ",")
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return basic(request) if user else request

    return sign


def check_authorities() -> None:
    """Raise a ValueError where the environment names certificate authorities that cannot be read."""
    named = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)]
    for name in named[:1]:  # requests takes the first
        place = os.environ[name]
        try:
            if os.path.isdir(place):
                ssl.create_default_context(capath=place)
            else:
                ssl.create_default_context(cafile=place)
        except OSError:
            raise ValueError(
                f"{name} names {place!r}, which is no file of certificates: correct it"
            ) from None


def certificate_problem(error: BaseException | None) -> str:
    """What is wrong with the server's certificate and what to do, or ``""``: other faults of TLS may pass."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"{error.verify_message}; name its authority's file in REQUESTS_CA_BUNDLE"
    return f"{error.verify_message}; have it mended there, or name the host as it does"
