"""Modules that few programs use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad.nn import _rare
from rustgrad.nn.modules.conv import _tuple
from rustgrad.nn.modules.dropout import AlphaDropout
from rustgrad.nn.modules.images import LPPool2d
from rustgrad.nn.modules.module import Module
from rustgrad.nn.modules.normalization import _BatchNorm

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = [
    "FeatureAlphaDropout", "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool3d", "SyncBatchNorm",
]  # fmt: skip


class LPPool3d(LPPool2d):
    """The p-norms of windows of volumes."""

    _function = staticmethod(_rare.lp_pool3d)


class FeatureAlphaDropout(AlphaDropout):
    """Drops whole channels to the negative limit of SELU, keeping mean and variance."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return _rare.feature_alpha_dropout(input, self.p, self.training, self.inplace)


class _FractionalMaxPool(Module):
    _dims = 2

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        super().__init__()
        name, dims = type(self).__name__, self._dims
        if output_size is None and output_ratio is None:
            message = f"{name} requires specifying either an output size, or a pooling ratio"
            raise ValueError(message)
        if output_size is not None and output_ratio is not None:
            message = f"only one of output_size and output_ratio may be specified for {name}"
            raise ValueError(message)
        self.kernel_size = _tuple(kernel_size, dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else _tuple(output_size, dims)
        self.output_ratio = None if output_ratio is None else _tuple(output_ratio, dims)
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            message = f"output_ratio must be between 0 and 1 (got {output_ratio})"
            raise ValueError(message)

    def forward(self, input: Tensor) -> Any:
        """Pool."""
        function = _rare.fractional_max_pool2d if self._dims == 2 else _rare.fractional_max_pool3d
        return function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The maxima of windows of images at random places."""


class FractionalMaxPool3d(_FractionalMaxPool):
    """The maxima of windows of volumes at random places."""

    _dims = 3


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over all processes; there is one."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            message = f"expected at least 2D input (got {input.dim()}D input)"
            raise ValueError(message)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return a module with this layer in the place of each batch normalisation."""
        converted = module
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            converted = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                process_group,
            )  # fmt: skip
            if module.affine:
                converted.weight, converted.bias = module.weight, module.bias
            converted.running_mean, converted.running_var = module.running_mean, module.running_var
            converted.num_batches_tracked = module.num_batches_tracked
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted
