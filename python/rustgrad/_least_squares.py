"""Least squares and pseudoinverses, for ``rustgrad.linalg``."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg
from rustgrad import _core, return_types
from rustgrad._core import Tensor
from rustgrad._out import takes_out

_c: Any = _core


def is_vector(A: Tensor, B: Tensor) -> bool:
    return B.dim() == 1 or (A.dim() - 1 == B.dim() and tuple(B.shape) == tuple(A.shape[:-1]))


@takes_out
def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: Any = None,
    rtol: Any = None,
) -> Tensor:
    """Return the pseudoinverses (Moore & Penrose); singular values below the tolerance count as zero.

    Formula source: Golub & Pereyra, 1973, for the derivative.
    """
    if rtol is None:
        rtol = rcond
    if A.numel() == 0:
        return A.mT.clone()
    return _PseudoInverse.apply(A, hermitian, atol, rtol)  # type: ignore[no-any-return]


def tolerance(A: Tensor, largest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Return below what a singular value counts as zero."""
    if rtol is None:
        given = atol is not None and (not isinstance(atol, Tensor) and atol > 0.0)
        rtol = 0.0 if given else _rg.finfo(A.dtype).eps * max(A.shape[-2:])
    absolute = 0.0 if atol is None else atol
    relative = rtol * largest
    if isinstance(absolute, Tensor):
        return _rg.maximum(absolute.to(largest.dtype), relative)
    return relative.clamp(min=absolute)  # type: ignore[no-any-return]


class _PseudoInverse(_rg.autograd.Function):
    """The pseudoinverse, whose derivative needs no gaps between singular values."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, hermitian: bool, atol: Any, rtol: Any) -> Tensor:
        if hermitian:
            values, U = _c._linalg_eigh(A, False)
            sizes, Vh = values.abs(), U.mT
        else:
            U, values, Vh = _c._linalg_svd(A, False)
            sizes = values
        keep = sizes > tolerance(A, sizes.amax(-1, True), atol, rtol)
        inverse = _rg.where(keep, values, 1.0).reciprocal() * keep
        P: Tensor = (Vh.mT * inverse.unsqueeze(-2)) @ U.mT
        ctx.save_for_backward(A, P)
        return P

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        A, P = ctx.saved_tensors
        # In the recorded pass P is connected to A as an output of this function.
        Pt, gt = P.mT, grad.mT
        inside = -(Pt @ grad @ Pt)
        left = gt - A @ (P @ gt)
        right = gt - (gt @ P) @ A
        return inside + (left @ P) @ Pt + (Pt @ (P @ right)), None, None, None


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """Return solutions of least squares, their residuals, ranks and singular values."""
    from rustgrad import linalg

    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        message = f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), not {driver}"
        raise RuntimeError(message)
    name = "torch.linalg.lstsq"
    if A.dim() < 2:
        message = f"{name}: input must have at least 2 dimensions."
        raise RuntimeError(message)
    if B.dim() < 1:
        message = f"{name}: other must have at least 1 dimension."
        raise RuntimeError(message)
    if A.dtype != B.dtype:
        message = f"{name}: Expected input and other to have the same dtype, but got {A.dtype} and {B.dtype}"
        raise RuntimeError(message)
    if not 0 <= A.dim() - B.dim() <= 1:
        message = (
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1, got "
            f"{A.dim()} and {B.dim()}"
        )
        raise RuntimeError(message)
    vector = is_vector(A, B)
    right = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    if right.shape[-2] != m:
        message = f"{name}: input.size(-2) should match other.size({'-1' if vector else '-2'})"
        raise RuntimeError(message)
    if A.shape[:-2] != right.shape[:-2]:
        lead = _rg.broadcast_shapes(A.shape[:-2], right.shape[:-2])
        A, right = A.expand(*lead, m, n), right.expand(*lead, *right.shape[-2:])
    # "gels" takes the rank for full; so it is, up to rounding.
    rtol = _rg.finfo(A.dtype).eps * max(m, n) if rcond is None or driver == "gels" else rcond
    none = A.new_empty((0,))
    if driver in ("gelsd", "gelss"):
        values = linalg.svdvals(A.detach())
        ranks = (rtol * values[..., :1] < values).sum(-1)
        solution = pinv(A, rtol=rtol) @ right
    else:
        values = none
        solution, ranks = _LeastSquares.apply(A, right, rtol)
    full = m > n and driver not in (None, "gelsy") and bool((ranks == n).all())
    residuals = (A @ solution - right).square().sum(-2) if full else none
    if driver == "gels":
        ranks = _rg.empty((0,), dtype=_rg.int64)
    if vector:
        solution = solution.squeeze(-1)
    return return_types.linalg_lstsq((solution, residuals, ranks, values))


class _LeastSquares(_rg.autograd.Function):
    """The shortest solutions of least squares, and the ranks; the derivative is that of the pseudoinverse's product."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor, rtol: float) -> tuple[Tensor, Tensor]:
        X, ranks = _c._linalg_lstsq(A, B, rtol)
        ctx.rtol = rtol
        ctx.save_for_backward(A, B, X)
        ctx.mark_non_differentiable(ranks)
        return X, ranks

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        A, B, X = ctx.saved_tensors
        P = pinv(A, rtol=ctx.rtol)
        Pt = P.mT
        of_B = Pt @ grad
        if not ctx.needs_input_grad[0]:
            return None, of_B, None
        of_A = (B - A @ X) @ (P @ of_B).mT - of_B @ X.mT + (Pt @ X) @ (grad - P @ (A @ grad)).mT
        return of_A, of_B, None
