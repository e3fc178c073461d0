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


# What a parameter without a shape still answers; everything else that is a method of a tensor is refused.
_ANSWERS = {
    "size", "is_complex", "is_floating_point", "float", "double", "char", "short", "int", "long", "cpu", "to", "type",
    "copy_", "share_memory_", "untyped_storage", "__deepcopy__", "__hash__", "__repr__", "__reduce__",
    "__reduce_ex__",
}  # fmt: skip


def _refuse(name: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = (
            f"Attempted to use an uninitialized parameter in {name}. This error happens when you are using a "
            f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. When using "
            "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )
        raise ValueError(message)

    return refuse


class UninitializedTensorMixin:
    """What parameters and buffers have in common that get their shape later."""

    _becomes: type[Tensor]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not issubclass(cls, Tensor):
            return
        kept = {*dir(object), *_ANSWERS}
        for name in dir(Tensor):
            private = name.startswith("_") and not name.startswith("__")
            if name not in kept and not private and callable(getattr(Tensor, name)):
                setattr(cls, name, _refuse(name))
        for name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
            setattr(cls, name, _refuse(name))
        cls.__hash__ = Tensor.__hash__  # type: ignore[method-assign]

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Take a shape, with elements that are not set, and become an ordinary parameter or buffer."""
        data = self.data
        fresh = rustgrad.empty(shape, device=data.device if device is None else device, dtype=dtype or data.dtype)
        self.__class__ = self._becomes
        self.data = fresh

    @property
    def shape(self) -> Any:
        """Refuse: there is none yet."""
        message = (
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
            "`forward` to initialize the parameters before accessing their attributes."
        )
        raise RuntimeError(message)

    def share_memory_(self) -> Any:
        """Refuse: there is no memory yet."""
        message = (
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )
        raise RuntimeError(message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        return repr(self)

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return _rebuild_uninitialized, (type(self), self.requires_grad, self.dtype)


def _rebuild_uninitialized(kind: Any, requires_grad: bool, dtype: Any) -> Any:
    """Make an uninitialized parameter or buffer out of a pickle."""
    return kind(requires_grad=requires_grad, dtype=dtype)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet; lazy modules give it one with their first input."""

    _becomes = Parameter
    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:
        """Make one without elements."""
        return Tensor._make_subclass(cls, rustgrad.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return known


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet."""

    _becomes = Tensor
    persistent: bool

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> Any:
        """Make one without elements."""
        made: Any = Tensor._make_subclass(cls, rustgrad.empty(0, device=device, dtype=dtype), requires_grad)
        made.persistent = persistent
        made._is_buffer = True
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return known


def is_lazy(param: object) -> bool:
    """Say whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
