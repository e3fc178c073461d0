"""Times of statements, under the names of ``torch.utils.benchmark``."""

from __future__ import annotations

import statistics
import timeit
from time import perf_counter
from typing import Any

import rustgrad as _rg

__all__ = ["Measurement", "Timer", "timer"]

timer = perf_counter


class Measurement:
    """What a :class:`Timer` measured: ``times`` of one run, in seconds."""

    def __init__(self, number_per_run: int, raw_times: list[float], description: str) -> None:
        self.number_per_run, self.raw_times, self._description = number_per_run, raw_times, description

    @property
    def times(self) -> list[float]:
        """The time of a run, for each measurement."""
        return [time / self.number_per_run for time in self.raw_times]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.mean(self.times)

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.times)

    @property
    def iqr(self) -> float:
        """The distance of their quartiles."""
        if len(self.times) < 2:
            return 0.0
        quartiles = statistics.quantiles(self.times, n=4, method="inclusive")
        return quartiles[2] - quartiles[0]

    def __repr__(self) -> str:
        unit, scale = next(
            ((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)) if self.median >= scale),
            ("ns", 1e-9),
        )
        runs = f"{len(self.raw_times)} measurements, {self.number_per_run} runs per measurement"
        return (
            f"<{type(self).__module__}.Measurement object at {hex(id(self))}>\n{self._description}\n"
            f"  Median: {self.median / scale:.2f} {unit}\n  {runs}, {_rg.get_num_threads()} thread"
        )


class Timer:
    """Times a statement, on one thread unless another number is given."""

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Any = perf_counter,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Any = "python",
    ) -> None:
        del global_setup, env, language
        self._timer = timeit.Timer(stmt, setup, timer, {"torch": _rg, **(globals or {})})
        self._threads = num_threads
        self._description = ": ".join(str(part) for part in (label or stmt, sub_label, description) if part)

    def _run(self, number: int) -> float:
        threads = _rg.get_num_threads()
        _rg.set_num_threads(self._threads)
        try:
            return self._timer.timeit(max(number, 1))
        finally:
            _rg.set_num_threads(threads)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """Measure so many runs together."""
        self._run(max(number // 100, 2))
        return Measurement(number, [self._run(number)], self._description)

    def _enough(self, seconds: float) -> int:
        number = 1
        while (taken := self._run(number)) < seconds:
            number = (
                max(number * 2, int(number * seconds / max(taken, 1e-9) / 2)) if taken < seconds / 2 else number * 2
            )
        return number

    def blocked_autorange(self, callback: Any = None, min_run_time: float = 0.2) -> Measurement:
        """Measure blocks of runs for a while."""
        del callback
        number = self._enough(min(min_run_time / 20, 0.01))
        times: list[float] = []
        while sum(times) < min_run_time:
            times.append(self._run(number))
        return Measurement(number, times, self._description)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0, callback: Any = None
    ) -> Measurement:
        """Measure blocks of runs until they agree."""
        del callback
        number = self._enough(min(min_run_time, 0.01))
        times: list[float] = []
        while sum(times) < max_run_time:
            times.append(self._run(number))
            made = Measurement(number, times, self._description)
            if len(times) >= 3 and sum(times) >= min_run_time and made.iqr < threshold * made.median:
                break
        return Measurement(number, times, self._description)
