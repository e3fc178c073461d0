"""Resampling and rearranging of images, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad.nn._convolve import avg_pool2d, pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


def _output_sizes(input: Tensor, size: Any, scale_factor: Any) -> tuple[list[int], list[float] | None]:
    """Return the sizes of the output, and the factors if they were given."""
    dims = input.dim() - 2
    if (size is None) == (scale_factor is None):
        message = (
            "either size or scale_factor should be defined"
            if size is None
            else "only one of size or scale_factor should be defined"
        )
        raise ValueError(message)

    def spread(value: Any, name: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            return [value] * dims
        if len(value) != dims:
            message = (
                f"Input and {name} must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and {name} of {value}."
            )
            raise ValueError(message)
        return list(value)

    if size is not None:
        return [int(one) for one in spread(size, "output size")], None
    factors = [float(one) for one in spread(scale_factor, "scale_factor")]
    return [math.floor(n * factor) for n, factor in zip(input.shape[2:], factors, strict=True)], factors


def _places(count: int, size: int, factor: float | None, align: bool, dtype: Any, half: bool = True) -> Tensor:
    """Return where in the input each place of the output lies."""
    if align:
        return _rg.arange(count, dtype=dtype) * ((size - 1) / (count - 1) if count > 1 else 0.0)
    step = 1 / factor if factor else size / count
    places = _rg.arange(count, dtype=dtype)
    return (places + 0.5) * step - 0.5 if half else places * step


def _cubic(t: Tensor) -> list[Tensor]:
    """Return the weights of four neighbours at a fraction between the middle ones (Keys, 1981, with A = -0.75)."""
    a = -0.75

    def inner(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def outer(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [outer(t + 1), inner(t), inner(1 - t), outer(2 - t)]


def _resample(input: Tensor, dim: int, count: int, factor: float | None, mode: str, align: bool) -> Tensor:
    """Resample one dimension."""
    size = input.shape[dim]
    dtype = input.dtype if input.is_floating_point() else _rg.float32
    shape = [1] * input.dim()
    shape[dim] = count

    def at(index: Tensor) -> Tensor:
        return input.index_select(dim, index.to(_rg.int64).clamp(0, size - 1))

    if mode in ("nearest", "nearest-exact"):
        step = 1 / factor if factor else size / count
        shift = 0.5 if mode == "nearest-exact" else 0.0
        return at(((_rg.arange(count, dtype=_rg.float32) + shift) * step).floor())
    places = _places(count, size, factor, align, dtype)
    if mode == "bicubic":
        first = places.floor()
        weights = _cubic(places - first)
        parts = [
            at(first + shift) * weight.reshape(shape) for shift, weight in zip((-1, 0, 1, 2), weights, strict=True)
        ]
        return parts[0] + parts[1] + parts[2] + parts[3]
    places = places.clamp(min=0)
    first = places.floor()
    share = (places - first).reshape(shape)
    return at(first) * (1 - share) + at(first + 1) * share


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return ``(N, C, *)`` resampled to a size, or by a factor, over one to three dimensions.

    Parameters
    ----------
    input
        ``(N, C, L)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    size, scale_factor
        The new sizes, or the factors; one of the two.
    mode
        ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"``, ``"bicubic"``, ``"trilinear"`` or ``"area"``.
    align_corners
        Whether the centres of the corner elements stay where they are.
    recompute_scale_factor
        Whether the factors are those of the sizes, not the given ones.
    """
    if antialias:
        message = "interpolate: antialias=True is not supported by rustgrad"
        raise NotImplementedError(message)
    if mode not in ("nearest", "nearest-exact", "area", *_LINEAR):
        message = f"Input Error: mode {mode} is not supported"
        raise NotImplementedError(message)
    if mode not in _LINEAR and align_corners is not None:
        message = (
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
        raise ValueError(message)
    if input.dim() not in (3, 4, 5) or (mode in _LINEAR and _LINEAR[mode] != input.dim() - 2):
        message = (
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {input.dim()}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | area | "
            f"nearest-exact (got {mode})"
        )
        raise NotImplementedError(message)
    if recompute_scale_factor and size is not None:
        message = "recompute_scale_factor is not meaningful with an explicit size."
        raise ValueError(message)
    counts, factors = _output_sizes(input, size, scale_factor)
    if any(count <= 0 for count in counts) or 0 in input.shape[2:]:
        message = (
            "Input and output sizes should be greater than 0, but got input sizes "
            f"{list(input.shape[2:])} and output sizes {counts}"
        )
        raise RuntimeError(message)
    if mode == "area":
        from rustgrad.nn import functional

        return getattr(functional, f"adaptive_avg_pool{len(counts)}d")(input, counts)  # type: ignore[no-any-return]
    if not input.is_floating_point() and mode in _LINEAR:
        if input.dtype is not _rg.uint8:
            message = f'"compute_indices_weights_linear" not implemented for {input.dtype}'
            raise NotImplementedError(message)
        wide = interpolate(
            input.to(_rg.float32), size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
        )
        return wide.round().clamp(0, 255).to(_rg.uint8)
    given: list[Any] = [None] * len(counts) if factors is None or recompute_scale_factor else list(factors)
    for place, (count, factor) in enumerate(zip(counts, given, strict=True)):
        if input.shape[2 + place] != count or (factor is not None and factor != 1):
            input = _resample(input, 2 + place, count, factor, mode, bool(align_corners))
    return input


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """:func:`interpolate` under its old name."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """:func:`interpolate` to the nearest element."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """:func:`interpolate` in mode ``"bilinear"``, with the corners aligned."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, "bilinear", True)


def _check_image(name: str, input: Tensor) -> None:
    if input.dim() < 3:
        message = f"{name} expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        raise RuntimeError(message)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Return ``(*, C * r * r, H, W)`` as ``(*, C, H * r, W * r)``."""
    _check_image("pixel_shuffle", input)
    r = upscale_factor
    if r <= 0:
        message = f"pixel_shuffle expects a positive upscale_factor, but got {r}"
        raise RuntimeError(message)
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        message = (
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
        raise RuntimeError(message)
    parts = input.reshape(*lead, channels // (r * r), r, r, height, width)
    n = len(lead)
    turned = parts.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return turned.reshape(*lead, channels // (r * r), height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Return ``(*, C, H * r, W * r)`` as ``(*, C * r * r, H, W)``."""
    _check_image("pixel_unshuffle", input)
    r = downscale_factor
    if r <= 0:
        message = f"pixel_unshuffle expects a positive downscale_factor, but got {r}"
        raise RuntimeError(message)
    *lead, channels, height, width = input.shape
    for name, n, place in (("height", height, -2), ("width", width, -1)):
        if n % r:
            message = (
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({place})={n} is "
                f"not divisible by {r}"
            )
            raise RuntimeError(message)
    n = len(lead)
    parts = input.reshape(*lead, channels, height // r, r, width // r, r)
    turned = parts.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return turned.reshape(*lead, channels * r * r, height // r, width // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Return the channels of ``(N, C, *)`` with those of the groups taken in turn."""
    if input.dim() < 3:
        message = f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        raise RuntimeError(message)
    if groups <= 0:
        message = f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        raise RuntimeError(message)
    if input.shape[1] % groups:
        message = f"Number of channels must be divisible by groups. Got {input.shape[1]} channels and {groups} groups."
        raise RuntimeError(message)
    return input.unflatten(1, (groups, input.shape[1] // groups)).transpose(1, 2).flatten(1, 2)


def _two(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def fold(
    input: Tensor,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Return images from their patches, added where they overlap: ``(N, C * kernel, places)`` to ``(N, C, H, W)``."""
    if input.dim() not in (2, 3):
        message = (
            f"fold: Input Error: Only unbatched (2D) or batched (3D) input Tensors are supported (got {input.dim()}D)"
        )
        raise NotImplementedError(message)
    (height, width), (kh, kw), (dh, dw) = _two(output_size), _two(kernel_size), _two(dilation)
    (ph, pw), (sh, sw) = _two(padding), _two(stride)
    batched = input if input.dim() == 3 else input.unsqueeze(0)
    if batched.shape[1] % (kh * kw):
        message = (
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={batched.shape[1]} and kernel_size=({kh}, {kw})."
        )
        raise RuntimeError(message)
    wide_h, wide_w = height + 2 * ph, width + 2 * pw
    rows = _rg.arange(0, wide_h - dh * (kh - 1), sh)
    columns = _rg.arange(0, wide_w - dw * (kw - 1), sw)
    if batched.shape[2] != len(rows) * len(columns):
        message = (
            f"Given output_size=({height}, {width}), kernel_size=({kh}, {kw}), dilation=({dh}, {dw}), padding=({ph}, "
            f"{pw}), stride=({sh}, {sw}), expected size of input's dimension 2 to match the calculated number of "
            f"sliding blocks {len(rows)} * {len(columns)} = {len(rows) * len(columns)}, but got "
            f"input.size(2)={batched.shape[2]}."
        )
        raise RuntimeError(message)
    y = rows.reshape(1, -1) + dh * _rg.arange(kh).reshape(-1, 1)
    x = columns.reshape(1, -1) + dw * _rg.arange(kw).reshape(-1, 1)
    places = (y.reshape(kh, 1, -1, 1) * wide_w + x.reshape(1, kw, 1, -1)).reshape(-1)
    n, channels = batched.shape[0], batched.shape[1] // (kh * kw)
    flat = batched.new_zeros((n, channels, wide_h * wide_w))
    flat = flat.index_add(2, places, batched.reshape(n, channels, -1))
    image = flat.reshape(n, channels, wide_h, wide_w)[:, :, ph : ph + height, pw : pw + width]
    return image if input.dim() == 3 else image.squeeze(0)


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
        extent = _rg.tensor([sizes[1], sizes[0]], dtype=grid.dtype)
        places = (grid + 1) / 2 * (extent - 1) if align_corners else ((grid + 1) * extent - 1) / 2
        if padding_mode != "zeros":
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
