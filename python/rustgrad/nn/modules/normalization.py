"""Normalisation over features or channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad.nn import functional as F
from rustgrad.nn import init
from rustgrad.nn.modules.module import Module
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


class _OverLast(Module):
    """Normalisation over the last dimensions."""

    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool

    def _affine(self, normalized_shape: Any, affine: bool, bias: bool | None, device: Any, dtype: Any) -> None:
        sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape = sizes
        self.elementwise_affine = affine
        parts = ("weight",) if bias is None else ("weight", "bias")
        for name, wanted in zip(parts, (affine, affine and bool(bias)), strict=False):
            part = Parameter(rustgrad.empty(sizes, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, part)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to ones, the bias to zeros."""
        if self._parameters["weight"] is not None:
            init.ones_(self.weight)
        if self._parameters.get("bias") is not None:
            init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Return shape and options."""
        shown = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        if "bias" in self._parameters:
            shown += f", bias={self._parameters['bias'] is not None}"
        return shown


class LayerNorm(_OverLast):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self._affine(normalized_shape, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)  # type: ignore[arg-type]


class RMSNorm(_OverLast):
    """``x / sqrt(mean(x * x) + eps) * weight`` over the last dimensions."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self._affine(normalized_shape, elementwise_affine, None, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Normalisation of groups of channels, each with all its places."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            message = f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            raise ValueError(message)
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            part = Parameter(rustgrad.empty(num_channels, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, part)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to ones, the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return sizes and options."""
        biased = self._parameters["bias"] is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={biased}"


class _RunningNorm(Module):
    """Normalisation of channels whose statistics may be averaged over the calls."""

    _version = 2
    _dims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            part = Parameter(rustgrad.empty(num_features, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, part)
        track = track_running_stats
        zeros = rustgrad.zeros(num_features, device=device, dtype=dtype) if track else None
        ones = rustgrad.ones(num_features, device=device, dtype=dtype) if track else None
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", ones)
        self.register_buffer("num_batches_tracked", rustgrad.tensor(0, dtype=rustgrad.long) if track else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Start the averages anew."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the weight to ones, the bias to zeros, and start the averages anew."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._dims:
            expected = " or ".join(f"{n}D" for n in self._dims)
            message = f"expected {expected} input (got {input.dim()}D input)"
            raise ValueError(message)

    def extra_repr(self) -> str:
        """Return sizes and options."""
        shown = (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self._parameters['bias'] is not None}, track_running_stats={self.track_running_stats}"
        )
        return shown

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            # Older dictionaries had no count.
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_RunningNorm):
    def forward(self, input: Tensor) -> Tensor:
        """Normalise."""
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        keeps = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if keeps else (None, None)
        return F.batch_norm(input, mean, var, self.weight, self.bias, use_batch, factor, self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalises each feature over a batch ``(N, C)`` or ``(N, C, L)``."""

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel over a batch ``(N, C, H, W)``."""

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel over a batch ``(N, C, D, H, W)``."""

    _dims = (5,)


class _InstanceNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise."""
        self._check_input_dim(input)
        batched = input if input.dim() == self._dims[-1] else input.unsqueeze(0)
        use_input = self.training or not self.track_running_stats
        result = F.instance_norm(
            batched,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            use_input,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result if batched is input else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each member of ``(N, C, L)``."""

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each member of ``(N, C, H, W)``."""

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each member of ``(N, C, D, H, W)``."""

    _dims = (4, 5)
