"""Data sets."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import rustgrad as _rg
from rustgrad._core import Generator, Tensor

_T_co = TypeVar("_T_co", covariant=True)


class Dataset(Generic[_T_co]):
    """Samples by index: subclasses define ``__getitem__`` and usually ``__len__``."""

    def __getitem__(self, index: Any) -> _T_co:
        message = "Subclasses of Dataset should implement __getitem__."
        raise NotImplementedError(message)

    def __add__(self, other: Dataset[_T_co]) -> ConcatDataset[_T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[_T_co], Iterable[_T_co]):
    """Samples one after the other: subclasses define ``__iter__``."""

    def __add__(self, other: Dataset[_T_co]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Rows of tensors of one length."""

    def __init__(self, *tensors: Tensor) -> None:
        if any(len(tensors[0]) != len(tensor) for tensor in tensors):
            message = "Size mismatch between tensors"
            raise AssertionError(message)
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Several data sets of one length, side by side."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            message = "Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like input/output, "
            message += "but both types are given."
            raise ValueError(message)
        if not args and not kwargs:
            message = "At least one dataset should be passed"
            raise ValueError(message)
        self.datasets: Any = args or kwargs
        parts = list(args or kwargs.values())
        self._length = len(parts[0])
        if any(len(part) != self._length for part in parts):
            message = "Size mismatch between datasets"
            raise ValueError(message)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple(part[index] for part in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[_T_co]):
    """Data sets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            message = "datasets should not be an empty iterable"
            raise AssertionError(message)
        if any(isinstance(part, IterableDataset) for part in self.datasets):
            message = "ConcatDataset does not support IterableDataset"
            raise AssertionError(message)
        self.cumulative_sizes: list[int] = []
        for part in self.datasets:
            self.cumulative_sizes.append(len(part) + (self.cumulative_sizes[-1] if self.cumulative_sizes else 0))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> _T_co:
        if index < 0:
            if -index > len(self):
                message = "absolute value of index should not exceed dataset length"
                raise ValueError(message)
            index += len(self)
        part = bisect.bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[part - 1] if part else 0
        found: _T_co = self.datasets[part][index - before]
        return found


class ChainDataset(IterableDataset[Any]):
    """Iterable data sets one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for part in self.datasets:
            if not isinstance(part, IterableDataset):
                message = "ChainDataset only supports IterableDataset"
                raise AssertionError(message)
            yield from part

    def __len__(self) -> int:
        return sum(len(part) for part in self.datasets)


class Subset(Dataset[_T_co]):
    """Chosen samples of a data set."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> _T_co:
        if isinstance(index, list):
            found: _T_co = self.dataset[[self.indices[i] for i in index]]
            return found
        one: _T_co = self.dataset[self.indices[index]]
        return one

    def __getitems__(self, indices: list[int]) -> list[_T_co]:
        """Return several samples."""
        chosen = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            found: list[_T_co] = self.dataset.__getitems__(chosen)
            return found
        return [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Return parts of the given lengths, or shares that add up to 1, of the samples in random order."""
    sizes: list[Any] = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for i, share in enumerate(sizes):
            if share < 0 or share > 1:
                message = f"Fraction at index {i} is not between 0 and 1"
                raise ValueError(message)
        sizes = [math.floor(len(dataset) * share) for share in sizes]
        for i in range(len(dataset) - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != len(dataset):
        message = "Sum of input lengths does not equal the length of the input dataset!"
        raise ValueError(message)
    order = _rg.randperm(int(sum(sizes)), generator=generator).tolist()
    parts: list[Subset[Any]] = []
    start = 0
    for size in sizes:
        parts.append(Subset(dataset, order[start : start + int(size)]))
        start += int(size)
    return parts
