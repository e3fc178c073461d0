"""Data sets, samplers and loaders."""

from __future__ import annotations

import os
import random
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracle import T

data: Any = T.utils.data


class Squares(T.utils.data.Dataset[Any]):  # type: ignore[misc]
    """The first numbers with their squares."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return T.tensor([float(i), 1.0]), i * i


class Point(NamedTuple):
    """A sample with named parts."""

    x: Any
    y: Any


class Count(T.utils.data.IterableDataset[Any]):  # type: ignore[misc]
    """Numbers one after the other."""

    def __iter__(self) -> Any:
        return iter(range(5))


def test_batches_in_order() -> None:
    loader = data.DataLoader(Squares(5), batch_size=2)
    batches = [(x.tolist(), y.tolist()) for x, y in loader]
    assert batches[0] == ([[0.0, 1.0], [1.0, 1.0]], [0, 1])
    assert batches[2] == ([[4.0, 1.0]], [16])
    assert len(loader) == 3
    assert len(data.DataLoader(Squares(5), batch_size=2, drop_last=True)) == 2
    assert len(list(data.DataLoader(Squares(5), batch_size=2, drop_last=True))) == 2


def test_shuffled_passes_follow_the_seed() -> None:
    T.manual_seed(0)
    loader = data.DataLoader(data.TensorDataset(T.arange(8)), batch_size=4, shuffle=True)
    passes = [[batch[0].tolist() for batch in loader] for _ in range(2)]
    # What torch gives.
    assert passes == [[[2, 0, 5, 3], [1, 4, 7, 6]], [[0, 3, 7, 1], [6, 2, 5, 4]]]


def test_generator_and_split() -> None:
    parts = data.random_split(range(10), [3, 7], generator=T.Generator().manual_seed(42))
    assert [list(part) for part in parts] == [[2, 6, 1], [8, 4, 5, 0, 9, 3, 7]]
    assert [len(part) for part in data.random_split(range(10), [0.35, 0.35, 0.3])] == [4, 3, 3]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(range(10), [3, 3])


def test_tensor_dataset_and_others() -> None:
    x, y = T.arange(6).reshape(3, 2), T.arange(3)
    both = data.TensorDataset(x, y)
    assert both[1][0].tolist() == [2, 3]
    assert len(both + both) == 6
    assert (both + both)[4][1].item() == 1
    assert data.Subset(both, [2, 0])[0][1].item() == 2
    assert data.StackDataset(a=y, b=y)[1] == {"a": y[1], "b": y[1]}
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(x, T.arange(2))


def test_iterable() -> None:
    assert [b.tolist() for b in data.DataLoader(Count(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert list(data.DataLoader(Count(), batch_size=None)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="expected unspecified shuffle option"):
        data.DataLoader(Count(), shuffle=True)


def test_collate() -> None:
    batch = data.default_collate([Point(1, 2.5), Point(3, 4.5)])
    assert isinstance(batch, Point)
    assert batch.x.tolist() == [1, 3]
    assert batch.y.dtype == T.float64
    batch = data.default_collate([{"a": T.zeros(2), "b": "s"}, {"a": T.ones(2), "b": "t"}])
    assert batch["a"].tolist() == [[0, 0], [1, 1]]
    assert batch["b"] == ["s", "t"]
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="default_collate: batch must contain"):
        data.default_collate([object()])
    pairs = list(data.DataLoader([1, 2, 3], batch_size=3, collate_fn=sum))
    assert pairs == [6]


def test_samplers() -> None:
    drawn = list(data.WeightedRandomSampler([0.0, 1.0], 5))
    assert drawn == [1] * 5
    assert sorted(data.SubsetRandomSampler([3, 5, 7])) == [3, 5, 7]
    assert list(data.BatchSampler(data.SequentialSampler(range(5)), 2, False)) == [[0, 1], [2, 3], [4]]
    assert len(list(data.RandomSampler(range(3), replacement=True, num_samples=50))) == 50
    with pytest.raises(ValueError, match="mutually exclusive with shuffle"):
        data.DataLoader(Squares(3), shuffle=True, sampler=[0])
    with pytest.raises(ValueError, match="batch_size should be a positive integer"):
        data.DataLoader(Squares(3), batch_size=0)


class Drawn(T.utils.data.Dataset[Any]):  # type: ignore[misc]
    """Random numbers, and who drew them."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> tuple[Any, float, float, int]:
        info = data.get_worker_info()
        assert info.seed % 4 == (DRAWN_SEED + info.id) % 4
        return T.rand(()), random.random(), np.random.rand(), info.id


class Shares(T.utils.data.IterableDataset[Any]):  # type: ignore[misc]
    """Numbers, each from one worker."""

    def __iter__(self) -> Any:
        info = data.get_worker_info()
        return iter(range(info.id if info else 0, 11, info.num_workers if info else 1))


class Failing(Squares):
    """A data set whose last sample raises an exception."""

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if i == self.n - 1:
            message = "no such file"
            raise OSError(message)
        return super().__getitem__(i)


class Dying(Squares):
    """A data set that ends the process."""

    def __getitem__(self, i: int) -> tuple[Any, int]:
        os._exit(3)


DRAWN_SEED = 0
WORKERS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning", "ignore:.*worker process")


@WORKERS
@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"batch_size": None}, {"batch_size": 3, "shuffle": True}])
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_what_one_process_gives(options: dict[str, Any], workers: int) -> None:
    """The batches and their order do not depend on who makes them."""
    passes = []
    for number in (0, workers):
        T.manual_seed(3)
        loader = data.DataLoader(Squares(7), num_workers=number, **options)
        passes.append([(T.as_tensor(x).tolist(), T.as_tensor(y).tolist()) for x, y in loader])
    assert passes[0] == passes[1]


@WORKERS
def test_large_tensors_arrive_whole() -> None:
    """What lies apart from the rest is put back, views and twice the same tensor included."""
    x = T.arange(60_000.0).view(100, 600)
    same: Any = [(x, x, x.t()), {"a": x[3:], "b": x.double()}]
    for got, want in zip(data.DataLoader(same, batch_size=None, num_workers=1), same, strict=True):
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got[k], want[k]) for k in want]
        assert all(T.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@WORKERS
def test_workers_are_seeded_as_torchs() -> None:
    T.manual_seed(5)
    global DRAWN_SEED
    DRAWN_SEED = int(T.empty((), dtype=T.int64).random_())
    T.manual_seed(5)
    batches = [[part.tolist() for part in batch] for batch in data.DataLoader(Drawn(), batch_size=3, num_workers=2)]
    assert [batch[3] for batch in batches] == [[0, 0, 0], [1, 1, 1]]
    # What torch gives.
    first = [[part[0] for part in batch[:3]] for batch in batches]
    assert np.allclose(first, [[0.71060067, 0.97320599, 0.48524967], [0.29051864, 0.7347412, 0.0807273]])


@WORKERS
def test_iterable_data_sets_share_their_samples() -> None:
    loader = data.DataLoader(Shares(), batch_size=2, num_workers=2)
    assert [batch.tolist() for batch in loader] == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]
    assert sum(len(batch) for batch in data.DataLoader(Shares(), batch_size=2, num_workers=3, drop_last=True)) == 10
    assert len(list(data.DataLoader(Count(), batch_size=None, num_workers=2))) == 10


@WORKERS
def test_workers_stay() -> None:
    """With ``persistent_workers`` a pass may be left in the middle, and the next one is whole."""
    loader = data.DataLoader(Squares(6), num_workers=2, persistent_workers=True)
    passes = iter(loader)
    assert int(next(passes)[1]) == 0
    for _ in range(2):
        assert [int(y) for _, y in loader] == [0, 1, 4, 9, 16, 25]


@WORKERS
def test_failures_of_workers() -> None:
    with pytest.raises(OSError, match=r"(?s)Caught OSError in DataLoader worker process 1\..*no such file"):
        list(data.DataLoader(Failing(4), num_workers=2))
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(data.DataLoader(Dying(4), num_workers=1))
    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
        list(data.DataLoader(Squares(4), num_workers=1, worker_init_fn=refuse))
    with pytest.raises(ValueError, match="persistent_workers option needs num_workers > 0"):
        data.DataLoader(Squares(4), persistent_workers=True)
    with pytest.raises(ValueError, match="multiprocessing_context can only be used"):
        data.DataLoader(Squares(4), multiprocessing_context="fork")


def refuse(number: int) -> None:
    """Fail in the place of ``worker_init_fn``."""
    message = f"not {number}"
    raise ValueError(message)


def test_shares_of_processes() -> None:
    parts = [list(data.DistributedSampler(range(7), num_replicas=3, rank=i, shuffle=False)) for i in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    sampler = data.distributed.DistributedSampler(range(7), 2, 0, seed=3, drop_last=True)
    first = list(sampler)
    sampler.set_epoch(1)
    assert len(first) == len(sampler) == 3
    assert first != list(sampler)
    with pytest.raises(ValueError, match="Invalid rank 2, rank should be in the interval"):
        data.DistributedSampler(range(7), 2, 2)


def test_strings_of_samples_stay_in_a_tuple() -> None:
    """Strings among the parts of samples are left as they came."""
    loader = T.utils.data.DataLoader([(1, "a"), (2, "b")], batch_size=2)
    numbers, names = next(iter(loader))
    assert numbers.tolist() == [1, 2]
    assert names == ("a", "b")
    assert T.utils.data.default_collate(["a", "b"]) == ["a", "b"]
