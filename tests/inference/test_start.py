"""What a run says before it begins."""

import pytest
from mcanet.scripts.inference import tell_license


def test_a_licence_that_forbids_commercial_use_is_said_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    tell_license(None)
    assert caplog.text == ""
    tell_license("CC BY-NC-SA 4.0 (ACDC)")
    assert "may not be used commercially, their training data are CC BY-NC-SA 4.0 (ACDC)" in caplog.text
