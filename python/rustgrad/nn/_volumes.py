"""Pools over three dimensions, composed of those over two, and pools that are undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad.nn._convolve import _one, avg_pool1d, avg_pool2d, max_pool2d_with_indices

if TYPE_CHECKING:
    from rustgrad._core import Tensor


def _three(value: Any, name: str) -> tuple[int, int, int]:
    if isinstance(value, int):
        return value, value, value
    if len(value) == 1:
        return value[0], value[0], value[0]
    if len(value) != 3:
        message = f"expected {name} to be a single integer value or a list of 3 values, but got {list(value)}"
        raise RuntimeError(message)
    return value[0], value[1], value[2]


def _batched(name: str, input: Tensor) -> Tensor:
    if input.dim() not in (4, 5):
        message = f"{name}: Expected 4D (unbatched) or 5D (batched) input, but got input of size: {list(input.shape)}"
        raise RuntimeError(message)
    return input if input.dim() == 5 else input.unsqueeze(0)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the greatest elements of windows, and where they are in their volumes."""
    del return_indices
    volume = _batched("max_pool3d", input)
    kernel = _three(kernel_size, "kernel_size")
    steps = kernel if stride is None or stride == [] else _three(stride, "stride")
    around, holes = _three(padding, "padding"), _three(dilation, "dilation")
    n, channels, depth, height, width = volume.shape
    # Slice by slice, then along the depth.
    values, inner = max_pool2d_with_indices(
        volume.reshape(n * channels * depth, 1, height, width), kernel[1:], steps[1:], around[1:], holes[1:], ceil_mode
    )
    rows, columns = values.shape[-2:]
    shape = (n, channels, depth, rows * columns)
    values, outer = max_pool2d_with_indices(
        values.reshape(shape), (kernel[0], 1), (steps[0], 1), (around[0], 0), (holes[0], 1), ceil_mode
    )
    slices = outer // (rows * columns)
    places = inner.reshape(shape).gather(2, slices) + slices * (height * width)
    values, places = (part.unflatten(-1, (rows, columns)) for part in (values, places))
    return (values, places) if input.dim() == 5 else (values.squeeze(0), places.squeeze(0))


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest elements of windows of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""
    pair = max_pool3d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return pair if return_indices else pair[0]


def _counts(size: int, kernel: int, step: int, around: int, count: int, padded: bool) -> list[int]:
    """Return how many elements each window of one dimension has."""
    result = []
    for place in range(count):
        start = place * step - around
        end = min(start + kernel, size + around)
        result.append(end - start if padded else min(end, size) - max(start, 0))
    return result


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the averages of windows of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""
    volume = _batched("avg_pool3d", input)
    if divisor_override == 0:
        message = "divisor must be not zero"
        raise RuntimeError(message)
    kernel = _three(kernel_size, "kernel_size")
    steps = kernel if stride is None or stride == [] else _three(stride, "stride")
    around = _three(padding, "padding")
    n, channels, depth, height, width = volume.shape
    flat = volume.reshape(n * channels * depth, 1, height, width)
    sums = avg_pool2d(flat, kernel[1:], steps[1:], around[1:], ceil_mode, True, 1)
    rows, columns = sums.shape[-2:]
    sums = avg_pool2d(
        sums.reshape(n, channels, depth, rows * columns),
        (kernel[0], 1),
        (steps[0], 1),
        (around[0], 0),
        ceil_mode,
        True,
        1,
    )
    sums = sums.unflatten(-1, (rows, columns))
    if divisor_override is not None:
        result = sums / divisor_override
    else:
        divisor = _rg.ones((), dtype=sums.dtype)
        for place, size in enumerate((depth, height, width)):
            counts = _counts(size, kernel[place], steps[place], around[place], sums.shape[2 + place], count_include_pad)
            shape = [1, 1, 1]
            shape[place] = -1
            divisor = divisor * _rg.tensor(counts, dtype=sums.dtype).reshape(shape)
        result = sums / divisor
    return result if input.dim() == 5 else result.squeeze(0)


def _unpool(input: Tensor, indices: Tensor, sizes: list[int]) -> Tensor:
    dims = len(sizes)
    lead = input.shape[:-dims]
    flat, places = input.flatten(len(lead)), indices.flatten(len(lead))
    total = 1
    for size in sizes:
        total *= size
    if places.numel() and (int(places.max()) >= total or int(places.min()) < 0):
        message = f"Found an invalid max index: {int(places.max())} (output volumes are of size {sizes})"
        raise RuntimeError(message)
    return input.new_zeros((*lead, total)).scatter(-1, places, flat).unflatten(-1, sizes)


def _max_unpool(
    dims: int, input: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    def spread(value: Any) -> list[int]:
        return [value] * dims if isinstance(value, int) else list(value)

    kernels = spread(kernel)
    steps = kernels if stride is None else spread(stride)
    default = [
        (n - 1) * step + k - 2 * p
        for n, step, k, p in zip(input.shape[-dims:], steps, kernels, spread(padding), strict=True)
    ]
    if output_size is None:
        return _unpool(input, indices, default)
    sizes = list(output_size)[-dims:]
    for size, usual, step in zip(sizes, default, steps, strict=True):
        if not usual - step < size < usual + step:
            message = f'invalid output_size "{sizes}" (sizes must be within {step} of {default})'
            raise ValueError(message)
    return _unpool(input, indices, sizes)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Return elements put back where ``max_pool1d`` took them from, zeros elsewhere."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Return elements put back where ``max_pool2d`` took them from, zeros elsewhere."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Return elements put back where ``max_pool3d`` took them from, zeros elsewhere."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _root(mean: Tensor, count: int, norm_type: float) -> Tensor:
    """Return the norm of windows from the means of powers."""
    return (mean.sign() * mean.abs().relu() * count).pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Return the p-norms of windows of ``(N, C, L)``."""
    powers = input.pow(norm_type)
    return _root(avg_pool1d(powers, kernel_size, stride, 0, ceil_mode), _one(kernel_size, "kernel_size"), norm_type)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Return the p-norms of windows of ``(N, C, H, W)``."""
    rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    powers = input.pow(norm_type)
    return _root(avg_pool2d(powers, kernel_size, stride, 0, ceil_mode), rows * columns, norm_type)
