"""The base class of all layers and models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad._core import Tensor
from rustgrad.nn.modules import _state
from rustgrad.nn.modules._backward import BackwardHooks
from rustgrad.nn.modules._state import _IncompatibleKeys as _IncompatibleKeys
from rustgrad.nn.parameter import Buffer, Parameter
from rustgrad.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from typing_extensions import Self

Hook = Callable[..., Any]

# Hooks that run for every module.
_global_forward_pre_hooks: dict[int, Hook] = OrderedDict()
_global_forward_hooks: dict[int, Hook] = OrderedDict()
_global_backward_hooks: dict[int, Hook] = OrderedDict()
_global_backward_pre_hooks: dict[int, Hook] = OrderedDict()
_global_always_called: dict[int, bool] = OrderedDict()
_global_with_kwargs: dict[int, bool] = OrderedDict()

# The dictionaries that every module has, in the order in which they are printed by vars().
_DICTIONARIES = (
    "_parameters", "_buffers", "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_modules",
)  # fmt: skip


def _typename(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(value.type())
    kind = value if isinstance(value, type) else type(value)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _is_parameter(value: object) -> bool:
    return type(value) is Parameter or (isinstance(value, Tensor) and isinstance(value, Parameter))


def _indent(text: str, spaces: int = 2) -> str:
    return text.replace("\n", "\n" + " " * spaces)


def _enabled(on: bool, hooks: dict[int, bool], key: int) -> None:
    if on:
        hooks[key] = True


def _register(
    hooks: dict[int, Any], hook: Hook, extras: tuple[tuple[bool, dict[int, bool]], ...] = (), prepend: bool = False
) -> RemovableHandle:
    """Keep a hook in a dictionary, and its key in those of ``extras`` that are wanted."""
    handle = RemovableHandle(hooks, extra=[extra for _, extra in extras])
    hooks[handle.id] = hook
    for wanted, extra in extras:
        _enabled(wanted, extra, handle.id)
    if prepend:
        hooks.move_to_end(handle.id, last=False)  # type: ignore[attr-defined]
    return handle


class Module:
    """A part of a model: parameters, buffers and other modules, and what it does with its input.

    A subclass calls ``super().__init__()``, assigns its parts as attributes and defines ``forward``.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _version: int = 1
    call_super_init: bool = False
    # Whether a call must look for hooks. Once set it stays.
    _hooked: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            name = type(self).__name__
            if kwargs:
                message = f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            else:
                message = f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            raise TypeError(message)
        state = self.__dict__
        state["training"] = True
        for name in _DICTIONARIES:
            state[name] = {} if name in ("_parameters", "_buffers", "_modules") else OrderedDict()
        state["_non_persistent_buffers_set"] = set()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # Calls.

    def forward(self, *input: Any) -> Any:
        """Compute the output; every subclass defines it."""
        message = f'Module [{type(self).__name__}] is missing the required "forward" function'
        raise NotImplementedError(message)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call ``forward``, and the hooks around it."""
        if self._hooked:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        try:
            return self._call_hooked(args, kwargs, called)
        except Exception:
            # Hooks that are to run whatever happens have not run yet.
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                always = key in self._forward_hooks_always_called or key in _global_always_called
                if always and key not in called:
                    try:
                        self._forward_hook(key, hook, args, kwargs, None)
                    except Exception as error:
                        import warnings

                        text = (
                            "forward hook with ``always_call=True`` raised an exception that was silenced as "
                            f"another error was raised in forward: {error}"
                        )
                        warnings.warn(text, stacklevel=3)
            raise

    def _forward_hook(self, key: int, hook: Hook, args: Any, kwargs: Any, result: Any) -> Any:
        if key in self._forward_hooks_with_kwargs or key in _global_with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    def _call_hooked(self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> Any:
        for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        message = (
                            "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {changed}."
                        )
                        raise RuntimeError(message)
                    args, kwargs = changed
                continue
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        backward = (*_global_backward_hooks.values(), *self._backward_hooks.values())
        before = (*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values())
        watch = BackwardHooks(self, backward, before) if backward or before else None
        if watch is not None:
            args = watch.inputs(args)
        result = self.forward(*args, **kwargs)
        for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
            called.add(key)
            changed = self._forward_hook(key, hook, args, kwargs, result)
            if changed is not None:
                result = changed
        return result if watch is None else watch.outputs(result)

    # Attributes.

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            part = state.get(kind)
            if part is not None and name in part:
                return part[name]
        message = f"'{type(self).__name__}' object has no attribute '{name}'"
        raise AttributeError(message)

    def _forget(self, name: str, *kinds: str) -> None:
        """Take a name out of the plain attributes and of the dictionaries given."""
        self.__dict__.pop(name, None)
        for kind in kinds:
            self.__dict__.get(kind, {}).pop(name, None)
        if "_buffers" in kinds:
            self.__dict__.get("_non_persistent_buffers_set", set()).discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        parameters = state.get("_parameters")
        if _is_parameter(value):
            if parameters is None:
                message = "cannot assign parameters before Module.__init__() call"
                raise AttributeError(message)
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
            return
        if parameters is not None and name in parameters:
            if value is not None:
                message = (
                    f"cannot assign '{_typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
                raise TypeError(message)
            self.register_parameter(name, value)
            return
        modules = state.get("_modules")
        if isinstance(value, Module):
            if modules is None:
                message = "cannot assign module before Module.__init__() call"
                raise AttributeError(message)
            self._forget(name, "_parameters", "_buffers")
            modules[name] = value
            return
        if modules is not None and name in modules:
            if value is not None:
                message = (
                    f"cannot assign '{_typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
                raise TypeError(message)
            modules[name] = value
            return
        buffers = state.get("_buffers")
        if buffers is not None and (name in buffers or (isinstance(value, Tensor) and isinstance(value, Buffer))):
            if value is not None and not isinstance(value, Tensor):
                message = (
                    f"cannot assign '{_typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
                raise TypeError(message)
            if name in buffers:
                buffers[name] = value
            else:
                self._forget(name, "_parameters", "_modules")
                self.register_buffer(name, value, getattr(value, "persistent", True))
            return
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        for part in (self._parameters, self._buffers, self._modules):
            if name in part:
                del part[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _DICTIONARIES:
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())

    # Registration.

    def _check_name(self, name: Any, kind: str, part: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            message = f"{kind} name should be a string. Got {_typename(name)}"
            raise TypeError(message)
        if "." in name:
            message = f'{kind} name can\'t contain "."'
            raise KeyError(message)
        if name == "":
            message = f'{kind} name can\'t be empty string ""'
            raise KeyError(message)
        if hasattr(self, name) and name not in part:
            message = f"attribute '{name}' already exists"
            raise KeyError(message)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter."""
        if "_parameters" not in self.__dict__:
            message = "cannot assign parameter before Module.__init__() call"
            raise AttributeError(message)
        self._check_name(name, "parameter", self._parameters)
        if param is not None:
            if not _is_parameter(param):
                message = (
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
                raise TypeError(message)
            if param.grad_fn is not None:
                message = (
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    "explicitly. "
                    f"To express '{name}' as a function of another Tensor, compute the value in the forward() method."
                )
                raise ValueError(message)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer; one that is not ``persistent`` stays out of ``state_dict``."""
        if "_buffers" not in self.__dict__:
            message = "cannot assign buffer before Module.__init__() call"
            raise AttributeError(message)
        self._check_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            message = f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            raise TypeError(message)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module as a part of this one."""
        if not isinstance(module, Module) and module is not None:
            message = f"{_typename(module)} is not a Module subclass"
            raise TypeError(message)
        self._check_name(name, "module", self._modules)
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Do what :meth:`add_module` does."""
        self.add_module(name, module)

    def _hook(self, hooks: dict[int, Any], hook: Hook, *extras: tuple[bool, Any], prepend: bool) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        return _register(hooks, hook, extras, prepend)

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Run ``hook(module, args)`` before each call; what it returns replaces the arguments."""
        kwargs = (with_kwargs, self._forward_pre_hooks_with_kwargs)
        return self._hook(self._forward_pre_hooks, hook, kwargs, prepend=prepend)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Run ``hook(module, args, output)`` after each call; what it returns replaces the output."""
        kwargs = (with_kwargs, self._forward_hooks_with_kwargs)
        always = (always_call, self._forward_hooks_always_called)
        return self._hook(self._forward_hooks, hook, kwargs, always, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known."""
        return self._hook(self._backward_hooks, hook, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(module, grad_output)`` when the gradients of the outputs are known."""
        return self._hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Refuse: torch itself advises :meth:`register_full_backward_hook`."""
        message = "register_backward_hook is deprecated in torch; use register_full_backward_hook"
        raise NotImplementedError(message)

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Run ``hook(module, prefix, keep_vars)`` before ``state_dict`` collects."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Run ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict`` has collected."""
        hook._from_public_api = True  # type: ignore[attr-defined]
        return _register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Run ``hook(module, state_dict, prefix, ...)`` before the module's own state is loaded."""
        return _register(self._load_state_dict_pre_hooks, lambda *args: hook(self, *args))

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Run ``hook(module, incompatible_keys)`` after the module's state is loaded."""
        return _register(self._load_state_dict_post_hooks, hook)

    # Looking inside.

    def _walk(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        """Yield the members of one of the dictionaries, here and below."""
        seen: set[int] = set()
        for path, module in (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        ):
            for name, member in getattr(module, kind).items():
                if member is None or (remove_duplicate and id(member) in seen):
                    continue
                seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, here and below."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their dotted names."""
        yield from self._walk("_parameters", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, here and below."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their dotted names."""
        yield from self._walk("_buffers", prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """Yield the modules one level below."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules one level below, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Yield this module and all below."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below, with their dotted names."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name."""
        module = self
        path = ""
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                message = f"{type(module).__name__} has no attribute `{name}`"
                raise AttributeError(message)
            module = getattr(module, name)
            path = f"{path}.{name}" if path else name
            if not isinstance(module, Module):
                message = f"`{path}` is not an nn.Module"
                raise AttributeError(message)
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of a dotted name."""
        if target == "":
            message = "Cannot set the submodule without a target name!"
            raise ValueError(message)
        if not isinstance(module, Module):
            message = f"`module` is not an nn.Module, found {type(module)}"
            raise ValueError(message)
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            message = f"{type(parent).__name__} has no attribute `{name}`"
            raise AttributeError(message)
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            message = f"`{name}` is not an nn.Module"
            raise AttributeError(message)
        setattr(parent, name, module)

    def _member(self, target: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            message = f"{type(module).__name__} has no attribute `{name}`"
            raise AttributeError(message)
        member = getattr(module, name)
        fits = _is_parameter(member) if what == "an nn.Parameter" else name in module._buffers
        if not fits:
            message = f"`{name}` is not {what}"
            raise AttributeError(message)
        return member

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name."""
        parameter: Parameter = self._member(target, "an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name."""
        buffer: Tensor = self._member(target, "a buffer")
        return buffer

    def get_extra_state(self) -> Any:
        """Return what else belongs to ``state_dict``; for subclasses to define."""
        message = "Reached a code path in Module.get_extra_state() that should never be called."
        raise RuntimeError(message)

    def set_extra_state(self, state: Any) -> None:
        """Take back what :meth:`get_extra_state` gave; for subclasses to define."""
        message = "Reached a code path in Module.set_extra_state() that should never be called."
        raise RuntimeError(message)

    # Changing everything at once.

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call a function on every module below, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:
        """Replace the data of parameters, their gradients and buffers by what ``fn`` makes of them."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with rustgrad.no_grad():
                changed = fn(parameter)
                grad = parameter.grad
                fresh = None if grad is None else fn(grad).requires_grad_(grad.requires_grad)
            if grad is not None:
                parameter.grad = None
            parameter.data = changed
            if fresh is not None:
                parameter.grad = fresh
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Cast the floating point parameters and buffers; the only device is the CPU."""
        dtype = kwargs.pop("dtype", None)
        device = kwargs.pop("device", None)
        for name in ("non_blocking", "copy", "memory_format"):
            kwargs.pop(name, None)
        if kwargs:
            message = f"to() received an invalid combination of arguments - got ({', '.join(kwargs)})"
            raise TypeError(message)
        for argument in args:
            if isinstance(argument, rustgrad.dtype):
                dtype = argument
            elif isinstance(argument, Tensor):
                dtype = argument.dtype
            elif isinstance(argument, bool) or argument is None:
                continue
            else:
                device = argument
        if device is not None:
            device = rustgrad.device(device)
        if dtype is not None and not dtype.is_floating_point:
            message = f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            raise TypeError(message)

        def convert(tensor: Any) -> Any:
            if device is not None:
                tensor = tensor.to(device)
            return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

        return self._apply(convert)

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Self:
        """Cast the floating point parameters and buffers to float32."""
        return self._apply(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)

    def double(self) -> Self:
        """Cast the floating point parameters and buffers to float64."""
        return self._apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def cpu(self) -> Self:
        """Move everything to the CPU, where it is."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Refuse, if there is a parameter or buffer: the CPU is the only device."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below to training, or to evaluation."""
        if not isinstance(mode, bool):
            message = "training mode is expected to be boolean"
            raise ValueError(message)
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Switch this module and all below to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch the collection of gradients on or off for all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        rustgrad._core._zero_grads(self.parameters(), set_to_none)

    def share_memory(self) -> Self:
        """Refuse: tensors cannot be moved to shared memory."""
        message = "share_memory: rustgrad's tensors cannot be moved to shared memory"
        raise NotImplementedError(message)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: there is no compiler, calls are as they were."""

    # State.

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        _state.save(self, destination, prefix, keep_vars)

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Return all parameters and persistent buffers by their dotted names."""
        if args:
            given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            destination = given.get("destination", destination)
            prefix, keep_vars = given.get("prefix", prefix), given.get("keep_vars", keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            changed = hook(self, destination, prefix, local)
            if getattr(hook, "_from_public_api", False):
                if changed is not None:
                    message = "state_dict post-hook must return None"
                    raise RuntimeError(message)
            elif changed is not None:
                destination = changed
        result: dict[str, Any] = destination
        return result

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load what this module itself owns; subclasses override it to read older versions."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        _state.load_own(self, state_dict, prefix, assign, strict, missing_keys, unexpected_keys, error_msgs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _state._IncompatibleKeys:
        """Copy parameters and buffers from a dictionary.

        Parameters
        ----------
        state_dict
            What :meth:`state_dict` gave.
        strict
            Whether missing or unexpected keys are an error.
        assign
            Whether the tensors given take the place of the module's own instead of being copied.

        Returns
        -------
        _IncompatibleKeys
            The keys that were missing or unexpected.
        """
        if not isinstance(state_dict, Mapping):
            message = f"Expected state_dict to be dict-like, got {type(state_dict)}."
            raise TypeError(message)
        return _state.load(self, state_dict, strict, assign)

    # Printing.

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what ``repr`` shows besides the parts."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        lines += children
        inside = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({inside})"


def _register_global(hooks: dict[int, Any], hook: Hook, *extras: tuple[bool, dict[int, bool]]) -> RemovableHandle:
    Module._hooked = True
    return _register(hooks, hook, extras)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Run ``hook(module, args)`` before each call of any module."""
    return _register_global(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Run ``hook(module, args, output)`` after each call of any module."""
    extras = ((with_kwargs, _global_with_kwargs), (always_call, _global_always_called))
    return _register_global(_global_forward_hooks, hook, *extras)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Run ``hook(module, grad_input, grad_output)`` in the backward of any module."""
    return _register_global(_global_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Run ``hook(module, grad_output)`` in the backward of any module."""
    return _register_global(_global_backward_pre_hooks, hook)
