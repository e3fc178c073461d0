"""Data sets, samplers and loaders: what programs take from ``torch.utils.data``, in one process.

``num_workers`` above 0 is refused: the engine's own threads make the batches' arithmetic parallel, and a
loader that forks is not worth its price for data in memory.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
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


class Sampler(Generic[_T_co]):
    """An order of samples: subclasses define ``__iter__``."""

    def __init__(self, data_source: Sized | None = None) -> None:
        pass

    def __iter__(self) -> Iterator[_T_co]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """One after the other."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """In random order, or at random with replacement."""

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source, self.replacement, self._num_samples = data_source, replacement, num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            message = f"replacement should be a boolean value, but got replacement={replacement}"
            raise TypeError(message)
        if not isinstance(self.num_samples, int) or self.num_samples < 0:
            message = f"num_samples should be a non-negative integer value, but got num_samples={self.num_samples}"
            raise ValueError(message)

    @property
    def num_samples(self) -> int:
        """How many samples a pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = _rg.Generator()
            generator.manual_seed(int(_rg.empty((), dtype=_rg.int64).random_().item()))
        if self.replacement:
            for _ in range(self.num_samples // 32):
                yield from _rg.randint(n, (32,), dtype=_rg.int64, generator=generator).tolist()
            rest = self.num_samples % 32
            yield from _rg.randint(n, (rest,), dtype=_rg.int64, generator=generator).tolist()
            return
        for _ in range(self.num_samples // n if n else 0):
            yield from _rg.randperm(n, generator=generator).tolist()
        yield from _rg.randperm(n, generator=generator).tolist()[: self.num_samples % n if n else 0]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given samples in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for i in _rg.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Samples drawn with probabilities in proportion to weights."""

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            message = f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            raise ValueError(message)
        if not isinstance(replacement, bool):
            message = f"replacement should be a boolean value, but got replacement={replacement}"
            raise ValueError(message)
        self.weights = _rg.as_tensor(weights, dtype=_rg.double)
        if self.weights.dim() != 1:
            message = f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            raise ValueError(message)
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = _rg.multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        yield from iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of samples from another sampler."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            message = f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            raise ValueError(message)
        if not isinstance(drop_last, bool):
            message = f"drop_last should be a boolean value, but got drop_last={drop_last}"
            raise ValueError(message)
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


WRONG = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found"


def default_convert(data: Any) -> Any:
    """Return the data with arrays as tensors, in what holds them."""
    if type(data).__module__ == "numpy":
        if type(data).__name__ == "ndarray" and data.dtype.kind in "SaUO":
            return data
        return _rg.as_tensor(data)
    if isinstance(data, Mapping):
        return type(data)({key: default_convert(value) for key, value in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(value) for value in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Return a batch of samples: tensors stacked, numbers as a tensor, sequences and mappings by their parts."""
    first = batch[0]
    if isinstance(first, Tensor):
        return _rg.stack(list(batch), 0)
    if type(first).__module__ == "numpy" and type(first).__name__ not in ("str_", "string_", "bytes_"):
        if type(first).__name__ == "ndarray":
            if first.dtype.kind in "SaUO":
                message = f"{WRONG} {first.dtype}"
                raise TypeError(message)
            return default_collate([_rg.as_tensor(array) for array in batch])
        if first.shape == ():
            return _rg.as_tensor(batch)
    if isinstance(first, float):
        return _rg.tensor(batch, dtype=_rg.float64)
    if isinstance(first, int):
        return _rg.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        parts = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return type(first)(parts) if type(first) is not dict else parts  # type: ignore[call-arg]
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(part) for part in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            message = "each element in list of batch should be of equal size"
            raise RuntimeError(message)
        # Strings stay in the tuple that transposing the samples makes, as in torch.
        return [default_collate(part) for part in zip(*batch, strict=True)]
    message = f"{WRONG} {type(first)}"
    raise TypeError(message)


class DataLoader(Generic[_T_co]):
    """Batches of a data set.

    Parameters
    ----------
    dataset
        What has ``__getitem__`` and ``__len__``, or an :class:`IterableDataset`.
    batch_size
        Samples in a batch; ``None`` gives single samples.
    shuffle
        Whether every pass has an order of its own.
    sampler, batch_sampler
        The order of samples, or of batches, instead.
    collate_fn
        What makes a batch of a list of samples.
    drop_last
        Whether a last batch that is not full is left out.
    generator
        Where random orders come from.

    ``pin_memory``, ``timeout``, ``persistent_workers`` and the like are accepted and change nothing, as
    nothing is loaded by other processes.

    Raises
    ------
    ValueError
        If the options contradict one another.
    NotImplementedError
        If ``num_workers`` is above 0.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            message = "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
            raise ValueError(message)
        if num_workers > 0:
            message = "rustgrad loads data in the process that asks for them; use num_workers=0"
            raise NotImplementedError(message)
        if timeout < 0:
            message = "timeout option should be non-negative"
            raise ValueError(message)
        if prefetch_factor is not None:
            message = (
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
            raise ValueError(message)
        if persistent_workers:
            message = "persistent_workers option needs num_workers > 0"
            raise ValueError(message)
        self.dataset, self.num_workers, self.pin_memory, self.timeout = dataset, num_workers, pin_memory, timeout
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.pin_memory_device, self.persistent_workers, self.in_order = pin_memory_device, persistent_workers, in_order
        self.prefetch_factor = prefetch_factor
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            self._check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            message = "sampler option is mutually exclusive with shuffle"
            raise ValueError(message)
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                message = "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                raise ValueError(message)
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            message = "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            raise ValueError(message)
        if sampler is None and not self._iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None and not self._iterable:
            batch_sampler = BatchSampler(sampler or (), batch_size, drop_last)
        elif batch_size is not None and self._iterable:
            BatchSampler((), batch_size, drop_last)  # for its checks
        self.batch_size, self.drop_last, self.sampler, self.batch_sampler = (
            batch_size,
            drop_last,
            sampler,
            batch_sampler,
        )
        self.generator = generator
        batched = batch_sampler is not None or (self._iterable and batch_size is not None)
        self.collate_fn: Callable[[Any], Any] = collate_fn or (default_collate if batched else default_convert)

    @staticmethod
    def _check_iterable(shuffle: bool | None, sampler: Any, batch_sampler: Any) -> None:
        for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
            if value is not None:
                message = f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                raise ValueError(message)

    def _batches(self) -> Iterator[list[Any]]:
        """Return lists of samples of an iterable data set."""
        batch: list[Any] = []
        for sample in self.dataset:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __iter__(self) -> Iterator[Any]:
        # torch draws a seed for its workers at the start of every pass, with or without workers.
        _rg.empty((), dtype=_rg.int64).random_(generator=self.generator)
        if self._iterable:
            samples = iter(self.dataset) if self.batch_size is None else self._batches()
            return map(self.collate_fn, samples)
        if self.batch_sampler is None:
            return map(lambda index: self.collate_fn(self.dataset[index]), iter(self.sampler or ()))
        return map(self._fetch, iter(self.batch_sampler))

    def _fetch(self, indices: list[Any]) -> Any:
        several = getattr(self.dataset, "__getitems__", None)
        samples = several(indices) if callable(several) else [self.dataset[index] for index in indices]
        return self.collate_fn(samples)

    def __len__(self) -> int:
        if self._iterable:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        order = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(order)  # type: ignore[arg-type]


def get_worker_info() -> None:
    """Return ``None``: the caller is in the main process."""


__all__ = [
    "BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "RandomSampler",
    "Sampler", "SequentialSampler", "StackDataset", "Subset", "SubsetRandomSampler", "TensorDataset",
    "WeightedRandomSampler", "default_collate", "default_convert", "get_worker_info", "random_split",
]  # fmt: skip
