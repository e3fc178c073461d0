"""Batch normalisation put into the weights of the layer before it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from rustgrad._core import Tensor
    from rustgrad.nn.modules.module import Module

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _fused(
    weight: Tensor, bias: Any, mean: Tensor, var: Tensor, eps: float, gain: Any, shift: Any, at: int
) -> tuple[Parameter, Parameter]:
    bias = _rg.zeros_like(mean) if bias is None else bias
    gain = _rg.ones_like(mean) if gain is None else gain
    shift = _rg.zeros_like(mean) if shift is None else shift
    scale = gain * (var + eps).rsqrt()
    shape = [-1 if place == at else 1 for place in range(weight.dim())]
    made = weight * scale.reshape(shape), (bias - mean) * scale + shift
    return (
        Parameter(made[0].to(weight.dtype), weight.requires_grad),
        Parameter(made[1].to(bias.dtype), bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Any, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Any, bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Return weight and bias of a convolution that normalises as well."""
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Any, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a linear layer that normalises as well."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _check(layer: Module, bn: Module) -> None:
    if layer.training or bn.training:
        message = "Fusion only for eval!"
        raise AssertionError(message)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """Return a convolution that does what the two layers do in evaluation mode."""
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """Return a linear layer that does what the two layers do in evaluation mode."""
    _check(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        message = "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        raise AssertionError(message)
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused
