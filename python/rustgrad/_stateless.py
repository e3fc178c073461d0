"""Modules called with other tensors in place of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor


def functional_call(
    module: Any, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict[str, Any] | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with other tensors in place of its parameters and buffers.

    Parameters
    ----------
    module
        The module; it is as before after the call.
    parameter_and_buffer_dicts
        Tensors by name, or several such dicts.
    args, kwargs
        What to call it with; one argument need be no tuple.
    tie_weights
        Whether a tensor that the module holds under several names is replaced under all.
    strict
        Refuse dicts that lack a name.

    Raises
    ------
    ValueError
        If dicts name the same, or disagree about tied ones.
    RuntimeError
        If ``strict`` and names are missing or unknown.
    """
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else parameter_and_buffer_dicts
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(one, dict) for one in dicts):
        message = "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
        raise ValueError(message)
    given: dict[str, Tensor] = {}
    for one in dicts:
        for name, tensor in one.items():
            if name in given:
                message = f"{[name]} appeared in multiple dictionaries; behavior of functional call is ambiguous"
                raise ValueError(message)
            given[name] = tensor
    own = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    if tie_weights:
        for name, tensor in list(given.items()):
            tied = [other for other in own if name in own and own[other] is own[name] and other != name]
            for other in tied:
                if given.get(other, tensor) is not tensor:
                    message = f"functional_call got multiple values for keys {sorted([name, other])}, which are tied."
                    raise ValueError(message)
                given[other] = tensor
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if strict and (missing or unknown):
        message = (
            f"Error(s) in loading state for {type(module).__name__}: Missing key(s): {missing}. "
            f"Unexpected key(s): {unknown}."
        )
        raise RuntimeError(message)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, tensor in given.items():
            if name not in own:
                continue
            path, _, last = name.rpartition(".")
            part = module.get_submodule(path) if path else module
            place = part._parameters if last in part._parameters else part._buffers
            before.append((place, last, place[last]))
            place[last] = tensor
        return module(*arguments, **(kwargs or {}))
    finally:
        for place, last, old in reversed(before):
            place[last] = old


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters and the buffers of modules of one kind, stacked by name.

    Raises
    ------
    RuntimeError
        If there are none, they are of several classes, or not all in one mode.
    """
    if not models:
        message = "stack_module_state: Expected at least one model, got 0."
        raise RuntimeError(message)
    if len({model.training for model in models}) > 1:
        message = "stack_module_state: Expected all models to have the same training/eval mode."
        raise RuntimeError(message)
    if len({type(model) for model in models}) > 1:
        message = "stack_module_state: Expected all models to be of the same class."
        raise RuntimeError(message)

    def stacked(lists: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        result = {}
        for name, first in lists[0].items():
            both = _core.stack([one[name] for one in lists]).detach()
            result[name] = both.requires_grad_() if first.requires_grad else both
        return result

    parameters = stacked([dict(model.named_parameters()) for model in models])
    return parameters, stacked([dict(model.named_buffers()) for model in models])
