"""Linear algebra, with the names and arguments of ``torch.linalg``; the matrices are the last two dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core, return_types
from rustgrad._core import Tensor
from rustgrad._least_squares import is_vector, tolerance
from rustgrad._least_squares import lstsq as lstsq
from rustgrad._least_squares import pinv as pinv
from rustgrad._nests import whole
from rustgrad._out import takes_out
from rustgrad._size import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import dtype

_c: Any = _core


class LinAlgError(RuntimeError):
    """A decomposition or solution that failed: a singular matrix, or one that is not positive definite."""


def _check(name: str, info: Tensor, text: str) -> None:
    """Raise for the first matrix whose info is not zero."""
    if not whole(info).any():
        return
    flat = info.reshape(-1).tolist()
    place = next(i for i, one in enumerate(flat) if one)
    batch = f"(Batch element {place}): " if info.dim() else ""
    message = f"{name}: {batch}{text.format(flat[place])}"
    raise LinAlgError(message)


_SINGULAR = (
    "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular."
)
_UNSOLVED = "The solver failed because the input matrix is singular."
_NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order "
    "{} is not positive-definite)."
)


def _square(name: str, A: Tensor) -> None:
    if A.dim() < 2:
        message = f"{name}: The input tensor A must have at least 2 dimensions."
        raise RuntimeError(message)
    if A.shape[-1] != A.shape[-2]:
        message = f"{name}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        raise RuntimeError(message)


# Inverses and solutions.


@takes_out
def inv(A: Tensor) -> Tensor:
    """Return the inverses; raises :class:`LinAlgError` for a singular matrix."""
    inverse, info = _c._linalg_inv(A)
    _check("linalg.inv", info, _SINGULAR)
    return inverse  # type: ignore[no-any-return]


@takes_out
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """Return the inverses, and for each matrix zero or the place of a zero pivot."""
    inverse, info = _c._linalg_inv(A)
    if check_errors:
        _check("linalg.inv_ex", info, _SINGULAR)
    return return_types.linalg_inv_ex((inverse, info))


def _together(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast the stacks of two tensors of matrices."""
    if A.shape[:-2] == B.shape[:-2]:
        return A, B
    lead = _rg.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    return A.expand(*lead, *A.shape[-2:]), B.expand(*lead, *B.shape[-2:])


def _solve(name: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    _square(name, A)
    if is_vector(A, B):
        if not left:
            message = f"{name}: Vector broadcasting of the left hand side is not supported for left=False."
            raise RuntimeError(message)
        solution, info = _c._linalg_solve(*_together(A, B.unsqueeze(-1)))
        return solution.squeeze(-1), info
    if left:
        return _c._linalg_solve(*_together(A, B))  # type: ignore[no-any-return]
    solution, info = _c._linalg_solve(*_together(A.mT, B.mT))
    return solution.mT, info


@takes_out
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Return X with ``A X = B``, or ``X A = B`` if not ``left``; B may hold vectors.

    Raises
    ------
    LinAlgError
        If a matrix is singular.
    """
    solution, info = _solve("linalg.solve", A, B, left)
    _check("torch.linalg.solve", info, _UNSOLVED)
    return solution


@takes_out
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """Return the solutions, and for each matrix zero or the place of a zero pivot."""
    solution, info = _solve("linalg.solve_ex", A, B, left)
    if check_errors:
        _check("torch.linalg.solve_ex", info, _UNSOLVED)
    return return_types.linalg_solve_ex((solution, info))


@takes_out
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """Return X with ``A X = B``, or ``X A = B`` if not ``left``, reading one triangle of A."""
    name = "linalg.solve_triangular"
    _square(name, A)
    if B.dim() < 2:
        message = f"{name}: The input tensor B must have at least 2 dimensions."
        raise RuntimeError(message)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        equation = "AX = B" if left else "XA = B"
        message = f"{name}: Incompatible shapes of A and B for the equation {equation} ({A.shape} and {B.shape})"
        raise RuntimeError(message)
    if left:
        return _c._linalg_solve_triangular(*_together(A, B), upper, unitriangular)[0]  # type: ignore[no-any-return]
    A, B = _together(A.mT, B.mT)
    return _c._linalg_solve_triangular(A, B, not upper, unitriangular)[0].mT  # type: ignore[no-any-return]


# Determinants.


@takes_out
def det(A: Tensor) -> Tensor:
    """Return the determinants."""
    return _c._linalg_det(A)[0]  # type: ignore[no-any-return]


@takes_out
def slogdet(A: Tensor) -> Any:
    """Return the signs of the determinants, and the logarithms of their sizes."""
    return return_types.linalg_slogdet(_c._linalg_slogdet(A))


# Decompositions.


def _lower(A: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    L, info = _c._linalg_cholesky(A.mT if upper else A)
    return (L.mT if upper else L), info


@takes_out
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Return L with ``A = L L^T``, or the upper factor; raises :class:`LinAlgError` if A is not positive definite."""
    L, info = _lower(A, upper)
    _check("linalg.cholesky", info, _NOT_POSITIVE)
    return L


@takes_out
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Return the factors, and for each matrix zero or the order of the minor that is not positive."""
    L, info = _lower(A, upper)
    if check_errors:
        _check("linalg.cholesky_ex", info, _NOT_POSITIVE)
    return return_types.linalg_cholesky_ex((L, info))


@takes_out
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Return Q and R with ``A = Q R``; Q is empty in mode ``"r"``."""
    if mode not in ("reduced", "complete", "r"):
        message = f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        raise RuntimeError(message)
    if mode == "r":
        if A.requires_grad and _rg.is_grad_enabled():
            A = _NoGradient.apply(A)
        R = _c._linalg_qr(A, False)[1]
        return return_types.linalg_qr((A.new_empty((0,)), R))
    return return_types.linalg_qr(_c._linalg_qr(A, mode == "complete"))


class _NoGradient(_rg.autograd.Function):
    """The identity, whose derivative is refused."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        del ctx
        return A.view_as(A)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        message = "The derivative of linalg.qr depends on Q, which is not computed when mode='r'."
        raise RuntimeError(message)


def _triangle(UPLO: str) -> bool:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        message = f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}"
        raise RuntimeError(message)
    return UPLO.upper() == "U"


def _converged(name: str, call: Any, A: Tensor, *args: Any) -> Any:
    try:
        return call(A, *args)
    except RuntimeError as error:
        if "failed to converge" in str(error):
            raise LinAlgError(str(error)) from None
        raise


@takes_out
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Return ascending eigenvalues and eigenvectors of symmetric matrices, of which one triangle is read."""
    return return_types.linalg_eigh(_converged("linalg.eigh", _c._linalg_eigh, A, _triangle(UPLO)))


@takes_out
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Return the ascending eigenvalues of symmetric matrices."""
    return _converged("linalg.eigvalsh", _c._linalg_eigvalsh, A, _triangle(UPLO))[0]  # type: ignore[no-any-return]


def eig(A: Tensor) -> Any:
    """Refuse: eigenvalues of general matrices are complex, which rustgrad does not have; see :func:`eigh`."""
    message = "linalg.eig: the result is complex, and rustgrad has no complex dtypes; eigh takes symmetric matrices"
    raise NotImplementedError(message)


def eigvals(A: Tensor) -> Tensor:
    """Refuse, as :func:`eig`."""
    message = (
        "linalg.eigvals: the result is complex, and rustgrad has no complex dtypes; eigvalsh takes symmetric matrices"
    )
    raise NotImplementedError(message)


def _no_driver(driver: str | None) -> None:
    if driver is not None:
        message = "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        raise RuntimeError(message)


@takes_out
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """Return U, descending singular values and V transposed; ``driver`` is for other devices."""
    _no_driver(driver)
    return return_types.linalg_svd(_converged("linalg.svd", _c._linalg_svd, A, full_matrices))


@takes_out
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Return the descending singular values."""
    _no_driver(driver)
    return _converged("linalg.svd", _c._linalg_svdvals, A)[0]  # type: ignore[no-any-return]


def _need_pivots(name: str, pivot: bool) -> None:
    if not pivot:
        message = f"{name}: LU without pivoting is not implemented on the CPU"
        raise RuntimeError(message)


@takes_out
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """Return L (below the diagonal) and U in one, and the rows that were exchanged, counted from 1."""
    _need_pivots("linalg.lu_factor", pivot)
    LU, pivots, info = _c._linalg_lu_factor(A)
    _check(
        "torch.linalg.lu_factor",
        info,
        "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero.",
    )
    return return_types.linalg_lu_factor((LU, pivots))


@takes_out
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """Return what :func:`lu_factor` does, and for each matrix zero or the place of a zero pivot."""
    if check_errors:
        return return_types.linalg_lu_factor_ex((*lu_factor(A, pivot=pivot), _rg.zeros(A.shape[:-2], dtype=_rg.int32)))
    _need_pivots("linalg.lu_factor_ex", pivot)
    return return_types.linalg_lu_factor_ex(_c._linalg_lu_factor(A))


def _inverse(swaps: list[int], rows: int) -> list[int]:
    """Return where each row of a matrix comes from after the exchanges."""
    order = list(range(rows))
    for place, other in enumerate(swaps):
        order[place], order[other - 1] = order[other - 1], order[place]
    inverse = [0] * rows
    for place, row in enumerate(order):
        inverse[row] = place
    return inverse


def _permutation(pivots: Tensor, rows: int) -> Tensor:
    """Return the matrices P of ``A = P L U`` as integers of which column is one in each row."""
    if pivots.dim() == 1:
        return _rg.tensor(_inverse(pivots.tolist(), rows), dtype=_rg.int64)
    flat = []
    for swaps in pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1]).tolist():
        flat.append(_inverse(swaps, rows))
    return _rg.tensor(flat, dtype=_rg.int64).reshape(*pivots.shape[:-1], rows)


def _lu_parts(LU: Tensor, pivots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m, n = LU.shape[-2:]
    k = min(m, n)
    L = LU[..., :k].tril(-1) + _rg.eye(m, k, dtype=LU.dtype)
    U = LU[..., :k, :].triu()
    P = _rg.eye(m, dtype=LU.dtype)
    return P[_permutation(pivots, m)] if m else P.expand(*LU.shape[:-2], m, m), L, U


@takes_out
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """Return P, L and U with ``A = P L U``."""
    _need_pivots("linalg.lu", pivot)
    LU, pivots, _ = _c._linalg_lu_factor(A)
    return return_types.linalg_lu(_lu_parts(LU, pivots))


@takes_out
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """Return X with ``A X = B`` for what :func:`lu_factor` gave; ``adjoint`` takes the transpose of A."""
    P, L, U = _lu_parts(LU, pivots)
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    if adjoint:
        inner = solve_triangular(U.mT, B, upper=False)
        return P @ solve_triangular(L.mT, inner, upper=True, unitriangular=True)
    inner = solve_triangular(L, P.mT @ B, upper=False, unitriangular=True)
    return solve_triangular(U, inner, upper=True)


@takes_out
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """Return the first columns of the product of reflections ``1 - tau v v^T``, v below the diagonal of A."""
    m, n = A.shape[-2:]
    count = tau.shape[-1]
    V = (A.tril(-1) + _rg.eye(m, n, dtype=A.dtype))[..., :count]
    scale = tau.unsqueeze(-1)
    # The product is 1 - V T V^T, where T (1 + diag(tau) U) = diag(tau) with what is above the diagonal of V^T V.
    inner = scale * (V.mT @ V).triu(1)
    turned = scale * V.mT[..., :n]
    shares = solve_triangular(inner, turned, upper=True, unitriangular=True)
    return _rg.eye(m, n, dtype=A.dtype) - V @ shares


def _reflections(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return R with the vectors of its reflections below the diagonal, and their factors (LAPACK's geqrf)."""
    with _rg.no_grad():
        m, n = A.shape[-2:]
        made, factors = A.detach().clone(), []
        for k in range(min(m, n)):
            column = made[..., k:, k]
            first, rest = column[..., :1], column[..., 1:].square().sum(-1, keepdim=True)
            beta = -(first.square() + rest).sqrt().copysign(first)
            still = rest == 0
            beta = _rg.where(still, first, beta)
            tau = _rg.where(still, 0.0, (beta - first) / beta.where(beta != 0, 1.0))
            v = column[..., 1:] / _rg.where(still, 1.0, first - beta)
            v = _rg.cat([_rg.ones_like(first), v], -1).unsqueeze(-1)
            right = made[..., k:, k + 1 :]
            right.sub_(tau.unsqueeze(-1) * (v @ (v.mT @ right)))
            made[..., k:, k] = _rg.cat([beta, v[..., 1:, 0]], -1)
            factors.append(tau)
        return made, _rg.cat(factors, -1) if factors else A.new_zeros((*A.shape[:-2], 0))


# Norms and what is made of them.


@takes_out
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


def _last_two(A: Tensor, dim: Sequence[int]) -> tuple[int, int]:
    if len(dim) != 2:
        message = f"linalg.matrix_norm: dim must be a 2-tuple. Got {tuple(dim)}"
        raise RuntimeError(message)
    first, second = (one % A.dim() if -A.dim() <= one < A.dim() else one for one in dim)
    if first == second:
        message = f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})"
        raise RuntimeError(message)
    return first, second


@takes_out
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Return norms of matrices: ``"fro"``, ``"nuc"``, and of order 1, 2, infinity or their negatives."""
    if A.dim() < 2:
        message = "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
        raise RuntimeError(message)
    rows, columns = _last_two(A, dim)
    if dtype is not None:
        A = A.to(dtype)
    if ord == "fro":
        return A.norm(2, (rows, columns), keepdim)
    if ord not in ("nuc", 2, -2, 1, -1, math.inf, -math.inf):
        message = f"linalg.matrix_norm: Order {ord} not supported."
        raise RuntimeError(message)
    if ord in ("nuc", 2, -2):
        S = svdvals(A.movedim((rows, columns), (-2, -1)))
        result = S.sum(-1) if ord == "nuc" else S.amax(-1) if ord == 2 else S.amin(-1)
        if keepdim:
            for place in sorted((rows, columns)):
                result = result.unsqueeze(place)
        return result
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)  # type: ignore[arg-type]
    sums = A.abs().sum(summed, True)
    result = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)  # type: ignore[operator]
    return result if keepdim else result.squeeze((rows, columns))


@takes_out
def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Return the norm of vectors or matrices: of all elements if neither ``ord`` nor ``dim`` is given."""
    if ord is None:
        return A.norm(2, dim, keepdim, dtype)
    dims = (dim,) if isinstance(dim, int) else dim
    if dims is None:
        if A.dim() not in (1, 2):
            message = (
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got " + f"{A.dim()}D."
            )
            raise RuntimeError(message)
        dims = tuple(range(A.dim()))
    if len(dims) == 2:
        return matrix_norm(A, ord, (dims[0], dims[1]), keepdim, dtype=dtype)
    if isinstance(ord, str):
        message = f"linalg.norm: If ord is a string, dim must be a 2-tuple or the input a matrix, got ord={ord!r}"
        raise RuntimeError(message)
    return A.norm(ord, dims, keepdim, dtype)


@takes_out
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """Return the condition numbers."""
    if p is None or p in (2, -2):
        S = svdvals(A)
        return S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]
    _square("linalg.cond", A)
    inverse, info = _c._linalg_inv(A)
    result = matrix_norm(A, p) * matrix_norm(inverse, p)
    return _rg.where(info == 0, result, math.inf)  # type: ignore[no-any-return]


@takes_out
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """Return how many singular values are above the tolerance."""
    A = A.detach()
    S = eigvalsh(A).abs() if hermitian else svdvals(A)
    if tol is not None:
        atol, rtol = tol, 0.0
    if S.shape[-1] == 0:
        return _rg.zeros(A.shape[:-2], dtype=_rg.int64)
    return (tolerance(A, S.amax(-1, True), _wide(atol), _wide(rtol)) < S).sum(-1)


def _wide(tolerance: Any) -> Any:
    return tolerance.unsqueeze(-1) if isinstance(tolerance, Tensor) else tolerance


# Products and functions of matrices.


@takes_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of a chain of matrices; the first and the last may be vectors."""
    if len(tensors) < 2:
        message = "multi_dot(): expected at least 2 tensors but got " + str(len(tensors))
        raise RuntimeError(message)
    result, rest = tensors[0], tensors[1:]
    for place, one in enumerate(tensors):
        ends = (0, len(tensors) - 1)
        if one.dim() != 2 and not (place in ends and one.dim() == 1):
            message = f"multi_dot(): tensor {place} must be 2D but got {one.dim()}D"
            raise RuntimeError(message)
    if any(one.dim() == 1 for one in (tensors[0], tensors[-1])):
        for one in rest:
            result = result @ one
        return result
    result = _rg.chain_matmul(*tensors)
    return result.view(result.shape)


@takes_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the product of vectors, matrices or stacks of matrices."""
    return input @ other


@takes_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Return the matrix multiplied with itself, or with negative ``n`` its inverse."""
    _square("linalg.matrix_power", A)
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return _rg.eye(A.shape[-1], dtype=A.dtype).expand(A.shape).clone()
    result, square = None, A
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        if n:
            square = square @ square
    return result.clone() if result is A else result  # type: ignore[return-value]


def matrix_exp(A: Tensor) -> Tensor:
    """Return the matrix exponentials, by scaling, Taylor's series and squaring (Moler & Van Loan, 2003).

    The series is summed as Paterson & Stockmeyer (1973) do, and as far as Al-Mohy & Higham (2011) find enough.
    """
    if not A.is_floating_point():
        message = f"linalg.matrix_exp: Expected a floating point tensor as input. Got {A.dtype}"
        raise RuntimeError(message)
    _square("linalg.matrix_exp", A)
    if A.numel() == 0:
        return A.clone()
    size = A.detach().abs().sum(-2).amax().item()
    squarings = max(0, math.ceil(math.log2(size / 0.75))) if math.isfinite(size) and size > 0.75 else 0
    # As many powers as a sum of so many of them has factors: a polynomial of their last one.
    width = 4 if A.dtype is _rg.float64 else 3
    powers = [_rg.eye(A.shape[-1], dtype=A.dtype).expand(A.shape), A * 0.5**squarings]
    while len(powers) <= width:
        powers.append(powers[-1] @ powers[1])
    *lower, last = powers
    factors = [[1 / math.factorial(row * width + i) for i in range(width)] for row in range(width)]
    sums = _rg.tensor(factors, dtype=A.dtype) @ _rg.stack(lower, -3).flatten(-2)
    *rest, result = sums.unflatten(-1, A.shape[-2:]).unbind(-3)
    result = last / math.factorial(width * width) + result
    for part in reversed(rest):
        result = part + last @ result
    for _ in range(squarings):
        result = result @ result
    return result  # type: ignore[no-any-return]


@takes_out
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross product of vectors of three."""
    if input.dim() != other.dim():
        message = "linalg.cross: inputs must have the same number of dimensions."
        raise RuntimeError(message)
    if input.dim() and (input.shape[dim] != 3 or other.shape[dim] != 3):
        message = (
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
        raise RuntimeError(message)
    return input.cross(other, dim)


@takes_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Return the inner products of vectors along a dimension."""
    return (x * y).sum(dim, dtype=_rg.result_type(x, y))


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of the matrices."""
    return A.diagonal(offset, dim1, dim2)


@takes_out
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Return the powers ``x ** 0`` to ``x ** (N - 1)`` along a new last dimension."""
    count = x.shape[-1] if N is None else N
    if count < 1:
        message = f"linalg.vander: N must be greater than 0. Got {count}"
        raise RuntimeError(message)
    if x.dtype is _rg.bool or not x.is_floating_point():
        x = x.to(_rg.int64)
    x = x.reshape(1) if x.dim() == 0 else x
    powers = x.unsqueeze(-1).expand(*x.shape, count - 1).cumprod(-1)
    return _rg.cat([_rg.ones_like(x).unsqueeze(-1), powers], -1)


@takes_out
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """Return the inverse of the map by ``tensordot`` over the last dimensions; ``ind`` come before these."""
    if ind <= 0:
        message = "Expected a strictly positive integer for 'ind' argument."
        raise RuntimeError(message)
    front, back = A.shape[:ind], A.shape[ind:]
    if math.prod(front) != math.prod(back):
        message = (
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(back)} != {math.prod(front)}"
        )
        raise RuntimeError(message)
    return inv(A.reshape(math.prod(front), -1)).reshape(*back, *front)


@takes_out
def tensorsolve(A: Tensor, B: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """Return X with ``tensordot(A, X, X.ndim) = B``; ``dims`` are moved to the end of A first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = A.shape[B.dim() :]
    if math.prod(shape) != math.prod(A.shape[: B.dim()]):
        message = (
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(shape)} != {math.prod(A.shape[: B.dim()])}"
        )
        raise RuntimeError(message)
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(Size(shape))
