"""Processes that make batches.

Each worker has a queue of tasks and a pipe of its own for what it makes. Task ``k`` goes to the worker whose
turn it is and results are read in the order of the tasks, so nothing has to be put in order, and which process
made a batch does not show. What a worker has made waits in a thread of it until the loader reads it.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import queue
import random
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.reduction import ForkingPickler
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor

#: How often a process that waits looks whether the other one is still there, in seconds.
_LOOK = 5.0

#: Tensors of fewer elements travel with the rest.
_SMALL = 2048
_APART = hasattr(os, "readv") and find_spec("numpy") is not None

_info: WorkerInfo | None = None


class WorkerInfo:
    """What a worker knows of itself: ``id``, ``num_workers``, ``seed`` and its copy of the ``dataset``."""

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id, self.num_workers, self.seed, self.dataset = id, num_workers, seed, dataset

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed}, dataset={self.dataset!r})"


def get_worker_info() -> WorkerInfo | None:
    """Return what the calling worker knows of itself, and ``None`` in the main process."""
    return _info


class End:
    """Says that an iterable data set has no more."""


class _Failure:
    """An exception of a worker, as text: the exception itself may not travel."""

    def __init__(self, where: str) -> None:
        kind, value, _ = sys.exc_info()
        self.kind: Any = kind
        self.text = f"Caught {kind.__name__ if kind else None} {where}.\nOriginal {traceback.format_exc()}"
        self.worded = getattr(value, "message", None) is not None

    def reraise(self) -> None:
        """Raise the exception in this process, with the worker's traceback as message."""
        if self.kind is KeyError:
            # A KeyError shows the representation of its message, which would write line ends as ``\n``.
            raise KeyError(_Shown(self.text))
        try:
            exception = self.kind(message=self.text) if self.worded else self.kind(self.text)
        except Exception:
            # Its constructor wants something else.
            raise RuntimeError(self.text) from None
        raise exception


class _Shown(str):
    """A string whose representation is itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Pickler(ForkingPickler):
    """Leaves tensors out and keeps them in ``apart``: what they hold is sent from where it lies."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.apart: list[Tensor] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        """Return the place among ``apart`` of a tensor that is left out."""
        if type(value) is not Tensor or value.requires_grad or value.numel() < _SMALL or not value.is_contiguous():
            return None
        place = self._places.setdefault(id(value), len(self.apart))
        if place == len(self.apart):
            self.apart.append(value)
        return place


class _Whole(_Pickler):
    """Leaves nothing out: where there is no NumPy, or no reading into memory at hand."""

    def persistent_id(self, value: Any) -> int | None:
        """Return None."""
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, apart: list[Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self._apart = apart

    def persistent_load(self, place: Any) -> Tensor:
        """Return a tensor that was left out."""
        found: Tensor = self._apart[place]
        return found


def _memory(tensor: Tensor) -> memoryview:
    return memoryview(tensor.numpy().reshape(-1)).cast("B")


def _send(results: Any, ready: queue.SimpleQueue[Any]) -> None:
    """Send what is ready, until ``None`` or until nobody reads any more."""
    with suppress(BrokenPipeError, OSError):
        while (message := ready.get()) is not None:
            data, apart = message
            results.send_bytes(pickle.dumps([(tuple(each.shape), each.dtype) for each in apart]))
            results.send_bytes(data)
            for each in apart:
                left = _memory(each)
                while left:
                    left = left[os.write(results.fileno(), left) :]


def _receive(pipe: Any) -> tuple[int, Any]:
    """Read what :func:`_send` sends."""
    apart = [_rg.empty(shape, dtype=dtype) for shape, dtype in pickle.loads(pipe.recv_bytes())]
    data = pipe.recv_bytes()
    for each in apart:
        left = _memory(each)
        while left:
            read = os.readv(pipe.fileno(), [left])
            if not read:
                raise EOFError
            left = left[read:]
    found: tuple[int, Any] = _Unpickler(data, apart).load()
    return found


def _seed_others(base: int, id: int) -> None:
    """Seed the generators of Python and, if it is there, NumPy as torch seeds them."""
    random.seed(base + id)
    if "numpy" in sys.modules:
        import numpy as np

        words = [id, base & 0xFFFFFFFF, base >> 32, 0]
        np.random.seed(np.random.SeedSequence(words).generate_state(4))


def _pickled(number: int, result: Any, where: str) -> tuple[bytes, list[Tensor]]:
    file = io.BytesIO()
    try:
        pickler = (_Pickler if _APART else _Whole)(file)
        pickler.dump((number, result))
    except Exception:
        return bytes(ForkingPickler.dumps((number, _Failure(where)))), []
    return file.getvalue(), pickler.apart


def _work(dataset: Any, fetcher: Any, tasks: Any, results: Any, base: int, init: Any, id: int, of: int) -> None:
    """Be a worker: do tasks until ``None`` comes or the parent is gone."""
    global _info
    _rg.set_num_threads(1)
    _rg.manual_seed(base + id)
    _seed_others(base, id)
    _info = WorkerInfo(id, of, base + id, dataset)
    where = f"in DataLoader worker process {id}"
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sender = threading.Thread(target=_send, args=(results, ready), daemon=True)
    sender.start()
    failure, fetch = None, None
    parent = multiprocessing.parent_process()
    with suppress(KeyboardInterrupt):
        try:
            if init is not None:
                init(id)
            fetch = fetcher()
        except Exception:
            failure = _Failure(where)
        ended = False
        while True:
            try:
                task = tasks.get(timeout=_LOOK)
            except queue.Empty:
                if parent is not None and not parent.is_alive():
                    return
                continue
            if task is None:
                return
            number, what = task
            if what is _Again:
                fetch, ended = fetcher(), False
                continue
            if ended:
                continue
            result: Any
            if failure is not None or fetch is None:
                result = failure
            else:
                try:
                    result = fetch(what)
                    ended = isinstance(result, End)
                except Exception:
                    result = _Failure(where)
            ready.put(_pickled(number, result, where))


class _Again:
    """A task: begin the data set again (workers that stay for the next pass)."""


def _shut(workers: list[Any], tasks: list[Any], pipes: list[Any]) -> None:
    """End the workers."""
    for each in tasks:
        with suppress(ValueError, OSError):
            each.put(None)
    for pipe in pipes:
        pipe.close()
    for worker in workers:
        worker.join(_LOOK)
        if worker.is_alive():
            worker.terminate()
            worker.join()
    for each in tasks:
        each.cancel_join_thread()
        each.close()


class Workers(Iterator[Any]):
    """One pass over a loader's data, or with ``persistent_workers`` all of them."""

    def __init__(self, loader: Any, fetcher: Any, tasks: Any, base: int) -> None:
        context = loader.multiprocessing_context
        if not hasattr(context, "Process"):
            context = multiprocessing.get_context(context)
        # What samples are made with is loaded once, here, and not by every worker of every pass.
        import_module("rustgrad.nn.functional")
        self._count: int = loader.num_workers
        self._timeout, self._ahead = loader.timeout, loader.prefetch_factor * self._count
        self._stays, self._loader = loader.persistent_workers, loader
        self._tasks: list[Any] = []
        self._pipes: list[Any] = []
        self._processes: list[Any] = []
        for id in range(self._count):
            inbox = context.Queue()
            reader, writer = context.Pipe(duplex=False)
            arguments = (loader.dataset, fetcher, inbox, writer, base, loader.worker_init_fn, id, self._count)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            writer.close()
            self._tasks.append(inbox)
            self._pipes.append(reader)
            self._processes.append(process)
        # Also at the end of the program, and if the pass is given up.
        self._shut = weakref.finalize(self, _shut, self._processes, self._tasks, self._pipes)
        self._first = 0
        self._begin(tasks)

    def _begin(self, tasks: Any) -> None:
        self._todo, self._number, self._turn = tasks, self._first, 0
        self._there = [True] * self._count
        self._waiting: deque[tuple[int, int]] = deque()
        for _ in range(self._ahead):
            self._give()

    def again(self, tasks: Any) -> None:
        """Begin another pass with the same workers; what they still make for the last one is read and forgotten."""
        self._first = self._number
        for each in self._tasks:
            each.put((0, _Again))
        self._begin(tasks)

    def _give(self) -> None:
        """Give the next task to the next worker that is still there."""
        for _ in range(self._count):
            id = self._turn
            self._turn = (id + 1) % self._count
            if self._there[id]:
                break
        else:
            return
        try:
            task = next(self._todo)
        except StopIteration:
            return
        self._tasks[id].put((self._number, task))
        self._waiting.append((self._number, id))
        self._number += 1

    def _read(self, id: int) -> Any:
        """Return the next result of a worker."""
        pipe, left = self._pipes[id], self._timeout
        while not pipe.poll(min(_LOOK, left) if self._timeout else _LOOK):
            if self._timeout:
                left -= _LOOK
                if left <= 0:
                    message = f"DataLoader timed out after {self._timeout} seconds"
                    raise RuntimeError(message)
            if not self._processes[id].is_alive() and not pipe.poll(0):
                self._lost(id)
        try:
            return _receive(pipe)
        except EOFError:
            self._lost(id)

    def _lost(self, id: int) -> None:
        process = self._processes[id]
        process.join(1)
        self._shut()
        message = f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly"
        raise RuntimeError(message)

    def __next__(self) -> Any:
        while self._waiting:
            _, id = self._waiting.popleft()
            if not self._there[id]:
                continue
            found, data = self._read(id)
            while found < self._first:
                found, data = self._read(id)
            if isinstance(data, End):
                self._there[id] = False
                self._give()
                continue
            self._give()
            if isinstance(data, _Failure):
                data.reraise()
            return data
        if not self._stays:
            self._shut()
        raise StopIteration

    def __len__(self) -> int:
        return len(self._loader)
