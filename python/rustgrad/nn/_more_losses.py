"""Losses with several classes per row, of sequences, and bags of embeddings, for ``rustgrad.nn.functional``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad._batching import Batched, base
from rustgrad.nn._embedding import embedding
from rustgrad.nn._reduction import check, legacy, reduce

if TYPE_CHECKING:
    from rustgrad._core import Tensor

Old = bool | None


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Old = None,
    reduce: Old = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum(max(0, margin - x[y] + x[i]) ** p) / C`` over the other classes, times the weight of the class."""
    reduction = legacy(size_average, reduce, reduction)
    if p not in (1, 2):
        message = "only p == 1 and p == 2 supported"
        raise ValueError(message)
    rows = input if input.dim() == 2 else input.reshape(1, -1)
    classes = target.reshape(-1)
    if input.dim() > 2 or classes.shape[0] != rows.shape[0]:
        message = f"inconsistent target size, expected {rows.shape[0]} but got {list(target.shape)}"
        raise RuntimeError(message)
    fits = weight is None or (weight.numel() == rows.shape[1] and not weight.requires_grad)
    if p == 1 and fits and _is_plain(rows, classes, weight):
        losses = _core._nn_margin_losses(rows, classes, margin, weight)
        return _reduced(losses if input.dim() == 2 else losses.squeeze(0), reduction)
    own = rows.gather(1, classes.unsqueeze(1))
    excess = (margin - own + rows).clamp(min=0)
    excess = excess if p == 1 else excess * excess
    if weight is not None:
        if weight.numel() != rows.shape[1]:
            message = f"inconsistent weight size, expected {rows.shape[1]} but got {list(weight.shape)}"
            raise RuntimeError(message)
        excess = excess * weight[classes].unsqueeze(1)
    excess = excess.scatter(1, classes.unsqueeze(1), 0.0)
    losses = excess.sum(1) / rows.shape[1]
    return _reduced(losses if input.dim() == 2 else losses.squeeze(0), reduction)


def _is_plain(rows: Tensor, target: Tensor, weight: Tensor | None = None) -> bool:
    """Whether the losses can be made at once: of floats, and not of the slices of a batch."""
    tensors: tuple[Any, ...] = (rows, target, weight)
    if any(type(tensor) is Batched for tensor in tensors):
        return False
    return rows.is_floating_point() and target.dtype == _rg.int64 and rows.numel() > 0


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return reduce(losses, reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Old = None, reduce: Old = None, reduction: str = "mean"
) -> Tensor:
    """Return the margins between the classes named, up to the first -1, and all others, divided by the classes."""
    reduction = legacy(size_average, reduce, reduction)
    if target.shape != input.shape or input.dim() > 2:
        message = (
            f"inconsistent size {list(target.shape)} for target of multilabel_margin_loss, input {list(input.shape)}"
        )
        raise RuntimeError(message)
    rows = input.reshape(1, -1) if input.dim() < 2 else input
    named = target.reshape(rows.shape)
    if _is_plain(rows, named):
        losses = _core._nn_margin_losses(rows, named)
        return _reduced(losses if input.dim() == 2 else losses.squeeze(0), reduction)
    valid = (named >= 0).to(_rg.int64).cumprod(1).bool()
    # The first columns name all classes of all rows; of a batch, of all its slices.
    width = int(base(valid).any(tuple(range(base(valid).dim() - 1))).sum())
    valid = valid[:, :width]
    places = _rg.where(valid, named[:, :width], 0)
    is_target = _rg.zeros(rows.shape, dtype=_rg.int64).scatter_add(1, places, valid.to(_rg.int64)) > 0
    chosen = rows.gather(1, places)
    margins = (1 - (chosen.unsqueeze(2) - rows.unsqueeze(1))).clamp(min=0)
    counts = valid.unsqueeze(2) & ~is_target.unsqueeze(1)
    losses = margins.masked_fill(~counts, 0.0).sum((1, 2)) / rows.shape[1]
    return _reduced(losses if input.dim() == 2 else losses.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Old = None,
    reduce: Old = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the binary cross-entropies of all classes, averaged over them."""
    from rustgrad.nn import functional

    reduction = legacy(size_average, reduce, reduction)
    losses = -(target * functional.logsigmoid(input) + (1 - target) * functional.logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return _reduced(losses.sum(-1) / input.shape[-1], reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(d(a, p) - d(a, n) + margin, 0)`` for a distance of one's own, Euclidean by default."""
    from rustgrad.nn._losses import pairwise_distance

    if margin <= 0:
        message = f"margin must be greater than 0, got {margin}"
        raise ValueError(message)
    distance = pairwise_distance if distance_function is None else distance_function
    if not anchor.dim() == positive.dim() == negative.dim():
        message = (
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
        raise RuntimeError(message)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _rg.minimum(far, distance(positive, negative))
    return _reduced((margin + near - far).clamp(min=0), reduction)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return the loss of connectionist temporal classification (Graves et al., 2006).

    Parameters
    ----------
    log_probs
        ``(T, N, C)`` or ``(T, C)``: logarithms of probabilities.
    targets
        ``(N, S)``, or all targets one after the other.
    input_lengths, target_lengths
        How many steps and labels count of each.
    blank
        The class that stands for no label.
    reduction
        ``"mean"`` divides each loss by the length of its target first.
    zero_infinity
        Whether infinite losses, of targets that do not fit, count as zero.

    The gradient is that of the scores before the logarithm of softmax, as in torch; it has no derivative of its own.

    Raises
    ------
    RuntimeError
        If shapes, lengths or the blank do not fit each other.
    IndexError
        If a label is no class.
    """
    check(reduction)
    times, lengths = _lengths(input_lengths, target_lengths)
    losses: Tensor = _rg._core._nn_ctc_loss(log_probs, targets, times, lengths, blank, zero_infinity)
    if zero_infinity:
        losses = _rg.where(losses == float("inf"), 0.0, losses)
    if reduction == "mean":
        counts = _rg.tensor(lengths, dtype=losses.dtype).clamp(min=1)
        return (losses / counts).mean()
    return losses.sum() if reduction == "sum" else losses


def _lengths(input_lengths: Any, target_lengths: Any) -> tuple[list[int], list[int]]:
    """Return the numbers of steps and of labels, given both as tensors or both as sequences."""
    both = (input_lengths, target_lengths)
    tensors = [isinstance(one, _rg.Tensor) for one in both]
    if all(tensors):
        for name, one in zip(("input_lengths", "target_lengths"), both, strict=True):
            if one.is_floating_point():
                message = f"{name} must be integral"
                raise RuntimeError(message)
        return input_lengths.reshape(-1).tolist(), target_lengths.reshape(-1).tolist()
    if any(tensors) or not all(isinstance(one, list | tuple) for one in both):
        kinds = ", ".join(type(one).__name__ for one in both)
        message = (
            "ctc_loss() received an invalid combination of arguments - input_lengths and target_lengths must be two "
            f"tensors or two tuples of ints, got ({kinds})"
        )
        raise TypeError(message)
    return list(input_lengths), list(target_lengths)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return the sum, mean or maximum of the rows that each bag names.

    Parameters
    ----------
    input
        ``(B, N)``: bags of one size, or all of them one after the other, beginning at ``offsets``.
    weight
        The table.
    per_sample_weights
        Factors of the rows, for mode ``"sum"``.
    include_last_offset
        Whether ``offsets`` ends with the number of elements.
    padding_idx
        A row that does not count.
    """
    if mode not in ("sum", "mean", "max"):
        message = "mode has to be one of sum, mean or max"
        raise ValueError(message)
    if per_sample_weights is not None:
        if mode != "sum":
            message = (
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}'). Please open a feature request on GitHub."
            )
            raise NotImplementedError(message)
        if per_sample_weights.shape != input.shape:
            message = (
                f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it must "
                f"have the same shape as the input ({list(input.shape)})"
            )
            raise ValueError(message)
    if input.dim() == 2:
        if offsets is not None:
            message = (
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
            raise ValueError(message)
        starts = _rg.arange(0, input.numel(), max(input.shape[1], 1))
        starts = starts if input.shape[1] else _rg.zeros(input.shape[0], dtype=_rg.int64)
        include_last_offset = False
        input = input.reshape(-1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None or offsets.dim() != 1:
            message = (
                "offsets has to be a 1D Tensor but got None" if offsets is None else "offsets has to be a 1D Tensor"
            )
            raise ValueError(message)
        starts = offsets.to(_rg.int64)
        if starts.numel() and int(starts[0]) != 0:
            message = (
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
                f"However, got {int(starts[0])}"
            )
            raise RuntimeError(message)
    else:
        message = f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        raise ValueError(message)
    if include_last_offset:
        starts = starts[:-1]
    bags = starts.numel()
    # The bag of each element: the last one that begins before it, the empty ones skipped.
    owner = _rg.searchsorted(starts, _rg.arange(input.numel()), right=True) - 1
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    counted = _rg.ones(input.shape, dtype=_rg.bool)
    if padding_idx is not None:
        counted = input != padding_idx % weight.shape[0]
    shape = (bags, weight.shape[1])
    wide = owner.unsqueeze(1).expand(rows.shape)
    if mode == "max":
        rows = rows.masked_fill(~counted.unsqueeze(1), float("-inf"))
        made = rows.new_full(shape, float("-inf")).scatter_reduce(0, wide, rows, "amax")
        sizes = _rg.zeros(bags, dtype=_rg.int64).index_add(0, owner, counted.to(_rg.int64))
        return made.masked_fill((sizes == 0).unsqueeze(1), 0.0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if padding_idx is not None:
        rows = rows.masked_fill(~counted.unsqueeze(1), 0.0)
    sums = rows.new_zeros(shape).index_add(0, owner, rows)
    if mode == "sum":
        return sums
    sizes = _rg.zeros(bags, dtype=_rg.int64).index_add(0, owner, counted.to(_rg.int64))
    return sums / sizes.clamp(min=1).unsqueeze(1)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return the input above zero, below it times a slope drawn uniformly while training, else the mean slope."""
    if lower > upper:
        message = f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        raise RuntimeError(message)
    source = input.clone() if inplace else input
    if training:
        slopes = _rg.ones_like(source.detach())
        count = int((source.detach() <= 0).sum())
        # In double precision, as torch draws them.
        drawn = _rg.empty(count, dtype=_rg.float64).uniform_(lower, upper).to(source.dtype)
        slopes[source.detach() <= 0] = drawn
        result = source * slopes
    else:
        result = _rg.nn.functional.leaky_relu(source, (lower + upper) / 2)
    return input.copy_(result) if inplace else result
