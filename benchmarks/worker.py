"""Time rows on request: reads one JSON request a line, answers with one JSON line.

Started by ``run.py`` with the interpreter that has the module: ``python worker.py rustgrad|torch threads``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import sys
import time
from pathlib import Path

import rows
import small_programs  # noqa: F401  registers its rows


def main(module: str, threads: int) -> None:
    """Serve requests ``{"row": index, "seconds": budget}`` until the input ends."""
    try:
        tensor_module = importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{sys.executable}: {error}")
    tensor_module.set_num_threads(threads)
    works: dict[int, rows.Work] = {}
    print(json.dumps({"version": getattr(tensor_module, "__version__", "?")}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        index = request["row"]
        reset_peak_memory()
        try:
            if index not in works:
                works.clear()  # one row's memory at a time
                works[index] = rows.ROWS[index].prepare(tensor_module)
                works[index]()
            times = measure(works[index], request["seconds"])
            answer: dict[str, object] = {"times": times}
        except (AttributeError, NotImplementedError, TypeError, RuntimeError, ValueError) as error:
            answer = {"missing": f"{type(error).__name__}: {error}".splitlines()[0]}
        answer["peak"] = peak_memory()
        print(json.dumps(answer), flush=True)


def reset_peak_memory() -> None:
    """Let the peak start anew, where the system allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory() -> int:
    """Return the peak of resident memory in bytes since it was reset."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(work: rows.Work, seconds: float) -> list[float]:
    """Run the work for about ``seconds``, at least once, and return seconds per run of each sample."""
    start = time.perf_counter()
    work()
    once = max(time.perf_counter() - start, 1e-7)
    inner = max(1, int(2e-4 / once))
    times: list[float] = []
    end = start + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(inner):
            work()
        times.append((time.perf_counter() - begin) / inner)
    return times


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
