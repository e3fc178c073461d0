"""Two limits of the autograd engine as figures: products with the Hessian, and the lines of the program.

    PYTHONPATH=python python3 benchmarks/autograd.py            # prints both
    PYTHONPATH=python python3 benchmarks/autograd.py --check    # fails above 3 gradients or 60 ns

``--module torch`` prints the ratios for torch, which has no lines to look up.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

GRADIENTS = 3.0
NANOSECONDS = 60.0


def seconds(work: Callable[[], object], budget: float) -> float:
    """Give the median time of one run, after a warm-up, within about ``budget`` seconds."""
    work()
    start = time.perf_counter()
    work()
    runs = max(5, min(2000, int(budget / max(time.perf_counter() - start, 1e-7))))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def functions(T: Any) -> dict[str, tuple[Callable[[Any], Any], Any]]:
    """Functions of one tensor to a number, and where they are taken."""
    T.manual_seed(0)
    data = T.randn(256, 128)
    layers = [T.randn(128, 128) / 11 for _ in range(3)]
    small = T.randn(100)

    def network(weight: Any) -> Any:
        h = T.tanh(data @ weight)
        for layer in layers:
            h = T.tanh(h @ layer)
        return (h * h).mean()

    def rosenbrock(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def regression(weight: Any) -> Any:
        return -T.log_softmax(data @ weight, 1)[:, 0].mean()

    return {
        "network of four layers, 128 wide": (network, T.randn(128, 128) / 11),
        "Rosenbrock in 100 variables": (rosenbrock, small),
        "softmax regression, 128 x 128": (regression, T.randn(128, 128) / 11),
    }


def ratio(T: Any, function: Callable[[Any], Any], at: Any) -> float:
    """Give the cost of a product with the Hessian, in gradients."""
    direction = T.randn(*at.shape)

    def gradient() -> object:
        x = at.detach().requires_grad_()
        return T.autograd.grad(function(x), x)

    def product() -> object:
        return T.autograd.functional.hvp(function, at, direction)

    # In turns, so that a busy machine is busy for both.
    found = []
    for _ in range(5):
        base = seconds(gradient, 0.2)
        found.append(seconds(product, 0.4) / base)
    return statistics.median(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", default="rustgrad")
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded")
    options = parser.parse_args()
    T = importlib.import_module(options.module)
    T.set_num_threads(1)
    over = []
    for name, (function, at) in functions(T).items():
        found = ratio(T, function, at)
        print(f"HVP of {name}: {found:.2f} gradients (limit {GRADIENTS:g})")
        over += [name] if found > GRADIENTS else []
    lookups = getattr(getattr(T, "_core", None), "_site_lookups", None)
    if lookups is not None:
        n = 100_000
        found = min(seconds(lambda: lookups(n), 0.3) for _ in range(5)) / n * 1e9
        print(f"provenance: {found:.1f} ns per operation (limit {NANOSECONDS:g})")
        over += ["provenance"] if found > NANOSECONDS else []
    if over and options.check:
        print("over the limit: " + ", ".join(over))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
