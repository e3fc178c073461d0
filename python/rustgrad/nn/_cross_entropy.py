"""Cross entropy of classes, for ``rustgrad.nn.functional``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rustgrad as _rg
from rustgrad.nn._reduction import check, constant, legacy
from rustgrad.nn._reduction import reduce as _reduce

if TYPE_CHECKING:
    from rustgrad._core import Tensor


def _rows(input: Tensor) -> Tensor:
    """Move the classes (dimension 1, or 0 of a vector) last and flatten the rest."""
    if input.dim() == 1:
        return input.unsqueeze(0)
    moved = input if input.dim() == 2 else input.movedim(1, -1)
    return moved.reshape(-1, input.shape[1])


def _check_batch(input: Tensor, target: Tensor) -> None:
    """Refuse targets that do not have the shape of the input without its classes."""
    classes_at = 0 if input.dim() == 1 else 1
    expected = (*input.shape[:classes_at], *input.shape[classes_at + 1 :])
    if tuple(target.shape) == expected:
        return
    if input.dim() >= 2 and target.dim() and target.shape[0] != input.shape[0]:
        message = f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        raise ValueError(message)
    if input.dim() == 2 and target.dim() > 1:
        message = "0D or 1D target tensor expected, multi-target not supported"
        raise RuntimeError(message)
    message = f"Expected target size {list(expected)}, got {list(target.shape)}"
    raise RuntimeError(message)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits with class indices or class probabilities."""
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, reduction)
    if weight is not None and not target.dtype.is_floating_point:
        constant("nll_loss_forward", weight=weight)
    if (
        0.0 <= label_smoothing <= 1.0
        and input.dim() == 2
        and target.dim() == 1
        and target.dtype is _rg.int64
        and len(target) == len(input)
    ):
        # What most programs do, in one call.
        check(reduction)
        whole = reduction != "none"
        return input._cross_entropy(target, weight, ignore_index, whole, reduction == "mean", smoothing=label_smoothing)
    check(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        message = f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}"
        raise RuntimeError(message)
    if target.dtype.is_floating_point and target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, 0 if input.dim() == 1 else 1)
    if target.shape == input.shape:
        kind = str(target.dtype).rsplit(".", 1)[1].replace("uint8", "byte").replace("int64", "long").capitalize()
        message = f"Expected floating point type for target with class probabilities, got {kind}"
        raise RuntimeError(message)
    _check_batch(input, target)
    wide = input.dim() > 2
    if label_smoothing == 0.0 and wide and input.stride(1) != 1 and target.dtype is _rg.int64:
        # Where the classes are planes in memory, they stay so.
        log = input.log_softmax(1)
        return log._nll_loss(target, weight, ignore_index, reduction != "none", reduction == "mean", True)
    rows, list_ = _rows(input), target.reshape(-1)
    whole = reduction != "none"
    loss = rows._cross_entropy(list_, weight, ignore_index, whole, reduction == "mean", wide, label_smoothing)
    return loss if whole else loss.reshape(target.shape)


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
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negated log-probabilities of the classes."""
    if size_average is not None or reduce is not None:
        reduction = legacy(size_average, reduce, reduction)
    check(reduction)
    if weight is not None:
        constant("nll_loss_forward", weight=weight)
    if not input.dtype.is_floating_point:
        message = f'"nll_loss_out_frame" not implemented for {input.dtype}'
        raise NotImplementedError(message)
    if input.dim() == 2 and target.dim() == 1 and target.dtype is _rg.int64 and len(target) == len(input):
        # What most programs do, in one call.
        return input._nll_loss(target, weight, ignore_index, reduction != "none", reduction == "mean", False)
    if target.dtype not in (_rg.int64, _rg.uint8):
        name = {"torch.float32": "Float", "torch.float64": "Double", "torch.int32": "Int", "torch.int16": "Short"}
        given = name.get(str(target.dtype), str(target.dtype).removeprefix("torch.").capitalize())
        message = f"expected target dtype to be Long or Byte, but got {given}"
        raise RuntimeError(message)
    _check_batch(input, target)
    flat = input.dim() == 1
    classes = target.to(_rg.int64)
    if flat:
        input, classes = input.unsqueeze(0), classes.unsqueeze(0)
    loss = input._nll_loss(classes, weight, ignore_index, reduction != "none", reduction == "mean", input.dim() > 2)
    return loss.reshape(target.shape) if flat and reduction == "none" else loss
