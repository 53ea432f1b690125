"""Python code of the MCANet bundle: networks, study, inference, results, training."""

import json
from pathlib import Path

BUNDLE_ROOT = Path(__file__).resolve().parents[1]

__version__: str = json.loads((BUNDLE_ROOT / "configs" / "metadata.json").read_text())["version"]
