"""Special functions, with the names of ``torch.special``."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad import Tensor
from rustgrad import digamma as digamma
from rustgrad import digamma as psi
from rustgrad import erf as erf
from rustgrad import erfc as erfc
from rustgrad import erfinv as erfinv
from rustgrad import exp2 as exp2
from rustgrad import expm1 as expm1
from rustgrad import i0 as i0
from rustgrad import lgamma as gammaln
from rustgrad import log1p as log1p
from rustgrad import logit as logit
from rustgrad import logsumexp as logsumexp
from rustgrad import sigmoid as expit
from rustgrad import sinc as sinc
from rustgrad import xlogy as xlogy
from rustgrad._batching import base
from rustgrad._bessel import airy_ai as airy_ai
from rustgrad._bessel import bessel_j0 as bessel_j0
from rustgrad._bessel import bessel_j1 as bessel_j1
from rustgrad._bessel import bessel_y0 as bessel_y0
from rustgrad._bessel import bessel_y1 as bessel_y1
from rustgrad._bessel import erfcx as erfcx
from rustgrad._bessel import i0e as i0e
from rustgrad._bessel import i1 as i1
from rustgrad._bessel import i1e as i1e
from rustgrad._bessel import modified_bessel_i0 as modified_bessel_i0
from rustgrad._bessel import modified_bessel_i1 as modified_bessel_i1
from rustgrad._bessel import modified_bessel_k0 as modified_bessel_k0
from rustgrad._bessel import modified_bessel_k1 as modified_bessel_k1
from rustgrad._bessel import scaled_modified_bessel_k0 as scaled_modified_bessel_k0
from rustgrad._bessel import scaled_modified_bessel_k1 as scaled_modified_bessel_k1
from rustgrad._bessel import spherical_bessel_j0 as spherical_bessel_j0
from rustgrad._composed import mvlgamma as multigammaln
from rustgrad._incomplete import gammainc as gammainc
from rustgrad._incomplete import gammaincc as gammaincc
from rustgrad._out import takes_out
from rustgrad._polynomials import chebyshev_polynomial_t as chebyshev_polynomial_t
from rustgrad._polynomials import chebyshev_polynomial_u as chebyshev_polynomial_u
from rustgrad._polynomials import chebyshev_polynomial_v as chebyshev_polynomial_v
from rustgrad._polynomials import chebyshev_polynomial_w as chebyshev_polynomial_w
from rustgrad._polynomials import hermite_polynomial_h as hermite_polynomial_h
from rustgrad._polynomials import hermite_polynomial_he as hermite_polynomial_he
from rustgrad._polynomials import laguerre_polynomial_l as laguerre_polynomial_l
from rustgrad._polynomials import legendre_polynomial_p as legendre_polynomial_p
from rustgrad._polynomials import shifted_chebyshev_polynomial_t as shifted_chebyshev_polynomial_t
from rustgrad._polynomials import shifted_chebyshev_polynomial_u as shifted_chebyshev_polynomial_u
from rustgrad._polynomials import shifted_chebyshev_polynomial_v as shifted_chebyshev_polynomial_v
from rustgrad._polynomials import shifted_chebyshev_polynomial_w as shifted_chebyshev_polynomial_w
from rustgrad._polynomials import zeta as zeta

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0",
    "i0e", "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0",
    "xlog1py", "xlogy", "zeta",
]  # fmt: skip


def _floating(input: Tensor) -> Tensor:
    return input if input.is_floating_point() else input.to(_rg.get_default_dtype())


@takes_out
def polygamma(n: int, input: Tensor) -> Tensor:
    """Return the n-th derivative of ``digamma``."""
    return input.polygamma(n)


@takes_out
def entr(input: Tensor) -> Tensor:
    """Return ``-x * log(x)``: zero at zero, minus infinity below."""
    x = _floating(input)
    return _rg.where(x < 0, -math.inf, _rg.xlogy(-x, x))  # type: ignore[no-any-return]


@takes_out
def ndtr(input: Tensor) -> Tensor:
    """Return the distribution function of the standard normal distribution."""
    return 0.5 * _rg.erfc(_floating(input) * -math.sqrt(0.5))


@takes_out
def log_ndtr(input: Tensor) -> Tensor:
    """Return the logarithm of :func:`ndtr`, by an asymptotic series far below zero (Abramowitz & Stegun, 26.2.12)."""
    x = _floating(input)
    # Up to here the complement is no denormal number, and from here on the series is exact with these terms.
    bound, factors = (-30.0, (11, 9, 7, 5, 3, 1)) if x.dtype is _rg.float64 else (-10.0, (9, 7, 5, 3, 1))
    positive, far = x > 0, x < bound
    # Few programs have numbers so far below. Slices of a batch are asked together.
    series_needed = bool(base(far).any())
    below = _rg.where(far, bound, -x) if series_needed else -x
    # One complement serves both sides. The derivative at zero is that of the side that is taken there.
    half = 0.5 * _rg.erfc(_rg.where(positive, x, below) * math.sqrt(0.5))
    near = _rg.where(positive, (-half).log1p(), half.log())
    if not series_needed:
        return near  # type: ignore[no-any-return]
    # The formula sees numbers of its own part only, so that no derivative elsewhere is not a number.
    tail = _rg.where(far, x, bound)
    square = tail * tail
    inverse = 1 / square
    series = 1.0
    for factor in factors:
        series = 1 - factor * inverse * series
    low = (series / -tail).log() - (0.5 * square + 0.5 * math.log(2 * math.pi))
    return _rg.where(far, low, near)  # type: ignore[no-any-return]


@takes_out
def ndtri(input: Tensor) -> Tensor:
    """Return the inverse of :func:`ndtr`."""
    return math.sqrt(2) * _rg.erfinv(2 * _floating(input) - 1)


@takes_out
def xlog1py(input: Any, other: Any) -> Tensor:
    """Return ``input * log1p(other)``: zero where ``input`` is, unless ``other`` is not a number."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        message = "xlog1py(): one of the arguments must be a Tensor"
        raise TypeError(message)
    x = input if isinstance(input, Tensor) else _rg.tensor(float(input), dtype=_floating(other).dtype)
    y = _floating(other) if isinstance(other, Tensor) else _rg.tensor(float(other), dtype=_floating(x).dtype)
    product = x * y.log1p()
    return _rg.where((x == 0) & ~y.isnan(), _rg.zeros_like(product), product)  # type: ignore[no-any-return]


@takes_out
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the nearest integer, or number of so many decimals; halves go to the even one."""
    return input.round(decimals=decimals)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return softmax along a dimension."""
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of softmax along a dimension."""
    return input.log_softmax(dim, dtype)
