"""What is drawn depends on seed, epoch and case, and on nothing else."""

import pytest
import torch
from mcanet.scripts.training import WholeBatches, open_dataset
from monai.data import DataLoader
from monai.transforms import Compose, RandGaussianNoised


def draws(order: list[int], epoch: int, seed: int = 0, num_workers: int = 0) -> dict[int, torch.Tensor]:
    items = [{"image": torch.zeros(1, 4)} for _ in range(6)]
    dataset = open_dataset(items, Compose([RandGaussianNoised("image", prob=1.0)]), seed=seed)
    loader = DataLoader(
        dataset, batch_size=1, sampler=order, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    drawn: dict[int, torch.Tensor] = {}
    for dataset_epoch in (epoch - 1, epoch):  # loader processes see the second epoch as the first
        dataset.epoch.fill_(dataset_epoch)
        drawn = {index: batch["image"][0] for index, batch in zip(order, loader, strict=True)}
    return drawn


def test_neither_order_nor_loader_processes_change_what_a_case_draws() -> None:
    alone = draws([0, 1, 2, 3, 4, 5], epoch=3)
    for order, num_workers in (([5, 3, 1], 0), ([4, 2, 0, 1], 2)):
        for index, image in draws(order, epoch=3, num_workers=num_workers).items():
            assert torch.equal(image, alone[index])


@pytest.mark.parametrize(("cases", "steps"), [(16, 2), (13, 2), (17, 3), (8, 1), (3, 1)])
def test_ranks_deal_out_the_whole_batches_of_one_process(cases: int, steps: int) -> None:
    dataset = open_dataset([{"image": i} for i in range(cases)], Compose([]))

    def batches(batch_size: int, num_replicas: int, rank: int) -> list[set[int]]:
        sampler = WholeBatches(dataset, batch_size, num_replicas, rank)
        sampler.set_epoch(3)
        order = list(sampler)
        return [set(order[start : start + batch_size]) for start in range(0, len(order), batch_size)]

    one = batches(8, 1, 0)
    assert len(one) == steps
    assert set().union(*one) == set(range(cases))
    assert all(len(batch) == min(8, cases) for batch in one)
    for ranks in (2, 4):
        dealt = zip(*(batches(8 // ranks, ranks, rank) for rank in range(ranks)), strict=True)
        assert [set().union(*parts) for parts in dealt] == one


def test_another_epoch_seed_or_case_draws_anew() -> None:
    base = draws([0, 1], epoch=3)
    assert not torch.equal(base[0], base[1])
    for other in (draws([0], epoch=4), draws([0], epoch=3, seed=1)):
        assert not torch.equal(base[0], other[0])
