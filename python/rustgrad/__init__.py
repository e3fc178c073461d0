"""Tensors with automatic differentiation; what runs on PyTorch's autograd on the CPU runs here.

>>> import rustgrad as torch
>>> x = torch.arange(4.0, requires_grad=True)
>>> y = 2 * torch.dot(x, x)
>>> y.backward()
>>> x.grad
tensor([ 0.,  4.,  8., 12.])
"""

from rustgrad import autograd as autograd
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
_LAZY = ("linalg", "nn", "optim", "random", "return_types", "serialization", "testing", "utils")
_SERIALIZATION = ("load", "save")


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return import_module(f"rustgrad.{name}")
    if name in _SERIALIZATION:
        from rustgrad import serialization

        return getattr(serialization, name)
    message = f"module 'rustgrad' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_SERIALIZATION})


__all__ = [name for name in globals() if not name.startswith("_")]
