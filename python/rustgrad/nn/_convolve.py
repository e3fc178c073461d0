"""Convolutions, pooling, padding and look-ups, for ``rustgrad.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
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


def _unrecorded(input: Tensor) -> bool:
    """Return whether nobody will ask which elements of large pools were the greatest."""
    return input.numel() >= 4096 and not (input.requires_grad and _rg.is_grad_enabled())


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
    around, hole = _one(padding, "padding"), _one(dilation, "dilation")
    if not (return_indices or ceil_mode or around) and 2 <= size <= 4 and _unrecorded(input):
        # As many passes over elements side by side take less than to keep where the greatest are.
        span = input.shape[-1] - hole * (size - 1)
        if span > 0 < step and hole > 0:
            lines = [input[..., place * hole : place * hole + span : step] for place in range(size)]
            return reduce(_rg.maximum, lines)
    values, places = max_pool2d_with_indices(
        input.unsqueeze(-2), (1, size), (1, step), (0, around), (1, hole), ceil_mode
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
    counts = _adaptive_sizes(output_size, input.shape[-2:])
    if counts == [1, 1] and not return_indices and _unrecorded(input):
        return input.amax((-2, -1), True)
    values, places = _core._nn_adaptive_max_pool2d(input, counts)
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
    if depth == rows == columns == 1:
        return input.mean((-3, -2, -1), True)
    # An average of averages of as many: first over rows and columns, then over the depth.
    flat = adaptive_avg_pool2d(input.flatten(0, -3), (rows, columns))
    lines = flat.reshape(*input.shape[:-2], rows * columns)
    return adaptive_avg_pool2d(lines, (depth, None)).unflatten(-1, (rows, columns))
