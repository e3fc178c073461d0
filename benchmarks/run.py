"""Time rustgrad and torch in turn, in one run on one machine, and print ratios of medians.

Each module runs in a worker process of its own; the rows alternate between them (A, B, A, B ...) so that both
meet the same moods of the machine. A ratio above 1 means that rustgrad is faster.

    python benchmarks/run.py [--torch-python .oracle/bin/python] [--threads 1 2] [--only text] [--quick] [--json file]
                             [--limits target/release/examples/limits]

The last column says how near the time of rustgrad is to the least that the machine allows: the row's multiply-adds
at the peak rate, or the bytes that it must move at the highest bandwidth, both measured in the same run by the
program ``limits`` of the crate rustgrad-kernels (``cargo build --release -p rustgrad-kernels --example limits``).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import rows
import small_programs  # noqa: F401  registers its rows

FOLDER = Path(__file__).parent


class Worker:
    """A process that times rows with one module."""

    def __init__(self, python: str, module: str, threads: int) -> None:
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RUSTGRAD_NUM_THREADS"), str(threads))
        command = [python, str(FOLDER / "worker.py"), module, str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **variables})
        self.version = self.read()["version"]

    def read(self) -> dict[str, Any]:
        """Return the worker's next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            message = f"the worker ended with code {self.process.wait()}"
            raise RuntimeError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, index: int, seconds: float) -> dict[str, Any]:
        """Time one row once more."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"row": index, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self) -> None:
        """Let the process end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def spell(seconds: float) -> str:
    """Write a duration with a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def compare(index: int, workers: dict[str, Worker], rounds: int, seconds: float) -> dict[str, Any]:
    """Time one row with every worker in turn; return medians per operation or why there is none."""
    entry = rows.ROWS[index]
    times: dict[str, list[float]] = {name: [] for name in workers}
    result: dict[str, Any] = {"row": entry.name, "peak": {}}
    for _ in range(rounds):
        for name, worker in workers.items():
            if name in result:
                continue  # already known to lack something
            answer = worker.ask(index, seconds)
            result["peak"][name] = answer["peak"]
            if "missing" in answer:
                result[name] = answer["missing"]
            else:
                times[name] += answer["times"]
    for name, samples in times.items():
        if samples and name not in result:
            result[name] = statistics.median(samples) / entry.per
    return result


def time_of(result: dict[str, Any], module: str, flops: float) -> str:
    """Write the time of one module, with its rate where the row counts ``flops`` per operation."""
    seconds = result.get(module)
    if not isinstance(seconds, float):
        return "-"
    return spell(seconds) + (f" ({flops / seconds / 1e9:.0f} GF/s)" if flops else "")


def ratio(result: dict[str, Any], absent: str) -> str:
    """Write torch / rustgrad, or ``absent`` where one of them is."""
    ours, theirs = result.get("rustgrad"), result.get("torch")
    return f"{theirs / ours:.2f}" if isinstance(ours, float) and isinstance(theirs, float) else absent


def peaks(result: dict[str, Any]) -> str:
    """Write the peaks of memory in MB."""
    peak = result["peak"]
    return " / ".join(f"{peak[name] / 1e6:.0f}" if name in peak else "-" for name in ("rustgrad", "torch"))


CACHED = 24e6
"""Rows that move fewer bytes than this are held against the bandwidth of the third cache."""


def limits(program: Path, threads: int) -> dict[str, float]:
    """Measure the machine's peak rates: multiply-adds by dtype, and bytes of memory and of the third cache."""
    if not program.exists():
        return {}
    answer = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True)
    rates: dict[str, float] = json.loads(answer.stdout)
    return rates


def bounds(entry: rows.Row, rates: dict[str, float]) -> tuple[float, str]:
    """Return the least time the machine allows for one operation of a row, and what bounds it."""
    dtype = "float64" if "float64" in entry.name else "float32"
    place = "cache" if entry.streams < CACHED else "memory"
    least = [(work / rates[name], label) for work, name, label in (
        (entry.flops, dtype, "flops"), (entry.streams, place, place)
    ) if work and name in rates]  # fmt: skip
    seconds, label = max(least, default=(0.0, ""))
    return seconds / entry.per, label


def share(result: dict[str, Any]) -> str:
    """Write what part of the time is the least that the machine allows."""
    seconds, label = result.get("bound", (0.0, ""))
    ours = result.get("rustgrad")
    return f"{100 * seconds / ours:.0f} % {label}" if seconds and isinstance(ours, float) else "-"


def line(result: dict[str, Any], flops: float) -> str:
    """Write one line of the table."""
    reasons = [
        f"{name} lacks it: {result[name]}" for name in ("rustgrad", "torch") if isinstance(result.get(name), str)
    ]
    times = [time_of(result, name, flops) for name in ("rustgrad", "torch")]
    cells = [result["row"], *times, "; ".join([ratio(result, "skipped"), *reasons]), peaks(result), share(result)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run the table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has rustgrad")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--modules", nargs="+", default=["rustgrad", "torch"], choices=["rustgrad", "torch"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", default="", help="run the rows whose names hold this text")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each module gets")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one turn")
    parser.add_argument("--quick", action="store_true", help="leave out the big rows; two short turns")
    parser.add_argument("--limits", type=Path, default=FOLDER.parent / "target/release/examples/limits")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.05
    everything = []
    for threads in options.threads:
        workers: dict[str, Worker] = {}
        for name in options.modules:
            python = options.torch_python if name == "torch" else options.python
            try:
                workers[name] = Worker(python, name, threads)
            except (OSError, RuntimeError) as error:
                print(f"no {name} ({error}); its column stays empty")
        versions = ", ".join(f"{name} {worker.version}" for name, worker in workers.items())
        today = datetime.datetime.now(tz=datetime.timezone.utc).date()
        rates = limits(options.limits, threads)
        print(f"\n{today}, {platform.machine()}, {os.cpu_count()} processors, {threads} thread(s): {versions}")
        described = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in rates.items() if name != "threads")
        print(f"limits of the machine, GFLOP/s and GB/s: {described or f'not measured, no {options.limits}'}\n")
        print("| work | rustgrad | torch | torch / rustgrad | peak MB | of the limit |\n" + "| --- " * 6 + "|")
        for index, entry in enumerate(rows.ROWS):
            if options.only in entry.name and not (options.quick and entry.big):
                result = compare(index, workers, options.rounds, options.seconds)
                result["bound"] = bounds(entry, rates)
                everything.append({"threads": threads, **result})
                print(line(result, entry.flops / entry.per), flush=True)
        for worker in workers.values():
            worker.close()
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
