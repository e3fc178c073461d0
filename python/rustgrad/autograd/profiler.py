"""Timing named blocks of a program.

What is timed are the blocks that the program names itself with :class:`record_function`; operations are not
timed one by one. For where time goes inside of an operation ask a profiler of the system (``perf``).
"""

from __future__ import annotations

import json
import threading
from functools import wraps
from time import perf_counter_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["EventList", "FunctionEvent", "emit_itt", "emit_nvtx", "profile", "record_function"]

# The profiles that are running, on whatever thread: the last one gets the events.
_running: list[profile] = []


class FunctionEvent:
    """A block that was timed, or several of one name together; times are in microseconds."""

    def __init__(self, name: str, start: int, end: int, thread: int, inside: int = 0) -> None:
        self.name = self.key = name
        self.thread = thread
        self.count = 1
        self.start = start / 1000
        self.cpu_time_total = (end - start) / 1000
        self.self_cpu_time_total = (end - start - inside) / 1000

    @property
    def cpu_time(self) -> float:
        """The mean over the calls."""
        return self.cpu_time_total / self.count

    def _add(self, other: FunctionEvent) -> None:
        self.count += other.count
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total

    def __repr__(self) -> str:
        return f"<FunctionEvent name={self.name} count={self.count} cpu_time_total={self.cpu_time_total:.3f}us>"


class EventList(list[FunctionEvent]):
    """Events in the order in which they ended."""

    @property
    def self_cpu_time_total(self) -> float:
        """The time within blocks, each moment counted once."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(self, *_: object, **__: object) -> EventList:
        """Put events of one name together."""
        by_name: dict[str, FunctionEvent] = {}
        for event in self:
            mean = by_name.setdefault(event.name, FunctionEvent(event.name, 0, 0, event.thread))
            if not mean.cpu_time_total and mean.count == 1:
                mean.count = 0
            mean._add(event)
        return EventList(by_name.values())

    def total_average(self) -> FunctionEvent:
        """Put all events together."""
        total = FunctionEvent("Total", 0, 0, 0)
        total.count = 0
        for event in self:
            total._add(event)
        return total

    def table(self, sort_by: str | None = None, row_limit: int = 100, **_: object) -> str:
        """Write a line for each event, the first ``row_limit`` by the attribute ``sort_by`` (falling)."""
        rows = self if sort_by is None else sorted(self, key=lambda event: getattr(event, sort_by), reverse=True)
        rows = rows[:row_limit] if row_limit >= 0 else rows
        width = max([4, *(len(event.name) for event in rows)])
        line = "-" * (width + 46)
        head = f"{'Name':<{width}}  {'Self CPU':>12}  {'CPU total':>12}  {'# of Calls':>12}"
        body = [
            f"{event.name:<{width}}  {event.self_cpu_time_total:>10.3f}us  {event.cpu_time_total:>10.3f}us"
            f"  {event.count:>12}"
            for event in rows
        ]
        return "\n".join([line, head, line, *body, line, f"Self CPU time total: {self.self_cpu_time_total:.3f}us", ""])

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for the viewer of Chrome (``chrome://tracing``)."""
        events = [
            {
                "name": event.name,
                "ph": "X",
                "ts": event.start,
                "dur": event.cpu_time_total,
                "tid": event.thread,
                "pid": 0,
            }
            for event in self
        ]
        from pathlib import Path

        Path(path).write_text(json.dumps(events), encoding="utf-8")

    def __str__(self) -> str:
        return self.table()


class profile:
    """Collect the times of the blocks that :class:`record_function` names, on all threads.

    Parameters
    ----------
    enabled
        Whether to do so.
    options
        torch's other options are taken; they choose devices and details that are not here.

    Raises
    ------
    RuntimeError
        If one object is entered twice.
    """

    def __init__(self, enabled: bool = True, **options: object) -> None:
        self.enabled = enabled
        self._options = options
        self._entered = False
        self.function_events: EventList | None = None

    def __enter__(self) -> profile | None:
        if not self.enabled:
            return None
        if self._entered:
            message = "Profiler context manager is not reentrant"
            raise RuntimeError(message)
        self._entered = True
        self.function_events = EventList()
        _running.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.enabled:
            _running.remove(self)

    def _found(self) -> EventList:
        if self.function_events is None:
            message = "Profiler didn't finish running"
            raise RuntimeError(message)
        return self.function_events

    def key_averages(self, *args: object, **kwargs: object) -> EventList:
        """Return the events, those of one name together."""
        return self._found().key_averages(*args, **kwargs)

    def total_average(self) -> FunctionEvent:
        """Return all events as one."""
        return self._found().total_average()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **kwargs: object) -> str:
        """Return the events as text."""
        return self._found().table(sort_by, row_limit, **kwargs)

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for the viewer of Chrome."""
        self._found().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """The time within blocks, in microseconds."""
        return self._found().self_cpu_time_total

    def __repr__(self) -> str:
        return "<unfinished torch.autograd.profile>" if self.function_events is None else repr(self.function_events)

    def __str__(self) -> str:
        return repr(self) if self.function_events is None else str(self.function_events)


_open = threading.local()


class record_function:
    """Give a block, or the calls of a function, a name under which it is timed.

    >>> import rustgrad as torch
    >>> with torch.autograd.profiler.profile() as found:
    ...     with torch.autograd.profiler.record_function("product"):
    ...         y = torch.ones(2) * 2
    >>> [event.name for event in found.function_events]
    ['product']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args

    def __enter__(self) -> record_function:  # noqa: PYI034
        stack = _open.__dict__.setdefault("stack", [])
        stack.append([perf_counter_ns(), 0])
        return self

    def __exit__(self, *exception: object) -> None:
        end = perf_counter_ns()
        start, inside = _open.stack.pop()
        if _open.stack:
            _open.stack[-1][1] += end - start
        if _running:
            event = FunctionEvent(self.name, start, end, threading.get_ident(), inside)
            _running[-1]._found().append(event)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Name the calls of a function."""

        @wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named


class _Emit:
    """Marks for a profiler that is not here."""

    _what = ""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled = enabled
        self.record_shapes = record_shapes

    def __enter__(self) -> _Emit | None:
        if not self.enabled:
            return None
        message = f"{type(self).__name__} needs {self._what}, which rustgrad is built without"
        raise RuntimeError(message)

    def __exit__(self, *exception: object) -> None:
        pass


class emit_nvtx(_Emit):
    """Marks for NVIDIA's profiler: refused unless ``enabled`` is False."""

    _what = "CUDA"


class emit_itt(_Emit):
    """Marks for Intel's profiler: refused unless ``enabled`` is False."""

    _what = "ITT"
