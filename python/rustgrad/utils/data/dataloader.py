"""The loader: batches of a data set, made in this process or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, repeat, takewhile
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import rustgrad as _rg
from rustgrad.utils.data._collate import default_collate as default_collate
from rustgrad.utils.data._collate import default_convert as default_convert
from rustgrad.utils.data._workers import End, Workers
from rustgrad.utils.data._workers import get_worker_info as get_worker_info
from rustgrad.utils.data.dataset import IterableDataset
from rustgrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from rustgrad._core import Generator

_T_co = TypeVar("_T_co", covariant=True)


def _fetch(dataset: Any, collate: Callable[[Any], Any], indices: list[Any]) -> Any:
    several = getattr(dataset, "__getitems__", None)
    return collate(several(indices) if callable(several) else [dataset[index] for index in indices])


def _fetch_one(dataset: Any, collate: Callable[[Any], Any], index: Any) -> Any:
    return collate(dataset[index])


class _Samples:
    """What comes next of an iterable data set, and then :class:`End`."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], batch_size: int | None, drop_last: bool) -> None:
        self.samples, self.collate = iter(dataset), collate
        self.batch_size, self.drop_last = batch_size, drop_last

    def __call__(self, _: None) -> Any:
        if self.batch_size is None:
            for sample in self.samples:
                return self.collate(sample)
            return End()
        batch = list(islice(self.samples, self.batch_size))
        if not batch or (self.drop_last and len(batch) < self.batch_size):
            return End()
        return self.collate(batch)


def _is_data(made: Any) -> bool:
    return type(made) is not End


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

    num_workers
        How many processes make the batches; with 0 this one does.
    timeout
        For how many seconds a worker is waited for; 0 is for ever.
    worker_init_fn
        What a worker calls first, with its number.
    multiprocessing_context
        How workers are started: a name or a context of :mod:`multiprocessing`.
    prefetch_factor
        How many batches are ordered of each worker ahead of time; 2 if it is not given.
    persistent_workers
        Whether the workers stay for the next pass.

    ``pin_memory`` and ``in_order`` are accepted and change nothing: batches always come in order.

    Raises
    ------
    ValueError
        If the options contradict one another.
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
        if timeout < 0:
            message = "timeout option should be non-negative"
            raise ValueError(message)
        if num_workers > 0:
            prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
            if prefetch_factor < 0:
                message = "prefetch_factor option should be non-negative"
                raise ValueError(message)
        elif multiprocessing_context is not None:
            message = (
                "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                f"but got num_workers={num_workers}"
            )
            raise ValueError(message)
        elif prefetch_factor is not None:
            message = (
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
            raise ValueError(message)
        if persistent_workers and num_workers == 0:
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
        self._workers: Workers | None = None
        batched = batch_sampler is not None or (self._iterable and batch_size is not None)
        self.collate_fn: Callable[[Any], Any] = collate_fn or (default_collate if batched else default_convert)

    @staticmethod
    def _check_iterable(shuffle: bool | None, sampler: Any, batch_sampler: Any) -> None:
        for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
            if value is not None:
                message = f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                raise ValueError(message)

    def __iter__(self) -> Iterator[Any]:
        if self._workers is not None:
            self._workers.again(iter(self._order()))
            return self._workers
        # torch draws a seed for its workers at the start of every pass, with or without workers.
        base = _rg.empty((), dtype=_rg.int64).random_(generator=self.generator)
        fetcher: Callable[[], Callable[[Any], Any]]
        if self._iterable:
            fetcher = partial(_Samples, self.dataset, self.collate_fn, self.batch_size, self.drop_last)
        elif self.batch_sampler is None:
            fetcher = partial(partial, _fetch_one, self.dataset, self.collate_fn)
        else:
            fetcher = partial(partial, _fetch, self.dataset, self.collate_fn)
        tasks = iter(self._order())
        if self.num_workers == 0:
            made = map(fetcher(), tasks)
            return takewhile(_is_data, made) if self._iterable else made
        workers = Workers(self, fetcher, tasks, int(base.item()))
        if self.persistent_workers:
            self._workers = workers
        return workers

    def _order(self) -> Iterable[Any]:
        if self._iterable:
            return repeat(None)
        return (self.sampler or ()) if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if self._iterable:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        order = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(order)  # type: ignore[arg-type]
