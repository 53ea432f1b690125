"""A training that no case validates saves its weights too."""

from pathlib import Path

import torch
from mcanet.scripts.networks import load_weights
from mcanet.scripts.training import save_unvalidated

PARTS = {"training": ["a"], "validation": []}


def test_weights_are_saved_only_where_no_validation_saved_them(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    save_unvalidated(network, tmp_path / "out", PARTS, [{"image": "a"}])
    assert not (tmp_path / "out").exists()
    save_unvalidated(network, tmp_path / "out", PARTS, [])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["model.pt", "split.json"]
    other = load_weights(torch.nn.Linear(2, 2), tmp_path / "out" / "model.pt")
    assert other.weight.equal(network.weight)
