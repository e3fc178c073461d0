"""Convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad import _core
from rustgrad.nn import functional as F
from rustgrad.nn import init
from rustgrad.nn.modules.module import Module
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


def _tuple(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


class _ConvNd(Module):
    """A convolution over some dimensions; weight and bias start uniform in ``±1 / sqrt(fan_in)``."""

    _dims = 0
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            message = "groups must be a positive integer"
            raise ValueError(message)
        if in_channels % groups:
            message = "in_channels must be divisible by groups"
            raise ValueError(message)
        if out_channels % groups:
            message = "out_channels must be divisible by groups"
            raise ValueError(message)
        dims = self._dims
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _tuple(kernel_size, dims), _tuple(stride, dims)
        self.padding: Any = padding if isinstance(padding, str) else _tuple(padding, dims)
        self.dilation = _tuple(dilation, dims)
        self.output_padding: tuple[int, ...] = (0,) * dims
        self.groups, self.padding_mode = groups, padding_mode
        self.transposed = self._transposed
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                message = f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}"
                raise ValueError(message)
            if padding == "same" and any(step != 1 for step in self.stride):
                message = "padding='same' is not supported for strided convolutions"
                raise ValueError(message)
        modes = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in modes:
            message = (
                f"padding_mode must be one of {{{', '.join(map(repr, modes))}}}, but got padding_mode={padding_mode!r}"
            )
            raise ValueError(message)
        channels = (out_channels, in_channels // groups)
        if self._transposed:
            channels = (in_channels, out_channels // groups)
        self.weight = Parameter(rustgrad.empty((*channels, *self.kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(rustgrad.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._fans(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _around(self) -> list[int]:
        """Return how much padding of a mode other than zeros goes before and after, last dimension first."""
        around: list[int] = []
        for place in reversed(range(self._dims)):
            if self.padding == "same":
                total = self.dilation[place] * (self.kernel_size[place] - 1)
                around += [total // 2, total - total // 2]
            elif self.padding == "valid":
                around += [0, 0]
            else:
                around += [self.padding[place]] * 2
        return around

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._around(), mode=self.padding_mode)
            padding = 0
        function: Any = (_core._nn_conv1d, _core._nn_conv2d, _core._nn_conv3d)[self._dims - 1]
        result: Tensor = function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return result

    def extra_repr(self) -> str:
        """Return sizes and options."""
        dims = self._dims
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * dims:
            shown += f", padding={self.padding}"
        if self.dilation != (1,) * dims:
            shown += f", dilation={self.dilation}"
        if self.output_padding != (0,) * dims:
            shown += f", output_padding={self.output_padding}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        if self.bias is None:
            shown += ", bias=False"
        if self.padding_mode != "zeros":
            shown += f", padding_mode={self.padding_mode}"
        return shown


class Conv1d(_ConvNd):
    """A convolution of ``(N, C, L)`` or ``(C, L)``."""

    _dims = 1


class Conv2d(_ConvNd):
    """A convolution of ``(N, C, H, W)`` or ``(C, H, W)``."""

    _dims = 2


class Conv3d(_ConvNd):
    """A convolution of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    _dims = 3


class _ConvTranspose(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            message = f'Only "zeros" padding mode is supported for {type(self).__name__}'
            raise ValueError(message)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = _tuple(output_padding, self._dims)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Convolve the other way round; ``output_size`` chooses among the sizes that are possible."""
        more = self.output_padding
        if output_size is not None:
            wanted = list(output_size)[-self._dims :]
            sizes = input.shape[-self._dims :]
            more = tuple(
                want - ((n - 1) * s - 2 * p + d * (k - 1) + 1)
                for want, n, s, p, d, k in zip(
                    wanted, sizes, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
                )
            )
            if any(not 0 <= extra < step for extra, step in zip(more, self.stride, strict=True)):
                message = (
                    f"requested an output size of {wanted}, which is not possible for an input size of {list(sizes)}"
                )
                raise ValueError(message)
        function: Any = (
            _core._nn_conv_transpose1d,
            _core._nn_conv_transpose2d,
            _core._nn_conv_transpose3d,
        )[self._dims - 1]
        result: Tensor = function(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )
        return result


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a convolution, for ``(N, C, L)``."""

    _dims = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution, for ``(N, C, H, W)``."""

    _dims = 2


class ConvTranspose3d(_ConvTranspose):
    """The transpose of a convolution, for ``(N, C, D, H, W)``."""

    _dims = 3
