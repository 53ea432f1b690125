"""The configuration files agree wherever they say the same."""

import json

import pytest

from ..conftest import ROOT
from .run import CONFIGS


def load(name: str) -> dict:
    return json.loads((CONFIGS / f"{name}.json").read_text())


SHARED = (
    "in_channels",
    "out_channels",
    "variant",
    "planes",
    "context",
    "spacing",
    "roi_size",
    "intensity",
    "network_def",
)


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_what_the_workflows_share_is_equal(name: str) -> None:
    ours, inference = load(name), load("inference")
    assert {key: ours[key] for key in SHARED} == {key: inference[key] for key in SHARED}


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_an_overlay_imports_what_it_replaces(name: str) -> None:
    assert set(load(name)["imports"]) <= set(load(f"multi_gpu_{name}")["imports"])


def test_evaluation_names_the_labels_that_inference_writes() -> None:
    assert load("evaluate")["labels"] == load("inference")["labels"]


def test_evaluation_and_validation_measure_alike() -> None:
    train, evaluate = load("train"), load("evaluate")
    *reading, intensity = evaluate["preprocessing"]["transforms"]
    assert [*reading, "@intensity"] == train["validate"]["preprocessing"]["transforms"]
    assert intensity == load("inference")["preprocessing"]["transforms"][-1]
    assert evaluate["inferer"] == load("inference")["inferer"]
    assert evaluate["postprocessing"] == load("inference")["postprocessing"]
    for setting in ("flips", "keep_largest", "min_voxels", "fill_holes", "sw_batch_size"):
        assert evaluate[setting] == load("inference")[setting]


def test_metadata_follows_the_label_table() -> None:
    metadata, inference = load("metadata"), load("inference")
    names = {str(label["value"]): label["name"] for label in inference["labels"]}
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "background", **names}
    assert output["num_channels"] == inference["out_channels"] == len(names) + 1
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == inference["in_channels"]
    assert metadata["version"] in metadata["changelog"]


def test_no_path_of_a_machine_and_no_copy_of_the_multi_gpu_settings() -> None:
    for file in CONFIGS.rglob("*.json"):
        text = file.read_text()
        assert "/workspace" not in text
        assert "/home" not in text
        assert "cuda:0" not in text


def test_the_version_is_the_same_wherever_it_must_be_repeated() -> None:
    version = load("metadata")["version"]
    assert version in load("metadata")["changelog"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()
