"""What all optimisers share: groups of parameters, their state, saving and loading it, hooks."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import rustgrad
from rustgrad._core import Tensor, _zero_grads
from rustgrad.utils.hooks import RemovableHandle

Params = Iterable[Any]
Closure = Callable[[], Any]

_global_pre_hooks: dict[int, Any] = OrderedDict()
_global_post_hooks: dict[int, Any] = OrderedDict()


class _Required:
    """Stands for a value that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def check(fine: bool, text: str) -> None:
    """Raise ``ValueError`` unless a setting is fine."""
    if not fine:
        raise ValueError(text)


def refuse(name: str, **settings: Any) -> None:
    """Raise for settings that have no meaning here; ``None`` and ``False`` are no settings."""
    for setting, value in settings.items():
        if value:
            message = f"{name}: {setting}=True is not supported by rustgrad"
            raise NotImplementedError(message)


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``step`` so that it runs the hooks around itself."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._has_hooks and not _global_pre_hooks and not _global_post_hooks:
            return step(self, *args, **kwargs)
        for hook in (*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    message = f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    raise RuntimeError(message)
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in (*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()):
            hook(self, args, kwargs)
        return result

    wrapper.hooked = True  # type: ignore[attr-defined]
    return wrapper


class Optimizer:
    """The base class of optimisers.

    Parameters
    ----------
    params
        Tensors, pairs of names and tensors, or dictionaries of groups with settings of their own.
    defaults
        The settings of groups that do not say otherwise.
    """

    state: dict[Any, Any]
    param_groups: list[dict[str, Any]]
    _has_hooks: bool = False

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            message = (
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {params.type()}"
            )
            raise TypeError(message)
        self.defaults = defaults
        self._make_hooks()
        self.state = defaultdict(dict)
        self.param_groups = []
        self._wrap_step()
        groups = list(params)
        if not groups:
            message = "optimizer got an empty parameter list"
            raise ValueError(message)
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group) if isinstance(group, dict) else group)

    def _make_hooks(self) -> None:
        for name in (
            "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
            "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks",
            "_optimizer_load_state_dict_post_hooks",
        ):  # fmt: skip
            self.__dict__.setdefault(name, OrderedDict())

    def _wrap_step(self) -> None:
        step = type(self).step
        if not getattr(step, "hooked", False):
            type(self).step = _hooked(step)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hooks()
        self._wrap_step()
        if self.defaults is not None:
            self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for place, group in enumerate(self.param_groups):
            text += f"\nParameter Group {place}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            _zero_grads(group["params"], set_to_none)

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters; every optimiser defines it."""
        raise NotImplementedError

    def _loss(self, closure: Closure | None) -> Any:
        """Call the closure with gradients switched on."""
        if closure is None:
            return None
        with rustgrad.enable_grad():
            return closure()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters.

        Raises
        ------
        TypeError
            If it is no dictionary, or holds something that is not a tensor.
        ValueError
            If a parameter is no leaf, a setting is missing, or a parameter is in another group already.
        """
        if not isinstance(param_group, dict):
            message = f"param_group must be a dict, but got {type(param_group)}"
            raise TypeError(message)
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            message = (
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
            raise TypeError(message)
        params = list(params)
        if params and all(isinstance(entry, tuple) for entry in params):
            names = [entry[0] for entry in params]
            params = [entry[1] for entry in params]
            param_group["param_names"] = names
        param_group["params"] = params
        for entry in params:
            if not isinstance(entry, Tensor):
                message = f"optimizer can only optimize Tensors, but one of the params is {type(entry).__name__}"
                raise TypeError(message)
            if not self.defaults.get("differentiable") and not (entry.is_leaf or entry.retains_grad):
                message = "can't optimize a non-leaf Tensor"
                raise ValueError(message)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                message = f"parameter group didn't specify a value of required optimization parameter {name}"
                raise ValueError(message)
            param_group.setdefault(name, default)
        if len({id(entry) for entry in params}) != len(params):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        known = {id(entry) for group in self.param_groups for entry in group["params"]}
        if any(id(entry) in known for entry in params):
            message = "some parameters appear in more than one parameter group"
            raise ValueError(message)
        if self.param_groups and ("param_names" in param_group) != ("param_names" in self.param_groups[0]):
            with_names = "with names" if "param_names" in param_group else "without names"
            message = (
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{with_names} to the optimizer"
            )
            raise ValueError(message)
        self.param_groups.append(param_group)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Return the running tensors by the numbers of their parameters, and the settings of the groups."""
        for hook in self._optimizer_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for entry in group["params"]:
                numbers.setdefault(id(entry), len(numbers))
            packed["params"] = [numbers[id(entry)] for entry in group["params"]]
            groups.append(packed)
        state = {(numbers[id(key)] if isinstance(key, Tensor) else key): value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; tensors are copied to the dtype of their parameters.

        Raises
        ------
        ValueError
            If the groups are not of the same number and sizes.
        """
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            message = "loaded state dict has a different number of parameter groups"
            raise ValueError(message)
        if any(len(new["params"]) != len(own["params"]) for new, own in zip(saved, self.param_groups, strict=True)):
            message = "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            raise ValueError(message)
        numbers = chain.from_iterable(group["params"] for group in saved)
        own = chain.from_iterable(group["params"] for group in self.param_groups)
        parameters = dict(zip(numbers, own, strict=True))
        state: dict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in parameters:
                state[parameters[key]] = _cast(parameters[key], value)
            else:
                state[key] = value
        for new, group in zip(saved, self.param_groups, strict=True):
            new["params"] = group["params"]
            if "param_names" in group and "param_names" not in new:
                new["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            hook(self)

    # Hooks.

    def _register(self, name: str, hook: Any, prepend: bool = False) -> RemovableHandle:
        hooks = getattr(self, name)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        if "_step_" in name:
            self._has_hooks = True
        return handle

    def register_step_pre_hook(self, hook: Any) -> RemovableHandle:
        """Run ``hook(optimizer, args, kwargs)`` before each step; what it returns replaces the arguments."""
        return self._register("_optimizer_step_pre_hooks", hook)

    def register_step_post_hook(self, hook: Any) -> RemovableHandle:
        """Run ``hook(optimizer, args, kwargs)`` after each step."""
        return self._register("_optimizer_step_post_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(optimizer)`` before ``state_dict``."""
        return self._register("_optimizer_state_dict_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(optimizer, state_dict)`` after ``state_dict``."""
        return self._register("_optimizer_state_dict_post_hooks", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(optimizer, state_dict)`` before ``load_state_dict``."""
        return self._register("_optimizer_load_state_dict_pre_hooks", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Any, prepend: bool = False) -> RemovableHandle:
        """Run ``hook(optimizer)`` after ``load_state_dict``."""
        return self._register("_optimizer_load_state_dict_post_hooks", hook, prepend)


def _cast(parameter: Tensor, value: Any, key: str | None = None) -> Any:
    """Copy what was saved for a parameter; ``step`` keeps its own dtype."""
    if isinstance(value, Tensor):
        if key == "step" or not parameter.is_floating_point():
            return value.detach().clone()
        return value.detach().clone().to(parameter.dtype)
    if isinstance(value, dict):
        return {name: _cast(parameter, entry, name) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(parameter, entry) for entry in value)
    return value


def register_optimizer_step_pre_hook(hook: Any) -> RemovableHandle:
    """Run a hook before each step of any optimiser."""
    handle = RemovableHandle(_global_pre_hooks)
    _global_pre_hooks[handle.id] = hook
    return handle


def register_optimizer_step_post_hook(hook: Any) -> RemovableHandle:
    """Run a hook after each step of any optimiser."""
    handle = RemovableHandle(_global_post_hooks)
    _global_post_hooks[handle.id] = hook
    return handle
