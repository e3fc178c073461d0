"""The standard library's :mod:`multiprocessing`, and ``spawn``. Tensors that are sent are copied."""

from __future__ import annotations

import multiprocessing as _standard
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [*_standard.__all__, "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn"]


def get_all_sharing_strategies() -> set[str]:
    """Return torch's ways to share memory."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """Return torch's default; here memory is not shared."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Accept one of torch's ways to share memory."""
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(new_strategy)


class ProcessRaisedException(Exception):
    """A process ended by an exception."""


def _call(fn: Callable[..., Any], rank: int, args: tuple[Any, ...], failures: Any) -> None:
    import sys
    import traceback

    try:
        fn(rank, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        failures.put((rank, traceback.format_exc()))
        sys.exit(1)


class ProcessContext:
    """Processes that were started together."""

    def __init__(self, processes: list[Any], failures: Any) -> None:
        self.processes, self._failures = processes, failures

    def pids(self) -> list[Any]:
        """Return the numbers of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the processes; if one failed, the others are ended and its exception is shown."""
        for process in self.processes:
            process.join(timeout)
        if any(process.is_alive() for process in self.processes):
            return False
        if not self._failures.empty():
            rank, text = self._failures.get()
            message = f"\n\n-- Process {rank} terminated with the following error:\n{text}"
            raise ProcessRaisedException(message)
        failed = [i for i, process in enumerate(self.processes) if process.exitcode]
        if failed:
            message = f"process {failed[0]} terminated with exit code {self.processes[failed[0]].exitcode}"
            raise ProcessRaisedException(message)
        return True


def spawn(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Call ``fn(i, *args)`` in ``nprocs`` processes."""
    context: Any = _standard.get_context(start_method)
    failures = context.SimpleQueue()
    processes = []
    for rank in range(nprocs):
        process = context.Process(target=_call, args=(fn, rank, args, failures), daemon=daemon)
        process.start()
        processes.append(process)
    made = ProcessContext(processes, failures)
    if not join:
        return made
    while not made.join():
        pass
    return None
