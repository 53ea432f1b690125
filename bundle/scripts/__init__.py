"""Python code of the MCANet bundle: networks, study, inference, results, training."""

import json
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", r"axcodes \('RAS'\) length is smaller")  # a picture has two of its axes

BUNDLE_ROOT = Path(__file__).resolve().parents[1]

__version__: str = json.loads((BUNDLE_ROOT / "configs" / "metadata.json").read_text())["version"]


def flag(value: bool | str | None) -> bool | None:
    """A setting that is on or off; the command line gives ``true``, ``false`` and ``null`` as texts.

    Raises:
        SystemExit: the text, or the number, is none of these.
    """
    named = {"true": True, "false": False, "null": None, "none": None, "1": True, "0": False}
    if not isinstance(value, str | int | float):
        return value
    if (word := str(value).lower()) not in named:
        raise SystemExit(f"expected true or false, got {value!r}")
    return named[word]
