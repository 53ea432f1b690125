"""The average of the weights begins at those that the training begins at, and is saved without a validation too."""

from pathlib import Path

import torch
from ignite.engine import Engine, Events
from mcanet.scripts.networks import load_weights
from mcanet.scripts.training import WeightAverage, save_unvalidated


def train(network: torch.nn.Linear, average: WeightAverage, iteration: int = 0) -> None:
    """One iteration without a step, before which weights are loaded into the network alone."""
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.STARTED, lambda: torch.nn.init.constant_(network.weight, 5.0))
    engine.load_state_dict({"iteration": iteration, "epoch_length": 2, "max_epochs": 1})
    average.attach(engine)
    engine.run([0, 0])


def test_weights_that_are_loaded_at_the_start_are_averaged_from() -> None:
    network = torch.nn.Linear(2, 2)
    average = WeightAverage(network, momentum=0.001)
    train(network, average)
    assert average.ema_model.weight.eq(5).all()


def test_a_resumed_average_goes_on_as_it_was() -> None:
    network = torch.nn.Linear(2, 2)
    average = WeightAverage(network, momentum=0.001)
    torch.nn.init.zeros_(average.ema_model.weight)
    train(network, average, iteration=1)
    assert average.ema_model.weight.max() < 0.1


def test_weights_are_saved_only_where_no_validation_saved_them(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    save_unvalidated(network, tmp_path / "out", [{"image": "a"}])
    assert not (tmp_path / "out").exists()
    save_unvalidated(network, tmp_path / "out", [])
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.pt"]
    other = load_weights(torch.nn.Linear(2, 2), tmp_path / "out" / "model.pt")
    assert other.weight.equal(network.weight)
