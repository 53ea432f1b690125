"""What is drawn depends on seed, epoch and case, and on nothing else."""

import torch
from mcanet.scripts.training import open_dataset
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


def test_another_epoch_seed_or_case_draws_anew() -> None:
    base = draws([0, 1], epoch=3)
    assert not torch.equal(base[0], base[1])
    for other in (draws([0], epoch=4), draws([0], epoch=3, seed=1)):
        assert not torch.equal(base[0], other[0])
