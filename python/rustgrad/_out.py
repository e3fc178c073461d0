"""The argument ``out=`` of functions written in Python."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import rustgrad as _rg
from rustgrad._core import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def _deliver(name: str, result: Tensor, out: Any) -> Tensor:
    """Write a result into ``out``, which gets its shape."""
    if not isinstance(out, Tensor):
        message = f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}"
        raise TypeError(message)
    if (out.requires_grad or result.requires_grad) and _rg.is_grad_enabled():
        message = (
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
        raise RuntimeError(message)
    if not _rg.can_cast(result.dtype, out.dtype):
        message = f"Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead"
        raise RuntimeError(message)
    if out.shape != result.shape:
        if out.numel():
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(out.shape)}, which does not match the required output shape {list(result.shape)}.",
                UserWarning,
                stacklevel=4,
            )
        out.data = _rg.empty(result.shape, dtype=out.dtype)
    with _rg.no_grad():
        return out.copy_(result)


def takes_out(function: F) -> F:
    """Give a function the keyword ``out``: a tensor, or a tuple for functions with several results."""

    @functools.wraps(function)
    def wrapper(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if out is None:
            return result
        if isinstance(result, Tensor):
            return _deliver(function.__name__, result, out)
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            message = f"{function.__name__}() gives {len(result)} tensors, and out= must hold as many"
            raise TypeError(message)
        written = tuple(_deliver(function.__name__, one, target) for one, target in zip(result, out, strict=True))
        return type(result)(written)

    return wrapper  # type: ignore[return-value]
