"""Hooks on the backward of a module: identities around it whose nodes carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad._core import Tensor
from rustgrad.autograd.function import Function

if TYPE_CHECKING:
    from rustgrad.nn.modules.module import Module

Hooks = Sequence[Any]


class BackwardHookFunction(Function):
    """Passes tensors and gradients through."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Return the inputs as they are."""
        ctx.mark_non_differentiable(*(arg for arg in args if not arg.requires_grad))
        return args

    @staticmethod
    def backward(ctx: Any, *args: Any) -> Any:
        """Return the gradients as they are."""
        return args


def _spread(places: Sequence[int], values: Sequence[Any], count: int) -> tuple[Any, ...]:
    """Put values at their places among ``count``, None elsewhere."""
    spread: list[Any] = [None] * count
    for place, value in zip(places, values, strict=False):
        spread[place] = value
    return tuple(spread)


def _check(result: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    if len(result) != count:
        message = f"Backward hook returned an invalid number of grad_input, got {len(result)}, but expected {count}"
        raise RuntimeError(message)
    return result


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


class BackwardHooks:
    """Runs the hooks of one call of a module in its backward."""

    def __init__(self, module: Module, hooks: Hooks, pre_hooks: Hooks) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.n_inputs = -1
        self.in_places: list[int] | None = None
        self.n_outputs = -1
        self.out_places: list[int] = []
        self.grad_outputs: tuple[Any, ...] | None = None

    def _wrap(self, values: tuple[Any, ...], hook: Any) -> tuple[tuple[Any, ...], list[int] | None]:
        """Send the tensors through an identity and hook its node."""
        places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
        needs = any(values[i].requires_grad for i in places)
        if not (needs and rustgrad.is_grad_enabled()):
            return values, None
        passed = BackwardHookFunction.apply(*(values[i] for i in places))
        node = next((t.grad_fn for t in passed if t.grad_fn is not None), None)
        if node is None:
            message = "Error while setting backward hooks. Please open an issue."
            raise RuntimeError(message)
        node.register_hook(hook)
        new = list(values)
        for place, tensor in zip(places, passed, strict=True):
            new[place] = tensor
        return tuple(new), places

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Prepare the arguments of the call."""
        new, places = self._wrap(args, self._at_inputs)
        self.n_inputs, self.in_places = len(args), places
        return new

    def outputs(self, result: Any) -> Any:
        """Prepare its result."""
        values = _as_tuple(result)
        new, places = self._wrap(values, self._at_outputs)
        self.n_outputs, self.out_places = len(values), places or []
        return new if isinstance(result, tuple) else new[0]

    def _at_outputs(self, _: Any, grads: tuple[Any, ...]) -> Any:
        self.grad_outputs = _spread(self.out_places, grads, self.n_outputs)
        changed = False
        for hook in self.pre_hooks:
            result = hook(self.module, self.grad_outputs)
            if result is not None:
                self.grad_outputs = _check(_as_tuple(result), self.n_outputs)
                changed = True
        outputs = self.grad_outputs
        if self.in_places is None:
            # No input needs a gradient: this is all there is to see.
            nothing = (None,) * max(self.n_inputs, 0)
            for hook in self.hooks:
                result = hook(self.module, nothing, outputs)
                if result is not None and any(entry is not None for entry in _as_tuple(result)):
                    message = (
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
                    raise RuntimeError(message)
            self.grad_outputs = None
        return tuple(outputs[i] for i in self.out_places) if changed else None

    def _at_inputs(self, grads: tuple[Any, ...], _: Any) -> Any:
        if self.grad_outputs is None or self.in_places is None:
            return None
        inputs = _spread(self.in_places, grads, self.n_inputs)
        for hook in self.hooks:
            result = hook(self.module, inputs, self.grad_outputs)
            if result is not None:
                inputs = _check(_as_tuple(result), self.n_inputs)
        self.grad_outputs = None
        return tuple(inputs[i] for i in self.in_places)
