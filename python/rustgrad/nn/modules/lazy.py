"""Layers that find out how many features or channels they take from their first input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad.nn.modules import conv, linear, normalization
from rustgrad.nn.modules.module import Module
from rustgrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]  # fmt: skip


class LazyModuleMixin(Module):
    """Gives a module parameters without shapes, which its first call makes, by :meth:`initialize_parameters`.

    When they are all there, the module becomes an instance of ``cls_to_become``.
    """

    cls_to_become: type[Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self.register_load_state_dict_pre_hook(type(self)._before_loading)
        self._initialize_hook = self.register_forward_pre_hook(type(self)._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give all parameters their shapes and values, as the arguments of ``forward`` ask."""
        message = f"initialize_parameters is not implemented for {type(self).__name__}"
        raise NotImplementedError(message)

    def has_uninitialized_params(self) -> bool:
        """Say whether a parameter or buffer has no shape yet."""
        return any(is_lazy(tensor) for tensor in (*self._parameters.values(), *self._buffers.values()))

    def _infer_parameters(self, args: Any, kwargs: Any = None) -> None:
        self.initialize_parameters(*args, **(kwargs or {}))
        if self.has_uninitialized_params():
            message = f"module {self._get_name()} has not been fully initialized"
            raise RuntimeError(message)
        self._initialize_hook.remove()
        self._load_hook.remove()
        del self._initialize_hook, self._load_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become

    def _before_loading(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Give what has no shape yet the shape of what is loaded."""
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            given = state_dict.get(prefix + name)
            if is_lazy(tensor) and given is not None and not is_lazy(given):
                with rustgrad.no_grad():
                    tensor.materialize(given.shape)  # type: ignore[union-attr]


class LazyLinear(LazyModuleMixin, linear.Linear):
    """A :class:`Linear` layer that takes ``in_features`` from its first input."""

    cls_to_become = linear.Linear
    weight: UninitializedParameter
    bias: UninitializedParameter | None

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, if they have a shape."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the size of the input's last dimension."""
        if self.has_uninitialized_params():
            with rustgrad.no_grad():
                self.in_features = input.shape[-1]
                self.weight.materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        if self.in_features == 0:
            # The weight was loaded before the first call.
            self.in_features = self.weight.shape[-1]
            if input.shape[-1] != self.in_features:
                message = (
                    f"The in_features inferred from input: {input.shape[-1]} is not equal to in_features from "
                    f"self.weight: {self.in_features}"
                )
                raise AssertionError(message)


class _LazyConv(LazyModuleMixin, conv._ConvNd):
    """A convolution that takes ``in_channels`` from its first input."""

    def _start(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, if they have a shape."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the number of the input's channels."""
        if self.has_uninitialized_params():
            self.in_channels = self._channels_of(input)
            if self.in_channels % self.groups:
                message = "in_channels must be divisible by groups"
                raise ValueError(message)
            sizes = (self.out_channels, self.in_channels // self.groups)
            if self._transposed:
                sizes = (self.in_channels, self.out_channels // self.groups)
            weight: Any = self.weight
            weight.materialize((*sizes, *self.kernel_size))
            if self.bias is not None:
                bias: Any = self.bias
                bias.materialize((self.out_channels,))
            self.reset_parameters()
        elif self.in_channels == 0:
            # The weight was loaded before the first call.
            self.in_channels = self.weight.shape[0] if self._transposed else self.weight.shape[1] * self.groups

    def _channels_of(self, input: Tensor) -> int:
        batched = self._dims + 2
        if input.dim() not in (batched, batched - 1):
            message = (
                f"Expected {batched - 1}D (unbatched) or {batched}D (batched) input to {type(self).__name__}, but "
                f"got input of size: {input.shape}"
            )
            raise RuntimeError(message)
        return int(input.shape[1] if input.dim() == batched else input.shape[0])


class _LazyForward(_LazyConv):
    def __init__(
        self,
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
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._start(out_channels, bias, device, dtype)


class _LazyTransposed(_LazyConv):
    def __init__(
        self,
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
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._start(out_channels, bias, device, dtype)


class _LazyNorm(LazyModuleMixin, normalization._RunningNorm):
    """A normalisation that takes ``num_features`` from its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = rustgrad.tensor(0, dtype=rustgrad.long)

    def reset_parameters(self) -> None:
        """Start anew, if there are shapes."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of the input's channels."""
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                if is_lazy(tensor):
                    tensor.materialize((self.num_features,))
            self.reset_parameters()
        elif self.num_features == 0:
            # Parameters were loaded before the first call.
            self.num_features = input.shape[1]


def _lazy(part: type[Any], base: type[Any]) -> type[Any]:
    """Return the lazy form of a layer."""
    name = f"Lazy{base.__name__}"
    text = f"A :class:`{base.__name__}` layer that takes the number of channels from its first input."
    return type(name, (part, base), {"cls_to_become": base, "__doc__": text, "__module__": __name__})


LazyConv1d = _lazy(_LazyForward, conv.Conv1d)
LazyConv2d = _lazy(_LazyForward, conv.Conv2d)
LazyConv3d = _lazy(_LazyForward, conv.Conv3d)
LazyConvTranspose1d = _lazy(_LazyTransposed, conv.ConvTranspose1d)
LazyConvTranspose2d = _lazy(_LazyTransposed, conv.ConvTranspose2d)
LazyConvTranspose3d = _lazy(_LazyTransposed, conv.ConvTranspose3d)
LazyBatchNorm1d = _lazy(_LazyNorm, normalization.BatchNorm1d)
LazyBatchNorm2d = _lazy(_LazyNorm, normalization.BatchNorm2d)
LazyBatchNorm3d = _lazy(_LazyNorm, normalization.BatchNorm3d)
LazyInstanceNorm1d = _lazy(_LazyNorm, normalization.InstanceNorm1d)
LazyInstanceNorm2d = _lazy(_LazyNorm, normalization.InstanceNorm2d)
LazyInstanceNorm3d = _lazy(_LazyNorm, normalization.InstanceNorm3d)
