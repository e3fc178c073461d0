"""Rules of layers and losses: what ``rustgrad.nn.functional`` calls in the compiled part."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad._batching._core import Batched, Level, opened, refuse, rule, slices
from rustgrad._batching._elementwise import aligned
from rustgrad._batching._products import product

_nn: Any = _core


@rule("_nn_linear")
def _linear(level: Level, name: str, x: Any, weight: Any, bias: Any = None) -> Any:
    value, slopes, shift = opened(level, x), opened(level, weight), opened(level, bias)
    if slopes is None:
        if shift is None:
            return Batched(getattr(_core, name)(value, weight, bias), level)
        return (x @ weight.t()) + bias if x.dim() and weight.dim() == 2 else refuse("such a linear layer")
    if weight.dim() != 2:
        refuse("linear with a weight that is no matrix")
    if x.dim() == 1 and value is not None and shift is not None and bias.dim() == 1:
        # The slices of one sample each, of whom each has its own layer.
        return Batched(
            _core.baddbmm(shift.unsqueeze(1), value.unsqueeze(1), slopes.transpose(-2, -1)).squeeze(1), level
        ) if type(value) is not Batched else _plain_linear(level, x, weight, bias)  # fmt: skip
    return _plain_linear(level, x, weight, bias)


def _plain_linear(level: Level, x: Any, weight: Any, bias: Any) -> Any:
    made = Batched(product(level, x, Batched(opened(level, weight).transpose(-2, -1), level)), level)
    return made if bias is None else made + bias


def _folded(level: Level, x: Any, rank: int) -> tuple[Any, tuple[int, ...]]:
    """Give the slices with the batch in their first dimension, which samples lie along; and how to undo that."""
    value = slices(level, x)
    if x.dim() == rank - 1:
        return value, (level.size,)
    if x.dim() != rank:
        refuse(f"a layer with an input of {x.dim()} dimensions")
    return value.reshape(level.size * value.shape[1], *value.shape[2:]), (level.size, value.shape[1])


def _unfolded(level: Level, result: Any, lead: tuple[int, ...]) -> Any:
    return Batched(result.reshape(*lead, *result.shape[1:]), level)


def _convolution(level: Level, name: str, x: Any, weight: Any, bias: Any, groups: int, rank: int, call: Any) -> Any:
    del name
    kernel, shift = opened(level, weight), opened(level, bias)
    if kernel is None:
        value, lead = _folded(level, x, rank)
        made = _unfolded(level, call(value, weight, None if shift is not None else bias, groups), lead)
        return made if shift is None else made + bias.reshape(-1, *(1,) * (rank - 2))
    batch = x.dim() == rank
    if not batch and x.dim() != rank - 1:
        refuse("a convolution with such an input")
    value = slices(level, x)
    value = value.transpose(0, 1) if batch else value.unsqueeze(0)
    value = value.reshape(value.shape[0], level.size * value.shape[2], *value.shape[3:])
    stacked = kernel.reshape(level.size * kernel.shape[1], *kernel.shape[2:])
    if bias is not None:
        bias = slices(level, bias).reshape(-1)
    made = call(value, stacked, bias, level.size * groups)
    made = made.reshape(made.shape[0], level.size, -1, *made.shape[2:])
    return Batched(made.transpose(0, 1) if batch else made.squeeze(0), level)


@rule("_nn_conv1d", "_nn_conv2d", "_nn_conv3d")
def _convolved(
    level: Level, name: str, input: Any, weight: Any, bias: Any = None, stride: Any = None, padding: Any = None,
    dilation: Any = None, groups: int = 1,
) -> Any:  # fmt: skip
    def run(x: Any, w: Any, b: Any, g: int) -> Any:
        return getattr(_core, name)(x, w, b, stride, padding, dilation, g)

    return _convolution(level, name, input, weight, bias, groups, int(name[-2]) + 2, run)


@rule("_nn_conv_transpose1d", "_nn_conv_transpose2d", "_nn_conv_transpose3d")
def _convolved_back(
    level: Level, name: str, input: Any, weight: Any, bias: Any = None, stride: Any = None, padding: Any = None,
    output_padding: Any = None, groups: int = 1, dilation: Any = None,
) -> Any:  # fmt: skip
    def run(x: Any, w: Any, b: Any, g: int) -> Any:
        return getattr(_core, name)(x, w, b, stride, padding, output_padding, g, dilation)

    return _convolution(level, name, input, weight, bias, groups, int(name[-2]) + 2, run)


@rule("_nn_avg_pool2d", "_nn_max_pool2d", "_nn_adaptive_avg_pool2d", "_nn_adaptive_max_pool2d")
def _pooled(level: Level, name: str, x: Any, *args: Any) -> Any:
    value, lead = _folded(level, x, 4)
    result = getattr(_core, name)(value, *args)
    if isinstance(result, tuple):
        return tuple(_unfolded(level, one, lead) for one in result)
    return _unfolded(level, result, lead)


@rule("_nn_pad")
def _padded(level: Level, name: str, x: Any, pad: Any, mode: Any = None, value: Any = None) -> Any:
    if mode in (None, "constant"):
        if len(pad) > 2 * x.dim():
            refuse("a padding of more dimensions than there are")
        return Batched(getattr(_core, name)(opened(level, x), pad, mode, value), level)
    slices_, lead = _folded(level, x, len(pad) // 2 + 2)
    return _unfolded(level, getattr(_core, name)(slices_, pad, mode, value), lead)


@rule("_nn_interpolate", "_nn_channel_shuffle", "_nn_unfold", "_nn_fold")
def _of_images(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value, lead = _folded(level, x, {"_nn_unfold": 4, "_nn_fold": 3}.get(name, max(x.dim(), 3)))
    return _unfolded(level, getattr(_core, name)(value, *args, **kwargs), lead)


@rule("_grid_sample")
def _sampled(level: Level, name: str, x: Any, places: Any) -> Any:
    (value, lead), (at, _) = _folded(level, x, 4), _folded(level, places, 4)
    return _unfolded(level, getattr(value, name)(at), lead)


@rule("_nn_pixel_shuffle", "_nn_pixel_unshuffle")
def _shuffled(level: Level, name: str, x: Any, factor: int) -> Any:
    if x.dim() < 3:
        refuse(f"{name} of so few dimensions")
    return Batched(getattr(_core, name)(opened(level, x), factor), level)


@rule("_nn_prelu")
def _rectified(level: Level, name: str, x: Any, weight: Any) -> Any:
    del level, name
    if weight.dim() > 1 or (weight.numel() != 1 and (x.dim() < 2 or x.shape[1] != weight.numel())):
        refuse("prelu with a weight of such a shape")
    around = max(x.dim() - 2, 0) if weight.numel() != 1 else 0
    slope = weight.reshape(-1, *(1,) * around) if x.dim() else weight.reshape(())
    return _rg.where(x > 0, x, slope * x)


@rule("_nn_cdist")
def _distances(level: Level, name: str, x1: Any, x2: Any, p: float) -> Any:
    return Batched(getattr(_core, name)(slices(level, x1), slices(level, x2), p), level)


@rule("_nn_attention")
def _attention(level: Level, name: str, q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float) -> Any:
    if type(q) is not Batched:
        # Where the mask alone differs between slices.
        q = Batched(slices(level, q), level)
    parts = aligned(level, (q, k, v) if mask is None else (q, k, v, mask), False)
    shown = None if mask is None else parts[3]
    return Batched(getattr(_core, name)(*parts[:3], shown, causal, scale), level)


@rule("_nn_embedding")
def _looked_up(level: Level, name: str, index: Any, weight: Any, padding_idx: Any) -> Any:
    table = opened(level, weight)
    if table is None:
        return Batched(getattr(_core, name)(opened(level, index), weight, padding_idx), level)
    if padding_idx is not None:
        refuse("embedding with padding_idx in a table of each slice")
    rows = table.shape[1]
    if type(index) is not Batched and index.numel() and (int(index.min()) < 0 or int(index.max()) >= rows):
        refuse("an index out of range")
    places = slices(level, index)
    first = (_core.arange(level.size) * rows).reshape(level.size, *(1,) * index.dim())
    if type(index) is Batched:
        # Each row is looked up in its own table, so that what is out of range is found.
        return weight[index]
    return Batched(getattr(_core, name)(places + first, table.reshape(-1, *table.shape[2:]), None), level)


@rule("_one_hot")
def _one_hot(level: Level, name: str, x: Any, num_classes: int = -1) -> Any:
    if num_classes < 0:
        refuse("one_hot without a number of classes")
    return Batched(getattr(_core, name)(x.value, num_classes), level)


@rule("_layer_norm")
def _layer_normed(level: Level, name: str, x: Any, sizes: Any, weight: Any, bias: Any, eps: float) -> Any:
    value = slices(level, x)
    if tuple(x.shape[x.dim() - len(sizes) :]) != tuple(sizes):
        refuse("layer_norm of other sizes")
    if opened(level, weight) is None and opened(level, bias) is None:
        return Batched(getattr(value, name)(sizes, weight, bias, eps), level)
    made = Batched(getattr(value, name)(sizes, None, None, eps), level)
    if weight is not None:
        made = made * weight
    return made if bias is None else made + bias


@rule("_channel_norm")
def _channel_normed(
    level: Level, name: str, x: Any, groups: Any, given: Any, weight: Any, bias: Any, eps: float
) -> Any:
    rank = x.dim()
    if rank < 2:
        refuse("normalisation of so few dimensions")
    own = any(opened(level, part) is not None for part in (weight, bias))
    value = slices(level, x)
    channels = value.shape[2]
    of_slice = groups is None and (given is None or any(opened(level, part) is not None for part in given))
    plain = (None, None) if own else (weight, bias)
    if of_slice:
        # Each slice has its statistics: its channels are channels of their own.
        wide = value.transpose(0, 1).reshape(value.shape[1], level.size * channels, *value.shape[3:])
        if given is not None:
            given = tuple(slices(level, part).reshape(-1) for part in given)
        parts = [None if part is None else slices(level, part).reshape(-1) for part in (weight, bias)]
        made, mean, variance = getattr(wide, name)(None, given, *parts, eps)
        made = made.reshape(value.shape[1], level.size, channels, *value.shape[3:]).transpose(0, 1)
        return tuple(
            Batched(one, level)
            for one in (made, mean.reshape(level.size, channels), variance.reshape(level.size, channels))
        )
    folded = value.reshape(level.size * value.shape[1], *value.shape[2:])
    made, mean, variance = getattr(folded, name)(groups, given, *plain, eps)
    result = Batched(made.reshape(value.shape), level)
    if own:
        shape = (-1, *(1,) * (rank - 2))
        if weight is not None:
            result = result * weight.reshape(shape)
        if bias is not None:
            result = result + bias.reshape(shape)
    return result, None, None


def _reduced(loss: Any, reduction: str, level: Level) -> Any:
    """Give the mean or sum of the losses of each slice."""
    if reduction == "none" or loss.dim() == 1:
        return Batched(loss, level)
    dims = tuple(range(1, loss.dim()))
    return Batched(loss.mean(dims) if reduction == "mean" else loss.sum(dims), level)


@rule("_pair_loss")
def _pair_loss(level: Level, name: str, x: Any, target: Any, kind: str, reduction: str, parameter: float) -> Any:
    if reduction not in ("none", "mean", "sum"):
        message = f"{reduction} is not a valid value for reduction"
        raise ValueError(message)
    first, second = aligned(level, (x, target))
    return _reduced(getattr(first, name)(second, kind, "none", parameter), reduction, level)


def _class_losses(
    level: Level, x: Any, target: Any, weight: Any, ignore_index: int, reduce: bool, mean: bool, call: Any
) -> Any:
    if opened(level, weight) is not None:
        refuse("a loss with weights of each slice")
    size = level.size
    values, classes = slices(level, x), slices(level, target)
    if values.shape[1] != classes.shape[1]:
        refuse("a loss with batches that differ")
    rows = values.reshape(size * values.shape[1], *values.shape[2:])
    places = classes.reshape(size * classes.shape[1], *classes.shape[2:])
    loss = call(rows, places).reshape(classes.shape)
    if not reduce:
        return Batched(loss, level)
    dims = tuple(range(1, loss.dim()))
    total = loss.sum(dims)
    if not mean:
        return Batched(total, level)
    counted = classes != ignore_index
    if weight is None:
        return Batched(total / counted.sum(dims), level)
    factors = weight[_rg.where(counted, classes, 0)]
    return Batched(total / _rg.where(counted, factors, 0.0).sum(dims), level)


@rule("_cross_entropy")
def _cross_entropy(
    level: Level, name: str, x: Any, target: Any, weight: Any, ignore_index: int, reduce: bool, mean: bool,
    wide: bool = False, smoothing: float = 0.0,
) -> Any:  # fmt: skip
    def run(rows: Any, classes: Any) -> Any:
        return getattr(rows, name)(classes, weight, ignore_index, False, False, wide, smoothing)

    return _class_losses(level, x, target, weight, ignore_index, reduce, mean, run)


@rule("_nll_loss")
def _nll_loss(
    level: Level, name: str, x: Any, target: Any, weight: Any, ignore_index: int, reduce: bool, mean: bool, wide: bool
) -> Any:
    def run(rows: Any, classes: Any) -> Any:
        return getattr(rows, name)(classes, weight, ignore_index, False, False, wide)

    return _class_losses(level, x, target, weight, ignore_index, reduce, mean, run)
