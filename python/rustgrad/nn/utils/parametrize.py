"""Parameters that modules compute from others: the value of ``module.weight`` is what parametrizations make of it."""

from __future__ import annotations

import copy
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.nn.modules.container import ModuleDict, ModuleList
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rustgrad.nn.modules.module import Module

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once within the block."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


def _kept(value: Any, original: Any) -> Any:
    """Return a parameter if the original was one."""
    if isinstance(original, Parameter):
        return Parameter(value, original.requires_grad)
    return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, and the original or originals they start from."""

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        if not modules:
            message = "ParametrizationList requires one or more modules."
            raise ValueError(message)
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with _rg.no_grad():
            new = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        new = module.right_inverse(new)
        self.is_tensor = isinstance(new, Tensor)
        if not self.is_tensor and not isinstance(new, (tuple, list)):
            message = (
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                f"{type(new).__name__}"
            )
            raise ValueError(message)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if original.dtype != new.dtype:
                message = (
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
                raise ValueError(message)
            with _rg.no_grad():
                if new is not original:
                    original.data = new.detach().clone() if new.shape != original.shape else new.detach()
            self._own("original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    message = (
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                        f"{i} of the sequence with type {type(part).__name__}."
                    )
                    raise ValueError(message)
                self._own(f"original{i}", _kept(part.detach(), original))
        if not unsafe:
            value = self()
            if not isinstance(value, Tensor):
                message = f"A parametrization must return a tensor. Got {type(value).__name__}."
                raise ValueError(message)
            for what, before, after in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
                if before != after:
                    message = (
                        f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag "
                        f"is enabled.\nunparametrized {what}: {before}\nparametrized {what}: {after}"
                    )
                    raise ValueError(message)

    def _own(self, name: str, tensor: Any) -> None:
        if isinstance(tensor, Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)

    def right_inverse(self, value: Tensor) -> None:
        """Change the originals so that the parametrizations give ``value``."""
        with _rg.no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    message = (
                        f"parametrization {type(module).__name__} does not implement right_inverse, so its value "
                        "cannot be assigned"
                    )
                    raise RuntimeError(message)
                new = module.right_inverse(new)
            if self.is_tensor:
                self.original.data = new.detach().to(self.original.dtype)
                return
            for i, part in enumerate(new):
                getattr(self, f"original{i}").data = part.detach()

    def forward(self) -> Any:
        """Compute the tensor."""
        first, *rest = self
        value = first(*(getattr(self, name) for name in self._names()))
        for module in rest:
            value = module(value)
        return value

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]


def _value(module: Any, name: str) -> Any:
    if not _depth:
        return module.parametrizations[name]()
    key = (id(module), name)
    found = _cache.get(key)
    if found is None:
        found = _cache[key] = module.parametrizations[name]()
    return found


def _assign(module: Any, name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        message = f"The value assigned to '{name}' must be a Tensor, not {type(value).__name__}"
        raise ValueError(message)
    module.parametrizations[name].right_inverse(value)


def _deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    found = memo.get(id(self))
    if found is None:
        found = memo[id(self)] = self.__new__(type(self))
        found.__dict__ = copy.deepcopy(self.__dict__, memo)
        found.__class__ = type_before_parametrizations(self)
        _inject(found)
        for name in self.parametrizations:
            _property(found, name)
    return found


def _refuse_pickling(self: Any) -> Any:
    message = (
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
    )
    raise RuntimeError(message)


def _inject(module: Any) -> None:
    """Give a module a class of its own, to hold properties."""
    base = type(module)
    body = {"__getstate__": _refuse_pickling, "__deepcopy__": _deepcopy, "__module__": __name__}
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), body)


def _property(module: Any, name: str) -> None:
    prop = property(lambda self: _value(self, name), lambda self, value: _assign(self, name, value))
    setattr(type(module), name, prop)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have a parameter or buffer computed by a module from the original one.

    Parameters
    ----------
    module, tensor_name
        Whose tensor, and which.
    parametrization
        Computes the value; ``right_inverse``, if it has that, the original from a value.
    unsafe
        Whether it may change shape and dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        lists: Any = module.parametrizations
        if not unsafe:
            value = getattr(module, tensor_name)
            made = parametrization(value)
            if not isinstance(made, Tensor) or made.shape != value.shape or made.dtype != value.dtype:
                message = (
                    "Registering a parametrization may not change the shape or dtype of the tensor, unless the "
                    "`unsafe` flag is enabled."
                )
                raise ValueError(message)
            if hasattr(parametrization, "right_inverse"):
                lists[tensor_name].append(parametrization)
                lists[tensor_name].right_inverse(value)
                return module
        lists[tensor_name].append(parametrization)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        message = (
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
        raise ValueError(message)
    made_list = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _inject(module)
        module.parametrizations = ModuleDict()
    _property(module, tensor_name)
    lists = module.parametrizations
    lists[tensor_name] = made_list
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Say whether a module, or one of its tensors, is parametrized."""
    lists = module._modules.get("parametrizations")
    if not isinstance(lists, ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a tensor an ordinary one again, with its present value or with the original."""
    if not is_parametrized(module, tensor_name):
        message = f"Module {module} does not have a parametrization on {tensor_name}"
        raise ValueError(message)
    lists: Any = module.parametrizations
    own = lists[tensor_name]
    if leave_parametrized:
        with _rg.no_grad():
            value = getattr(module, tensor_name)
        original = own.original if own.is_tensor else own.original0
        if own.is_tensor and type(original) is Parameter:
            original.data = value.detach() if value is original else value.detach().clone()
            kept = original
        else:
            kept = _kept(value.detach(), original)
    elif own.is_tensor:
        kept = own.original
    else:
        message = (
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
        raise ValueError(message)
    delattr(type(module), tensor_name)
    del lists[tensor_name]
    if isinstance(kept, Parameter):
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, kept)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """Return the class a module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give another module the parametrizations of one, and their originals."""
    if not is_parametrized(from_module):
        return to_module
    lists: Any = from_module.parametrizations
    for name in [tensor_name] if tensor_name is not None else list(lists):
        if not hasattr(to_module, name):
            setattr(to_module, name, copy.deepcopy(getattr(from_module, name)))
        for module in lists[name]:
            register_parametrization(to_module, name, copy.deepcopy(module))
        mine: Any = to_module.parametrizations
        for part in lists[name]._names():
            setattr(mine[name], part, copy.deepcopy(getattr(lists[name], part)))
    return to_module
