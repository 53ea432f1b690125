"""What a training draws at random: by seed, epoch and case alone, so that it can be repeated and gone on with."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import CacheDataset
from torch.utils.data import DistributedSampler

from .shared_cache import several_ranks, shared_among_ranks


class SeededDataset(CacheDataset):
    """MONAI's CacheDataset, each of whose items draws by seed, epoch and its own index.

    Neither the number of loader processes or ranks, nor a training that was interrupted, changes what is drawn. The
    ranks of a machine share one cache.

    Args:
        data: the cases.
        transform: a Compose.
        cache_rate: share of the cases kept in memory, as far as the first random transform.
        seed: of the draws.
    """

    def __init__(
        self, data: Sequence[Any], transform: Callable[..., Any], cache_rate: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__(data=data, transform=transform, cache_rate=cache_rate, progress=False)
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # loader processes outlive an epoch

    def _fill_cache(self, indices: Sequence[int] | None = None) -> list[Any]:
        if indices and several_ranks():
            return shared_among_ranks(self._load_cache_item, indices)
        return super()._fill_cache(indices)  # type: ignore[no-any-return]

    def _transform(self, index: int) -> Any:
        self.transform.set_random_state(seed_of(self.seed, int(self.epoch), index))
        return super()._transform(index)


class WholeBatches(DistributedSampler):
    """PyTorch's DistributedSampler, shuffled, whose last batch is filled up with cases of the same epoch.

    So several ranks see the batches that one process does, of which none holds a single patch alone.

    Args:
        dataset: the training's; if it fills no batch, it is shared out as it is.
        batch_size: of a rank.
        num_replicas: ranks.
        rank: this one.
    """

    def __init__(self, dataset: SeededDataset, batch_size: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=True)
        if len(dataset) > batch_size * num_replicas:
            self.num_samples = math.ceil(self.num_samples / batch_size) * batch_size
            self.total_size = self.num_samples * num_replicas


class SeedDraws:
    """Ignite handler of a trainer: seeds what an epoch draws (its cases' order and augmentation) and a step (dropout).

    Args:
        seed: of the training.
        dataset: the training's.
        sampler: that shuffles it.
    """

    def __init__(self, seed: int, dataset: SeededDataset, sampler: WholeBatches) -> None:
        self.seed, self.dataset, self.sampler = seed, dataset, sampler

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(Events.ITERATION_STARTED, self._begin_step)

    def _begin_epoch(self, engine: Engine) -> None:
        self.dataset.epoch.fill_(engine.state.epoch)
        self.sampler.set_epoch(engine.state.epoch)

    def _begin_step(self, engine: Engine) -> None:
        torch.manual_seed(seed_of(self.seed, engine.state.iteration))  # each: a new loader takes a number too


def seed_of(*numbers: int) -> int:
    """One 32-bit seed that follows from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
