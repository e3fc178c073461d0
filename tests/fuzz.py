"""Hold random programs against real torch: ``make fuzz``, or see ``--help``.

Each module runs the same programs in a process of its own, in chunks; a difference is printed with its program.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import program_runner
import random_programs

RELATIVE = {"float64": 1e-10, "float32": 1e-4}


def describe(tensor: Any) -> list[Any]:
    """Give dtype, shape and numbers."""
    dtype = str(tensor.dtype).rpartition(".")[2]
    return [dtype, list(tensor.shape), tensor.detach().reshape(-1).tolist()]


def worker() -> None:
    """Read numbers of programs, a line each; write what became of them."""
    import importlib

    warnings.simplefilter("ignore")
    T = importlib.import_module(os.environ["RUSTGRAD_TEST_MODULE"])
    T.set_num_threads(1)
    for line in sys.stdin:
        report = program_runner.run(T, random_programs.write(int(line)), describe)
        print(json.dumps(report), flush=True)


def near(a: Any, b: Any, tolerance: float, scale: float) -> bool:
    """Compare two numbers; NaN equals NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance * scale
    return bool(a == b)


def same_tensor(a: Any, b: Any, loose: bool) -> bool:
    if not isinstance(a, list) or not isinstance(b, list):
        return bool(a == b)
    if a[:2] != b[:2]:
        return False
    # What was ever float32 is no more exact in float64.
    tolerance = RELATIVE["float32"] if loose and a[0] in RELATIVE else RELATIVE.get(a[0], 0.0)
    scale = max([1.0, *(abs(x) for x in b[2] if isinstance(x, float) and math.isfinite(x))])
    return all(near(x, y, tolerance, scale) for x, y in zip(a[2], b[2], strict=True))


def differences(mine: dict[str, Any], theirs: dict[str, Any], loose: bool) -> Iterator[str]:
    """Say what differs between the reports of two modules."""
    error, want = mine["error"], theirs["error"]
    if (error is None) != (want is None) or (error and want and error[0] != want[0]):
        yield f"error: {mine.get('message')} | torch: {theirs.get('message')}"
        return
    if error and error[1] != want[1] and want[1] != "NotImplementedError":
        yield f"type of error: {error[1]}: {mine.get('message')} | torch: {want[1]}: {theirs.get('message')}"
    if mine["tensors"].keys() != theirs["tensors"].keys():
        yield "variables"
        return
    for name, values in mine["tensors"].items():
        for i, (a, b) in enumerate(zip(values, theirs["tensors"][name], strict=True)):
            if a is None or b is None:
                if a is not b:
                    yield f"{name}[{i}]: {a} | torch: {b}"
                continue
            for key in a:
                if key in ("version", "is_view") and name.startswith("g"):
                    continue  # how the engine itself made a gradient
                same = same_tensor(a[key], b[key], loose) if key in ("value", "grad") else a[key] == b[key]
                if not same:
                    yield f"{key} of {name}[{i}]: {a[key]} | torch: {b[key]}"
    tolerance = 1e-4 if loose else 1e-9
    if len(mine["log"]) != len(theirs["log"]) or not all(
        a[0] == b[0] and near(a[1], b[1], tolerance, max(1.0, abs(b[1] or 0.0)))
        for a, b in zip(mine["log"], theirs["log"], strict=True)
    ):
        yield f"log: {mine['log']} | torch: {theirs['log']}"


def is_defined(report: dict[str, Any]) -> bool:
    """Whether torch defines what a program does.

    It does not where an operation reads what it overwrites elsewhere, so that what comes out depends on its loop,
    and has no rules for batches of gradients of some operations.
    """
    return "undefined" not in report and "Batching rule" not in report.get("message", "")


def start(python: str, module: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "RUSTGRAD_TEST_MODULE": module, "OMP_NUM_THREADS": "1"}
    command = [python, __file__, "--worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], numbers: range) -> list[dict[str, Any]]:
    """Have a worker run programs. The numbers go in one write: the pipe must hold them."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{number}\n" for number in numbers))
    process.stdin.flush()
    return [json.loads(process.stdout.readline()) for _ in numbers]


def main() -> int:
    """Run the programs and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has rustgrad")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--count", type=int, default=10_000, help="how many programs")
    parser.add_argument("--show", type=int, default=20, help="how many differing programs to print")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
        return 0
    mine, theirs = start(options.python, "rustgrad"), start(options.torch_python, "torch")
    found, raised = collections.Counter[str](), 0
    for first in range(options.first, options.first + options.count, 500):
        numbers = range(first, min(first + 500, options.first + options.count))
        reports = ask(mine, numbers), ask(theirs, numbers)
        for number, a, b in zip(numbers, *reports, strict=True):
            raised += b["error"] is not None
            if not is_defined(b):
                found["undefined"] += 1
                continue
            lines = random_programs.write(number)
            text = list(differences(a, b, any("float32" in line for line in lines)))
            if text:
                found["programs"] += 1
                if found["programs"] <= options.show:
                    numbered = "\n".join(f"  {line}" for line in program_runner.statements(lines))
                    print(f"\nprogram {number}\n{numbered}\n" + "\n".join(f"  -> {line[:600]}" for line in text[:4]))
    print(
        f"{options.count} programs, {raised} of them raise on torch; {found['undefined']} left out as undefined; "
        f"{found['programs']} differ"
    )
    return 1 if found["programs"] else 0


if __name__ == "__main__":
    sys.exit(main())
