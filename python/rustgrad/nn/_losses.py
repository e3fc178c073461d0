"""Losses, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import math
import warnings
from typing import Any

import rustgrad as _rg
from rustgrad import _core as _nn
from rustgrad._core import Tensor
from rustgrad._nests import whole
from rustgrad.nn._cross_entropy import cross_entropy as cross_entropy
from rustgrad.nn._cross_entropy import nll_loss as nll_loss
from rustgrad.nn._reduction import constant, legacy, reduce

Flag = bool | None


def _check_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        text = (
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size."
        )
        warnings.warn(text, stacklevel=3)


def _check_floats(name: str, *tensors: Tensor) -> None:
    kind = next((tensor.dtype for tensor in tensors if not tensor.dtype.is_floating_point), None)
    if kind is not None:
        message = f'"{name}" not implemented for {kind}'
        raise NotImplementedError(message)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Reduce elementwise losses with elementwise weights; the mean divides by the sum of the weights."""
    if weight is None:
        return reduce(loss, reduction)
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduce(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences."""
    _check_sizes(input, target)
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, reduction)
    if weight is None and input.dtype.is_floating_point:
        return input._pair_loss(target, "mse", reduction, 0.0)
    difference = input - target
    if not difference.dtype.is_floating_point:
        message = f'"mse_cpu" not implemented for {difference.dtype}'
        raise (RuntimeError if reduction == "mean" else NotImplementedError)(message)
    return _weighted(difference * difference, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute differences."""
    _check_sizes(input, target)
    return _weighted(abs(input - target), weight, legacy(size_average, reduce, reduction))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return squared differences below ``beta``, absolute ones above."""
    _check_sizes(input, target)
    reduction = legacy(size_average, reduce, reduction)
    if beta < 0:
        message = "smooth_l1_loss does not support negative values for beta."
        raise RuntimeError(message)
    _check_floats("smooth_l1_cpu", input)
    if beta == 0.0:
        return _weighted(abs(input - target), None, reduction)
    return input._pair_loss(target, "smooth_l1", reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return squared differences below ``delta``, scaled absolute ones above."""
    if delta <= 0:
        message = "huber_loss does not support non-positive values for delta."
        raise RuntimeError(message)
    _check_sizes(input, target)
    _check_floats("huber_cpu", input)
    if weight is None:
        return input._pair_loss(target, "huber", reduction, delta)
    return _weighted(input._pair_loss(target, "huber", "none", delta), weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the Kullback-Leibler divergence of log-probabilities from a target."""
    reduction = legacy(size_average, reduce, reduction)
    if reduction == "mean":
        text = (
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release."
        )
        warnings.warn(text, stacklevel=2)
    loss = target.exp() * (target - input) if log_target else _rg.xlogy(target, target) - target * input
    if reduction == "batchmean":
        result: Tensor = loss.sum() / input.shape[0] if input.dim() else loss.sum()
        return result
    return _weighted(loss, None, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy of probabilities and targets, logarithms limited to -100."""
    reduction = legacy(size_average, reduce, reduction)
    if target.shape != input.shape:
        message = (
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
        raise ValueError(message)
    values = whole(input.detach())
    if not bool(((values >= 0) & (values <= 1)).all()):
        message = "all elements of input should be between 0 and 1"
        raise RuntimeError(message)
    name = "binary_cross_entropy"
    if weight is None:
        return input._pair_loss(target, name, reduction, 0.0)
    return _weighted(input._pair_loss(target, name, "none", 0.0) * weight, None, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the cross entropy of sigmoid(input) and targets, without overflow."""
    reduction = legacy(size_average, reduce, reduction)
    if target.shape != input.shape:
        message = f"Target size ({target.shape}) must be the same as input size ({input.shape})"
        raise ValueError(message)
    _check_floats("log_sigmoid_cpu", input)
    constant("binary_cross_entropy_with_logits", weight=weight, pos_weight=pos_weight)
    name = "binary_cross_entropy_with_logits"
    if pos_weight is None and weight is None:
        return input._pair_loss(target, name, reduction, 0.0)
    if pos_weight is None:
        loss = input._pair_loss(target, name, "none", 0.0)
    else:
        loss = (1 - target) * input - ((pos_weight - 1) * target + 1) * _nn._nn_logsigmoid(input)
    return _weighted(loss if weight is None else loss * weight, None, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Flag = None,
    eps: float = 1e-8,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of counts, without the constant unless ``full``."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return _weighted(loss, None, legacy(size_average, reduce, reduction))


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Return the negative log-likelihood under normal distributions, without the constant unless ``full``."""
    if not isinstance(var, Tensor):
        var = input.new_full((), var)
    elif var.shape != input.shape and var.dim() and input.shape[:-1] == var.shape:
        var = var.unsqueeze(-1)
    if bool(whole(var < 0).any()):
        message = "var has negative entry/entries"
        raise ValueError(message)
    # The limit takes part in the value, not in the gradient.
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _weighted(loss, None, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
) -> Tensor:
    """Return ``log(1 + exp(-target * input))``."""
    reduction = legacy(size_average, reduce, reduction)
    return input._pair_loss(target, "soft_margin", reduction, 0.0)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the distance where the target is 1, what it lacks to the margin where it is -1."""
    zeros = _rg.zeros_like(input)
    loss = _rg.where(target != 1, (margin - input).clamp(min=0), zeros)
    loss = loss + _rg.where(target != -1, input, zeros)
    return _weighted(loss, None, legacy(size_average, reduce, reduction))


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, -target * (input1 - input2) + margin)``."""
    loss = (-target * (input1 - input2) + margin).clamp(min=0)
    return _weighted(loss, None, legacy(size_average, reduce, reduction))


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return one minus the cosine where the target is 1, what it exceeds the margin by where it is -1."""
    if target.dim() > 1:
        message = "0D or 1D target tensor expected, multi-target not supported"
        raise RuntimeError(message)
    epsilon = 1e-12
    size = ((input1 * input1).sum(-1) + epsilon) * ((input2 * input2).sum(-1) + epsilon)
    cosine = (input1 * input2).sum(-1) / size.sqrt()
    zeros = _rg.zeros_like(cosine)
    loss = _rg.where(target == 1, 1 - cosine, zeros) + _rg.where(target == -1, (cosine - margin).clamp(min=0), zeros)
    return _weighted(loss, None, legacy(size_average, reduce, reduction))


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the p-norm of ``x1 - x2 + eps`` over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Flag = None,
    reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:
    """Return how much the negative lacks to be farther than the positive by the margin."""
    if margin <= 0:
        message = f"margin must be greater than 0, got {margin}"
        raise ValueError(message)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _weighted((margin + near - far).clamp(min=0), None, legacy(size_average, reduce, reduction))
