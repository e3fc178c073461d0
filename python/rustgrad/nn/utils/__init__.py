"""Tools for parameters and gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rustgrad
from rustgrad._aliases import alias
from rustgrad._core import Tensor

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: Tensors) -> list[Tensor]:
    many = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in many if parameter.grad is not None]


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """Return the norm of all tensors together, as if they were one vector.

    Raises
    ------
    RuntimeError
        If the norm is not finite and ``error_if_nonfinite`` is set.
    """
    del foreach
    many = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not many:
        return rustgrad.tensor(0.0)
    total = rustgrad.stack([tensor.norm(norm_type) for tensor in many]).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        message = (
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
        raise RuntimeError(message)
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by ``max_norm / total_norm`` if that is less than one."""
    del foreach
    with rustgrad.no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in _gradients(parameters):
            gradient.mul_(factor)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients in place so that their joint norm is at most ``max_norm``.

    Returns
    -------
    Tensor
        The norm before.
    """
    many = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with rustgrad.no_grad():
        total = get_total_norm(_gradients(many), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(many, max_norm, total, foreach)
    return total


clip_grad_norm = clip_grad_norm_


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit the elements of the gradients to ``[-clip_value, clip_value]``, in place."""
    del foreach
    value = float(clip_value)
    with rustgrad.no_grad():
        for gradient in _gradients(parameters):
            gradient.clamp_(-value, value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return the elements of all parameters in one vector."""
    return rustgrad.cat([parameter.view(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of one vector; they share its memory."""
    if not isinstance(vec, Tensor):
        message = f"expected torch.Tensor, but got: {type(vec).__name__}"
        raise TypeError(message)
    first = 0
    for parameter in parameters:
        count = parameter.numel()
        parameter.data = vec[first : first + count].view_as(parameter).data
        first += count


def skip_init(module_cls: type[Any], *args: Any, **kwargs: Any) -> Any:
    """Return a module of a class. Its parameters are drawn all the same, and so do not depend on what memory held."""
    if not any(each.__name__ == "Module" for each in module_cls.__mro__):
        message = f"Expected a Module; got {module_cls}"
        raise RuntimeError(message)
    return module_cls(*args, **kwargs)


_FUSED = {"fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"}
_BY_HOOK = {"remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"}


def __getattr__(name: str) -> object:
    # What is built on modules is loaded when it is first named: modules themselves are built on what is above.
    from importlib import import_module

    if name in _BY_HOOK:
        return getattr(import_module("rustgrad.nn.utils._by_hook"), name)
    if name in _FUSED:
        return getattr(import_module("rustgrad.nn.utils.fusion"), name)
    if name in {"parametrizations", "parametrize", "rnn", "fusion"}:
        return import_module(f"rustgrad.nn.utils.{name}")
    message = f"module 'rustgrad.nn.utils' has no attribute {name!r}"
    raise AttributeError(message)


alias(__name__, clip_grad=__name__, convert_parameters=__name__, stateless="rustgrad._stateless")
