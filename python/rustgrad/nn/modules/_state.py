"""The state of modules as a dictionary, and back."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import rustgrad
from rustgrad._core import Tensor
from rustgrad.nn.parameter import Parameter, is_lazy

if TYPE_CHECKING:
    from rustgrad.nn.modules.module import Module

EXTRA = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """Which keys a loaded dictionary lacked, and which it had too many."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"

    def __str__(self) -> str:
        return repr(self)


def has_extra(module: Module, method: str) -> bool:
    """Say whether a module overrides ``get_extra_state`` or ``set_extra_state``."""
    from rustgrad.nn.modules.module import Module as Base

    return getattr(type(module), method) is not getattr(Base, method)


def save(module: Module, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Put what a module itself owns into ``destination``."""
    persistent = ((n, b) for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set)
    for source in (module._parameters.items(), persistent):
        for name, tensor in source:
            if tensor is not None:
                destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
    if has_extra(module, "get_extra_state"):
        destination[prefix + EXTRA] = module.get_extra_state()


def _mismatch(key: str, given: Any, own: Tensor) -> str | None:
    """Explain why a value does not fit, if it does not."""
    if not isinstance(given, Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
            f"from checkpoint but received {type(given)}"
        )
    if given.shape == own.shape or (own.dim() == 0 and tuple(given.shape) == (1,)):
        return None
    return (
        f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
        f"the shape in current model is {own.shape}."
    )


def load_own(
    module: Module,
    state: dict[str, Any],
    prefix: str,
    assign: bool,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Load what a module itself owns; collects what is missing, unexpected or wrong."""
    buffers = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
    own = {name: tensor for name, tensor in (*module._parameters.items(), *buffers.items()) if tensor is not None}
    for name, tensor in own.items():
        key = prefix + name
        if key not in state:
            if strict:
                missing.append(key)
            continue
        given = state[key]
        if is_lazy(tensor) and is_lazy(given):
            continue
        wrong = _mismatch(key, given, tensor)
        if wrong is not None:
            errors.append(wrong)
            continue
        if tensor.dim() == 0 and given.dim() == 1:
            given = given[0]
        try:
            with rustgrad.no_grad():
                if assign:
                    _assign(module, name, tensor, given)
                else:
                    tensor.copy_(given)
        except Exception as error:
            errors.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are {tensor.shape} and '
                f"whose dimensions in the checkpoint are {given.shape}, an exception occurred : {error.args}."
            )
    key = prefix + EXTRA
    if has_extra(module, "set_extra_state"):
        if key in state:
            module.set_extra_state(state[key])
        elif strict:
            missing.append(key)
    elif strict and key in state:
        unexpected.append(key)
    if strict:
        for key in state:
            if key.startswith(prefix) and key != prefix + EXTRA:
                first, *rest = key[len(prefix) :].split(".", 1)
                if (rest and first not in module._modules) or (not rest and first not in own):
                    unexpected.append(key)


def _assign(module: Module, name: str, old: Tensor, given: Any) -> None:
    if isinstance(old, Parameter):
        if not isinstance(given, Parameter):
            given = Parameter(given, requires_grad=old.requires_grad)
        else:
            given.requires_grad_(old.requires_grad)
    setattr(module, name, given)


def load(module: Module, state_dict: Any, strict: bool, assign: bool) -> _IncompatibleKeys:
    """Load a whole dictionary; see :meth:`Module.load_state_dict`."""
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    metadata = getattr(state_dict, "_metadata", None)
    state = OrderedDict(state_dict)
    if metadata is not None:
        state._metadata = metadata  # type: ignore[attr-defined]

    def visit(at: Module, part: Any, prefix: str) -> None:
        local = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local["assign_to_params_buffers"] = assign
        at._load_from_state_dict(part, prefix, local, True, missing, unexpected, errors)
        for name, child in at._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                visit(child, {k: v for k, v in part.items() if k.startswith(below)}, below)
        incompatible = _IncompatibleKeys(missing, unexpected)
        for hook in at._load_state_dict_post_hooks.values():
            if hook(at, incompatible) is not None:
                message = (
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace."
                )
                raise AssertionError(message)

    visit(module, state, "")
    if strict:
        if unexpected:
            listed = ", ".join(f'"{key}"' for key in unexpected)
            errors.insert(0, f"Unexpected key(s) in state_dict: {listed}. ")
        if missing:
            listed = ", ".join(f'"{key}"' for key in missing)
            errors.insert(0, f"Missing key(s) in state_dict: {listed}. ")
    if errors:
        text = "\n\t".join(errors)
        message = f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{text}"
        raise RuntimeError(message)
    return _IncompatibleKeys(missing, unexpected)
