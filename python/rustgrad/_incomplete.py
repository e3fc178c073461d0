"""The incomplete gamma functions, whose derivative by their parameter is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad._out import takes_out
from rustgrad.autograd.function import Function, once_differentiable

if TYPE_CHECKING:
    from rustgrad._core import Tensor


class _Incomplete(Function):
    """Either function of a parameter that requires a gradient: asking for one is an error."""

    @staticmethod
    def forward(ctx: Any, a: Any, x: Any, upper: bool) -> Any:
        ctx.save_for_backward(a, x)
        ctx.upper = upper
        return _core._igammac(a, x) if upper else _core._igamma(a, x)

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
    a, x = a.to(dtype), x.to(dtype)
    if a.requires_grad and _rg.is_grad_enabled():
        first, second = _rg.broadcast_tensors(a, x)
        return _Incomplete.apply(first, second, upper)
    return _core._igammac(a, x) if upper else _core._igamma(a, x)


@takes_out
def gammainc(input: Tensor, other: Tensor) -> Any:
    """Return the regularised lower incomplete gamma function; differentiable by ``other``."""
    return _incomplete(input, other, False)


@takes_out
def gammaincc(input: Tensor, other: Tensor) -> Any:
    """Return the regularised upper incomplete gamma function; differentiable by ``other``."""
    return _incomplete(input, other, True)


igamma = gammainc
igammac = gammaincc
