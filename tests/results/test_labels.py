"""The label table refuses what would end in a wrong name or an invalid code."""

import copy

import pytest
from mcanet.scripts.results import label_table
from mcanet.scripts.results.labels import is_snomed_identifier
from pydicom.sr.codedict import codes

from .phantom import CONFIG


def test_reads_the_configuration_sorted_by_value() -> None:
    table = label_table(list(reversed(CONFIG)))
    assert [label.value for label in table] == [1, 2, 3]
    assert table[2].modifiers[0].meaning == "Left"
    assert table[0].colour == (200, 90, 60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 0}, "from 1 to 255"),
        ({"value": 256}, "got 256"),
        ({"value": True}, "got True"),
        ({"value": "1"}, "got '1'"),
        ({"value": 2}, "value 2 is given to 'liver' and to 'spleen'"),
        ({"name": "spleen"}, "names must differ"),
        ({"name": ""}, "name must be"),
        ({"name": "a\nb"}, "printable"),
        ({"color": [1, 2, 3]}, "unknown: \\['color'\\]"),
        ({"colour": [1, 2]}, "three integers"),
        ({"colour": [1, 2, 300]}, "0 to 255"),
        ({"colour": "red"}, "got 'red'"),
        ({"type": ["10200005", "SCT", "Liver"]}, "'10200005' .* no SNOMED CT identifier"),
        ({"type": ["liver"]}, "code value, scheme, meaning"),
        ({"type": ["10200004", "SCT", "L" * 65]}, "1 to 64 printable"),
        ({"category": ["", "SCT", "x"]}, "code's value"),
        ({"modifiers": "Left"}, "list of codes"),
        ({"region": 7}, "region must be"),
    ],
)
def test_refuses(change: dict[str, object], message: str) -> None:
    config = copy.deepcopy(CONFIG)
    config[0].update(change)
    with pytest.raises(ValueError, match=message):
        label_table(config)


@pytest.mark.parametrize("config", [[], {}, "labels", None, ["liver"]])
def test_refuses_what_is_no_list_of_labels(config: object) -> None:
    with pytest.raises(ValueError, match="label"):
        label_table(config)  # type: ignore[arg-type]


def test_names_missing_keys() -> None:
    with pytest.raises(ValueError, match=r"'liver'.*missing: \['colour', 'category', 'type'\]"):
        label_table([{"value": 1, "name": "liver"}])


def test_every_identifier_of_pydicom_has_a_valid_check_digit() -> None:
    known = [getattr(codes.SCT, name).value for name in codes.SCT.dir()]
    assert len(known) > 1000
    wrong = [value for value in known if not is_snomed_identifier(value)]
    assert len(wrong) <= 5, wrong[:10]


@pytest.mark.parametrize("text", ["", "12345", "0123456", "5366009", "53660o8", "5366008 ", "5" * 17])
def test_malformed_identifiers(text: str) -> None:
    assert not is_snomed_identifier(text)
