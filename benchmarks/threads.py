"""Show what threads do: two Python threads that train independently, and work split over two threads by size.

    python benchmarks/threads.py [rustgrad | torch] [--seconds 1.0]

First table: steps per second of a small training loop on one Python thread, and of each of two that run at
once with models of their own (0.5 of one thread's is what an interpreter lock allows, if nothing else is in
the way). Second table: time with one thread / time with two, by size; below 1 means that splitting does harm.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import rows

SIZES = [4**exponent for exponent in range(1, 13)]


def steps(work: rows.Work, start: threading.Barrier, seconds: float, into: list[float]) -> None:
    """Run the work for some seconds and note how many runs a second there were."""
    start.wait()
    begin, runs = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        work()
        runs += 1
    into.append(runs / (time.perf_counter() - begin))


def independent(T: Any, name: str, count: int, seconds: float) -> float:
    """Return the mean number of runs a second of each of some threads with a row's program of its own."""
    prepare = next(row.prepare for row in rows.ROWS if row.name == name)
    works = [prepare(T) for _ in range(count)]
    for work in works:
        work()
    rates: list[float] = []
    start = threading.Barrier(count)
    threads = [threading.Thread(target=steps, args=(work, start, seconds, rates)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.mean(rates)


def chain(T: Any, size: int) -> Callable[[], object]:
    """Elementwise operations and a sum, forward and backward."""
    x = T.linspace(-1, 1, size).requires_grad_()

    def work() -> object:
        x.grad = None
        ((x * 2 + 1).tanh() * x).sum().backward()
        return x.grad

    return work


def total(T: Any, size: int) -> Callable[[], object]:
    """Sum of all elements."""
    x = T.linspace(-1, 1, size)
    return lambda: float(x.sum())


def product(T: Any, size: int) -> Callable[[], object]:
    """Square matrices of so many elements, multiplied."""
    side = round(size**0.5)
    x = T.randn(side, side)
    return lambda: x @ x


def duration(work: Callable[[], object], seconds: float) -> float:
    """Return the median time of a run."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", nargs="?", default="rustgrad", choices=["rustgrad", "torch"])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement of the first table")
    options = parser.parse_args()
    T = importlib.import_module(options.module)

    print("| training loop | runs/s of one thread | of each of two | share |\n| --- | --- | --- | --- |")
    for name in ("the same small MLP by hand (no nn, no optim)", "MLP 64-64-64-10, batch 32, cross-entropy, SGD step"):
        one = independent(T, name, 1, options.seconds)
        two = independent(T, name, 2, options.seconds)
        print(f"| {name} | {one:.0f} | {two:.0f} | {two / one:.2f} |", flush=True)

    print("\n| elements | chain | sum | matrix product |\n| --- | --- | --- | --- |")
    for size in SIZES:
        cells = []
        for make in (chain, total, product):
            times: dict[int, list[float]] = {1: [], 2: []}
            work = make(T, size)
            for _ in range(3):
                for threads, samples in times.items():
                    T.set_num_threads(threads)
                    samples.append(duration(work, options.seconds / 20))
            cells.append(f"{statistics.median(times[1]) / statistics.median(times[2]):.2f}")
        print(f"| {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
