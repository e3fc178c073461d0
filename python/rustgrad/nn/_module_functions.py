"""Functions of ``nn.functional`` under the names, and with the arguments, that they have in the module itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad.nn import functional as F
from rustgrad.nn.functional import adaptive_avg_pool1d as adaptive_avg_pool1d
from rustgrad.nn.functional import avg_pool1d as avg_pool1d
from rustgrad.nn.functional import bilinear as bilinear
from rustgrad.nn.functional import channel_shuffle as channel_shuffle
from rustgrad.nn.functional import conv1d as conv1d
from rustgrad.nn.functional import conv2d as conv2d
from rustgrad.nn.functional import conv3d as conv3d
from rustgrad.nn.functional import conv_transpose1d as conv_transpose1d
from rustgrad.nn.functional import conv_transpose2d as conv_transpose2d
from rustgrad.nn.functional import conv_transpose3d as conv_transpose3d
from rustgrad.nn.functional import cosine_similarity as cosine_similarity
from rustgrad.nn.functional import max_pool1d as max_pool1d
from rustgrad.nn.functional import max_pool2d as max_pool2d
from rustgrad.nn.functional import max_pool3d as max_pool3d
from rustgrad.nn.functional import pairwise_distance as pairwise_distance
from rustgrad.nn.functional import pixel_shuffle as pixel_shuffle
from rustgrad.nn.functional import pixel_unshuffle as pixel_unshuffle
from rustgrad.nn.functional import prelu as prelu
from rustgrad.nn.functional import rms_norm as rms_norm
from rustgrad.nn.functional import rrelu as rrelu

if TYPE_CHECKING:
    from rustgrad._core import Tensor

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(number: int) -> str:
    """Return the name of a reduction of which torch's module functions take the number."""
    if number not in (0, 1, 2):
        message = f"{number} is not a valid value for reduction"
        raise ValueError(message)
    return _REDUCTIONS[number]


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Drop elements with probability ``p``, if ``train``."""
    return F.dropout(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`dropout` in place."""
    return F.dropout(input, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Drop elements so that mean and variance stay, if ``train``."""
    return F.alpha_dropout(input, p, train)


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return rows of ``weight``: the table comes first here."""
    return F.embedding(
        indices,
        weight,
        None if padding_idx < 0 else padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
        sparse=sparse,
    )


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Normalise channels over the batch."""
    del cudnn_enabled
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Normalise the channels of each member of the batch."""
    del cudnn_enabled
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalise over the last dimensions."""
    del cudnn_enable
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Normalise groups of channels."""
    del cudnn_enabled
    return F.group_norm(input, num_groups, weight, bias, eps)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Any:
    """Return the largest of each part, and where they are."""
    return F.adaptive_max_pool1d(input, output_size, return_indices=True)


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """Return the largest of each window, and where they are."""
    return F.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True)


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """Surround the tensor by a value."""
    return F.pad(input, pad, "constant", value)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:
    """Return the loss of log odds; reductions have numbers here."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight
    )


def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """Return the divergence from log probabilities; reductions have numbers here."""
    return F.kl_div(input, target, reduction=_reduction(reduction), log_target=log_target)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """Return the loss of pairs by their angle; reductions have numbers here."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """Return the loss of alignments; reductions have numbers here, and any but 1 and 2 means none."""
    name = {1: "mean", 2: "sum"}.get(reduction, "none")
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, name, zero_infinity)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    """Return the loss of distances; reductions have numbers here."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """Return the loss of orders; reductions have numbers here."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 1,
) -> Tensor:
    """Return the loss of triplets; reductions have numbers here."""
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction))


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Draw from Poisson distributions of the rates given."""
    from rustgrad.distributions._sampling import poisson as draw

    if generator is not None:
        message = "poisson: draws come from the default generator; seed that with manual_seed"
        raise NotImplementedError(message)
    result: Tensor = draw(input)
    return result


def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Draw numbers of successes from binomial distributions."""
    from rustgrad.distributions._sampling import binomial as draw

    if generator is not None:
        message = "binomial: draws come from the default generator; seed that with manual_seed"
        raise NotImplementedError(message)
    result: Tensor = draw(count, prob)
    return result


def typename(obj: Any, /) -> str:
    """Return the name of a value's type, of a tensor with its dtype."""
    if isinstance(obj, _rg.Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) or callable(obj) else type(obj)
    module = getattr(kind, "__module__", "") or ""
    name = kind.__qualname__
    return name if module in ("", "builtins") else f"{module}.{name}"


def compile(model: Any = None, **options: Any) -> Any:
    """Return the model or function as it is: operations are fused as they run, and nothing is compiled ahead.

    Options choose among torch's ways to compile; none of them changes a result.
    """
    if model is None:
        return lambda decorated: compile(decorated, **options)
    if not callable(model):
        message = f"torch.compile() expects a callable, got {type(model).__name__}"
        raise RuntimeError(message)
    return model
