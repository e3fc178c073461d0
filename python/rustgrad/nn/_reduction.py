"""What becomes of the losses of single elements."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import rustgrad

if TYPE_CHECKING:
    from rustgrad._core import Tensor

REDUCTIONS = ("mean", "sum", "none")


def check(reduction: str) -> None:
    """Raise ``ValueError`` for a reduction that does not exist."""
    if reduction not in REDUCTIONS:
        message = f"{reduction} is not a valid value for reduction"
        raise ValueError(message)


def constant(function: str, **parts: Tensor | None) -> None:
    """Refuse arguments that require a gradient which the function does not have."""
    for name, part in parts.items():
        if part is not None and part.requires_grad and rustgrad.is_grad_enabled():
            message = (
                f"The function '{function}' is not differentiable with respect to argument '{name}'. "
                "This input cannot have requires_grad True."
            )
            raise RuntimeError(message)


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """Return the mean, the sum, or the loss as it is."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    check(reduction)
    return loss


def legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Translate torch's old arguments, with its warning."""
    if size_average is None and reduce is None:
        return reduction
    mean, reduces = size_average is not False, reduce is not False
    name = ("mean" if mean else "sum") if reduces else "none"
    text = f"size_average and reduce args will be deprecated, please use reduction='{name}' instead."
    warnings.warn(text, stacklevel=3)
    return name
