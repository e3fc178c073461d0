"""Bessel and Airy functions and their kin: series of ``_bessel_tables``, with derivatives by one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _bessel_tables as tables
from rustgrad._out import takes_out
from rustgrad.autograd.function import Function

if TYPE_CHECKING:
    from rustgrad._core import Tensor


def _series(coefficients: Sequence[float], t: Any) -> Any:
    """Sum a Chebyshev series by Clenshaw's recurrence."""
    double = t + t
    last: Any = 0.0
    this: Any = coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        last, this = this, double * this - last + coefficient
    return t * this - last + coefficients[0]


def _two(near: Any, x: Any, inner: Callable[[Any], Any], outer: Callable[[Any], Any], edge: float) -> Any:
    """Take ``inner`` of the elements that are near and ``outer`` of the others, each only if there are such."""
    if bool(near.all()):
        return inner(x)
    if not bool(near.any()):
        return outer(x)
    return _rg.where(near, inner(x.where(near, edge)), outer(x.where(~near, edge)))


def _wave(order: int, x: Any, second: bool) -> Any:
    """Return the function of the first or second kind from 8 on."""
    t = 128 / (x * x) - 1
    slow, fast = _series((tables.P0, tables.P1)[order], t), _series((tables.Q0, tables.Q1)[order], t) * (8 / x)
    angle = x - (0.25 + 0.5 * order) * math.pi
    sine, cosine = angle.sin(), angle.cos()
    wave = slow * sine + fast * cosine if second else slow * cosine - fast * sine
    # What is infinite lies on no wave; torch does not make an exception of it either.
    return wave * math.sqrt(2 / math.pi) / x.sqrt()


def _j(order: int, x: Any) -> Any:
    size = x.abs()
    table = (tables.J0, tables.J1)[order]

    def inner(x: Any) -> Any:
        value = _series(table, x * x / 32 - 1)
        return value * x if order else value

    value = _two(size <= 8, size, inner, lambda x: _wave(order, x, False), 8.0)
    return value.copysign(value * x.sign()) if order else value


def _y(order: int, x: Any) -> Any:
    table = (tables.Y0, tables.Y1)[order]

    def inner(x: Any) -> Any:
        value = _series(table, x * x / 32 - 1)
        if order:
            return value * x + (2 / math.pi) * (_j(1, x) * x.log() - 1 / x)
        return value + (2 / math.pi) * _j(0, x) * x.log()

    value = _two(x <= 8, x, inner, lambda x: _wave(order, x, True), 8.0)
    return _rg.where(x == 0, -math.inf, _rg.where(x < 0, math.nan, value))


def _ie(order: int, x: Any) -> Any:
    """Return the modified function of the first kind, divided by ``exp(abs(x))``."""
    size = x.abs()
    near, far = ((tables.I0, tables.I0_FAR), (tables.I1, tables.I1_FAR))[order]

    def inner(x: Any) -> Any:
        value = _series(near, x / 4 - 1)
        return value * x if order else value

    value = _two(size <= 8, size, inner, lambda x: _series(far, 16 / x - 1) / x.sqrt(), 8.0)
    return value * x.sign() if order else value


def _ke(order: int, x: Any, scaled: bool) -> Any:
    """Return the modified function of the second kind, times ``exp(x)`` if scaled."""
    near, far = ((tables.K0, tables.K0_FAR), (tables.K1, tables.K1_FAR))[order]

    def inner(x: Any) -> Any:
        value = _series(near, x * x / 2 - 1)
        power = _ie(order, x) * x.exp() * (x / 2).log()
        value = value / x + power if order else value - power
        return value * x.exp() if scaled else value

    def outer(x: Any) -> Any:
        value = _series(far, 4 / x - 1) / x.sqrt()
        return value if scaled else value * (-x).exp()

    value = _two(x <= 2, x, inner, outer, 2.0)
    return _rg.where(x == 0, math.inf, _rg.where(x < 0, math.nan, value))


def _erfcx(given: Any) -> Any:
    # In double precision: the exponential has a range of its own.
    x = given.double()
    far = x > 20
    near = x.where(~far, 0.0)
    # The square in two parts, so that its rounding does not grow with it: high * high has no error.
    high = near.float().double()
    power = (high * high).exp() * ((near - high) * (near + high)).exp()
    value = power * near.erfc()
    if bool(far.any()):
        large = x.where(far, 20.0)
        square = 0.5 / large.square()
        series: Any = 1.0
        for k in range(13, 0, -2):
            series = 1 - k * square * series
        value = _rg.where(far, series / (large * math.sqrt(math.pi)), value)
    return value.to(given.dtype)


def _airy(x: Any) -> Any:
    size = x.abs().clamp(min=2.5)
    root = size.sqrt()
    zeta = size * root * (2 / 3)
    scale = 1 / root.sqrt()
    least = 2 / 3 * 2.5**1.5
    ratio = least / zeta
    above = _series(tables.AIRY_FAR, 2 * ratio - 1) * (-zeta).exp() * scale
    t = 2 * ratio * ratio - 1
    angle = zeta + math.pi / 4
    wave = angle.sin() * _series(tables.AIRY_F, t) - angle.cos() * ratio * _series(tables.AIRY_G, t)
    below = wave * scale / math.sqrt(math.pi)
    middle = _series(tables.AIRY, x.clamp(-2.5, 2.5) / 2.5)
    value = _rg.where(x > 2.5, above, _rg.where(x < -2.5, below, middle))
    return _rg.where(x.isinf(), math.nan, value)


_VALUES: dict[str, Callable[[Any], Any]] = {
    "bessel_j0": lambda x: _j(0, x),
    "bessel_j1": lambda x: _j(1, x),
    "bessel_y0": lambda x: _y(0, x),
    "bessel_y1": lambda x: _y(1, x),
    "i0e": lambda x: _ie(0, x),
    "i1": lambda x: _ie(1, x) * x.abs().exp(),
    "i1e": lambda x: _ie(1, x),
    "modified_bessel_i0": lambda x: _ie(0, x) * x.abs().exp(),
    "modified_bessel_i1": lambda x: _ie(1, x) * x.abs().exp(),
    "modified_bessel_k0": lambda x: _ke(0, x, False),
    "modified_bessel_k1": lambda x: _ke(1, x, False),
    "erfcx": _erfcx,
}


def _at_zero(x: Any, value: Any) -> Any:
    """Put the limit 1 / 2 where a quotient by zero stands."""
    return _rg.where(x == 0, 0.5, value)


def _safe(x: Any) -> Any:
    return _rg.where(x == 0, 1.0, x)


class _Named(Function):
    """One of the functions of ``_VALUES``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any, name: str) -> Any:
        return _VALUES[name](x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.name = inputs
        ctx.save_for_backward(x, output)
        ctx.save_for_forward(x, output)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * _SLOPES[ctx.name](*ctx.saved_tensors), None

    @staticmethod
    def jvp(ctx: Any, tangent: Any, _: Any) -> Any:
        return tangent * _SLOPES[ctx.name](*ctx.saved_tensors)


def floating(input: Tensor) -> Tensor:
    """Return a tensor, integers in the default dtype."""
    return input if input.is_floating_point() else input.to(_rg.get_default_dtype())


def _function(name: str, text: str) -> Callable[..., Any]:
    def function(input: Tensor) -> Any:
        return _Named.apply(floating(input), name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return takes_out(function)


def _fixed(name: str, value: Callable[[Any], Any], text: str) -> Callable[..., Any]:
    """Make a function without derivative, as these are in torch."""

    def function(input: Tensor) -> Any:
        return value(floating(input.detach()))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return takes_out(function)


def _spherical(x: Any) -> Any:
    return _rg.where(x.isinf(), 0.0, _rg.sinc(x / math.pi))


bessel_j0 = _function("bessel_j0", "Return the Bessel function of the first kind of order 0.")
bessel_j1 = _function("bessel_j1", "Return the Bessel function of the first kind of order 1.")
bessel_y0 = _function("bessel_y0", "Return the Bessel function of the second kind of order 0.")
bessel_y1 = _function("bessel_y1", "Return the Bessel function of the second kind of order 1.")
i0e = _function("i0e", "Return ``exp(-abs(x)) * i0(x)``.")
i1 = _function("i1", "Return the modified Bessel function of the first kind of order 1.")
i1e = _function("i1e", "Return ``exp(-abs(x)) * i1(x)``.")
modified_bessel_i0 = _function(
    "modified_bessel_i0", "Return the modified Bessel function of the first kind of order 0."
)
modified_bessel_i1 = _function(
    "modified_bessel_i1", "Return the modified Bessel function of the first kind of order 1."
)
modified_bessel_k0 = _function(
    "modified_bessel_k0", "Return the modified Bessel function of the second kind of order 0."
)
modified_bessel_k1 = _function(
    "modified_bessel_k1", "Return the modified Bessel function of the second kind of order 1."
)
erfcx = _function("erfcx", "Return ``exp(x ** 2) * erfc(x)``.")
scaled_modified_bessel_k0 = _fixed(
    "scaled_modified_bessel_k0", lambda x: _ke(0, x, True), "Return ``exp(x) * modified_bessel_k0(x)``."
)
scaled_modified_bessel_k1 = _fixed(
    "scaled_modified_bessel_k1", lambda x: _ke(1, x, True), "Return ``exp(x) * modified_bessel_k1(x)``."
)
spherical_bessel_j0 = _fixed("spherical_bessel_j0", _spherical, "Return ``sin(x) / x``.")
airy_ai = _fixed("airy_ai", _airy, "Return the Airy function Ai.")

_SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "bessel_j0": lambda x, y: -bessel_j1(x),
    "bessel_j1": lambda x, y: _at_zero(x, bessel_j0(x) - y / _safe(x)),
    "bessel_y0": lambda x, y: -bessel_y1(x),
    "bessel_y1": lambda x, y: bessel_y0(x) - y / x,
    "i0e": lambda x, y: i1e(x) - x.sign() * y,
    "i1": lambda x, y: _at_zero(x, _rg.i0(x) - y / _safe(x)),
    "i1e": lambda x, y: _at_zero(x, i0e(x) - y * (x.sign() + 1 / _safe(x))),
    "modified_bessel_i0": lambda x, y: modified_bessel_i1(x),
    "modified_bessel_i1": lambda x, y: _at_zero(x, modified_bessel_i0(x) - y / _safe(x)),
    "modified_bessel_k0": lambda x, y: -modified_bessel_k1(x),
    "modified_bessel_k1": lambda x, y: -modified_bessel_k0(x) - y / x,
    "erfcx": lambda x, y: 2 * (x * y - 1 / math.sqrt(math.pi)),
}
