"""Fit the polynomials of `crates/kernels/src/kernels/math/coefficients.rs` (run with mpmath at hand).

python tools/fit_coefficients.py > crates/kernels/src/kernels/math/coefficients.rs
"""

from mpmath import mp, mpf

mp.dps = 140


def fit(f, lo, hi, degree):
    """Interpolate at Chebyshev nodes: within a small factor of the minimax error; lowest degree first."""
    n = degree + 1
    nodes = [mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    mid, half = (mpf(lo) + hi) / 2, (mpf(hi) - lo) / 2
    points = [mid + half * t for t in nodes]
    values = [f(x) for x in points]
    matrix = mp.matrix(n, n)
    for i, x in enumerate(points):
        for j in range(n):
            matrix[i, j] = x**j
    solution = mp.lu_solve(matrix, mp.matrix(values))
    return [solution[i] for i in range(n)]


def fit_ratio(f, lo, hi, top, bottom, centre):
    """Interpolate by a quotient of polynomials at the Chebyshev nodes of (x - centre) / (x + centre)."""
    n = top + bottom + 1
    first, last = ((mpf(x) - centre) / (mpf(x) + centre) for x in (lo, hi))
    nodes = [(first + last) / 2 + (last - first) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    matrix, values = mp.matrix(n, n), mp.matrix(n, 1)
    for i, t in enumerate(nodes):
        x = centre * (1 + t) / (1 - t)
        values[i] = f(x)
        for j in range(top + 1):
            matrix[i, j] = x**j
        for j in range(1, bottom + 1):
            matrix[i, top + j] = -values[i] * x**j
    solution = mp.lu_solve(matrix, values)
    return [solution[i] for i in range(top + 1)], [mpf(1)] + [solution[i] for i in range(top + 1, n)]


def emit(name, doc, values, kind):
    """Write one Rust constant."""
    digits = 10 if kind == "f32" else 18
    print(f"\n/// {doc}")
    print(f"pub(super) const {name}: [{kind}; {len(values)}] = [")
    for v in values:
        text = mp.nstr(v, digits, min_fixed=0, max_fixed=0)
        print(f"    {text},")
    print("];")


def around(g, order):
    """Evaluate g away from its removable singularity at 0 (a tiny offset is exact enough at 140 digits)."""

    def inner(x):
        if abs(x) < mpf(10) ** -40:
            x = mpf(10) ** -40
        return g(x)

    return inner


print("//! Polynomial coefficients, lowest degree first; written by `tools/fit_coefficients.py`.")
L = mp.log(2) / 2 * (1 + mpf(2) ** -10)
g = around(lambda r: (mp.exp(r) - 1 - r) / r**2, 2)
emit("EXP_F32", "`(exp(r) - 1 - r) / r^2` on `|r| <= ln 2 / 2`.", fit(g, -L, L, 4), "f32")
emit("EXP_F64", "`(exp(r) - 1 - r) / r^2` on `|r| <= ln 2 / 2`.", fit(g, -L, L, 10), "f64")
g = around(lambda f: (mp.log(1 + f) - f + f * f / 2) / f**3, 3)
lo, hi = mp.sqrt(mpf(1) / 2) - 1, mp.sqrt(2) - 1
emit("LOG_F32", "`(log(1 + f) - f + f^2 / 2) / f^3` on `[1/sqrt 2 - 1, sqrt 2 - 1]`.", fit(g, lo, hi, 8), "f32")
zmax = (hi / (2 + hi)) ** 2 * (1 + mpf(2) ** -10)
g = around(lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z, 1)
emit("LOG_F64", "`(2 atanh(s) / s - 2) / s^2` in `s^2`, `s = f / (2 + f)`.", fit(g, 0, zmax, 7), "f64")
g = around(lambda z: 2 / mp.log(2) * mp.atanh(mp.sqrt(z)) / mp.sqrt(z), 1)
emit(
    "LOG2_SINGLE",
    "`log2((1 + s) / (1 - s)) / s` in `s^2` between `1 / sqrt 2` and `sqrt 2`, to 2^-37: for single precision.",
    fit(g, 0, zmax, 4),
    "f64",
)
g = around(lambda z: ((2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z - mpf(2) / 3) / z, 2)
emit("LOG_DD", "The same without its first term, for the double-double logarithm.", fit(g, 0, zmax, 7), "f64")
qmax = (mp.pi / 4) ** 2 * (1 + mpf(2) ** -10)
g = around(lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 1)
emit("SIN_F32", "`(sin(r) / r - 1) / r^2` in `r^2` on `|r| <= pi / 4`.", fit(g, 0, qmax, 3), "f32")
emit("SIN_F64", "`(sin(r) / r - 1) / r^2` in `r^2` on `|r| <= pi / 4`.", fit(g, 0, qmax, 6), "f64")
g = around(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, 2)
emit("COS_F32", "`(cos(r) - 1 + r^2 / 2) / r^4` in `r^2`.", fit(g, 0, qmax, 2), "f32")
emit("COS_F64", "`(cos(r) - 1 + r^2 / 2) / r^4` in `r^2`.", fit(g, 0, qmax, 6), "f64")
amax = mp.tan(mp.pi / 8) ** 2 * (1 + mpf(2) ** -10)
g = around(lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 1)
emit("ATAN_F64", "`(atan(t) / t - 1) / t^2` in `t^2` on `|t| <= tan(pi / 8)`.", fit(g, 0, amax, 12), "f64")
g = around(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 0)
emit("ERF_F32", "`erf(x) / x - 1` in `x^2` on `|x| <= 1`.", fit(g, 0, mpf(1) * 1.01, 7), "f32")
emit("ERF_F64", "`erf(x) / x - 1` in `x^2` on `|x| <= 1`.", fit(g, 0, mpf(1) * 1.01, 14), "f64")
emit(
    "ERFC_TAIL_F32",
    "`log(erfc(x))` on `[1, 4]`.",
    fit(lambda x: mp.log(mp.erfc(x)), mpf("0.99"), mpf("4.05"), 7),
    "f32",
)
above, below = fit_ratio(lambda a: mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2), 0, mpf("13.3"), 4, 5, 3)
emit("TAIL_ABOVE_F32", "`exp(a^2 / 2)` times the normal distribution function of `-a` on `[0, 13.3]`.", above, "f32")
emit("TAIL_BELOW_F32", "What [`TAIL_ABOVE_F32`] is divided by.", below, "f32")


def tail(t):
    """(1 + 2x) exp(x^2) erfc(x) under the map t = (x - 4) / (x + 4)."""
    x = 4 * (1 + t) / (1 - t)
    if x > 10**9:
        return 2 / mp.sqrt(mp.pi)
    if x > 60:
        s = sum((-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(1, 20))
        return (1 + 2 * x) * (1 + s) / (x * mp.sqrt(mp.pi))
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


emit(
    "ERFC_F64",
    "`(1 + 2 x) exp(x^2) erfc(x)` in `(x - 4) / (x + 4)` on `[1/2, 30]`.",
    fit(tail, (mpf("0.49") - 4) / (mpf("0.49") + 4), mpf(26) / 34, 21),
    "f64",
)
emit(
    "ERFC_F32",
    "`(1 + 2 x) exp(x^2) erfc(x)` in `(x - 2) / (x + 2)` on `[1/2, 10.3]`.",
    fit(lambda t: tail((2 * (1 + t) / (1 - t) - 4) / (2 * (1 + t) / (1 - t) + 4)), mpf("-0.607"), mpf("0.675"), 10),
    "f32",
)


def erfinv(w):
    """erfinv(x) / x as a function of w = -log(1 - x^2)."""
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x if w > mpf(10) ** -30 else mp.sqrt(mp.pi) / 2


C = mpf("3.125")
with mp.workdps(60):
    values = fit(lambda t: erfinv(t + C), -C, C, 23)
    emit("ERFINV_SMALL", "`erfinv(x) / x` in `w - 25/8` for `w = -log(1 - x^2)` up to 25/4.", values, "f64")
    values = fit(lambda t: erfinv((t + mpf("3.25")) ** 2), mpf("-0.75"), mpf("0.75"), 18)
    emit("ERFINV_MIDDLE", "The same in `sqrt(w) - 13/4` for `w` up to 16.", values, "f64")
    values = fit(lambda t: erfinv((t + 5) ** 2), mpf(-1), mpf("1.01"), 17)
    emit("ERFINV_LARGE", "The same in `sqrt(w) - 5` for `w` up to 36.", values, "f64")
g = around(lambda z: (mp.loggamma(1 + z) / z + mp.euler) / z, 1)
emit("LGAMMA_1", "`(lgamma(1 + z) / z + euler) / z` on `|z| <= 1/2`.", fit(g, mpf("-0.3"), mpf("0.51"), 19), "f64")
g = around(lambda z: (mp.loggamma(2 + z) / z - 1 + mp.euler) / z, 1)
emit("LGAMMA_2", "`(lgamma(2 + z) / z - 1 + euler) / z` on `|z| <= 1/2`.", fit(g, mpf("-0.51"), mpf("0.51"), 18), "f64")

for order, name in ((0, "I0"), (1, "I1")):
    if order == 0:
        g = lambda z: mp.exp(0) * mp.besseli(0, 2 * mp.sqrt(z))
        doc = "`I0(x)` in `x^2 / 4` on `[0, 8]`."
    else:
        g = around(lambda z: mp.besseli(1, 2 * mp.sqrt(z)) / mp.sqrt(z), 0)
        doc = "`I1(x) / (x / 2)` in `x^2 / 4` on `[0, 8]`."
    emit(f"{name}_SMALL", doc, fit(g, 0, 16, 24), "f64")
    h = lambda u, o=order: mp.sqrt(2 * mp.pi / u) * mp.exp(-1 / u) * mp.besseli(o, 1 / u) if u > 0.001 else None

    def asymptotic(u, o=order):
        """sqrt(2 pi x) exp(-x) I(x) in u = 1 / x."""
        if u > mpf("0.004"):
            return mp.sqrt(2 * mp.pi / u) * mp.exp(-1 / u) * mp.besseli(o, 1 / u)
        total, term, m = mpf(1), mpf(1), 4 * o * o
        for k in range(1, 30):
            term *= -mpf(m - (2 * k - 1) ** 2) * u / (8 * k)
            total += term
        return total

    emit(
        f"{name}_LARGE",
        f"`sqrt(2 pi x) exp(-x) {name}(x)` in `1 / x - 1/16` for `x > 8`.",
        fit(lambda v, a=asymptotic: a(v + mpf(1) / 16), -mpf(1) / 16, mpf("0.0635"), 20),
        "f64",
    )
