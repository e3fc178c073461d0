"""What several distributions need: broadcasting of parameters, and the two ways to give probabilities."""

from __future__ import annotations

from numbers import Number
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Return numbers and tensors as tensors of one shape; numbers take dtype and device of the tensors.

    Raises
    ------
    ValueError
        If a value is neither a tensor nor a number.
    """
    if not all(isinstance(value, (Tensor, Number)) for value in values):
        message = (
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
        raise ValueError(message)
    if not all(isinstance(value, Tensor) for value in values):
        dtype = next((value.dtype for value in values if isinstance(value, Tensor)), _rg.get_default_dtype())
        values = tuple(v if isinstance(v, Tensor) else _rg.tensor(v, dtype=dtype) for v in values)
    return tuple(_rg.broadcast_tensors(*values))


def standard_normal(shape: Any, dtype: Any, device: Any = None) -> Tensor:
    """Draw from the standard normal distribution."""
    return _rg.normal(_rg.zeros(shape, dtype=dtype, device=device), _rg.ones(shape, dtype=dtype, device=device))


def sum_rightmost(value: Any, dim: int) -> Any:
    """Sum over the last ``dim`` dimensions."""
    if dim == 0:
        return value
    return value.reshape((*value.shape[: value.dim() - dim], -1)).sum(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Keep probabilities away from zero and one by the dtype's epsilon."""
    eps = _rg.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Return the probabilities of log odds or of unnormalised log probabilities."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Return the log odds or log probabilities of probabilities."""
    kept = clamp_probs(probs)
    return kept.log() - (-kept).log1p() if is_binary else kept.log()


class lazy_property:
    """A property that is computed once, when it is first asked for."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with _rg.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """Return the elements of lower triangles, row by row."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        message = f"diag ({diag}) provided is outside [{-n}, {n - 1}]."
        raise ValueError(message)
    return mat[..., _rg.ones(n, n).tril(diag) != 0]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Return lower triangular matrices of vectors of their elements."""
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    size = round(n)
    if abs(n - size) > _rg.finfo(vec.dtype).eps:
        message = (
            f"The size of last dimension is {vec.shape[-1]} which cannot be expressed as the lower triangular part of "
            "a square D x D matrix."
        )
        raise ValueError(message)
    result = vec.new_zeros((*vec.shape[:-1], size, size))
    result[..., _rg.ones(size, size).tril(diag) != 0] = vec
    return result
