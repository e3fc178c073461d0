"""Tensors that a module owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import rustgrad
from rustgrad._core import Tensor


class _ParameterMeta(type):
    """Counts tensors of foreign subclasses that were marked as parameters among them."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and bool(getattr(instance, "_is_param", False))


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: object) -> Parameter:
    """Make a parameter out of a pickle."""
    del hooks
    made: Parameter = Parameter(data, requires_grad)
    return made


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that becomes a parameter of the module it is assigned to.

    Parameters
    ----------
    data
        The values; the parameter shares their memory. Without them it is empty.
    requires_grad
        Whether it collects a gradient.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        """Make a parameter of ``data``."""
        if data is None:
            data = rustgrad.empty(0)
        if type(data) is Tensor or type(data) is Parameter:
            return Tensor._make_subclass(cls, data, requires_grad)
        if not isinstance(data, Tensor):
            message = f"'{type(data).__name__}' object has no attribute 'detach'"
            raise AttributeError(message)
        # A tensor of another subclass stays one.
        kept: Any = data.detach().requires_grad_(requires_grad)
        if type(kept) is not type(data) and type(data) is not cls:
            kept = Tensor._make_subclass(type(data), data, requires_grad)
        kept._is_param = True
        return kept

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        known = memo.get(id(self))
        if known is not None:
            found: Parameter = known
            return found
        copy: Parameter = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __str__(self) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        arguments: tuple[Any, ...] = (self.data, self.requires_grad, OrderedDict())
        if type(self) is Parameter:
            return _rebuild_parameter, arguments
        return type(self), arguments[:2]


class _BufferMeta(type):
    """Counts tensors that were marked as buffers among them."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Buffer and isinstance(instance, Tensor) and bool(getattr(instance, "_is_buffer", False))


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that becomes a buffer of the module it is assigned to: state that is not trained.

    Parameters
    ----------
    data
        The values, whose memory is shared.
    persistent
        Whether the buffer belongs to the module's ``state_dict``.
    """

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        """Make a buffer of ``data``."""
        if data is None:
            data = rustgrad.empty(0)
        tensor = data.detach().requires_grad_(data.requires_grad)
        tensor.persistent = persistent
        tensor._is_buffer = True
        return tensor
