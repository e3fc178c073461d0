"""Write correctly rounded values of functions for `crates/kernels/src/kernels/math/golden.rs` (needs mpmath)."""

import math
import random

from mpmath import mp, mpf

mp.dps = 60
random.seed(1)


def spread(lo, hi, n=24):
    """Points even in the interval, and others even in magnitude."""
    out = [random.uniform(lo, hi) for _ in range(n)]
    for _ in range(n):
        x = math.copysign(10 ** random.uniform(-9, math.log10(max(abs(lo), abs(hi)))), random.choice([lo, hi]) or 1)
        if lo <= x <= hi:
            out.append(x)
    return out


FUNCTIONS = {
    "exp": (mp.exp, spread(-700, 700)),
    "exp2": (lambda x: mpf(2) ** x, spread(-1000, 1000)),
    "expm1": (mp.expm1, spread(-40, 700)),
    "log": (mp.log, spread(0, 1e300) + spread(0, 3)),
    "log2": (lambda x: mp.log(x, 2), spread(0, 1e300) + spread(0, 3)),
    "log10": (mp.log10, spread(0, 1e300) + spread(0, 3)),
    "log1p": (mp.log1p, spread(-0.999, 1) + spread(0, 1e10)),
    "sin": (mp.sin, spread(-10, 10) + spread(-1e6, 1e6)),
    "cos": (mp.cos, spread(-10, 10) + spread(-1e6, 1e6)),
    "tan": (mp.tan, spread(-10, 10) + spread(-1e6, 1e6)),
    "asin": (mp.asin, spread(-1, 1)),
    "acos": (mp.acos, spread(-1, 1)),
    "atan": (mp.atan, spread(-5, 5) + spread(-1e9, 1e9)),
    "sinh": (mp.sinh, spread(-700, 700) + spread(-2, 2)),
    "cosh": (mp.cosh, spread(-700, 700)),
    "tanh": (mp.tanh, spread(-20, 20) + spread(-1, 1)),
    "asinh": (mp.asinh, spread(-10, 10) + spread(-1e200, 1e200)),
    "acosh": (mp.acosh, spread(1, 5) + spread(1, 1e200)),
    "atanh": (mp.atanh, spread(-0.9999, 0.9999)),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), spread(-700, 40)),
    "erf": (mp.erf, spread(-6, 6)),
    "erfc": (mp.erfc, spread(-5, 26) + spread(-2, 2)),
    "erfinv": (mp.erfinv, spread(-0.999999, 0.999999, 12)),
    "lgamma": (lambda x: mp.re(mp.loggamma(x)), spread(0, 30) + spread(0, 1e10) + spread(0.5, 3)),
    "digamma": (mp.digamma, spread(0, 30) + spread(-5, 1)),
    "trigamma": (lambda x: mp.polygamma(1, x), spread(0, 30) + spread(-3, 1)),
    "polygamma3": (lambda x: mp.polygamma(3, x), spread(0.01, 30)),
    "i0": (lambda x: mp.besseli(0, x), spread(-600, 600) + spread(-8, 8)),
    "i1": (lambda x: mp.besseli(1, x), spread(-600, 600) + spread(-8, 8)),
}
print("//! Correctly rounded values: argument and result; written by `tools/golden_math.py`.\n")
for name, (f, points) in FUNCTIONS.items():
    print(f"pub(super) const {name.upper()}: &[(f64, f64)] = &[")
    for x in points:
        print(f"    ({x!r}, {float(f(mpf(x)))!r}),")
    print("];")
print("pub(super) const POW: &[(f64, f64, f64)] = &[")
count = 0
while count < 200:
    x = 10 ** random.uniform(-5, 5) if count % 2 else random.uniform(0.5, 2)
    y = random.uniform(-60, 60) if count % 2 else random.uniform(-900, 900)
    r = float(mpf(x) ** mpf(y))
    if 1e-300 < r < 1e300:
        print(f"    ({x!r}, {y!r}, {r!r}),")
        count += 1
print("];")
