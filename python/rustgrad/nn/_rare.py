"""Pooling over random windows, norms of volumes and dropout of whole channels, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad.nn import functional as F
from rustgrad.nn._normalise import _check_probability, _drop_to_limit
from rustgrad.nn._volumes import _root
from rustgrad.nn.modules.conv import _tuple

if TYPE_CHECKING:
    from rustgrad._core import Tensor


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Return the p-norms of windows of ``(N, C, D, H, W)``."""
    sizes = _tuple(kernel_size, 3)
    mean = F.avg_pool3d(input.pow(norm_type), sizes, stride, 0, ceil_mode)
    return _root(mean, math.prod(sizes), norm_type)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Return the input with whole channels set to SELU's lower limit, mean and variance kept."""
    _check_probability(p)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    if input.dim() < 2:
        message = "Feature dropout requires at least 2 dimensions in the input"
        raise RuntimeError(message)
    return _drop_to_limit(input, (*input.shape[:2], *(1 for _ in input.shape[2:])), p, inplace)


def _starts(samples: Tensor, size: int, out: int, window: int) -> Tensor:
    """Return where the windows along a dimension begin: ``(N, C, out)``."""
    if out == 1:
        return _rg.full((*samples.shape, 1), size - window)
    step = (size - window) / (out - 1)
    # In the precision of the samples, as the places of torch's windows are found.
    places = ((_rg.arange(out, dtype=samples.dtype) + samples.unsqueeze(-1)) * step).long()
    places = places - (samples * step).long().unsqueeze(-1)
    places[..., -1] = size - window
    return places


def _fractional(
    name: str, dims: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any
) -> tuple[Tensor, Tensor]:
    if output_size is None and output_ratio is None:
        message = f"{name} requires specifying either an output_size or an output_ratio"
        raise ValueError(message)
    sizes = input.shape[-dims:]
    if output_size is None:
        ratios = _tuple(output_ratio, dims)
        outs = tuple(int(size * ratio) for size, ratio in zip(sizes, ratios, strict=True))
    else:
        outs = _tuple(output_size, dims)
    windows = _tuple(kernel_size, dims)
    single = input.dim() == dims + 1
    x = input.unsqueeze(0) if single else input
    if samples is None:
        samples = _rg.rand(x.size(0), x.size(1), dims, dtype=x.dtype)
    # Of two dimensions torch draws the last first.
    order = range(dims) if dims == 3 else range(dims - 1, -1, -1)
    flat = _rg.zeros(1, dtype=_rg.int64)
    for axis, (size, out, window, drawn) in enumerate(zip(sizes, outs, windows, order, strict=True)):
        if window + out - 1 > size:
            what = ("time", "height", "width")[axis + 3 - dims]
            message = f"{name}(): pool {what} {window} too large relative to input {what} {size}"
            raise RuntimeError(message)
        along = (_starts(samples[:, :, drawn], size, out, window).unsqueeze(-1) + _rg.arange(window)).flatten(2)
        shape = [*along.shape[:2], *(-1 if at == axis else 1 for at in range(dims))]
        flat = flat * size + along.reshape(shape)
    shape = [*x.shape[:2]]
    for out, window in zip(outs, windows, strict=True):
        shape += [out, window]
    wide = (out * window for out, window in zip(outs, windows, strict=True))
    places = flat.expand(*x.shape[:2], *wide).reshape(shape)
    # The windows' own dimensions to the end.
    turned = (0, 1, *(2 + 2 * axis for axis in range(dims)), *(3 + 2 * axis for axis in range(dims)))
    places = places.permute(turned).flatten(2 + dims)
    values = x.flatten(2).gather(2, places.flatten(2)).reshape(places.shape)
    found, at = values.max(-1)
    indices = places.gather(-1, at.unsqueeze(-1)).squeeze(-1)
    return (found.squeeze(0), indices.squeeze(0)) if single else (found, indices)


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the maxima of windows at random places, and where they were found."""
    del return_indices
    return _fractional("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the maxima of windows at random places, and where they were found."""
    del return_indices
    return _fractional("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """Return the maxima of windows at random places (Graham, 2014)."""
    both = fractional_max_pool2d_with_indices(
        input, kernel_size, output_size, output_ratio, _random_samples=_random_samples
    )
    return both if return_indices else both[0]


def fractional_max_pool3d(
    input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """Return the maxima of windows at random places (Graham, 2014)."""
    both = fractional_max_pool3d_with_indices(
        input, kernel_size, output_size, output_ratio, _random_samples=_random_samples
    )
    return both if return_indices else both[0]
