"""Times of the blocks that :class:`record_function` names, under the names of ``torch.profiler``."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any

from rustgrad.autograd import profiler as _profiler
from rustgrad.autograd.profiler import record_function as record_function

__all__ = ["ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "tensorboard_trace_handler"]


class ProfilerActivity(enum.Enum):
    """Where time may be spent."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a schedule says of a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Return a function that says what to do in a step: wait, warm up, record, and so again."""

    def choose(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle = wait + warmup + active
        if repeat > 0 and step // cycle >= repeat:
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return choose


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Any:
    """Return a handler that writes each trace into a directory."""
    from pathlib import Path
    from time import time_ns

    del use_gzip

    def handler(found: profile) -> None:
        Path(dir_name).mkdir(parents=True, exist_ok=True)
        found.export_chrome_trace(str(Path(dir_name) / f"{worker_name or 'worker'}.{time_ns()}.pt.trace.json"))

    return handler


class profile(_profiler.profile):
    """Collect times, all the while or as a schedule says; ``step`` ends a step."""

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(True, **options)
        del activities
        self._schedule, self._ready = schedule, on_trace_ready
        self.step_num = 0
        self._recording = False

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self._schedule is None else self._schedule(self.step_num)

    def _switch(self, recording: bool) -> None:
        if recording and not self._recording:
            self.function_events = _profiler.EventList()
            _profiler._running.append(self)
        elif self._recording and not recording:
            _profiler._running.remove(self)
        self._recording = recording

    def start(self) -> None:
        """Begin."""
        self._switch(self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE))

    def stop(self) -> None:
        """End."""
        was = self._recording
        self._switch(False)
        if was and self._ready is not None:
            self._ready(self)

    def step(self) -> None:
        """End a step."""
        last = self._action()
        self.step_num += 1
        if last is ProfilerAction.RECORD_AND_SAVE:
            self.stop()
        self._switch(self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE))

    def __enter__(self) -> profile:  # noqa: PYI034
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
