"""Schedules of learning rates that go up and down, the momentum the other way round."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rustgrad.optim._schedule import LRScheduler, set_rate

if TYPE_CHECKING:
    from rustgrad.optim.optimizer import Optimizer


def _set_momentum(group: dict[str, Any], value: float, use_beta1: bool) -> None:
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


def _uses_beta1(optimizer: Optimizer) -> bool:
    """Say whether the momentum of an optimiser is its first beta."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        message = "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        raise ValueError(message)
    return "betas" in optimizer.defaults


class CyclicLR(LRScheduler):
    """Between two bounds and back, again and again (Smith, 2017).

    Formula source: ``base + (max - base) * x * scale`` with ``x`` from 0 to 1 and back over a cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups

        def per_group(name: str, value: float | list[float]) -> list[float]:
            if not isinstance(value, (list, tuple)):
                return [value] * len(groups)
            if len(value) != len(groups):
                message = (
                    f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                    f"param_groups has {len(groups)}."
                )
                raise ValueError(message)
            return list(value)

        lowest = per_group("base_lr", base_lr)
        if last_epoch == -1:
            for group, rate in zip(groups, lowest, strict=True):
                set_rate(group, rate)
        self.max_lrs = per_group("max_lr", max_lr)
        down = float(step_size_up if step_size_down is None else step_size_down)
        self.total_size = step_size_up + down
        self.step_ratio = step_size_up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            message = "mode is invalid and scale_fn is None"
            raise ValueError(message)
        self.mode, self.gamma = mode, gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None or mode != "exp_range" else "iterations"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            self.base_momentums = per_group("base_momentum", base_momentum)
            self.max_momentums = per_group("max_momentum", max_momentum)
            if last_epoch == -1:
                for group, least, most in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                    _set_momentum(group, most, self.use_beta1)
                    group["base_momentum"], group["max_momentum"] = least, most
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def scale_fn(self, x: float) -> float:
        """Return by how much the height of the cycles is scaled at a cycle or an iteration."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / float(2.0 ** (x - 1))
        return float(self.gamma**x) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[Any]:
        """Return the next rates, and set the momentum if it cycles."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        height = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, least, most in zip(self._groups(), self.base_momentums, self.max_momentums, strict=True):
                _set_momentum(group, most - (most - least) * height * scale, self.use_beta1)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height * scale for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser; of a function of the user only the attributes, if it has any."""
        state = super().state_dict()
        own = state["_scale_fn_custom"]
        keeps = own is not None and not isinstance(own, types.FunctionType)
        state["_scale_fn_custom"] = own.__dict__.copy() if keeps else None
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; the user's function stays, with its attributes replaced."""
        state = dict(state_dict)
        attributes = state.pop("_scale_fn_custom", None)
        super().load_state_dict(state)
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again within one cycle (Smith & Topin, 2018)."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is not None:
            if total_steps <= 0 or not isinstance(total_steps, int):
                message = f"Expected positive integer total_steps, but got {total_steps}"
                raise ValueError(message)
            self.total_steps = total_steps
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = epochs * steps_per_epoch
        else:
            message = "You must define either total_steps OR (epochs AND steps_per_epoch)"
            raise ValueError(message)
        if not 0 <= pct_start <= 1:
            message = f"Expected float between 0 and 1 pct_start, but got {pct_start}"
            raise ValueError(message)
        if anneal_strategy not in ("cos", "linear"):
            message = f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            raise ValueError(message)
        up, last = float(pct_start * self.total_steps), self.total_steps - 1
        ends = [up - 1, float(2 * pct_start * self.total_steps) - 2, last] if three_phase else [up - 1, last]
        names = ["initial_lr", "max_lr", "initial_lr", "min_lr"] if three_phase else ["initial_lr", "max_lr", "min_lr"]
        moments = ["max_momentum", "base_momentum", "max_momentum", "max_momentum"][: len(names)]
        self._phases = [(end, names[i], names[i + 1], moments[i], moments[i + 1]) for i, end in enumerate(ends)]
        self._anneal_func_type = anneal_strategy
        groups = optimizer.param_groups
        rates = max_lr if isinstance(max_lr, (list, tuple)) else [max_lr] * len(groups)
        self.cycle_momentum = cycle_momentum
        if last_epoch == -1:
            for group, rate in zip(groups, rates, strict=True):
                group["initial_lr"], group["max_lr"] = rate / div_factor, rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
                set_rate(group, group["initial_lr"])
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            if last_epoch == -1:
                for place, group in enumerate(groups):
                    least = base_momentum[place] if isinstance(base_momentum, (list, tuple)) else base_momentum
                    most = max_momentum[place] if isinstance(max_momentum, (list, tuple)) else max_momentum
                    _set_momentum(group, most, self.use_beta1)
                    group["base_momentum"], group["max_momentum"] = least, most
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def get_lr(self) -> list[Any]:
        """Return the next rates, and set the momentum if it cycles."""
        now = self.last_epoch
        if now > self.total_steps:
            message = f"Tried to step {now} times. The specified number of total steps is {self.total_steps}"
            raise ValueError(message)
        rates = []
        for group in self._groups():
            start = 0.0
            for end, low, high, before, after in self._phases:
                if now <= end or end == self._phases[-1][0]:
                    share = (now - start) / (end - start)
                    rates.append(self._between(group[low], group[high], share))
                    if self.cycle_momentum:
                        _set_momentum(group, self._between(group[before], group[after], share), self.use_beta1)
                    break
                start = end
        return rates
