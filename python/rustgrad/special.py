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
from rustgrad import round as round
from rustgrad import sigmoid as expit
from rustgrad import sinc as sinc
from rustgrad import xlogy as xlogy
from rustgrad._batching import base
from rustgrad._composed import mvlgamma as multigammaln
from rustgrad._incomplete import gammainc as gammainc
from rustgrad._incomplete import gammaincc as gammaincc
from rustgrad._out import takes_out

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln", "i0",
    "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi",
    "round", "sinc", "softmax", "xlog1py", "xlogy",
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


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return softmax along a dimension."""
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of softmax along a dimension."""
    return input.log_softmax(dim, dtype)
