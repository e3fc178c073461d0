"""Windows of signals: ``f(n / (N - 1))`` of periodic or symmetric length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad as _rg

if TYPE_CHECKING:
    from collections.abc import Callable

    from rustgrad._core import Tensor


def _window(
    name: str, length: int, periodic: bool, options: dict[str, Any], shape: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return a window; ``shape`` gives its values at numbers between zero and one."""
    requires_grad = bool(options.pop("requires_grad", False))
    dtype = options.pop("dtype", None) or _rg.get_default_dtype()
    for ignored in ("layout", "device", "pin_memory"):
        options.pop(ignored, None)
    if options:
        message = f"{name}() got an unexpected keyword argument '{next(iter(options))}'"
        raise TypeError(message)
    if not dtype.is_floating_point:
        message = f"{name} expects floating point dtypes, got: {dtype}"
        raise RuntimeError(message)
    if length < 0:
        message = f"{name} requires non-negative window_length, got window_length={length}"
        raise RuntimeError(message)
    if length < 2:
        return _rg.ones(length, dtype=dtype, requires_grad=requires_grad)
    at = _rg.arange(length, dtype=_rg.double) / (length if periodic else length - 1)
    return shape(at.to(dtype)).requires_grad_(requires_grad)


def _cosines(at: Tensor, *weights: float) -> Tensor:
    """Return ``a_0 - a_1 cos(2 pi x) + a_2 cos(4 pi x) - ...``."""
    total = _rg.zeros_like(at)
    # From the smallest weight on, so that the ends are as close to zero as in torch.
    for order in range(len(weights) - 1, 0, -1):
        total = total + (-1) ** order * weights[order] * (2 * math.pi * order * at).cos()
    return total + weights[0]


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return ``sin^2(pi n / (N - 1))``."""
    return _window("hann_window", window_length, periodic, options, lambda at: _cosines(at, 0.5, 0.5))


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    """Return ``alpha - beta cos(2 pi n / (N - 1))``."""
    return _window("hamming_window", window_length, periodic, options, lambda at: _cosines(at, alpha, beta))


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return ``0.42 - 0.5 cos(2 pi n / (N - 1)) + 0.08 cos(4 pi n / (N - 1))``."""
    return _window("blackman_window", window_length, periodic, options, lambda at: _cosines(at, 0.42, 0.5, 0.08))


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return a triangle from zero to one and back."""
    return _window("bartlett_window", window_length, periodic, options, lambda at: 1 - (2 * at - 1).abs())


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """Return ``I_0(beta sqrt(1 - (2 n / (N - 1) - 1)^2)) / I_0(beta)``."""

    def shape(at: Tensor) -> Tensor:
        inside = (1 - (2 * at - 1) ** 2).clamp(min=0).sqrt()
        return _rg.i0(beta * inside) / _rg.i0(_rg.tensor(float(beta), dtype=at.dtype))

    return _window("kaiser_window", window_length, periodic, options, shape)
