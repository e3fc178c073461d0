"""Functions of the module that few programs use: histograms, segments, factors of matrices, foreign memory."""

from __future__ import annotations

import math
import warnings
from builtins import range as range_
from collections.abc import Sequence
from typing import Any

import rustgrad as _rg
from rustgrad import linalg, return_types
from rustgrad._core import Tensor
from rustgrad._out import takes_out

# Histograms.


def _named(tensor: Tensor) -> str:
    """Return torch's name of a dtype in messages."""
    name = str(tensor.dtype).rsplit(".", 1)[1]
    return {"int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte"}.get(name, "Bool")


def _edges(name: str, values: Tensor, bins: int, limits: Any, at: int) -> Tensor:
    """Return evenly spaced edges: between limits, or from the least to the greatest value."""
    if bins <= 0:
        message = f"torch.{name}(): bins must be > 0, but got {bins} for dimension {at}"
        raise RuntimeError(message)
    if limits is None:
        low, high = (values.min().item(), values.max().item()) if values.numel() else (0.0, 0.0)
    else:
        low, high = limits
    if low > high:
        message = f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {at}"
        raise RuntimeError(message)
    if not (math.isfinite(low) and math.isfinite(high)):
        message = f"torch.histogramdd: dimension {at}'s range [{low}, {high}] is not finite"
        raise RuntimeError(message)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges: Tensor = _rg.linspace(low, high, bins + 1, dtype=values.dtype)
    return edges


def _counts(
    rows: Tensor, edges: Sequence[Tensor], even: Sequence[bool], weight: Tensor | None, density: bool
) -> Tensor:
    """Count rows of numbers, each in its cell; the last cell of a dimension has its upper edge too."""
    sizes = [len(each) - 1 for each in edges]
    place = _rg.zeros(len(rows), dtype=_rg.int64)
    inside = _rg.ones(len(rows), dtype=_rg.bool)
    for at, (each, size) in enumerate(zip(edges, sizes, strict=True)):
        column = rows[:, at].contiguous()
        if even[at]:
            # Close to the bin, and then the one whose edges hold the number.
            low, high = each[0].item(), each[-1].item()
            found = ((column - low) * (size / (high - low))).nan_to_num(0.0).clamp(0, size - 1).long()
            found = found - (column < each[found]).long() + (column >= each[found + 1]).long()
            found = found.clamp(0, size - 1)
        else:
            found = _rg.searchsorted(each, column, right=True) - 1
            found = _rg.where(column == each[-1], size - 1, found)
        # What is no number compares with no edge.
        inside = inside & (column >= each[0]) & (column <= each[-1])
        place = place * size + found
    if not bool(inside.all()):
        place = place[inside]
        weight = None if weight is None else weight.reshape(-1)[inside]
    elif weight is not None:
        weight = weight.reshape(-1)
    counts = _rg.bincount(place, weight, minlength=math.prod(sizes)).to(rows.dtype).view(sizes)
    if density:
        counts = counts / counts.sum()
        for at, each in enumerate(edges):
            widths = each.diff()
            counts = counts / widths.reshape([-1 if place == at else 1 for place in range_(len(sizes))])
    return counts


def _checked(name: str, input: Tensor, weight: Tensor | None) -> None:
    if not input.is_floating_point():
        message = f"\"histogramdd\" not implemented for '{_named(input)}'"
        raise NotImplementedError(message)
    if weight is not None and weight.dtype is not input.dtype:
        message = (
            f"torch.{name}(): if weight tensor is provided, input tensor and weight tensor should have the same "
            f"dtype, but got input(): {input.dtype}, and weight(): {weight.dtype}"
        )
        raise RuntimeError(message)


@takes_out
def histogram(
    input: Tensor, bins: int | Tensor, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """Return how many elements lie in each bin, and the edges of the bins."""
    _checked("histogramdd", input, weight)
    with _rg.no_grad():
        values = input.detach().reshape(-1)
        edges = bins.detach() if isinstance(bins, Tensor) else _edges("histogram", values, bins, range, 0)
        return return_types.histogram(
            (_counts(values.unsqueeze(1), [edges], [not isinstance(bins, Tensor)], weight, density), edges)
        )


@takes_out
def histogramdd(
    input: Tensor, bins: Any, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """Return how many rows lie in each cell of a grid, and the edges along each dimension."""
    _checked("histogramdd", input, weight)
    dims = input.shape[-1]
    several = [bins] * dims if isinstance(bins, int) else list(bins)
    if len(several) != dims:
        message = "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        raise RuntimeError(message)
    with _rg.no_grad():
        rows = input.detach().reshape(-1, dims)
        edges = []
        for at, each in enumerate(several):
            limits = None if range is None else (range[2 * at], range[2 * at + 1])
            if isinstance(each, Tensor):
                edges.append(each.detach())
            else:
                edges.append(_edges("histogramdd", rows[:, at], each, limits, at))
        even = [not isinstance(each, Tensor) for each in several]
        return return_types.histogramdd((_counts(rows, edges, even, weight, density), tuple(edges)))


# Segments.

_SEGMENTS = {"sum": "sum", "prod": "prod", "mean": "mean", "max": "amax", "amax": "amax", "min": "amin", "amin": "amin"}
_STARTS = {"sum": 0.0, "prod": 1.0, "mean": math.nan, "amax": -math.inf, "amin": math.inf}


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Return sums, products, means, maxima or minima of consecutive parts along the first dimension."""
    if reduce not in _SEGMENTS:
        message = f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        raise RuntimeError(message)
    kind = _SEGMENTS[reduce]
    if indices is not None:
        message = "segment_reduce(): indices based reduction is not supported yet."
        raise RuntimeError(message)
    if lengths is None and offsets is None:
        message = "segment_reduce(): Either lengths or offsets must be defined."
        raise RuntimeError(message)
    if axis != 0 or (offsets if lengths is None else lengths).dim() != 1:  # type: ignore[union-attr]
        message = "segment_reduce(): only segments along the first dimension, given by one list, are supported"
        raise NotImplementedError(message)
    if lengths is None:
        lengths = offsets.diff()  # type: ignore[union-attr]
    elif not unsafe and (bool((lengths < 0).any()) or int(lengths.sum().item()) != data.size(0)):
        message = (
            "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when "
            "!unsafe."
        )
        raise RuntimeError(message)
    count = lengths.numel()
    segment = _rg.arange(count).repeat_interleave(lengths)
    rows = data[: segment.numel()]
    if kind == "sum":
        return data.new_full((count, *data.shape[1:]), initial or 0.0).index_add(0, segment, rows)
    where = segment.reshape([-1] + [1] * (data.dim() - 1)).expand_as(rows)
    first = _STARTS[kind] if initial is None else initial
    start: Tensor = data.new_full((count, *data.shape[1:]), 0.0 if kind == "mean" and initial is None else first)
    result: Tensor = start.scatter_reduce(0, where, rows, kind, include_self=initial is not None and kind != "mean")
    if kind == "mean":
        empty = (lengths == 0).reshape([-1] + [1] * (data.dim() - 1))
        if initial is not None:
            share = (lengths.clamp(min=1)).reshape(empty.shape)
            result = result + initial / share
        result = _rg.where(empty, math.nan if initial is None else initial, result)
    return result


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return the indices of the first ``size`` elements that are not zero, filled up if there are fewer."""
    if size < 0:
        message = f"nonzero_static: 'size' must be an non-negative integer, but got {size}"
        raise RuntimeError(message)
    found = input.nonzero()[:size]
    return _rg.cat([found, found.new_full((size - len(found), found.shape[1]), fill_value)])


# Factors of matrices.


def geqrf(input: Tensor) -> Any:
    """Return R with the vectors of its reflections below the diagonal, and their factors."""
    return return_types.geqrf(linalg._reflections(input))


def orgqr(input: Tensor, tau: Tensor) -> Any:
    """Return the first columns of a product of reflections."""
    return linalg.householder_product(input, tau)


@takes_out
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Return the product of a matrix with a product of reflections."""
    m, count = input.shape[-2], tau.shape[-1]
    wide = _rg.cat([input[..., :count], input.new_zeros((*input.shape[:-1], m - count))], -1)
    q = linalg.householder_product(wide, tau)
    q = q.mT if transpose else q
    return q @ other if left else other @ q


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """Return the factors L and U in one matrix, and the exchanges of rows."""
    warnings.warn(
        "torch.lu is deprecated in favor of torch.linalg.lu_factor / torch.linalg.lu_factor_ex and will be removed "
        "in a future PyTorch release.",
        stacklevel=2,
    )
    if out is not None:
        message = "lu: out= is not supported"
        raise NotImplementedError(message)
    if get_infos:
        return tuple(linalg.lu_factor_ex(A, pivot=pivot))
    return tuple(linalg.lu_factor(A, pivot=pivot))


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """Return the matrices P, L and U of what ``lu_factor`` gives."""
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    nothing = LU_data.new_empty(0)
    P = L = U = nothing
    if unpack_data:
        L = LU_data[..., :k].tril(-1) + _rg.eye(m, k, dtype=LU_data.dtype)
        U = LU_data[..., :k, :].triu()
    if unpack_pivots:
        from rustgrad.nn.functional import one_hot

        orders = []
        for exchanges in LU_pivots.reshape(-1, LU_pivots.shape[-1]).tolist():
            order = list(range_(m))
            for i, other in enumerate(exchanges):
                order[i], order[other - 1] = order[other - 1], order[i]
            orders.append(order)
        place = _rg.tensor(orders, dtype=_rg.int64).reshape(*LU_pivots.shape[:-1], m)
        P = one_hot(place, m).mT.to(LU_data.dtype)
    return return_types.lu_unpack((P, L, U))


def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Any:
    """Return the sum of the singular values."""
    return linalg.matrix_norm(input, "nuc", dim, keepdim)


def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False) -> Any:
    """Return the root of the sum of squares over some dimensions."""
    return linalg.vector_norm(input, 2, dim, keepdim)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Any:
    """Return the norms of the slices along a dimension."""
    if dim == -1:
        return v.norm(pow)
    return v.norm(pow, [other for other in range_(v.dim()) if other != dim % v.dim()], keepdim=True)


# Creation.


def range(
    start: float, end: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return numbers at a distance, ``end`` among them; deprecated in torch."""
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        stacklevel=2,
    )
    if end is None:
        start, end = 0, start
    count = math.floor((end - start) / step) + 1
    dtype = _rg.get_default_dtype() if dtype is None else dtype
    made = (_rg.arange(count, dtype=_rg.float64) * step + start).to(dtype)
    return made.to(device).requires_grad_(requires_grad) if device is not None else made.requires_grad_(requires_grad)


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """Return a tensor of one dimension over the memory of an object."""
    import numpy as np

    view = memoryview(buffer)
    size = dtype.itemsize
    if view.nbytes == 0:
        message = f"both buffer length ({view.nbytes}) and count ({count}) must not be 0"
        raise ValueError(message)
    if not 0 <= offset < view.nbytes:
        message = (
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({view.nbytes} bytes) "
            "minus 1"
        )
        raise ValueError(message)
    rest = view.nbytes - offset
    if count < 0 and rest % size:
        message = (
            f"buffer length ({rest} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
        )
        raise ValueError(message)
    count = rest // size if count < 0 else count
    if count * size > rest:
        message = (
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({view.nbytes} bytes)"
        )
        raise ValueError(message)
    name = str(dtype).rsplit(".", 1)[1]
    made = _rg.from_numpy(np.frombuffer(buffer, dtype=name, count=count, offset=offset))
    return made.requires_grad_(requires_grad)


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by the name of a class of tensors; deprecated in torch."""
    warnings.warn(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and "
        "torch.set_default_device() as alternatives.",
        stacklevel=2,
    )
    name = (t if isinstance(t, str) else getattr(t, "__name__", str(t))).rsplit(".", 1)[-1]
    kinds = {"FloatTensor": _rg.float32, "DoubleTensor": _rg.float64}
    if name not in kinds:
        message = f"only floating-point types are supported as the default type: got {name}"
        raise TypeError(message)
    _rg.set_default_dtype(kinds[name])
