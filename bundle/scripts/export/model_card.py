"""The model card: of a task in the model zoo's headings, and the same text as the Hugging Face Hub wants it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import BUNDLE_ROOT

_TEMPLATE = Path(__file__).with_name("model_card.md")


def model_card(metadata: Mapping[str, Any], configs: Mapping[str, Any], forbidding: str = "") -> str:
    """The card of a task, from what its metadata and its settings say.

    Args:
        metadata: see :func:`task_metadata`.
        configs: "train" and "inference", see :func:`flat_config`.
        forbidding: the licence of the weights' data, if it forbids commercial use.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    own = (BUNDLE_ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        meta=metadata,
        image=metadata["network_data_format"]["inputs"]["image"],
        pred=metadata["network_data_format"]["outputs"]["pred"],
        train=configs["train"],
        inference=configs["inference"],
        forbidding=forbidding,
        commands=_section(own, "Commands").replace("Task04_Hippocampus", "DATA"),
    )


def own_card(card: str) -> str:
    """The default task's own card, with the licence of one that speaks of no other task."""
    own = (BUNDLE_ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    return own.replace(_section(own, "License"), _section(card, "License"))


def hub_card(card: str, metadata: Mapping[str, Any], forbidding: str = "") -> str:
    """A model card under the front matter that the Hugging Face Hub reads.

    Source: https://huggingface.co/docs/hub/model-cards
    """
    modality = metadata["network_data_format"]["inputs"]["image"].get("modality", "")
    own = {"license": "apache-2.0"}
    if forbidding:
        own = {"license": "other", "license_name": "non-commercial", "license_link": "docs/data_license.txt"}
    matter = {
        **own,
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", "mcanet", *modality.lower().replace(",", "").split()],
        "metrics": list(metadata.get("eval_metrics", {})),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in matter.items()]  # JSON is YAML
    return "\n".join(["---", *lines, "---", card])


def _section(card: str, heading: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"docs/README.md has no heading '## {heading}'")
    return found[1].strip()
