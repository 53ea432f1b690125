"""Federated learning by MONAI's own client: two sites, two rounds, weights averaged between them."""

from pathlib import Path

import pytest
import torch
from monai.fl.client.monai_algo import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from ..conftest import BUNDLE
from ..end_to_end import hippocampi

Weights = dict[str, torch.Tensor]
ROUNDS = 2


def site(folder: Path, volumes: int) -> MonaiAlgo:
    """A client with data of its own, as small as a round can be."""
    settings = {
        "dataset_dir": str(hippocampi.decathlon(folder, volumes)),
        "ckpt_dir": str(folder / "models"),
        "output_dir": str(folder / "runs"),
        "max_epochs": ROUNDS,
        "val_interval": 1,
        "num_workers": 0,
        "batch_size": 1,
        "num_samples": 2,
        "planes": [2],
        "spacing": 1.5,
        "roi_size": [64, 64],
    }
    client = MonaiAlgo(
        str(BUNDLE),
        local_epochs=1,
        send_weight_diff=False,
        config_train_filename=["configs/train.json", "configs/federated.json"],
        train_kwargs=settings,
        config_evaluate_filename="configs/train.json",
        eval_kwargs={**settings, "ckpt_dir": str(folder / "shared")},
    )
    client.initialize({ExtraItems.CLIENT_NAME: folder.name})
    return client


def mean(of: list[Weights]) -> Weights:
    """What a server does: the mean of every tensor, counters as whole numbers."""
    return {name: sum(w[name].double() for w in of).div(len(of)).to(of[0][name].dtype) for name in of[0]}


def apart(one: Weights, other: Weights) -> float:
    """The largest difference of a trained weight."""
    return max((one[name] - other[name]).abs().max().item() for name in one if name.endswith("weight"))


@pytest.mark.slow
def test_two_sites_train_and_evaluate_for_two_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BUNDLE))
    sites = [site(tmp_path / "one", 4), site(tmp_path / "two", 5)]
    start = {name: tensor.clone() for name, tensor in sites[0].trainer.network.state_dict().items()}
    shared = start
    for number in range(1, ROUNDS + 1):
        for client in sites:
            own = number == 1 and client is sites[0]  # as the client gives them: the memory that they go into
            client.train(ExchangeObject(weights=client.get_weights().weights if own else shared))
        sent = [client.get_weights() for client in sites]
        assert [answer.weight_type for answer in sent] == [WeightType.WEIGHTS] * 2
        assert all(answer.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] >= 1 for answer in sent)
        assert all(client.trainer.state.epoch == number for client in sites)
        one, two = (answer.weights for answer in sent)
        assert min(apart(one, shared), apart(two, shared)) > 0  # the last round still learns
        assert apart(one, two) > 0
        shared = mean([one, two])
        for client in sites:
            metrics = client.evaluate(ExchangeObject(weights=shared)).metrics
            assert 0 <= metrics["val_mean_dice"] <= 1
            assert apart(client.evaluator.network.state_dict(), shared) == 0
            assert (Path(client.eval_kwargs["ckpt_dir"]) / "model.pt").is_file()
    for client in sites:
        best = torch.load(Path(client.train_kwargs["ckpt_dir"]) / "model.pt", weights_only=True)
        assert apart(best, start) > 0
        client.finalize()
