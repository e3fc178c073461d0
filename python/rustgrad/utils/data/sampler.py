"""Orders of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Generic, TypeVar

import rustgrad as _rg

if TYPE_CHECKING:
    from rustgrad._core import Generator

_T_co = TypeVar("_T_co", covariant=True)


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
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            message = f"num_samples should be a positive integer value, but got num_samples={self.num_samples}"
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
