"""Initial values of parameters, in place and with the random numbers torch draws."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import rustgrad

if TYPE_CHECKING:
    from rustgrad._core import Generator, Tensor

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: Any = None) -> float:
    """Return the factor by which a nonlinearity asks for a larger standard deviation."""
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = float(param)
        else:
            message = f"negative_slope {param} not a valid number"
            raise ValueError(message)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        message = f"Unsupported nonlinearity {nonlinearity}"
        raise ValueError(message)
    return _GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        message = "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        raise ValueError(message)
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


_calculate_fan_in_and_fan_out = _fans


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        message = f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']"
        raise ValueError(message)
    return _fans(tensor)[mode == "fan_out"]


_calculate_correct_fan = _fan


def _empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform in ``[a, b)``."""
    with rustgrad.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    with rustgrad.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers limited to ``[a, b]``: those beyond are drawn again."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )

    def below(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    with rustgrad.no_grad():
        if below((b - mean) / std) - below((a - mean) / std) > 0.3:
            # The limits as the tensor's dtype has them.
            low, high = (tensor.new_tensor(limit).item() for limit in (a, b))
            tensor.normal_(mean, std, generator=generator)
            while bool((beyond := (tensor < low) | (tensor > high)).any()):
                again = rustgrad.empty_like(tensor).normal_(mean, std, generator=generator)
                tensor.copy_(rustgrad.where(beyond, again, tensor))
            return tensor
        # Of a narrow part: uniform numbers, of which as many stay as the density wants.
        peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
        drawn = rustgrad.empty_like(tensor)
        pending = rustgrad.ones_like(tensor, dtype=rustgrad.bool)
        while bool(pending.any()):
            drawn.uniform_(a, b, generator=generator)
            tensor.copy_(rustgrad.where(pending, drawn, tensor))
            density = ((drawn - mean) / std).square() * -0.5 - peak
            pending = pending & (rustgrad.empty_like(tensor).uniform_(generator=generator).log() > density)
        return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with rustgrad.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity."""
    if tensor.dim() != 2:
        message = "Only tensors with 2 dimensions are supported"
        raise ValueError(message)
    with rustgrad.no_grad():
        return tensor.copy_(rustgrad.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it keeps as many channels as it can."""
    if tensor.dim() not in (3, 4, 5):
        message = "Only tensors with 3, 4, or 5 dimensions are supported"
        raise ValueError(message)
    if tensor.shape[0] % groups:
        message = "dim 0 must be divisible by groups"
        raise ValueError(message)
    per_group = tensor.shape[0] // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with rustgrad.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, tensor.shape[1])):
                place = (group * per_group + channel, channel, *centre)
                tensor[place] = 1
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers whose variance suits the fans (Glorot & Bengio, 2010)."""
    fan_in, fan_out = _fans(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers whose variance suits the fans (Glorot & Bengio, 2010)."""
    fan_in, fan_out = _fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform numbers whose variance suits a fan and a nonlinearity (He et al., 2015)."""
    if _empty(tensor):
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers whose variance suits a fan and a nonlinearity (He et al., 2015)."""
    if _empty(tensor):
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal numbers, a fraction of each column zero."""
    if tensor.dim() != 2:
        message = "Only tensors with 2 dimensions are supported"
        raise ValueError(message)
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with rustgrad.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[rustgrad.randperm(rows)[:zeros], column] = 0
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with an orthogonal matrix, times ``gain``: the Q of normal numbers (Saxe et al. 2013)."""
    if tensor.ndimension() < 2:
        message = "Only tensors with 2 or more dimensions are supported"
        raise ValueError(message)
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows
    with rustgrad.no_grad():
        drawn = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        from rustgrad import linalg

        q, r = linalg.qr(drawn.t() if rows < columns else drawn)
        q = q * r.diagonal().sign()
        return tensor.copy_((q.t() if rows < columns else q).reshape(tensor.shape)).mul_(gain)
