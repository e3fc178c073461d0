"""Resampling and rearranging of images, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad.nn._convolve import avg_pool2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor

pad = _core._nn_pad
interpolate = _core._nn_interpolate
unfold = _core._nn_unfold
fold = _core._nn_fold
pixel_shuffle = _core._nn_pixel_shuffle
pixel_unshuffle = _core._nn_pixel_unshuffle
channel_shuffle = _core._nn_channel_shuffle


def _cubic(t: Tensor) -> list[Tensor]:
    """Return the weights of four neighbours at a fraction between the middle ones (Keys, 1981, with A = -0.75)."""
    a = -0.75

    def inner(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def outer(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [outer(t + 1), inner(t), inner(1 - t), outer(2 - t)]


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """:func:`interpolate` under its old name."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    result: Tensor = interpolate(input, size, scale_factor, mode, align_corners)
    return result


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """:func:`interpolate` to the nearest element."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    result: Tensor = interpolate(input, size, scale_factor)
    return result


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """:func:`interpolate` in mode ``"bilinear"``, with the corners aligned."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    result: Tensor = interpolate(input, size, scale_factor, "bilinear", True)
    return result


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return where each place of an image comes from under affine maps: ``(N, H, W, 2)`` or ``(N, D, H, W, 3)``."""
    if not theta.is_floating_point():
        message = f"Expected theta to have floating point type, but got {theta.dtype}"
        raise ValueError(message)
    dims = len(size) - 2
    if dims not in (2, 3) or tuple(theta.shape[1:]) != (dims, dims + 1) or theta.dim() != 3:
        message = (
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {tuple(size)}. "
            f"Got {theta.shape}."
        )
        raise ValueError(message)
    axes = []
    for n in size[2:]:
        places = _rg.linspace(-1, 1, n, dtype=theta.dtype) if n > 1 else _rg.zeros(1, dtype=theta.dtype)
        axes.append(places if align_corners else places * ((n - 1) / n))
    grids = _rg.meshgrid(*axes, indexing="ij")
    base = _rg.stack([*reversed(grids), _rg.ones_like(grids[0])], -1).reshape(1, -1, dims + 1)
    return (base @ theta.transpose(1, 2)).reshape(size[0], *size[2:], dims)


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """Return coordinates thrown back at both ends until they lie between them."""
    span = high - low
    if span == 0:
        return _rg.zeros_like(x)
    x = (x - low).abs()
    extra = x % (2 * span)
    return _rg.where(extra > span, 2 * span - extra, extra) + low  # type: ignore[no-any-return]


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Return the input at the places of a grid, which run from -1 to 1 over each dimension.

    Parameters
    ----------
    input
        ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    grid
        ``(N, *, 2)`` or ``(N, *, 3)``; the last dimension is x, y (and z).
    mode
        ``"bilinear"``, ``"nearest"`` or, of images, ``"bicubic"``.
    padding_mode
        What lies outside: ``"zeros"``, the ``"border"``, or its ``"reflection"``.
    align_corners
        Whether -1 and 1 are the centres of the corner elements, not their edges.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        message = (
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
        raise ValueError(message)
    if padding_mode not in ("zeros", "border", "reflection"):
        message = (
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
        raise ValueError(message)
    dims = input.dim() - 2
    given = f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    if dims not in (2, 3) or grid.dim() != input.dim():
        message = f"grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, {given}"
        raise RuntimeError(message)
    if grid.shape[0] != input.shape[0]:
        message = f"grid_sampler(): expected grid and input to have same batch size, {given}"
        raise RuntimeError(message)
    if grid.shape[-1] != dims:
        message = (
            f"grid_sampler(): expected grid to have size {dims} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
        raise RuntimeError(message)
    for dim in range(2, input.dim()):
        if not input.shape[dim]:
            message = (
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {dim} being empty"
            )
            raise RuntimeError(message)
    if mode == "bicubic" and dims == 3:
        message = "grid_sampler(): bicubic interpolation only supports 4D input"
        raise RuntimeError(message)
    if input.dtype is not grid.dtype:
        message = (
            f"grid_sampler(): expected input and grid to have same dtype, but input has {input.dtype} and grid has "
            f"{grid.dtype}"
        )
        raise RuntimeError(message)
    sizes = input.shape[2:]
    n, channels = input.shape[:2]

    def bounded(x: Tensor, size: int) -> Tensor:
        if padding_mode == "zeros":
            return x
        if padding_mode == "reflection":
            x = _reflected(x, 0, size - 1) if align_corners else _reflected(x, -0.5, size - 0.5)
        return x.clamp(0, size - 1)

    if mode == "bilinear" and dims == 2:
        # One operation finds all four neighbours.
        extent: Any = sizes[0]
        if sizes[0] != sizes[1]:
            # A row of the grid at a time: two numbers are no length to go by.
            extent = _rg.tensor([sizes[1], sizes[0]], dtype=grid.dtype).repeat(grid.shape[-2], 1)
        places = (grid + 1) / 2 * (extent - 1) if align_corners else ((grid + 1) * extent - 1) / 2
        if sizes[0] == sizes[1]:
            places = bounded(places, sizes[0])
        elif padding_mode != "zeros":
            places = _rg.stack([bounded(places[..., 0], sizes[1]), bounded(places[..., 1], sizes[0])], -1)
        return input._grid_sample(places)
    flat = input.reshape(n, channels, math.prod(sizes))
    points = grid.reshape(n, math.prod(grid.shape[1:-1]), dims)

    def values(indices: list[Tensor]) -> Tensor:
        """Return the elements at whole coordinates, outermost first; zero outside."""
        place, inside = _rg.zeros_like(indices[0], dtype=_rg.int64), None
        for index, size in zip(indices, sizes, strict=True):
            whole = index.detach().to(_rg.int64)
            fits = (whole >= 0) & (whole < size)
            inside = fits if inside is None else inside & fits
            place = place * size + whole.clamp(0, size - 1)
        found = flat.gather(2, place.unsqueeze(1).expand(n, channels, place.shape[1]))
        return found.masked_fill(~inside.unsqueeze(1), 0.0)  # type: ignore[union-attr]

    coordinates = []
    for place, size in enumerate(sizes):
        x = points[..., dims - 1 - place]
        x = (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2
        coordinates.append(x if mode == "bicubic" else bounded(x, size))
    result: Any
    if mode == "nearest":
        result = values([x.round() for x in coordinates])
    elif mode == "bilinear":
        low = [x.detach().floor() for x in coordinates]
        total = None
        for corner in range(2**dims):
            weight, indices = None, []
            for place in range(dims):
                upper = corner >> place & 1
                share = coordinates[place] - low[place]
                share = share if upper else 1 - share
                weight = share if weight is None else weight * share
                indices.append(low[place] + upper)
            part = values(indices) * weight.unsqueeze(1)  # type: ignore[union-attr]
            total = part if total is None else total + part
        result = total
    else:
        (y, x), total = coordinates, None
        below, left = y.detach().floor(), x.detach().floor()
        across = _cubic(x - left)
        for shift_y, weight_y in zip((-1, 0, 1, 2), _cubic(y - below), strict=True):
            row = bounded(below + shift_y, sizes[0])
            for shift_x, weight_x in zip((-1, 0, 1, 2), across, strict=True):
                part = values([row, bounded(left + shift_x, sizes[1])]) * (weight_y * weight_x).unsqueeze(1)
                total = part if total is None else total + part
        result = total
    return result.reshape(n, channels, *grid.shape[1:-1])  # type: ignore[no-any-return]


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Return the input divided by a power of the squares of ``size`` neighbouring channels (Krizhevsky, 2012)."""
    if input.dim() < 3:
        message = f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        raise ValueError(message)
    if input.numel() == 0:
        return input
    squares = input * input
    # Means of neighbouring channels are those of neighbouring rows.
    rows = squares.reshape(squares.shape[0], 1, squares.shape[1], -1)
    means = avg_pool2d(pad(rows, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1).reshape(input.shape)
    return input / (means * alpha + k) ** beta
