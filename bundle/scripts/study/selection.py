"""The ``--series`` option: which DICOM series of a folder are wanted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .header import is_keyword, shorten

_TERM = re.compile(r"\s*([A-Za-z]\w*)\s*(!=|!~|=|~)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One condition on one DICOM attribute."""

    keyword: str
    operator: str
    value: str

    def matches(self, found: str) -> bool:
        """Whether an attribute's text meets the condition; an absent attribute is ``""``."""
        if self.operator in ("=", "!="):
            hit = found.strip().casefold() == self.value.casefold()
        else:
            hit = re.search(self.value, found, re.IGNORECASE) is not None
        return hit != self.operator.startswith("!")


@dataclass(frozen=True)
class Selection:
    """Terms that all must hold."""

    terms: tuple[Term, ...] = ()

    @property
    def keywords(self) -> tuple[str, ...]:
        """The attributes that must be read."""
        return tuple(term.keyword for term in self.terms)

    def failing(self, attributes: Mapping[str, str]) -> Term | None:
        """The first term that does not hold, or None; an attribute that is not there is ``""``."""
        return next((term for term in self.terms if not term.matches(attributes.get(term.keyword, ""))), None)


def parse_selection(text: str | None) -> Selection:
    """Parses ``"Modality=MR,SeriesDescription~t1"``.

    A comma that belongs to a value is written ``\\,``.

    Raises:
        ValueError: a term has no operator, names no DICOM attribute or holds a bad regular expression.
    """
    if text is None or not text.strip():
        return Selection()
    return Selection(tuple(_parse_term(term) for term in re.split(r"(?<!\\),", text)))


def _parse_term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(
            f"series selection: expected KEYWORD=value, !=, ~ or !~ between commas, received {shorten(text)}"
        )
    keyword, operator, value = match[1], match[2], match[3].replace("\\,", ",").strip()
    if not is_keyword(keyword):
        raise ValueError(f"series selection: {keyword!r} is no DICOM attribute keyword, such as 'Modality'")
    if operator.endswith("~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"series selection: {value!r} is no regular expression: {error}") from None
    return Term(keyword, operator, value)
