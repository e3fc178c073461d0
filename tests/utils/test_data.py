"""Data sets, samplers and loaders."""

from __future__ import annotations

from typing import Any, NamedTuple

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


@pytest.mark.rustgrad_only
def test_workers_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="num_workers=0"):
        data.DataLoader(Squares(3), num_workers=2)


def test_strings_of_samples_stay_in_a_tuple() -> None:
    """Strings among the parts of samples are left as they came."""
    loader = T.utils.data.DataLoader([(1, "a"), (2, "b")], batch_size=2)
    numbers, names = next(iter(loader))
    assert numbers.tolist() == [1, 2]
    assert names == ("a", "b")
    assert T.utils.data.default_collate(["a", "b"]) == ["a", "b"]
