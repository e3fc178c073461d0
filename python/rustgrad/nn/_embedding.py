"""Embeddings and one-hot rows, for ``rustgrad.nn.functional``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad import _core

if TYPE_CHECKING:
    from rustgrad._core import Tensor

_look_up = _core._nn_embedding


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of ``weight`` that ``input`` names; those at ``padding_idx`` get no gradient.

    With ``max_norm``, rows of a larger ``norm_type`` norm are scaled down in place before.
    """
    if sparse:
        message = "embedding: sparse gradients are not supported"
        raise NotImplementedError(message)
    if padding_idx is not None:
        count = weight.size(0)
        if not -count <= padding_idx < count:
            message = "Padding_idx must be within num_embeddings"
            raise AssertionError(message)
        if padding_idx < 0:
            padding_idx += count
    if max_norm is not None:
        with rustgrad.no_grad():
            used = input.reshape(-1).unique()
            rows = weight.index_select(0, used)
            norms = rows.norm(norm_type, 1, True)
            scaled = rustgrad.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows)
            weight.index_copy_(0, used, scaled)
    try:
        result: Tensor = _look_up(input, weight, padding_idx)
    except IndexError as error:
        message = f"index out of range in self ({error})"
        raise IndexError(message) from None
    if scale_grad_by_freq:
        counts = rustgrad.bincount(input.reshape(-1), minlength=weight.size(0))
        result = _Scaled.apply(result, counts[input].unsqueeze(-1))
    return result


class _Scaled(rustgrad.autograd.Function):
    """The identity, whose gradient is divided."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Tensor) -> Tensor:
        ctx.save_for_backward(counts)
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (counts,) = ctx.saved_tensors
        return gradient / counts, None


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return rows of zeros with a one at each index."""
    return rustgrad._core._one_hot(tensor, num_classes)
