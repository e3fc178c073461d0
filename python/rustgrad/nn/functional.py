"""Layers, losses, normalisations and activations as functions, with torch's names and arguments."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad.nn._attention import multi_head_attention_forward as multi_head_attention_forward
from rustgrad.nn._attention import scaled_dot_product_attention as scaled_dot_product_attention
from rustgrad.nn._convolve import adaptive_avg_pool1d as adaptive_avg_pool1d
from rustgrad.nn._convolve import adaptive_avg_pool2d as adaptive_avg_pool2d
from rustgrad.nn._convolve import adaptive_avg_pool3d as adaptive_avg_pool3d
from rustgrad.nn._convolve import adaptive_max_pool1d as adaptive_max_pool1d
from rustgrad.nn._convolve import adaptive_max_pool2d as adaptive_max_pool2d
from rustgrad.nn._convolve import adaptive_max_pool3d as adaptive_max_pool3d
from rustgrad.nn._convolve import avg_pool1d as avg_pool1d
from rustgrad.nn._convolve import avg_pool2d as avg_pool2d
from rustgrad.nn._convolve import max_pool1d as max_pool1d
from rustgrad.nn._convolve import max_pool2d as max_pool2d
from rustgrad.nn._convolve import max_pool2d_with_indices as max_pool2d_with_indices
from rustgrad.nn._embedding import embedding as embedding
from rustgrad.nn._embedding import one_hot as one_hot
from rustgrad.nn._images import affine_grid as affine_grid
from rustgrad.nn._images import channel_shuffle as channel_shuffle
from rustgrad.nn._images import fold as fold
from rustgrad.nn._images import grid_sample as grid_sample
from rustgrad.nn._images import interpolate as interpolate
from rustgrad.nn._images import local_response_norm as local_response_norm
from rustgrad.nn._images import pad as pad
from rustgrad.nn._images import pixel_shuffle as pixel_shuffle
from rustgrad.nn._images import pixel_unshuffle as pixel_unshuffle
from rustgrad.nn._images import unfold as unfold
from rustgrad.nn._images import upsample as upsample
from rustgrad.nn._images import upsample_bilinear as upsample_bilinear
from rustgrad.nn._images import upsample_nearest as upsample_nearest
from rustgrad.nn._losses import _check_floats
from rustgrad.nn._losses import binary_cross_entropy as binary_cross_entropy
from rustgrad.nn._losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from rustgrad.nn._losses import cosine_embedding_loss as cosine_embedding_loss
from rustgrad.nn._losses import cross_entropy as cross_entropy
from rustgrad.nn._losses import gaussian_nll_loss as gaussian_nll_loss
from rustgrad.nn._losses import hinge_embedding_loss as hinge_embedding_loss
from rustgrad.nn._losses import huber_loss as huber_loss
from rustgrad.nn._losses import kl_div as kl_div
from rustgrad.nn._losses import l1_loss as l1_loss
from rustgrad.nn._losses import margin_ranking_loss as margin_ranking_loss
from rustgrad.nn._losses import mse_loss as mse_loss
from rustgrad.nn._losses import nll_loss as nll_loss
from rustgrad.nn._losses import pairwise_distance as pairwise_distance
from rustgrad.nn._losses import poisson_nll_loss as poisson_nll_loss
from rustgrad.nn._losses import smooth_l1_loss as smooth_l1_loss
from rustgrad.nn._losses import soft_margin_loss as soft_margin_loss
from rustgrad.nn._losses import triplet_margin_loss as triplet_margin_loss
from rustgrad.nn._more_losses import ctc_loss as ctc_loss
from rustgrad.nn._more_losses import embedding_bag as embedding_bag
from rustgrad.nn._more_losses import multi_margin_loss as multi_margin_loss
from rustgrad.nn._more_losses import multilabel_margin_loss as multilabel_margin_loss
from rustgrad.nn._more_losses import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from rustgrad.nn._more_losses import rrelu as rrelu
from rustgrad.nn._more_losses import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss
from rustgrad.nn._normalise import alpha_dropout as alpha_dropout
from rustgrad.nn._normalise import batch_norm as batch_norm
from rustgrad.nn._normalise import cosine_similarity as cosine_similarity
from rustgrad.nn._normalise import dropout as dropout
from rustgrad.nn._normalise import dropout1d as dropout1d
from rustgrad.nn._normalise import dropout2d as dropout2d
from rustgrad.nn._normalise import dropout3d as dropout3d
from rustgrad.nn._normalise import group_norm as group_norm
from rustgrad.nn._normalise import instance_norm as instance_norm
from rustgrad.nn._normalise import layer_norm as layer_norm
from rustgrad.nn._normalise import normalize as normalize
from rustgrad.nn._normalise import rms_norm as rms_norm
from rustgrad.nn._volumes import avg_pool3d as avg_pool3d
from rustgrad.nn._volumes import lp_pool1d as lp_pool1d
from rustgrad.nn._volumes import lp_pool2d as lp_pool2d
from rustgrad.nn._volumes import max_pool3d as max_pool3d
from rustgrad.nn._volumes import max_pool3d_with_indices as max_pool3d_with_indices
from rustgrad.nn._volumes import max_unpool1d as max_unpool1d
from rustgrad.nn._volumes import max_unpool2d as max_unpool2d
from rustgrad.nn._volumes import max_unpool3d as max_unpool3d

if TYPE_CHECKING:
    from rustgrad._core import Tensor, dtype

_nn: Any = _core
linear = _core._nn_linear
conv1d = _nn._nn_conv1d
conv2d = _nn._nn_conv2d
conv3d = _nn._nn_conv3d
conv_transpose1d = _nn._nn_conv_transpose1d
conv_transpose2d = _nn._nn_conv_transpose2d
conv_transpose3d = _nn._nn_conv_transpose3d
relu = _nn._nn_relu
relu6 = _nn._nn_relu6
gelu = _nn._nn_gelu
silu = _nn._nn_silu
mish = _nn._nn_mish
elu = _nn._nn_elu
celu = _nn._nn_celu
selu = _nn._nn_selu
leaky_relu = _nn._nn_leaky_relu
softplus = _nn._nn_softplus
softsign = _nn._nn_softsign
softshrink = _nn._nn_softshrink
hardshrink = _nn._nn_hardshrink
tanhshrink = _nn._nn_tanhshrink
threshold = _nn._nn_threshold
hardtanh = _nn._nn_hardtanh
hardsigmoid = _nn._nn_hardsigmoid
hardswish = _nn._nn_hardswish
logsigmoid = _nn._nn_logsigmoid
prelu = _core._nn_prelu
pdist = _core._nn_pdist
sigmoid = _core.sigmoid
tanh = _core.tanh


def _in_place(function: Any) -> Any:
    """Return an activation function that overwrites its input."""

    def activate(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = function(input, *args, **kwargs, inplace=True)
        return result

    activate.__name__ = activate.__qualname__ = f"{function.__name__}_"
    activate.__doc__ = f"Apply ``{function.__name__}`` in place."
    return activate


relu_, elu_, selu_, celu_, rrelu_ = map(_in_place, (relu, elu, selu, celu, rrelu))
leaky_relu_, hardtanh_, threshold_ = map(_in_place, (leaky_relu, hardtanh, threshold))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along a dimension times the sigmoid of the second."""
    if input.dim() == 0:
        message = "glu does not support scalars because halving size must be even"
        raise RuntimeError(message)
    _check_floats("glu_cpu", input)
    if input.shape[dim] % 2:
        message = f"Halving dimension must be even, but dimension {dim % input.dim()} is size {input.shape[dim]}"
        raise RuntimeError(message)
    first, second = input.chunk(2, dim)
    result: Tensor = first * second.sigmoid()
    return result


def _implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    text = f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument."
    warnings.warn(text, stacklevel=stacklevel)
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return softmax along a dimension."""
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return the logarithm of softmax along a dimension."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return input.log_softmax(dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return softmax of the negated input along a dimension."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return (-input).softmax(dim, dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Return softmax of the logits with Gumbel noise; ``hard`` ones in the forward pass."""
    noise = -_rg.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    ones = _rg.zeros_like(logits).scatter_(dim, index, 1.0)
    return ones - soft.detach() + soft


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x1 A x2 + b`` for each row of the inputs."""
    result = _rg.einsum("...i,kij,...j->...k", input1, weight, input2)
    return result if bias is None else result + bias


_RARE = {
    "feature_alpha_dropout", "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices", "lp_pool3d",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _RARE:
        from rustgrad.nn import _rare

        return getattr(_rare, name)
    message = f"module 'rustgrad.nn.functional' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_RARE})
