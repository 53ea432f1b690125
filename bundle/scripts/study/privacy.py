"""Keeps what identifies a patient out of names and messages."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import permutations

from ..hashing import digest

_SPLIT = re.compile(r"[\W_]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|manifest\.csv|measurements\.csv|report\.html|dseg\.tsv"
    r"|dataset_description\.json",
    re.IGNORECASE,
)
MASK = "***"
_KEPT = 2**16  # parts of paths
_PERMUTED = 3  # parts of a name, up to which their order is free
_BETWEEN = r"[\W_]*"
SHORTEST_NAME = 3
SHORTEST_NUMBER = 4
_EAST_ASIAN = "\u2e80"  # from here on a letter is a syllable or a word


class Masker:
    """Masks parts of paths that repeat a patient's name, id or birth date.

    A whole value, or one of a name's writings (``Yamada^Tarou=山田^太郎``), is masked however its parts are joined
    and in which order (``Doe^Jane`` in ``doe_jane``), and each part on its own from three letters or four digits on;
    shorter ones would blot out half of every path. Of other scripts' letters two, and one of East Asia's, are enough.
    Latin letters match with other marks or none (``Müller`` in ``mueller``, ``Łukasz`` in ``lukasz``).

    Args:
        identities: texts of identifying attributes.
    """

    def __init__(self, identities: Iterable[str] = ()) -> None:
        inside: set[str] = set()
        alone: set[str] = set()
        self._days: set[str] = set()
        for text in {writing for identity in identities for writing in _composed(identity).split("=")}:
            parts = [part for part in _SPLIT.split(text) if part]
            if not parts:
                continue
            telling = [part for part in parts if len(part) >= _shortest(part)]
            orders = permutations(parts) if telling != parts and len(parts) <= _PERMUTED else [parts]
            joined = "".join(parts)
            (inside if len(joined) >= min(SHORTEST_NAME, _shortest(joined)) else alone).update(
                _BETWEEN.join(map(_spelt, order)) for order in orders
            )
            inside.update(map(_spelt, telling))
            inside.update(
                re.escape(ascii(part)[1:-1].casefold()) for part in telling if not part.isascii()
            )  # as messages quote it
            if len(parts) == 1 and re.fullmatch(r"(19|20)\d{6}", parts[0]):
                year, month, day = parts[0][:4], parts[0][4:6], parts[0][6:]
                inside.add(_BETWEEN.join((year, month, day)))
                self._days |= {"".join(order) for y in (year, year[2:]) for order in _orders(y, month, day)}
        union = sorted(inside, key=len, reverse=True)
        union += [f"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])" for word in sorted(alone)]
        self._pattern = re.compile("|".join(union)) if union else None
        self._masked = lru_cache(_KEPT)(self._mask)  # the same parts come again with every file

    def __call__(self, path: str) -> str:
        """``path`` fit to be shown: masked part by part, and without control characters."""
        return "/".join(map(self._masked, path.split("/")))

    def quoted(self, text: str) -> str:
        """A sentence fit to be shown: masked where it quotes a value, as ``shorten`` does; its own words stay."""
        return _QUOTED.sub(lambda match: self._cut(self._mask(match[0])), text)

    def _cut(self, quotation: str) -> str:
        """Masks the word within which a quotation is cut off: it may be the beginning of a name."""
        return _CUT.sub(rf"{MASK}\1", quotation) if self._pattern is not None else quotation

    def _mask(self, part: str) -> str:
        part, shown, end = _composed(part), "", 0
        if self._pattern is not None:
            plain, places = _plain(part)
            for first, last in sorted(self._found(plain, self._pattern)):
                if places[first] >= end:
                    shown += part[end : places[first]] + MASK
                end = max(end, places[last])
        part = (shown + part[end:]).encode("utf-8", "backslashreplace").decode("utf-8")
        return "".join(char if char.isprintable() else "?" for char in part)

    def _found(self, plain: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """Where in a plain text something has to be masked."""
        yield from (match.span() for match in pattern.finditer(plain))
        for match in _DAY.finditer(plain) if self._days else ():
            numbers = _SPLIT.split(match[1])
            day = "".join(number.zfill(2) for number in numbers)
            # a century that is left out is too little to tell 1.2.3 from a day by
            if day in self._days and (len(day) == 8 or min(map(len, numbers)) > 1):
                yield match.span(1)


def _orders(year: str, month: str, day: str) -> tuple[tuple[str, ...], ...]:
    """A day as it is written in one country or another."""
    return (year, month, day), (day, month, year), (month, day, year)


def _spelt(part: str) -> str:
    """A pattern of a part of a value in a plain text: umlauts in every spelling, numbers with zeros before them."""
    if part.isdecimal():
        number = part.lstrip("0")
        return f"0*{number}" if len(number) >= SHORTEST_NUMBER else re.escape(part)
    units = re.findall(r"[aou]e|ss|.", _plain(part)[0], re.DOTALL)
    return "".join(_SPELLINGS.get(unit, re.escape(unit)) for unit in units)


def _plain(text: str) -> tuple[str, list[int]]:
    """A text without case and marks but for umlauts, and where each of its letters (and the end) stood."""
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        folded = char if char in "ßẞ" else char.casefold()
        for letter in _LETTERS.get(folded, folded):
            if not unicodedata.combining(letter):
                letters.append(letter)
                places.append(place)
    return "".join(letters), [*places, len(text)]


def _marked() -> Iterator[tuple[str, str]]:
    """Letters with marks, and the plain ones that are written where there are no others."""
    yield from zip("ẞłøđæœð\u0131", "ßlödäödi", strict=True)
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00), *range(0xFF21, 0xFF5B)):
        char = chr(code).casefold()
        plain = unicodedata.normalize("NFKD", char)[:1]
        if char not in _SPELLINGS and plain.isascii() and plain.isalpha():
            yield char, plain


_SPELLINGS = {
    "ä": "(?:ae|a|ä)", "ö": "(?:oe|o|ö)", "ü": "(?:ue|u|ü)", "ß": "(?:ss?|ß)",
    "ae": "(?:ae|ä)", "oe": "(?:oe|ö)", "ue": "(?:ue|ü)", "ss": "(?:ss|ß)",
    "a": "[aä]", "o": "[oö]", "u": "[uü]",
}  # fmt: skip
_LETTERS = dict(_marked())
_DAY = re.compile(
    r"(?<!\d)(?<!\d\.)(?=((?:\d{6}|\d{8}|\d{1,4}[\W_]{1,3}\d{1,2}[\W_]{1,3}\d{1,4})(?!\d)(?!\.\d)))"
)
_QUOTED = re.compile(r"""(?<!\w)b?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")""")  # no apostrophe
_CUT = re.compile(r"[^\s'\"]+(\.\.\.['\"])$")


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
