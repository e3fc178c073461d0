"""Normalisations and dropout, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import rustgrad as _rg
from rustgrad._nests import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return the input normalised over its last dimensions, scaled and shifted."""
    return input._layer_norm(normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return the input divided by its root mean square over the last dimensions."""
    sizes = tuple(normalized_shape)
    if tuple(input.shape[input.dim() - len(sizes) :]) != sizes or not sizes:
        message = (
            f"Given normalized_shape={list(sizes)}, expected input with shape "
            f"[*, {', '.join(map(str, sizes))}], but got input of size{list(input.shape)}"
        )
        raise RuntimeError(message)
    if eps is None:
        eps = 1.1920928955078125e-07 if input.dtype is _rg.float32 else 2.220446049250313e-16
    dims = tuple(range(-len(sizes), 0))
    normal = input * ((input * input).mean(dims, True) + eps).rsqrt()
    return normal if weight is None else normal * weight


def _check_batch(input: Tensor) -> None:
    sizes = input.shape
    count = sizes[0] * math.prod(sizes[2:])
    if count == 1:
        message = f"Expected more than 1 value per channel when training, got input size {sizes}"
        raise ValueError(message)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel normalised, by the statistics of the batch or by running ones.

    While training the running statistics move towards those of the batch by ``momentum``.
    """
    if training:
        _check_batch(input)
    channels = input.shape[1] if input.dim() > 1 else 1
    for name, part in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if part is not None and part.numel() != channels:
            message = f"{name} should contain {channels} elements not {part.numel()}"
            raise RuntimeError(message)
    if not training:
        if running_mean is None or running_var is None:
            missing = "running_mean" if running_mean is None else "running_var"
            message = f"{missing} must be defined in evaluation mode"
            raise RuntimeError(message)
        return input._channel_norm(None, (running_mean, running_var), weight, bias, eps)[0]
    for name, part in (("running_mean", running_mean), ("running_var", running_var)):
        if part is not None and part.dtype is not input.dtype:
            message = (
                f"mixed dtype (CPU): expect {name} to have the dtype of the input, {input.dtype}, got {part.dtype}"
            )
            raise RuntimeError(message)
    result, mean, variance = input._channel_norm(None, None, weight, bias, eps)
    if type(mean) is not _rg.Tensor:
        check_writable("batch_norm", mean, (running_mean, running_var))
    count = input.numel() // max(channels, 1)
    with _rg.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean, momentum)
        if running_var is not None:
            running_var.lerp_(variance * (count / (count - 1)), momentum)
    return result


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel of each member of a batch normalised by itself."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, channels = input.shape[:2]
    if math.prod(input.shape[2:]) == 1:
        message = f"Expected more than 1 spatial element when training, got input size {input.shape}"
        raise ValueError(message)
    fits = (weight is None or weight.numel() == channels) and (bias is None or bias.numel() == channels)
    if running_mean is None and running_var is None and fits and n * channels:
        # Each channel is a group of its own.
        alone: Tensor = input._channel_norm(channels, None, weight, bias, eps)[0]
        return alone.view(input.shape)
    means = None if running_mean is None else running_mean.repeat(n)
    variances = None if running_var is None else running_var.repeat(n)
    flat = input.reshape(1, n * channels, *input.shape[2:])
    scale = None if weight is None else weight.repeat(n)
    shift = None if bias is None else bias.repeat(n)
    result = batch_norm(flat, means, variances, scale, shift, True, momentum, eps).reshape(input.shape)
    with _rg.no_grad():
        for running, new in ((running_mean, means), (running_var, variances)):
            if running is not None and new is not None:
                running.copy_(new.reshape(n, channels).mean(0))
    return result


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return groups of channels normalised, each with all its places."""
    if input.dim() < 2:
        message = f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        raise RuntimeError(message)
    channels = input.shape[1]
    places = math.prod(input.shape[2:])
    if input.shape[0] * channels // num_groups * places == 1:
        message = f"Expected more than 1 value per channel when training, got input size {list(input.shape)}"
        raise ValueError(message)
    if num_groups <= 0:
        message = f"Expected num groups to be greater than 0, got {num_groups}"
        raise RuntimeError(message)
    if places == 0:
        message = "Expected HxW to be greater than 0, got 0"
        raise RuntimeError(message)
    if channels % num_groups:
        message = (
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
        raise RuntimeError(message)
    for name, part in (("weight", weight), ("bias", bias)):
        if part is not None and tuple(part.shape) != (channels,):
            message = (
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of "
                f"shape {list(part.shape)} and input of shape {list(input.shape)}"
            )
            raise RuntimeError(message)
    if places >= 64 or input.numel() < 512:
        return input._channel_norm(num_groups, None, weight, bias, eps)[0]
    # Channels of few places are too short to go by: a group is one line, and all channels are another.
    size = channels // num_groups * places
    result = input.reshape(-1, num_groups, size)._layer_norm((size,), None, None, eps).reshape(-1, channels * places)
    if weight is not None:
        result = result * weight.repeat_interleave(places)
    if bias is not None:
        result = result + bias.repeat_interleave(places)
    return result.reshape(input.shape)


def normalize(
    input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Return the input divided by its p-norm along a dimension."""
    result = input / input.norm(p, dim, True).clamp(min=eps)
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along a dimension."""
    if x1.shape != x2.shape:
        x1, x2 = _rg.broadcast_tensors(x1, x2)
    left, right = x1.norm(2, dim, True).clamp(min=eps), x2.norm(2, dim, True).clamp(min=eps)
    return ((x1 / left) * (x2 / right)).sum(dim)


def _drop(input: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
    """Scale by zeros and ``1 / (1 - p)``, drawn for the elements of ``shape`` and broadcast."""
    if p == 1.0:
        noise = input.new_zeros(shape)
    elif input.is_contiguous() or tuple(shape) != tuple(input.shape):
        noise = input.new_empty(shape).bernoulli_(1 - p).div_(1 - p)
    else:
        # In the order of memory, where torch draws the random numbers.
        strides = input.stride()
        order = sorted(range(len(shape)), key=lambda dim: -strides[dim])
        turned = input.new_empty([shape[dim] for dim in order]).bernoulli_(1 - p).div_(1 - p)
        noise = turned.permute([order.index(dim) for dim in range(len(shape))])
    return input.mul_(noise) if inplace else input * noise


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        message = f"dropout probability has to be between 0 and 1, but got {p}"
        raise ValueError(message)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with a fraction ``p`` of its elements set to zero, the others scaled up."""
    _check_probability(p)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    return _drop(input, input.shape, p, inplace)


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool, batched: int) -> Tensor:
    """Drop whole channels; ``batched`` is the number of dimensions that an input with a batch has."""
    _check_probability(p)
    if input.dim() not in (batched - 1, batched):
        message = (
            f"dropout{batched - 2}d: Expected {batched - 1}D or {batched}D input, but received a {input.dim()}D input."
        )
        raise RuntimeError(message)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    kept = 1 if input.dim() == batched - 1 else 2
    return _drop(input, (*input.shape[:kept], *(1 for _ in input.shape[kept:])), p, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with a fraction ``p`` of its channels set to zero."""
    return _drop_channels(input, p, training, inplace, 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with a fraction ``p`` of its channels set to zero."""
    return _drop_channels(input, p, training, inplace, 4)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with a fraction ``p`` of its channels set to zero."""
    return _drop_channels(input, p, training, inplace, 5)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Return the input with elements set to SELU's lower limit, mean and variance kept."""
    _check_probability(p)
    if not training or p == 0.0 or input.numel() == 0:
        return input
    return _drop_to_limit(input, input.shape, p, inplace)


def _drop_to_limit(input: Tensor, shape: Sequence[int], p: float, inplace: bool) -> Tensor:
    """Set parts to SELU's lower limit, drawn for ``shape``, which broadcasts with the input."""
    if p == 1.0:
        return _drop(input, shape, p, inplace)
    limit = 1.7580993408473766
    scale = 1 / math.sqrt((limit * limit * p + 1) * (1 - p))
    kept = input.new_empty(shape).bernoulli_(1 - p)
    shift = (kept - 1) * (limit * scale) + limit * scale * p
    result = input * (kept * scale) + shift
    return input.copy_(result) if inplace else result
