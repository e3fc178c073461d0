"""Pooling and padding as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad.nn import functional as F
from rustgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "CircularPad1d", "CircularPad2d", "CircularPad3d",
    "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "ReflectionPad1d",
    "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d",
    "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class AvgPool2d(Module):
    """The averages of windows of ``(N, C, H, W)`` or ``(C, H, W)``."""

    _function = staticmethod(F.avg_pool2d)

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = stride if stride is not None else kernel_size
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Pool."""
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool3d(AvgPool2d):
    """The averages of windows of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    _function = staticmethod(F.avg_pool3d)


class AvgPool1d(Module):
    """The averages of windows of ``(N, C, L)`` or ``(C, L)``."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()

        def one(value: Any) -> tuple[int, ...]:
            return (value,) if isinstance(value, int) else tuple(value)

        self.kernel_size, self.padding = one(kernel_size), one(padding)
        self.stride = one(stride if stride is not None else kernel_size)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Pool."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(Module):
    """The greatest elements of windows of ``(N, C, H, W)`` or ``(C, H, W)``."""

    _function = staticmethod(F.max_pool2d)

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = stride if stride is not None else kernel_size
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Pool."""
        return type(self)._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """Return sizes and options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool2d):
    """The greatest elements of windows of ``(N, C, L)`` or ``(C, L)``."""

    _function = staticmethod(F.max_pool1d)


class MaxPool3d(MaxPool2d):
    """The greatest elements of windows of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    _function = staticmethod(F.max_pool3d)


class AdaptiveAvgPool2d(Module):
    """The averages of windows whose sizes follow from that of the output."""

    _function: Any = staticmethod(F.adaptive_avg_pool2d)

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        """Pool."""
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptiveAvgPool2d):
    """The averages of windows whose sizes follow from that of the output."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool3d(AdaptiveAvgPool2d):
    """The averages of windows whose sizes follow from that of the output."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """The greatest elements of windows whose sizes follow from that of the output."""

    _function = staticmethod(F.adaptive_max_pool2d)

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Pool."""
        return type(self)._function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(AdaptiveMaxPool2d):
    """The greatest elements of windows whose sizes follow from that of the output."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool3d(AdaptiveMaxPool2d):
    """The greatest elements of windows whose sizes follow from that of the output."""

    _function = staticmethod(F.adaptive_max_pool3d)


class _Pad(Module):
    _dims = 1
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self._dims) if isinstance(padding, int) else tuple(padding)
        self.value: float | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Pad."""
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    """Adds a value on both sides."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Return padding and value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """Adds a value around."""

    _dims = 2


class ZeroPad1d(_Pad):
    """Adds zeros on both sides."""


class ZeroPad2d(_Pad):
    """Adds zeros around."""

    _dims = 2


class ReflectionPad1d(_Pad):
    """Adds the elements mirrored at the edges."""

    _mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """Adds the elements mirrored at the edges."""

    _dims = 2


class ReplicationPad1d(_Pad):
    """Adds copies of the edges."""

    _mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """Adds copies of the edges."""

    _dims = 2


class CircularPad2d(_Pad):
    """Adds the elements from the other side."""

    _mode = "circular"
    _dims = 2


class ConstantPad3d(ConstantPad1d):
    """Adds a value around."""

    _dims = 3


class ZeroPad3d(_Pad):
    """Adds zeros around."""

    _dims = 3


class ReflectionPad3d(ReflectionPad1d):
    """Adds the elements mirrored at the edges."""

    _dims = 3


class ReplicationPad3d(ReplicationPad1d):
    """Adds the elements at the edges again."""

    _dims = 3


class CircularPad1d(CircularPad2d):
    """Adds the elements of the other end."""

    _dims = 1


class CircularPad3d(CircularPad2d):
    """Adds the elements of the other end."""

    _dims = 3
