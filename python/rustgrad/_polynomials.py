"""Orthogonal polynomials by their recurrences, and the Hurwitz zeta function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad._out import takes_out
from rustgrad.autograd.function import Function


def _pair(name: str, input: Any, n: Any) -> tuple[Any, Any]:
    """Return both arguments as tensors; numbers take the dtype of the other one."""
    if not isinstance(input, Tensor) and not isinstance(n, Tensor):
        message = f"{name}(): one of the arguments must be a Tensor"
        raise TypeError(message)
    dtype = _rg.result_type(input, n)
    if not dtype.is_floating_point:
        dtype = _rg.get_default_dtype()
    both = [each.to(dtype) if isinstance(each, Tensor) else _rg.tensor(float(each), dtype=dtype) for each in (input, n)]
    return both[0], both[1]


def _polynomial(
    name: str, first: Callable[[Any], Any], step: Callable[[int, Any, Any, Any], Any], map: Any = None
) -> Callable[..., Any]:
    """Make a function of the polynomial of degree 1 and of ``step(k, x, this, last)``, which gives degree k + 1."""

    def function(input: Any, n: Any) -> Any:
        x, degree = _pair(name, input, n)
        if map is not None:
            x = map(x)
        degree = degree.detach().trunc()
        most = int(degree.max().item()) if degree.numel() else 0
        x, degree = _rg.broadcast_tensors(x, degree)
        last, this = _rg.ones_like(x), first(x)
        value = _rg.where(degree == 0, last, _rg.where(degree == 1, this, _rg.zeros_like(x)))
        for k in range(1, most):
            last, this = this, step(k, x, this, last)
            value = _rg.where(degree == k + 1, this, value)
        return value

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return the {name.replace('_', ' ')} of degree ``n``; zero below degree 0."
    return takes_out(function)


def _chebyshev(k: int, x: Any, this: Any, last: Any) -> Any:
    del k
    return (x + x) * this - last


_FIRST: dict[str, Callable[[Any], Any]] = {
    "t": lambda x: x, "u": lambda x: x + x, "v": lambda x: x + x - 1, "w": lambda x: x + x + 1
}  # fmt: skip


def _shift(x: Any) -> Any:
    return x + x - 1


chebyshev_polynomial_t = _polynomial("chebyshev_polynomial_t", _FIRST["t"], _chebyshev)
chebyshev_polynomial_u = _polynomial("chebyshev_polynomial_u", _FIRST["u"], _chebyshev)
chebyshev_polynomial_v = _polynomial("chebyshev_polynomial_v", _FIRST["v"], _chebyshev)
chebyshev_polynomial_w = _polynomial("chebyshev_polynomial_w", _FIRST["w"], _chebyshev)
shifted_chebyshev_polynomial_t = _polynomial("shifted_chebyshev_polynomial_t", _FIRST["t"], _chebyshev, _shift)
shifted_chebyshev_polynomial_u = _polynomial("shifted_chebyshev_polynomial_u", _FIRST["u"], _chebyshev, _shift)
shifted_chebyshev_polynomial_v = _polynomial("shifted_chebyshev_polynomial_v", _FIRST["v"], _chebyshev, _shift)
shifted_chebyshev_polynomial_w = _polynomial("shifted_chebyshev_polynomial_w", _FIRST["w"], _chebyshev, _shift)
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h", lambda x: x + x, lambda k, x, this, last: (x + x) * this - 2 * k * last
)
hermite_polynomial_he = _polynomial("hermite_polynomial_he", lambda x: x, lambda k, x, this, last: x * this - k * last)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l", lambda x: 1 - x, lambda k, x, this, last: ((2 * k + 1 - x) * this - k * last) / (k + 1)
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p", lambda x: x, lambda k, x, this, last: ((2 * k + 1) * x * this - k * last) / (k + 1)
)

#: ``(2 k)! / B_2k``, by which the terms of Euler's and Maclaurin's formula are divided.
_TERMS = (
    12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1307674368000.0 / 691, 74724249600.0,
    -10670622842880000.0 / 3617, 5109094217170944000.0 / 43867, -802857662698291200000.0 / 174611,
)  # fmt: skip
_SUMMED = 10


def _zeta(x: Any, q: Any) -> Any:
    """Sum ten terms, and more where ``q`` is negative, and the rest by Euler's and Maclaurin's formula."""
    dtype = x.dtype
    x, q = _rg.broadcast_tensors(x.double(), q.double())
    steps = _SUMMED
    if q.numel():
        least = q.where(q.isfinite(), 0.0).min().item()
        steps += int(min(max(0.0, -math.floor(least)), 1e6))
    total = _rg.zeros_like(q)
    for k in range(steps):
        total = total + (q + k).pow(-x)
    end = q + steps
    power = end.pow(-x)
    total = total + power * end / (x - 1) + 0.5 * power
    factor = x
    power = power / end
    for k, term in enumerate(_TERMS):
        total = total + factor * power / term
        factor = factor * (x + 2 * k + 1) * (x + 2 * k + 2)
        power = power / (end * end)
    below = q <= 0
    total = _rg.where(below & (x != x.floor()), math.nan, total)
    total = _rg.where(below & (q == q.floor()), math.inf, total)
    total = _rg.where(x < 1, math.nan, total)
    return _rg.where(x == 1, math.inf, total).to(dtype)


class _Zeta(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, q: Any) -> Any:
        ctx.save_for_backward(x, q)
        return _zeta(x, q)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        x, q = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            message = "the derivative for 'self' is not implemented."
            raise NotImplementedError(message)
        return None, gradient * -x * zeta(x + 1, q)


@takes_out
def zeta(input: Any, other: Any) -> Any:
    """Return ``sum_k (k + other) ** -input`` of all k from 0 on; differentiable by ``other``."""
    return _Zeta.apply(*_rg.broadcast_tensors(*_pair("zeta", input, other)))
