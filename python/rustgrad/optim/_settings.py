"""Checks of settings that optimisers share, and the dictionary of defaults made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rustgrad._core import Tensor
from rustgrad.optim.optimizer import Optimizer, refuse


def _at_least_zero(value: Any) -> bool:
    return bool(value >= 0.0)


# By the name of the setting: what torch calls it in its message, and when it is fine.
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("learning rate", _at_least_zero),
    "momentum": ("momentum value", _at_least_zero),
    "eps": ("epsilon value", _at_least_zero),
    "lr_decay": ("lr_decay value", _at_least_zero),
    "alpha": ("alpha value", _at_least_zero),
    "rho": ("rho value", lambda value: bool(0.0 <= value <= 1.0)),
    "weight_decay": ("weight_decay value", _at_least_zero),
    "momentum_decay": ("momentum_decay value", _at_least_zero),
    "initial_accumulator_value": ("initial_accumulator_value value", _at_least_zero),
    "lambd": ("lambd value", _at_least_zero),
}


def settings(optimiser: Optimizer, given: dict[str, Any], unchecked: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check the arguments of an optimiser, its ``locals()``, and return them as its defaults.

    ``foreach`` and ``fused`` choose among torch's implementations; here there is one, which takes the whole list of
    parameters in one call where that matters, so both are accepted and change nothing.

    Raises
    ------
    ValueError
        If a number is out of its range.
    RuntimeError
        If ``fused`` is combined with ``foreach`` or ``differentiable``.
    NotImplementedError
        For ``differentiable=True``.
    """
    chosen = {name: value for name, value in given.items() if name not in ("self", "params", "__class__")}
    rate = chosen["lr"]
    if isinstance(rate, Tensor) and rate.numel() != 1:
        message = "Tensor lr must be 1-element"
        raise ValueError(message)
    for name, (what, fine) in _CHECKS.items():
        if name in chosen and name not in unchecked and not fine(chosen[name]):
            message = f"Invalid {what}: {chosen[name]}"
            raise ValueError(message)
    for place, beta in enumerate(chosen.get("betas", ())):
        if not 0.0 <= beta < 1.0:
            message = f"Invalid beta parameter at index {place}: {beta}"
            raise ValueError(message)
    if chosen.get("fused"):
        if chosen.get("differentiable"):
            message = "`fused` does not support `differentiable`"
            raise RuntimeError(message)
        if chosen.get("foreach"):
            message = "`fused` and `foreach` cannot be `True` together."
            raise RuntimeError(message)
    refuse(type(optimiser).__name__, differentiable=chosen.get("differentiable"))
    return chosen


def refuse_capture(group: dict[str, Any]) -> None:
    """Refuse ``capturable=True`` when a step is made: it is for graphs of an accelerator, torch refuses it on the CPU.

    Raises
    ------
    AssertionError
        If the group asks for it.
    """
    if group.get("capturable"):
        message = "If capturable=True, params and state_steps must be on supported devices: rustgrad has only the CPU."
        raise AssertionError(message)
