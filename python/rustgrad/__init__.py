"""Tensors with automatic differentiation; what runs on PyTorch's autograd on the CPU runs here.

>>> import rustgrad as torch
>>> x = torch.arange(4.0, requires_grad=True)
>>> y = 2 * torch.dot(x, x)
>>> y.backward()
>>> x.grad
tensor([ 0.,  4.,  8., 12.])
"""

import sys as _sys

from rustgrad import autograd as autograd
from rustgrad._aliases import _Alias
from rustgrad._core import *
from rustgrad._size import Size as Size
from rustgrad._types import BoolTensor as BoolTensor
from rustgrad._types import ByteTensor as ByteTensor
from rustgrad._types import CharTensor as CharTensor
from rustgrad._types import DoubleTensor as DoubleTensor
from rustgrad._types import FloatTensor as FloatTensor
from rustgrad._types import IntTensor as IntTensor
from rustgrad._types import LongTensor as LongTensor
from rustgrad._types import ShortTensor as ShortTensor
from rustgrad.autograd.anomaly_mode import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from rustgrad.autograd.anomaly_mode import is_anomaly_enabled as is_anomaly_enabled
from rustgrad.autograd.grad_mode import enable_grad as enable_grad
from rustgrad.autograd.grad_mode import inference_mode as inference_mode
from rustgrad.autograd.grad_mode import no_grad as no_grad
from rustgrad.autograd.grad_mode import set_grad_enabled as set_grad_enabled

__version__ = "0.1.0"

is_inference = Tensor.is_inference

# Modules that most programs do not need are imported when they are first named.
_LAZY = (
    "amp", "backends", "compiler", "cuda", "distributed", "distributions", "func", "jit", "linalg", "multiprocessing",
    "nn", "optim", "profiler", "random", "return_types", "serialization", "special", "testing", "types", "utils",
    "version",
)  # fmt: skip


# Functions written in Python of others.
_COMPOSED = {
    "as_strided_copy", "as_strided_scatter", "cdist", "cholesky", "cholesky_inverse", "cholesky_solve",
    "conj", "conj_physical", "corrcoef", "cov", "cumulative_trapezoid", "det", "detach", "detach_",
    "diagonal_copy", "dist", "empty_strided", "expand_copy", "fill", "fill_", "frexp", "gradient",
    "index_reduce", "inverse", "is_signed", "isin", "isneginf", "isposinf", "isreal", "ldexp", "ldexp_",
    "logdet", "lu_solve", "matrix_exp", "matrix_power", "mvlgamma", "narrow_copy", "pdist", "permute_copy",
    "pinverse", "qr", "real", "renorm", "resize_as_", "resolve_conj", "resolve_neg", "select_copy", "slogdet",
    "split_copy", "split_with_sizes_copy", "squeeze_copy", "svd", "t_copy", "transpose_copy", "trapezoid",
    "trapz", "triangular_solve", "unbind_copy", "unfold_copy", "unravel_index", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze_copy", "vander", "view_copy", "zero_",
}  # fmt: skip


_MODES = {
    "are_deterministic_algorithms_enabled", "channels_last", "channels_last_3d", "contiguous_format",
    "get_default_device", "get_float32_matmul_precision", "layout", "memory_format", "newaxis", "preserve_format",
    "set_default_device", "set_float32_matmul_precision", "strided", "use_deterministic_algorithms",
}  # fmt: skip


_FUNCTIONS = {
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "alpha_dropout", "avg_pool1d", "batch_norm", "bilinear",
    "binary_cross_entropy_with_logits", "binomial", "channel_shuffle", "compile", "constant_pad_nd", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss",
    "cosine_similarity", "ctc_loss", "dropout", "dropout_", "embedding", "group_norm", "hinge_embedding_loss",
    "instance_norm", "kl_div", "layer_norm", "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices",
    "max_pool2d", "max_pool3d", "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "poisson", "prelu", "rms_norm",
    "rrelu", "triplet_margin_loss", "typename",
}  # fmt: skip


_SELDOM = {
    "frobenius_norm", "frombuffer", "geqrf", "histogram", "histogramdd", "lu", "lu_unpack", "nonzero_static",
    "norm_except_dim", "nuclear_norm", "orgqr", "ormqr", "range", "segment_reduce", "set_default_tensor_type",
}  # fmt: skip


_WINDOWS = {"bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"}

# Torch's module of functions that are not compiled; they are functions of the package.
_functional = _Alias("rustgrad.functional", "rustgrad")
_sys.modules["rustgrad.functional"] = _functional


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return import_module(f"rustgrad.{name}")
    for names, module in (
        (_COMPOSED, "_composed"),
        (_FUNCTIONS, "nn._module_functions"),
        (("autocast",), "amp"),
        (("igamma", "igammac"), "_incomplete"),
        (_MODES, "_modes"),
        (_SELDOM, "_seldom"),
        (("get_device",), "_elsewhere"),
        (_WINDOWS, "_windows"),
        (("load", "save"), "serialization"),
        (("vmap",), "func"),
    ):
        if name in names:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(f"rustgrad.{module}"), name)
            return found
    if name == "functional":
        return _functional
    message = f"module 'rustgrad' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    lazy = {
        *_LAZY,
        *_COMPOSED,
        *_FUNCTIONS,
        *_MODES,
        *_SELDOM,
        *_WINDOWS,
        "get_device",
        "autocast",
        "igamma",
        "igammac",
        "load",
        "save",
        "vmap",
    }
    return sorted({*globals(), *lazy})


__all__ = [name for name in globals() if not name.startswith("_")]
