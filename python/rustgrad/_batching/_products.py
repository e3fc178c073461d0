"""Rules of products of vectors and matrices, and of linear algebra."""

from __future__ import annotations

from typing import Any

from rustgrad import _core
from rustgrad._batching._core import Batched, Level, call, opened, refuse, rule, slices, wrapped
from rustgrad._batching._elementwise import aligned
from rustgrad._batching._shapes import place


def product(level: Level, a: Any, b: Any) -> Any:
    """Give the slices of ``a @ b``, one of which at least stands for a batch."""
    left, right = opened(level, a), opened(level, b)
    ranks = (a.dim(), b.dim())
    if 0 in ranks:
        refuse("a product of 0-d tensors")
    if right is None:
        if ranks[1] <= 2:
            return left @ b
    elif left is None:
        if ranks == (2, 1):
            return right @ a.t()
        if ranks[0] <= 2 and ranks[1] > 1:
            return a @ right
        if ranks == (1, 1):
            return right @ a
    elif ranks == (1, 1):
        return (left * right).sum(-1)
    rows, column = ranks[0] == 1, ranks[1] == 1
    if rows:
        a = Batched(left.unsqueeze(1), level) if left is not None else a.unsqueeze(0)
    if column:
        b = Batched(right.unsqueeze(2), level) if right is not None else b.unsqueeze(1)
    first, second = aligned(level, (a, b), False)
    result = first @ second
    if column:
        result = result.squeeze(-1)
    return result.squeeze(-1 if column else -2) if rows else result


@rule("matmul", "__matmul__")
def _matmul(level: Level, name: str, a: Any, b: Any) -> Any:
    del name
    return Batched(product(level, a, b), level)


_RANKS = {
    "mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1), "vdot": (1, 1),
}  # fmt: skip


@rule(*_RANKS)
def _product_of_ranks(level: Level, name: str, a: Any, b: Any) -> Any:
    if (a.dim(), b.dim()) != _RANKS[name]:
        refuse(f"{name} of other ranks")
    if name == "dot" and a.shape != b.shape:
        refuse("dot of different sizes")
    return Batched(product(level, a, b), level)


def _swap(a: Any, b: Any, swapped: bool) -> Any:
    return call("matmul", (b, a) if swapped else (a, b), {})


for _name, _swapped in (("__matmul__", False), ("__rmatmul__", True)):
    setattr(
        Batched,
        _name,
        lambda self, other, swapped=_swapped: _swap(self, other, swapped),
    )


@rule("outer", "ger")
def _outer(level: Level, name: str, a: Any, b: Any) -> Any:
    del level
    if a.dim() != 1 or b.dim() != 1:
        refuse(f"{name} of other ranks")
    return a.unsqueeze(1) * b


@rule("inner")
def _inner(level: Level, name: str, a: Any, b: Any) -> Any:
    del level
    if a.dim() > 1 or b.dim() > 2:
        refuse(f"{name} of other ranks")
    return b @ a if a.dim() == 1 and b.dim() == 2 else (a * b).sum(-1) if a.dim() and b.dim() else a * b


_SUMS = {"addmm": "mm", "addmv": "mv", "baddbmm": "bmm", "addr": "outer"}


@rule(*_SUMS)
def _sum_with_product(level: Level, name: str, x: Any, a: Any, b: Any, *, beta: Any = None, alpha: Any = None) -> Any:
    if name == "addmm" and beta is None and alpha is None and x.dim() <= 1 and a.dim() == 2 and b.dim() == 2:
        right, bias = opened(level, b), opened(level, x)
        if right is None and bias is None:
            return call("_nn_linear", (a, b.t(), x), {}) if x.dim() == 1 else a @ b + x
    made = call(_SUMS[name], (a, b), {})
    if alpha is not None:
        made = made * alpha
    return made + (x if beta is None else x * beta)


@rule("tensordot")
def _tensordot(level: Level, name: str, a: Any, b: Any, dims: Any = 2) -> Any:
    del name
    n, m = a.dim(), b.dim()
    if isinstance(dims, int):
        own, others = list(range(n - dims, n)), list(range(dims))
    else:
        own, others = ([one] if isinstance(one, int) else list(one) for one in dims)
    own, others = [dim % n for dim in own], [dim % m for dim in others]
    letters = "abcdefghijklmnopqrstuvwxyz"
    first, second = list(letters[:n]), list(letters[n : n + m])
    for i, j in zip(own, others, strict=True):
        second[j] = first[i]
    kept = [c for i, c in enumerate(first) if i not in own] + [c for j, c in enumerate(second) if j not in others]
    equation = f"{''.join(first)},{''.join(second)}->{''.join(kept)}"
    return _einsum(level, "einsum", equation, a, b)


@rule("kron")
def _kron(level: Level, name: str, a: Any, b: Any) -> Any:
    del level
    if a.dim() != b.dim():
        refuse(f"{name} of different ranks")
    rank = a.dim()
    shape = [n * m for n, m in zip(a.shape, b.shape, strict=True)]
    for at in range(rank):
        a, b = a.unsqueeze(2 * at + 1), b.unsqueeze(2 * at)
    return (a * b).reshape(shape)


@rule("cross")
def _cross(level: Level, name: str, a: Any, b: Any, dim: Any = None) -> Any:
    if dim is None:
        dim = list(a.shape).index(3)
    rank = max(a.dim(), b.dim())
    if a.dim() != b.dim():
        refuse(f"{name} of different ranks")
    return Batched(getattr(slices(level, a), name)(slices(level, b), place(dim, rank)), level)


@rule("einsum")
def _einsum(level: Level, name: str, equation: str, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    equation = equation.replace(" ", "")
    parts, arrow, result = equation.partition("->")
    terms = parts.split(",")
    free = next(c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba" if c not in equation)
    if not arrow:
        if "..." in parts:
            refuse("einsum with an ellipsis and no result")
        letters = parts.replace(",", "")
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    values = []
    for i, operand in enumerate(operands):
        value = opened(level, operand)
        if value is not None:
            terms[i] = free + terms[i]
        values.append(operand if value is None else value)
    return Batched(getattr(_core, name)(f"{','.join(terms)}->{free}{result}", *values), level)


@rule("_linalg_cholesky", "_linalg_det", "_linalg_eigh", "_linalg_eigvalsh", "_linalg_inv", "_linalg_lu_factor",
      "_linalg_qr", "_linalg_slogdet", "_linalg_svd", "_linalg_svdvals")  # fmt: skip
def _of_matrices(level: Level, name: str, x: Any, *args: Any) -> Any:
    return wrapped(level, getattr(_core, name)(x.value, *args))


@rule("_linalg_solve", "_linalg_solve_triangular")
def _solved(level: Level, name: str, a: Any, b: Any, *args: Any) -> Any:
    if a.dim() != b.dim():
        refuse(f"{name} of different ranks")
    return wrapped(level, getattr(_core, name)(slices(level, a), slices(level, b), *args))
