"""Convolutions, pooling, padding and look-ups, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core

if TYPE_CHECKING:
    from rustgrad._core import Tensor

Size = int | Sequence[int]
_Two = tuple[int, int]


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the averages of windows of ``(N, C, H, W)`` or ``(C, H, W)``."""
    result: Tensor = _core._nn_avg_pool2d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return result


def _one(value: Any, name: str) -> int:
    """Return a size given as a number or as a list of one."""
    if isinstance(value, int):
        return value
    if len(value) != 1:
        message = f"{name} should contain one int, got {value}"
        raise RuntimeError(message)
    return int(value[0])


def _window1d(name: str, input: Tensor, kernel_size: Size, stride: Size | None) -> tuple[int, int]:
    """Return size and step of the windows of a pool over one dimension."""
    if input.dim() not in (2, 3):
        message = f"{name}() Expected 2D or 3D input tensor, but got {list(input.shape)}"
        raise RuntimeError(message)
    size = _one(kernel_size, "kernel_size")
    return size, size if stride is None or stride == () else _one(stride, "stride")


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the averages of windows of ``(N, C, L)`` or ``(C, L)``."""
    size, step = _window1d("avg_pool1d", input, kernel_size, stride)
    wide = avg_pool2d(
        input.unsqueeze(-2), (1, size), (1, step), (0, _one(padding, "padding")), ceil_mode, count_include_pad
    )
    return wide.squeeze(-2)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the greatest elements of windows, and where they are in their planes."""
    made: Any = _core._nn_max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    pair: tuple[Tensor, Tensor] = made
    return pair


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest elements of windows of ``(N, C, H, W)`` or ``(C, H, W)``."""
    pair = max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return pair if return_indices else pair[0]


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the greatest elements of windows of ``(N, C, L)`` or ``(C, L)``."""
    size, step = _window1d("max_pool1d", input, kernel_size, stride)
    values, places = max_pool2d_with_indices(
        input.unsqueeze(-2),
        (1, size),
        (1, step),
        (0, _one(padding, "padding")),
        (1, _one(dilation, "dilation")),
        ceil_mode,
    )
    if return_indices:
        return values.squeeze(-2), places.squeeze(-2)
    return values.squeeze(-2)


def _adaptive_sizes(output_size: Any, sizes: Sequence[int]) -> list[int]:
    wanted = [output_size] * len(sizes) if output_size is None or isinstance(output_size, int) else list(output_size)
    if any(want is not None and want < 0 for want in wanted):
        message = f"the elements of output_size must be greater than or equal to 0, but they are {tuple(wanted)}"
        raise RuntimeError(message)
    if len(wanted) != len(sizes):
        message = "Input dimension should be at least 3" if len(wanted) < len(sizes) else "output_size is too long"
        raise ValueError(message)
    return [size if want is None else want for want, size in zip(wanted, sizes, strict=True)]


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return averages of windows whose sizes follow from that of the output; ``None`` keeps a size."""
    if input.dim() not in (3, 4):
        message = f"adaptive_avg_pool2d(): Expected 3D or 4D tensor, but got {list(input.shape)}"
        raise RuntimeError(message)
    counts = _adaptive_sizes(output_size, input.shape[-2:])
    if counts == [1, 1]:
        return input.mean((-2, -1), True)
    result: Tensor = _core._nn_adaptive_avg_pool2d(input, counts)
    return result


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Return averages of windows whose sizes follow from that of the output."""
    _check_adaptive_line("adaptive_avg_pool1d", input)
    (count,) = _adaptive_sizes(output_size, input.shape[-1:])
    return adaptive_avg_pool2d(input.unsqueeze(-2), (1, count)).squeeze(-2)


def _check_adaptive_line(name: str, input: Tensor) -> None:
    if input.dim() not in (2, 3):
        message = (
            f"Expected 2 to 3 dimensions, but got {input.dim()}-dimensional tensor for argument #1 'self' "
            f"(while checking arguments for {name})"
        )
        raise RuntimeError(message)


def _spans(size: int, count: int) -> list[tuple[int, int]]:
    """Return where the windows of an adaptive pool begin and end."""
    return [(place * size // count, -(-(place + 1) * size // count)) for place in range(count)]


def _adaptive_max(input: Tensor, output_size: Any, dims: int) -> tuple[Tensor, Tensor]:
    """Return the maxima of adaptive windows over the last dimensions, and where they are among these."""
    if input.dim() not in (dims + 1, dims + 2):
        message = f"adaptive_max_pool{dims}d(): Expected {dims + 1}D or {dims + 2}D tensor, but got {list(input.shape)}"
        raise RuntimeError(message)
    sizes = input.shape[-dims:]
    counts = _adaptive_sizes(output_size, sizes)
    lead = list(input.shape[:-dims])
    if 0 in counts or input.numel() == 0:
        empty = input.new_empty([*lead, *counts])
        return empty, _rg.empty([*lead, *counts], dtype=_rg.int64)
    # For each dimension the elements of each window, the last one repeated where a window is shorter.
    wide, grids = input, []
    for place, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        spans = _spans(size, count)
        longest = max(end - start for start, end in spans)
        index = _rg.tensor([min(start + i, end - 1) for start, end in spans for i in range(longest)])
        wide = wide.index_select(len(lead) + 2 * place, index).unflatten(len(lead) + 2 * place, (count, longest))
        grids.append(index.reshape(count, longest))
    order = [
        *range(len(lead)),
        *(len(lead) + 2 * i for i in range(dims)),
        *(len(lead) + 2 * i + 1 for i in range(dims)),
    ]
    windows = wide.permute(order).flatten(len(lead) + dims)
    values, found = windows.max(-1)
    # The place in a window, back to the place in the input.
    flat = _rg.zeros_like(found)
    for place in range(dims):
        inner = 1
        for grid in grids[place + 1 :]:
            inner *= grid.shape[1]
        within = (found // inner) % grids[place].shape[1]
        shape = [1] * len(lead) + [1] * dims
        shape[len(lead) + place] = counts[place]
        rows = _rg.arange(counts[place]).reshape(shape)
        flat = flat * sizes[place] + grids[place][rows, within]
    return values, flat


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return maxima of windows of ``(N, C, L)`` or ``(C, L)`` whose sizes follow from that of the output."""
    _check_adaptive_line("adaptive_max_pool1d", input)
    (count,) = _adaptive_sizes(output_size, input.shape[-1:])
    _check_not_empty("adaptive_max_pool1d", input)
    values, places = _core._nn_adaptive_max_pool2d(input.unsqueeze(-2), [1, count])
    values = values.squeeze(-2)
    return (values, places.squeeze(-2)) if return_indices else values


def _check_not_empty(name: str, input: Tensor) -> None:
    for dim, size in enumerate(input.shape):
        if dim and not size:
            message = (
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {dim} being empty"
            )
            raise RuntimeError(message)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return maxima of windows of ``(N, C, H, W)`` or ``(C, H, W)`` whose sizes follow from that of the output."""
    if input.dim() not in (3, 4):
        message = f"adaptive_max_pool2d(): Expected 3D or 4D tensor, but got {list(input.shape)}"
        raise RuntimeError(message)
    values, places = _core._nn_adaptive_max_pool2d(input, _adaptive_sizes(output_size, input.shape[-2:]))
    return (values, places) if return_indices else values


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return maxima of windows of ``(N, C, D, H, W)`` whose sizes follow from that of the output."""
    values, places = _adaptive_max(input, output_size, 3)
    return (values, places) if return_indices else values


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Return averages of windows of ``(N, C, D, H, W)`` whose sizes follow from that of the output."""
    if input.dim() not in (4, 5):
        message = f"adaptive_avg_pool3d(): Expected 4D or 5D tensor, but got {list(input.shape)}"
        raise RuntimeError(message)
    depth, rows, columns = _adaptive_sizes(output_size, input.shape[-3:])
    # An average of averages of as many: first over rows and columns, then over the depth.
    flat = adaptive_avg_pool2d(input.flatten(0, -3), (rows, columns))
    lines = flat.reshape(*input.shape[:-2], rows * columns)
    return adaptive_avg_pool2d(lines, (depth, None)).unflatten(-1, (rows, columns))


def _index_of(mode: str, size: int, before: int, after: int) -> list[int]:
    """Return which element stands at each place of a padded dimension."""
    places = range(-before, size + after)
    if mode == "replicate":
        return [min(max(place, 0), size - 1) for place in places]
    if mode == "circular":
        # What is taken away is gone before the rest goes round.
        first, last = max(0, -before), size - max(0, -after)
        return [first + (place - first) % (last - first) for place in places]
    return [size - 1 - abs(size - 1 - abs(place)) for place in places]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Return the input with elements added around it, or with some taken away where a number is negative.

    Parameters
    ----------
    input
        Any shape; other modes than ``"constant"`` pad at most the dimensions behind the channels.
    pad
        How much before and after, from the last dimension on.
    mode
        ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
    value
        What is added in mode ``"constant"``, zero by default.
    """
    numbers = list(pad)
    if mode == "constant":
        result: Tensor = _core._nn_constant_pad(input, numbers, 0 if value is None else value)
        return result
    if mode not in ("reflect", "replicate", "circular"):
        message = f"Unrecognised padding mode {mode}"
        raise NotImplementedError(message)
    if value not in (None, 0):
        message = f'Padding mode "{mode}" doesn\'t take in value argument'
        raise ValueError(message)
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers) - 1, 2)]
    if len(numbers) % 2 or input.dim() not in (len(pairs) + 1, len(pairs) + 2):
        message = "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        raise NotImplementedError(message)
    for place, (before, after) in enumerate(pairs):
        dim = input.dim() - 1 - place
        size = input.shape[dim]
        most = size - 1 if mode == "reflect" else size
        if mode != "replicate" and max(before, after) > most:
            if mode == "reflect":
                message = (
                    "Argument #4: Padding size should be less than the corresponding input dimension, but got: "
                    f"padding ({before}, {after}) at dimension {dim} of input {list(input.shape)}"
                )
            else:
                message = "Padding value causes wrapping around more than once."
            raise RuntimeError(message)
        if (before, after) != (0, 0):
            input = input.index_select(dim, _rg.tensor(_index_of(mode, size, before, after), dtype=_rg.int64))
    return input


@functools.lru_cache(16)
def _patch_places(height: int, width: int, kernel: _Two, dilation: _Two, stride: _Two) -> Tensor:
    """Return the places ``(kh, kw, rows, columns)`` of patches in a flattened image, as a vector."""
    (kh, kw), (dh, dw), (sh, sw) = kernel, dilation, stride
    rows = _rg.arange(0, height - dh * (kh - 1), sh)
    columns = _rg.arange(0, width - dw * (kw - 1), sw)
    y = rows.reshape(1, -1) + dh * _rg.arange(kh).reshape(-1, 1)
    x = columns.reshape(1, -1) + dw * _rg.arange(kw).reshape(-1, 1)
    return (y.reshape(kh, 1, -1, 1) * width + x.reshape(1, kw, 1, -1)).reshape(-1)


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """Return the patches of images as columns: ``(N, C, H, W)`` to ``(N, C * kernel, places)``."""

    def two(value: Size) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else (value[0], value[-1])

    (kh, kw), (dh, dw), (ph, pw), (sh, sw) = two(kernel_size), two(dilation), two(padding), two(stride)
    batched = input if input.dim() == 4 else input.unsqueeze(0)
    padded = pad(batched, (pw, pw, ph, ph))
    n, channels, height, width = padded.shape
    # Of small images many are taken apart in the same way: where their elements go is kept.
    find = _patch_places if height * width * kh * kw <= 1 << 14 else _patch_places.__wrapped__
    places = find(height, width, (kh, kw), (dh, dw), (sh, sw))
    flat = padded.reshape(n, channels, height * width).index_select(2, places)
    patches = flat.reshape(n, channels * kh * kw, -1)
    return patches if input.dim() == 4 else patches.squeeze(0)
