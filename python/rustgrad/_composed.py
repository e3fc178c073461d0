"""Functions composed of others: those that few programs use, loaded when they are first named.

Most are functions of the module and methods of ``Tensor`` (see ``crates/python/src/tensor/composed.rs``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core, linalg, return_types
from rustgrad._core import Tensor
from rustgrad._elsewhere import (  # noqa: F401
    apply_,
    cuda,
    get_device,
    is_pinned,
    is_shared,
    map_,
    pin_memory,
    share_memory_,
    to_dense,
)
from rustgrad._nests import whole
from rustgrad._out import takes_out

if TYPE_CHECKING:
    from collections.abc import Sequence

# Distances and norms.


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of the difference of two tensors."""
    return (input - other).norm(p)


def _euclidean(x1: Tensor, x2: Tensor) -> Tensor:
    """Return Euclidean distances by ``|a|^2 + |b|^2 - 2 a b``, with a gradient of zero where they are zero."""
    first, second = (x.square().sum(-1, keepdim=True) for x in (x1, x2))
    left = _rg.cat([x1 * -2, first, _rg.ones_like(first)], -1)
    right = _rg.cat([x2, _rg.ones_like(second), second], -1)
    square = (left @ right.mT).clamp_min(0)
    zero = square == 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """Return the distances of all rows of ``(..., P, M)`` and ``(..., R, M)``: ``(..., P, R)``.

    Euclidean distances of more than 25 rows come from one matrix product, as ``compute_mode`` allows: faster, but
    with less precision where rows are close together (``"donot_use_mm_for_euclid_dist"`` takes differences).
    """
    modes = (
        "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
    )  # fmt: skip
    if compute_mode not in modes:
        message = f"{compute_mode} is not a valid value for compute_mode"
        raise ValueError(message)
    for place, x in enumerate((x1, x2), 1):
        if not x.is_floating_point():
            message = f"cdist only supports floating-point dtypes, X{place} got: {x.dtype}"
            raise RuntimeError(message)
        if x.dim() < 2:
            message = f"cdist only supports at least 2D tensors, X{place} got: {x.dim()}D"
            raise RuntimeError(message)
    if x1.shape[-1] != x2.shape[-1]:
        message = f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        raise RuntimeError(message)
    if p < 0:
        message = "cdist only supports non-negative p values"
        raise RuntimeError(message)
    many = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (compute_mode == modes[1] or (many and compute_mode == modes[0])):
        return _euclidean(x1, x2)
    if x1.dtype != x2.dtype:
        dtype = _rg.result_type(x1, x2)
        x1, x2 = x1.to(dtype), x2.to(dtype)
    if x1.shape[:-2] != x2.shape[:-2]:
        lead = _rg.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
        x1, x2 = (x.expand(*lead, *x.shape[-2:]) for x in (x1, x2))
    return _core._nn_cdist(x1, x2, p)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Return the distances of all pairs of rows of a matrix, in one vector."""
    return _core._nn_pdist(input, p)


@takes_out
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Return the input with the slices along a dimension scaled down to a p-norm of at most ``maxnorm``."""
    if p <= 0:
        message = "renorm: non-positive-norm not supported"
        raise RuntimeError(message)
    if maxnorm < 0:
        message = f"renorm: expected maxnorm to be >= 0 but got {maxnorm}"
        raise RuntimeError(message)
    if input.dim() < 2:
        message = f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions"
        raise RuntimeError(message)
    place = dim % input.dim()
    others = tuple(other for other in range(input.dim()) if other != place)
    norms = input.norm(p, others, True)
    factor = _rg.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)
    return input * factor  # type: ignore[no-any-return]


def renorm_(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """:func:`renorm` in place."""
    return input.copy_(renorm(input.clone(), p, dim, maxnorm))


# Integrals, differences, statistics.


def _widths(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Any:
    """Return the widths of the intervals between samples along the last dimension."""
    if x is not None and dx is not None:
        message = f"{name}(): only one of x and dx may be given"
        raise TypeError(message)
    if x is None:
        return 1 if dx is None else dx
    if x.dim() == 1:
        if x.shape[0] != y.shape[dim]:
            message = f"{name}(): There must be one `x` value for each sample point"
            raise RuntimeError(message)
        return x.diff()
    return x.diff(dim=dim).movedim(dim, -1)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Return the integral along a dimension by the trapezoidal rule, with samples at ``x`` or ``dx`` apart."""
    if y.dim() and y.shape[dim] == 0:
        return y.sum(dim)
    widths = _widths("trapezoid", y, x, dx, dim)
    if x is None and y.is_floating_point() and y.dim():
        # All samples but half of the first and the last.
        ends = y.select(dim, 0) + y.select(dim, -1)
        return (y.sum(dim) - ends / 2) * widths  # type: ignore[no-any-return]
    y = y.movedim(dim, -1)
    return ((y[..., 1:] + y[..., :-1]) * widths).sum(-1) / 2  # type: ignore[no-any-return]


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Return the running integral along a dimension by the trapezoidal rule."""
    widths = _widths("cumulative_trapezoid", y, x, dx, dim)
    y = y.movedim(dim, -1)
    return (((y[..., 1:] + y[..., :-1]) * widths).cumsum(-1) / 2).movedim(-1, dim)  # type: ignore[no-any-return]


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Return the covariances of the rows of a matrix, whose columns are observations.

    ``fweights`` are integers, how often each observation counts; ``aweights`` are its weights.
    """
    if input.dim() > 2:
        message = (
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
        raise RuntimeError(message)
    if input.dtype is _rg.bool:
        message = "cov(): bool dtype is not supported for input"
        raise RuntimeError(message)
    x = input.reshape(1, -1) if input.dim() < 2 else input
    count = x.shape[1]
    weights: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        if given.dim() > 1:
            message = (
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with {given.dim()} dimensions"
            )
            raise RuntimeError(message)
        if given.is_floating_point() != (name == "aweights"):
            kind = "floating point" if name == "aweights" else "integral"
            message = f"cov(): expected {name} to have {kind} dtype but got {name} with {given.dtype} dtype"
            raise RuntimeError(message)
        if given.numel() != count:
            message = (
                f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                f"{given.numel()} != {count}"
            )
            raise RuntimeError(message)
        if (given < 0).any():
            message = f"cov(): {name} cannot be negative"
            raise RuntimeError(message)
        weights = given if weights is None else weights * given
    total = count if weights is None else weights.sum()
    if weights is None:
        mean = x.to(_rg.get_default_dtype()).mean(1, True) if not x.is_floating_point() else x.mean(1, True)
        divisor: Any = count
    else:
        mean = (x * weights).sum(1, True) / total
        divisor = total
    if correction != 0:
        if aweights is None or weights is None:
            divisor = total - correction
        else:
            divisor = total - correction * (weights * aweights).sum() / total
    centred = x - mean
    weighted = centred if weights is None else centred * weights
    divisor = divisor.clamp(min=0) if isinstance(divisor, Tensor) else max(divisor, 0)
    result = centred @ weighted.to(centred.dtype).t()
    result = result / divisor if isinstance(divisor, Tensor) or divisor else result / _rg.zeros((), dtype=result.dtype)
    return result.squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Return the correlations (Pearson) of the rows of a matrix, whose columns are observations."""
    if input.dim() > 2:
        message = (
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
        raise RuntimeError(message)
    covariances = cov(input)
    if covariances.dim() == 0:
        return covariances / covariances
    deviations = covariances.diagonal().sqrt()
    return (covariances / deviations.unsqueeze(1) / deviations.unsqueeze(0)).clamp(-1, 1)


def _slopes(x: Tensor, dim: int, steps: Any, edge_order: int) -> Tensor:
    """Return derivatives along a dimension whose samples lie ``steps`` apart: a number, or one for each pair."""
    n, regular = x.shape[dim], not isinstance(steps, Tensor)
    if regular:
        inner = (x.narrow(dim, 2, n - 2) - x.narrow(dim, 0, n - 2)) / (2 * steps)
    else:
        widths = steps.reshape(-1, *[1] * (x.dim() - 1 - dim))
        slopes = (x.narrow(dim, 1, n - 1) - x.narrow(dim, 0, n - 1)) / widths
        before, after = widths[:-1], widths[1:]
        inner = (slopes.narrow(dim, 0, n - 2) * after + slopes.narrow(dim, 1, n - 2) * before) / (before + after)

    def at_edge(pair: int, neighbour: int) -> Tensor:
        """Return the slope of a pair of samples, or that of the parabola through its neighbour, at its outer sample."""
        first, second = ((at, steps if regular else steps[at]) for at in (pair, neighbour))
        slope, other = ((x.narrow(dim, at + 1, 1) - x.narrow(dim, at, 1)) / width for at, width in (first, second))
        if edge_order == 2:
            slope = slope + first[1] * (slope - other) / (first[1] + second[1])
        return slope  # type: ignore[no-any-return]

    left, right = at_edge(0, min(1, n - 2)), at_edge(n - 2, max(n - 3, 0))
    return _rg.cat([left, inner, right], dim)


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Return estimates of the derivative along each dimension, from three neighbours inside.

    ``spacing`` is the distance of samples, one per dimension, or tensors of their coordinates; at the edges differences
    of order ``edge_order`` (1 or 2) are taken.
    """
    if edge_order not in (1, 2):
        message = "torch.gradient only supports edge_order=1 and edge_order=2."
        raise RuntimeError(message)
    if input.dtype is _rg.uint8:
        message = "torch.gradient does not support uint8 input."
        raise NotImplementedError(message)
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if len({place % input.dim() for place in dims}) != len(dims):
        message = f"each dimension may appear once in the list of dims, but it is {tuple(dims)}"
        raise RuntimeError(message)
    if spacing is None:
        spacing = 1
    if isinstance(spacing, Tensor) or not isinstance(spacing, (list, tuple)):
        spacing = [spacing] * len(dims)
    if len(spacing) != len(dims):
        message = (
            f"torch.gradient expected spacing to be unspecified, a scalar or a list of length {len(dims)}, but got a "
            f"list of length {len(spacing)}"
        )
        raise RuntimeError(message)
    result = []
    for place, space in zip(dims, spacing, strict=True):
        n = input.shape[place]
        if n < edge_order + 1:
            message = "torch.gradient expected each dimension size to be at least edge_order+1"
            raise RuntimeError(message)
        steps = space.diff() if isinstance(space, Tensor) and space.dim() else float(space)
        result.append(_slopes(input, place % input.dim(), steps, edge_order))
    return tuple(result)


# Elementwise.


@takes_out
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Return whether each element is among others; ``assume_unique`` may speed torch up and changes nothing."""
    del assume_unique
    elements, test_elements = _rg.as_tensor(elements), _rg.as_tensor(test_elements)
    return elements._is_among(test_elements, invert)  # type: ignore[no-any-return]


@takes_out
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Return ``input * 2 ** other``."""
    for place, (name, one) in enumerate((("input", input), ("other", other)), 1):
        if not isinstance(one, Tensor):
            message = f"ldexp(): argument '{name}' (position {place}) must be Tensor, not {type(one).__name__}"
            raise TypeError(message)
    return input * _rg.pow(2.0, other)


def ldexp_(input: Tensor, other: Tensor) -> Tensor:
    """:func:`ldexp` in place."""
    return input.mul_(_rg.pow(2.0, other))


@takes_out
def frexp(input: Tensor) -> Any:
    """Return mantissas between 1/2 and 1, and exponents of two."""
    if not input.is_floating_point():
        message = "torch.frexp() only supports floating-point dtypes"
        raise RuntimeError(message)
    whole_dtype, digits, mask = (_rg.int64, 52, 2047) if input.dtype is _rg.float64 else (_rg.int32, 23, 255)
    bias = mask >> 1

    def exponents(x: Tensor) -> Tensor:
        return (x.contiguous().view(whole_dtype) >> digits) & mask

    def power(exponent: Tensor) -> Tensor:
        """Return two to the powers, which are those of no denormal number."""
        return ((exponent + bias) << digits).view(input.dtype)

    x = input.detach()
    field = exponents(x)
    # Denormal numbers have no exponent of their own before they are multiplied by a power of two.
    field = _rg.where(field == 0, exponents(x * 2.0 ** (digits + 2)) - (digits + 2), field)
    exponent = _rg.where((x != 0) & (field != mask), field - (bias - 1), 0)
    # In two halves, so that no power of two overflows.
    half = exponent >> 1
    mantissa = input * power(-half) * power(half - exponent)
    return return_types.frexp((mantissa, exponent.to(_rg.int32)))


@takes_out
def isposinf(input: Tensor) -> Tensor:
    """Return whether each element is positive infinity."""
    return input == math.inf if input.is_floating_point() else _rg.zeros(input.shape, dtype=_rg.bool)


@takes_out
def isneginf(input: Tensor) -> Tensor:
    """Return whether each element is negative infinity."""
    return input == -math.inf if input.is_floating_point() else _rg.zeros(input.shape, dtype=_rg.bool)


def isreal(input: Tensor) -> Tensor:
    """Return true for each element: there are only real numbers."""
    return _rg.ones(input.shape, dtype=_rg.bool)


def conj(input: Tensor) -> Tensor:
    """Return the input: real numbers are their own conjugates."""
    return input


real = resolve_conj = resolve_neg = conj


@takes_out
def conj_physical(input: Tensor) -> Tensor:
    """Return a copy: real numbers are their own conjugates."""
    return input.clone()


@takes_out
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension ``p``."""
    if p < 1:
        message = "p has to be greater than or equal to 1"
        raise RuntimeError(message)
    x = input if input.is_floating_point() else input.to(_rg.get_default_dtype())
    shifts = _rg.arange(0.0, -p / 2, -0.5, dtype=x.dtype)
    return (x.unsqueeze(-1) + shifts).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


def mvlgamma_(input: Tensor, p: int) -> Tensor:
    """:func:`mvlgamma` in place."""
    if not input.is_floating_point():
        message = f"mvlgamma: result type Float can't be cast to the desired output type {input.dtype}"
        raise RuntimeError(message)
    return input.copy_(mvlgamma(input.clone(), p))


def polygamma_(input: Tensor, n: int) -> Tensor:
    """``polygamma`` in place."""
    if not input.is_floating_point():
        message = f"result type Float can't be cast to the desired output type {input.dtype}"
        raise RuntimeError(message)
    return input.copy_(input.clone().polygamma(n))


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor of the same shape and dtype filled with a value."""
    return input.clone().fill_(value)


# Indexing and shapes.


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Return the coordinates in a shape of flat indices."""
    if indices.is_floating_point() or indices.dtype is _rg.bool:
        message = f"expected 'indices' to be integer dtype, but got {indices.dtype}"
        raise ValueError(message)
    sizes = [shape] if isinstance(shape, int) else list(shape)
    result = []
    for size in reversed(sizes):
        result.append(indices % size)
        indices = indices // size
    return tuple(reversed(result))


@takes_out
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return a copy into whose slices those of ``source`` went, by product, mean, greatest or least."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        message = f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        raise RuntimeError(message)
    if input.dim() == 0:
        return input.reshape(1).scatter_reduce(
            0, index.reshape(-1), source.reshape(-1), reduce, include_self=include_self
        )[0]
    place = dim % input.dim()
    shape = [1] * input.dim()
    shape[place] = -1
    wide = index.reshape(shape).expand(source.shape)
    return input.scatter_reduce(dim, wide, source, reduce, include_self=include_self)


def index_reduce_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """:func:`index_reduce` in place."""
    return input.copy_(index_reduce(input.clone(), dim, index, source, reduce, include_self=include_self))


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Return a copy with the elements that a strided view names replaced."""
    result = input.clone()
    result.as_strided(size, stride, storage_offset or 0).copy_(src)
    return result


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Return the sums over the dimensions that broadcasting ``size`` to the shape of the input expands."""
    sizes = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    extra = input.dim() - len(sizes)
    fits = extra >= 0 and all(a == b or a == 1 for a, b in zip(sizes, input.shape[max(extra, 0) :], strict=True))
    if not fits:
        message = f"size {{{list(sizes)}}} is not expandable to size {{{list(input.shape)}}}."
        raise RuntimeError(message)
    dims = [*range(extra), *(extra + i for i, n in enumerate(sizes) if n == 1 and input.shape[extra + i] != 1)]
    result = input.sum(dims, True) if dims else input
    return result.reshape(sizes) if extra else result


def resize_as_(input: Tensor, other: Tensor) -> Tensor:
    """Give a tensor the shape of another, in place."""
    return input.resize_as_(other)


def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,  # noqa: F811
) -> Tensor:  # fmt: skip
    """Return a tensor of given sizes and strides."""
    del layout, device, pin_memory
    if len(size) != len(stride):
        message = f"dimensionality of sizes ({len(size)}) must match dimensionality of strides ({len(stride)})"
        raise RuntimeError(message)
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if 0 not in size else 0
    made = _rg.empty(last, dtype=dtype).as_strided(size, stride).detach()
    return made.requires_grad_() if requires_grad else made


def new_empty_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, **options: Any
) -> Tensor:
    """:func:`empty_strided` in the dtype of the tensor."""
    return empty_strided(size, stride, dtype=input.dtype if dtype is None else dtype, **options)


def _copy_of(name: str) -> Any:
    """Return a function that copies what a view function gives."""

    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        made = getattr(input, name)(*args, **kwargs)
        return made.clone() if isinstance(made, Tensor) else tuple(one.clone() for one in made)

    function = takes_out(function)
    function.__name__ = function.__qualname__ = f"{name}_copy"
    function.__doc__ = f"Return a copy of what ``{name}`` gives."
    return function


(
    as_strided_copy, diagonal_copy, expand_copy, narrow_copy, permute_copy, select_copy, split_copy,
    split_with_sizes_copy, squeeze_copy, t_copy, transpose_copy, unbind_copy, unfold_copy, unsqueeze_copy, view_copy,
) = map(
    _copy_of,
    (
        "as_strided", "diagonal", "expand", "narrow", "permute", "select", "split", "split_with_sizes", "squeeze", "t",
        "transpose", "unbind", "unfold", "unsqueeze", "view",
    ),
)  # fmt: skip


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return what ``chunk`` does, but no views: each part has a version of its own."""
    if chunks <= 0:
        message = f"chunk expects `chunks` to be greater than 0, got: {chunks}"
        raise RuntimeError(message)
    size = -(-input.size(dim) // chunks)
    return input._unsafe_split(size if size else [0] * chunks, dim)  # type: ignore[no-any-return]


def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return what ``split`` does, but no views: each part has a version of its own.

    They share the memory of ``input`` all the same, so none of them may be written where another is needed.
    """
    return input._unsafe_split(split_size, dim)  # type: ignore[no-any-return]


def unsafe_split_with_sizes(input: Tensor, split_sizes: list[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return what ``split_with_sizes`` does, as :func:`unsafe_split`."""
    return input._unsafe_split(split_sizes, dim)  # type: ignore[no-any-return]


# Linear algebra under the names of the module.


def logdet(input: Tensor) -> Tensor:
    """Return the logarithms of determinants; NaN where they are negative."""
    sign, size = linalg.slogdet(input)
    return _rg.where(sign < 0, math.nan, size) if whole(sign < 0).any() else size  # type: ignore[no-any-return]


det = linalg.det
slogdet = linalg.slogdet
inverse = linalg.inv
matrix_exp = linalg.matrix_exp
matrix_power = linalg.matrix_power


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Return the pseudoinverses."""
    return linalg.pinv(input, rcond)


@takes_out
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Return the Cholesky factors."""
    return linalg.cholesky(input, upper=upper)


@takes_out
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """Return X with ``A X = B`` from the Cholesky factor of A."""
    lower = L.mT if upper else L
    inner = linalg.solve_triangular(lower, B, upper=False)
    return linalg.solve_triangular(lower.mT, inner, upper=True)


@takes_out
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """Return the inverse of A from its Cholesky factor."""
    eye = _rg.eye(L.shape[-1], dtype=L.dtype).expand(L.shape)
    return cholesky_solve(eye, L, upper)


@takes_out
def qr(input: Tensor, some: bool = True) -> Any:
    """Return Q and R."""
    return return_types.qr(linalg.qr(input, "reduced" if some else "complete"))


@takes_out
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """Return U, the singular values and V (not transposed); zeros for U and V without ``compute_uv``."""
    if compute_uv:
        U, S, Vh = linalg.svd(input, not some)
        return return_types.svd((U, S, Vh.mT))
    m, n = input.shape[-2:]
    zeros = [input.new_zeros((*input.shape[:-2], size, size)) for size in (m, n)]
    return return_types.svd((zeros[0], linalg.svdvals(input), zeros[1]))


@takes_out
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """Return X with ``A X = b`` from the LU factorisation of A."""
    return linalg.lu_solve(LU_data, LU_pivots, b)


@takes_out
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """Return X with ``A X = b`` for triangular A, and a copy of A."""
    matrix = A.mT if transpose else A
    X = linalg.solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return return_types.triangular_solve((X, A.clone()))


@takes_out
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the powers of a vector's elements as columns, the highest first unless ``increasing``."""
    if x.dim() != 1:
        message = "x must be a one-dimensional tensor."
        raise RuntimeError(message)
    count = x.shape[0] if N is None else N
    if count < 0:
        message = "N must be non-negative."
        raise RuntimeError(message)
    if count == 0:
        return x.new_empty((x.shape[0], 0))
    powers = linalg.vander(x, N=count)
    return powers if increasing else powers.flip(-1)


# What else the module has.


def detach(input: Tensor) -> Tensor:
    """Return the tensor without its history."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Drop the history of a tensor, in place."""
    return input.detach_()


def zero_(input: Tensor) -> Tensor:
    """Set all elements to zero."""
    return input.zero_()


def fill_(input: Tensor, value: Any) -> Tensor:
    """Set all elements to a value."""
    return input.fill_(value)


def is_signed(input: Tensor) -> bool:
    """Say whether the dtype has negative numbers."""
    return input.dtype not in (_rg.uint8, _rg.bool)
