"""A patient's name, id or birth date is masked in whatever spelling a path or a message has it."""

import re

import pytest
from mcanet.scripts.study.header import shorten
from mcanet.scripts.study.privacy import MASK, Masker


@pytest.mark.parametrize(
    ("identity", "path"),
    [
        ("Müller^Jürgen", "mueller_juergen"),
        ("Müller^Jürgen", "Muller Jurgen"),
        ("Müller^Jürgen", "Ju\u0308rgen-Mu\u0308ller"),
        ("Mueller", "Müller"),
        ("Groß", "GROSS"),
        ("Søren^Bøe", "soeren boee"),
        ("Łukasz^Wójcik", "lukasz_wojcik"),
        ("Nguyễn^Văn", "nguyen_van"),
        ("Şahin", "sahin"),
        ("Lin^Kai", "\uff2c\uff29\uff2e"),
        ("Li^Na", "Na_Li"),
        ("Li^Na", "NaLi"),
        ("Russo^Elena", "RussoElena"),
        ("Jones^Sarah", "JonesSarah"),
        ("AB-0012345", "AB-12345"),
        ("Yamada^Tarou=山田^太郎", "太郎山田"),
        ("0012345", "12345"),
        *(("19700131", day) for day in ("1970-01-31", "31.01.1970", "31011970", "01-31-1970", "1970-1-31", "700131")),
    ],
)  # fmt: skip
def test_other_spellings(identity: str, path: str) -> None:
    mask = Masker([identity])
    assert set(re.sub(r"[\W_]", "", mask(path).replace(MASK, ""))) == set()
    assert mask(f"a/scan_{path}_1/b.dcm") == f"a/scan_{mask(path)}_1/b.dcm"


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ("19700131", "1.2.840.113619.2.55.3.604688119.971.1183700131.467"),
        ("Doe^Jo", "series 12 of 40 slices, major axis 1.5 mm"),
        ("Sue^Joe", "summed residues of the major axis"),
        ("Maes^Tom", "mask_1"),
        ("Ross^Ann", "prostate"),
        ("Baer^Max", "lumbar spine"),
        ("René^Conté", "renal mass, contrast agent"),
        ("19550203", "1.2.840.113619.2.55.3.604"),
        ("20021203", "1.3.12.2.1107.5"),
        ("19000101", "version 0.1.1, orientation (1, 0, 1)"),
        ("12", "images/0012"),
    ],
)
def test_what_only_looks_alike_stays(identity: str, text: str) -> None:
    assert MASK not in Masker([identity])(text)


def test_names_that_are_joined() -> None:
    assert Masker(["Eva^K"])("MariaEva") == f"Maria{MASK}"


def test_a_sentence_keeps_its_figures_and_loses_what_it_quotes() -> None:
    mask = Masker(["1", "Quill^Peregrine", "19700131"])
    assert (
        mask.quoted("1 of 30 slices is 'born 31/01/1970' at 1 mm")
        == f"1 of 30 slices is 'born {MASK}' at 1 mm"
    )
    assert (
        mask.quoted("it is 'given to Mr Quill Pereg...', but 1")
        == f"it is 'given to Mr {MASK} {MASK}...', but 1"
    )


@pytest.mark.parametrize("end", ["knee", "\\" * 9, "é" * 9, "'" * 9, "\"'" * 5])
def test_a_quoted_value_is_masked_wherever_it_is_cut_off(end: str) -> None:
    mask = Masker(["Quill^Peregrine"])
    for length in range(70):
        for value in ("x" * length + " Quill" + end, ("x" * length + " Quill" + end).encode()):
            told = mask.quoted(
                f"the frame's kernel is {shorten(value)}, but {shorten('Quill knee')} in 1.dcm"
            )
            assert "Qu" not in told


def test_a_name_that_is_cut_off_is_masked_however_it_is_spelt() -> None:
    mask = Masker(["Müller^Anna"])
    for name in ("Müller", "Muller", "Mueller", "MULLER"):
        for length in range(30, 60):
            assert not re.search(
                "m(ü|u|ue|.xfc)l", mask.quoted(shorten("x" * length + f" {name} Anna 2021")), re.I
            )


def test_a_sentence_after_a_quotation_stays() -> None:
    mask = Masker(["Quill^Peregrine"])
    for length in range(70):
        for value in ("x" * length + " Quill knee", "y" * length):
            told = mask.quoted(
                f"the frame's kernel is {shorten(value)}, but {shorten('Quill knee')} in 1.dcm"
            )
            assert told.endswith(f"but '{MASK} knee' in 1.dcm")


def test_a_message_that_quotes_a_name_by_its_codes() -> None:
    assert Masker(["Müller^J"])(f"it is {'Müller'!a}, but") == f"it is '{MASK}', but"
