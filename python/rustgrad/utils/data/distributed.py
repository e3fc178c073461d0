"""The sampler of one process among several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from typing import Any

import rustgrad as _rg
from rustgrad.utils.data.sampler import Sampler


class DistributedSampler(Sampler[Any]):
    """The part of a data set that belongs to one of ``num_replicas`` processes."""

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            message = "Requires distributed package to be available"
            raise RuntimeError(message)
        if rank >= num_replicas or rank < 0:
            message = f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            raise ValueError(message)
        self.dataset, self.num_replicas, self.rank, self.epoch = dataset, num_replicas, rank, 0
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        n = len(dataset)
        self.num_samples = math.ceil((n - num_replicas if drop_last and n % num_replicas else n) / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        if self.shuffle:
            generator = _rg.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = _rg.randperm(n, generator=generator).tolist()
        else:
            order = list(range(n))
        if self.drop_last:
            order = order[: self.total_size]
        elif order:
            # The first samples again, until every process has as many.
            missing = self.total_size - len(order)
            order += (order * math.ceil(missing / len(order)))[:missing]
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch
