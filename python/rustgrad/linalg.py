"""Norms and products, with the names and arguments of ``torch.linalg``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustgrad._core import Tensor, chain_matmul, dtype

if TYPE_CHECKING:
    from collections.abc import Sequence


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Return the norm of the elements over some dimensions."""
    return x.norm(ord, dim, keepdim, dtype)


def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Return the Frobenius norm, or the vector norm of order ``ord`` of vectors."""
    if ord is None or ord == "fro":
        return A.norm(2, dim, keepdim, dtype)
    if isinstance(dim, int) or (dim is None and A.norm(2, -1).numel() == 1):
        return A.norm(ord, dim, keepdim, dtype)
    message = f"matrix norms of order {ord!r} are not implemented"
    raise NotImplementedError(message)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of a chain of matrices."""
    return chain_matmul(*tensors)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross product of vectors of three."""
    return input.cross(other, dim)
