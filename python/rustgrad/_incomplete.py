"""The incomplete gamma functions, by their power series and their continued fraction (DLMF 8.11.4 and 8.9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._out import takes_out
from rustgrad.autograd.function import Function, once_differentiable

if TYPE_CHECKING:
    from rustgrad._core import Tensor

_STEPS = 20_000
#: So many elements are taken at a time: what they need stays near the processor, and each part ends when it may.
_PART = 4096


def _lower_series(a: Any, x: Any, error: float) -> Any:
    """Return ``sum_k x^k / (a (a + 1) ... (a + k))``."""
    term = 1 / a
    total = term
    for k in range(1, _STEPS):
        term = term * x / (a + k)
        total = total + term
        if k % 8 == 0 and bool((term <= error * total).all()):
            break
    return total


def _upper_fraction(a: Any, x: Any, error: float) -> Any:
    """Return ``1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...))`` by Lentz's method."""
    tiny = 1e-300
    b = x + 1 - a
    c = _rg.full_like(x, 1 / tiny)
    d = 1 / b
    h = d
    for k in range(1, _STEPS):
        factor = -k * (k - a)
        b = b + 2
        d = factor * d + b
        d = 1 / d.where(d.abs() > tiny, tiny)
        c = b + factor / c
        c = c.where(c.abs() > tiny, tiny)
        change = d * c
        h = h * change
        if k % 8 == 0 and bool(((change - 1).abs() <= error).all()):
            break
    return h


def _pair(a: Any, x: Any) -> tuple[Any, Any]:
    """Return the lower and the upper regularised function, in double precision but to the digits of ``x``."""
    # A factor of the fraction comes to lie beside one and may stay there; sums of the series grow until terms are lost.
    errors = (1e-17, 4.5e-16) if x.dtype is _rg.float64 else (1e-10, 1e-10)
    a, x = _rg.broadcast_tensors(a.double(), x.double())
    flat_a, flat_x = a.reshape(-1), x.reshape(-1)
    lower = _rg.full_like(flat_a, _rg.nan)
    usual = (flat_a > 0) & (flat_x > 0) & flat_a.isfinite() & flat_x.isfinite()
    upper = lower.clone()
    for below, function, error in zip((True, False), (_lower_series, _upper_fraction), errors, strict=True):
        for chosen in (usual & ((flat_x < flat_a + 1) == below)).nonzero().flatten().split(_PART):
            if not chosen.numel():
                continue
            a_part, x_part = flat_a[chosen], flat_x[chosen]
            scale = (a_part * x_part.log() - x_part - a_part.lgamma()).exp()
            value = scale * function(a_part, x_part, error)
            lower[chosen], upper[chosen] = (value, 1 - value) if below else (1 - value, value)
    # The ends: nothing lies below zero, all lies below infinity.
    ends = (
        ((flat_x == 0) & (flat_a > 0) & flat_a.isfinite(), 0.0),
        ((flat_a == 0) & (flat_x > 0), 1.0),
        ((flat_x == _rg.inf) & (flat_a >= 0) & flat_a.isfinite(), 1.0),
        ((flat_a == _rg.inf) & (flat_x >= 0) & flat_x.isfinite(), 0.0),
    )
    for where, value in ends:
        lower[where], upper[where] = value, 1 - value
    return lower.reshape(a.shape), upper.reshape(a.shape)


class _Incomplete(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, x: Any, upper: bool) -> Any:
        ctx.save_for_backward(a, x)
        ctx.upper = upper
        return _pair(a, x)[upper].to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        a, x = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            message = "the derivative for 'self' is not implemented."
            raise NotImplementedError(message)
        density = (_rg.xlogy(a - 1, x) - x - a.lgamma()).exp()
        return None, (-gradient if ctx.upper else gradient) * density, None


def _incomplete(a: Tensor, x: Tensor, upper: bool) -> Any:
    dtype = _rg.result_type(a, x)
    if not dtype.is_floating_point:
        dtype = _rg.get_default_dtype()
    first, second = _rg.broadcast_tensors(a.to(dtype), x.to(dtype))
    return _Incomplete.apply(first, second, upper)


@takes_out
def gammainc(input: Tensor, other: Tensor) -> Any:
    """Return the regularised lower incomplete gamma function; differentiable once by ``other``."""
    return _incomplete(input, other, False)


@takes_out
def gammaincc(input: Tensor, other: Tensor) -> Any:
    """Return the regularised upper incomplete gamma function; differentiable once by ``other``."""
    return _incomplete(input, other, True)


igamma = gammainc
igammac = gammaincc
