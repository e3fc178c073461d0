"""Losses, normalisations and activations, with the names and arguments of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence

import rustgrad as _rg
from rustgrad import _core
from rustgrad._core import Tensor, dtype
from rustgrad.nn._embedding import embedding as embedding
from rustgrad.nn._embedding import one_hot as one_hot

# Activations that are methods of the same name and arguments.
_METHODS = (
    "relu", "relu6", "sigmoid", "tanh", "gelu", "silu", "softplus", "elu",
    "selu", "celu", "leaky_relu", "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "mish",
    "softsign", "softshrink", "hardshrink", "tanhshrink", "threshold",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _METHODS:
        function = getattr(_core, f"_nn_{name}", None)
        return getattr(Tensor, name) if function is None else function
    message = f"module 'rustgrad.nn.functional' has no attribute {name!r}"
    raise AttributeError(message)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    message = f"{reduction} is not a valid value for reduction"
    raise ValueError(message)


def softmax(input: Tensor, dim: int, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return softmax along a dimension."""
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return the logarithm of softmax along a dimension."""
    return input.log_softmax(dim, dtype)


def softmin(input: Tensor, dim: int, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return softmax of the negated input along a dimension."""
    return (-input).softmax(dim, dtype)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``."""
    return input._linear(weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x1 A x2 + b`` for each row of the inputs."""
    result = _rg.einsum("...i,kij,...j->...k", input1, weight, input2)
    return result if bias is None else result + bias


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return the squared differences."""
    difference = input - target
    if not difference.dtype.is_floating_point:
        message = f'"mse_cpu" not implemented for {difference.dtype}'
        raise (RuntimeError if reduction == "mean" else NotImplementedError)(message)
    return _reduce(difference * difference, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return the absolute differences."""
    return _reduce(abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return squared differences below ``beta``, absolute ones above."""
    if beta == 0.0:
        return l1_loss(input, target, reduction)
    size = abs(input - target)
    return _reduce(_rg.where(size < beta, size * size * (0.5 / beta), size - 0.5 * beta), reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Return squared differences below ``delta``, scaled absolute ones above."""
    size = abs(input - target)
    return _reduce(_rg.where(size <= delta, size * size * 0.5, delta * (size - 0.5 * delta)), reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return the Kullback-Leibler divergence of log-probabilities from a target."""
    loss = target.exp() * (target - input) if log_target else _rg.xlogy(target, target) - target * input
    if reduction == "batchmean":
        result: Tensor = loss.sum() / input.shape[0]
        return result
    return _reduce(loss, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the cross entropy of probabilities and targets, logarithms limited to -100."""
    loss = (target - 1) * (1 - input).log().clamp(min=-100) - target * input.log().clamp(min=-100)
    return _reduce(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the cross entropy of sigmoid(input) and targets, without overflow."""
    log_sigmoid = input.minimum(_rg.zeros_like(input)) - (-abs(input)).exp().log1p()
    if pos_weight is None:
        loss = (1 - target) * input - log_sigmoid
    else:
        loss = (1 - target) * input - ((pos_weight - 1) * target + 1) * log_sigmoid
    return _reduce(loss if weight is None else loss * weight, reduction)


def _rows(input: Tensor) -> Tensor:
    """Move the classes (dimension 1, or 0 of a vector) last and flatten the rest."""
    if input.dim() == 1:
        return input.unsqueeze(0)
    moved = input if input.dim() == 2 else input.transpose(1, -1)
    return moved.reshape(-1, input.shape[1])


def _targets(target: Tensor, dims: int) -> Tensor:
    moved = target if dims <= 3 else target.transpose(1, -1)
    return moved.reshape(-1)


def _unrows(loss: Tensor, target: Tensor, dims: int) -> Tensor:
    if dims <= 3:
        return loss.reshape(target.shape)
    return loss.reshape(target.transpose(1, -1).shape).transpose(1, -1)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: object = None,
    ignore_index: int = -100,
    reduce: object = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits with class indices or class probabilities."""
    if reduction not in ("mean", "sum", "none"):
        message = f"{reduction} is not a valid value for reduction"
        raise ValueError(message)
    classes_at = 0 if input.dim() == 1 else 1
    if target.dtype.is_floating_point:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, classes_at)
    expected = (*input.shape[:classes_at], *input.shape[classes_at + 1 :])
    if tuple(target.shape) != expected:
        if input.dim() >= 2 and target.dim() and target.shape[0] != input.shape[0]:
            message = f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
            raise ValueError(message)
        message = f"Expected target size {list(expected)}, got {list(target.shape)}"
        raise RuntimeError(message)
    rows, list_ = _rows(input), _targets(target, input.dim())
    if label_smoothing == 0.0:
        loss = rows._cross_entropy(list_, weight, ignore_index, reduction != "none", reduction == "mean")
        return loss if reduction != "none" else _unrows(loss, target, input.dim())
    loss = rows._cross_entropy(list_, weight, ignore_index, False, False)
    log = rows.log_softmax(1)
    smooth = -(log.sum(1) if weight is None else (log * weight).sum(1))
    counts = list_ != ignore_index
    smooth = _rg.where(counts, smooth, _rg.zeros_like(smooth))
    share = label_smoothing / rows.shape[1]
    loss = (1 - label_smoothing) * loss + share * smooth
    if reduction == "none":
        return _unrows(loss, target, input.dim())
    total: Tensor = loss.sum()
    if reduction == "sum":
        return total
    if weight is None:
        return total / counts.sum()
    safe = _rg.where(counts, list_, _rg.zeros_like(list_))
    factors = weight.index_select(0, safe)
    return total.div(_rg.where(counts, factors, _rg.zeros_like(factors)).sum())


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, at: int
) -> Tensor:
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[at]
    log = input.log_softmax(at)
    if weight is not None:
        log = log * weight.reshape([-1] + [1] * (input.dim() - at - 1))
    loss = -(log * target).sum(at)
    if reduction == "mean":
        return loss.sum() / (loss.numel() or 1)
    return _reduce(loss, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: object = None,
    ignore_index: int = -100,
    reduce: object = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negated log-probabilities of the classes."""
    rows, list_ = _rows(input), _targets(target, input.dim())
    counts = list_ != ignore_index
    safe = _rg.where(counts, list_, _rg.zeros_like(list_))
    factors = rows.detach().new_ones(rows.shape[0]) if weight is None else weight.index_select(0, safe)
    factors = _rg.where(counts, factors, _rg.zeros_like(factors))
    loss = -rows.gather(1, safe.unsqueeze(1)).squeeze(1) * factors
    if reduction == "none":
        return _unrows(loss, target, input.dim())
    return loss.sum() / factors.sum() if reduction == "mean" else _reduce(loss, reduction)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return the input normalised over its last dimensions, scaled and shifted."""
    return input._layer_norm(list(normalized_shape), weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return the input divided by its root mean square over the last dimensions."""
    if eps is None:
        eps = 1.1920928955078125e-07 if input.dtype is _rg.float32 else 2.220446049250313e-16
    dims = tuple(range(-len(normalized_shape), 0))
    normal = input * ((input * input).mean(dims, True) + eps).rsqrt()
    return normal if weight is None else normal * weight


def normalize(input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:
    """Return the input divided by its p-norm along a dimension."""
    return input / input.norm(p, dim, True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along a dimension."""
    left, right = x1.norm(2, dim, True).clamp(min=eps), x2.norm(2, dim, True).clamp(min=eps)
    return ((x1 / left) * (x2 / right)).sum(dim)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with a fraction ``p`` of its elements set to zero, the others scaled up."""
    if not 0.0 <= p <= 1.0:
        message = f"dropout probability has to be between 0 and 1, but got {p}"
        raise ValueError(message)
    if not training or p == 0.0:
        return input
    result = input * 0.0 if p == 1.0 else input * (_rg.rand_like(input) >= p).to(input.dtype) / (1 - p)
    return input.copy_(result) if inplace else result
