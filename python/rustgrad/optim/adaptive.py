"""The less common relatives of SGD and Adam."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor, _rule_step
from rustgrad.optim._settings import refuse_capture, settings
from rustgrad.optim.optimizer import Closure, Optimizer, Params, check

Rate = float | Tensor
State = dict[str, Any]
Group = dict[str, Any]


class _Each(Optimizer):
    """An optimiser that is told by what it keeps for a parameter, and by how it moves one."""

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        """Return what is kept for a parameter, beside the number of its steps, before the first of them."""
        raise NotImplementedError

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: Group) -> None:
        """Change a parameter and what is kept for it; ``grad`` has its final sign."""
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("maximize", False)

    def _step_group(self, group: Group) -> None:
        """Make the step of a group, whose rate is a number."""
        for parameter, grad, state in self._each(group):
            self._move(parameter, -grad if group["maximize"] else grad, state, group)

    def _each(self, group: Group) -> Iterator[tuple[Tensor, Tensor, State]]:
        """Go through the parameters that have gradients, with what is kept for them, and count the step."""
        for parameter in group["params"]:
            grad = parameter.grad
            if grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = _rg.tensor(0.0, dtype=_counter_dtype())
                state.update(self._fresh(parameter, group))
            state["step"] += 1
            yield parameter, grad, state

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure)
        with _rg.no_grad():
            for group in self.param_groups:
                refuse_capture(group)
                self._step_group({**group, "lr": float(group["lr"])})
        return loss


class _Ruled(_Each):
    """An optimiser whose rule the engine has, for all parameters in one call; told by the numbers of the rule."""

    _rule: str
    _kept: tuple[str, ...]

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        """Return the numbers of the rule for this step of a parameter, in the order the engine takes them."""
        raise NotImplementedError

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        del group
        return {name: _rg.zeros_like(parameter, requires_grad=False) for name in self._kept}

    def _step_group(self, group: Group) -> None:
        rows = [
            (parameter, grad, [state[name] for name in self._kept], self._numbers(float(state["step"]), state, group))
            for parameter, grad, state in self._each(group)
        ]
        _rule_step(self._rule, rows, group["maximize"])


def _counter_dtype() -> Any:
    return _rg.float64 if _rg.get_default_dtype() == _rg.float64 else _rg.float32


def _shrinkage(group: Group) -> tuple[float, float]:
    """Return the weight decay to add to the gradient and the factor of the parameter, one of which has no effect."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1 - group["lr"] * group["weight_decay"]
    return group["weight_decay"], 1.0


class Adadelta(_Ruled):
    """Steps in the ratio of running averages of squared steps and squared gradients (Zeiler, 2012)."""

    _rule = "Adadelta"
    _kept = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Params,
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(self, locals()))

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        return group["lr"], group["rho"], group["eps"], group["weight_decay"]


class Adamax(_Ruled):
    """Adam with the infinity norm in place of the second moment (Kingma & Ba, 2015, section 7.1)."""

    _rule = "Adamax"
    _kept = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Params,
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, settings(self, locals()))

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        first, second = group["betas"]
        return group["lr"] / (1 - first**step), first, second, group["eps"], group["weight_decay"]


class NAdam(_Ruled):
    """Adam with Nesterov's look ahead (Dozat, 2016)."""

    _rule = "NAdam"
    _kept = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(self, locals()))

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        return {"mu_product": _rg.tensor(1.0, dtype=_counter_dtype())} | super()._fresh(parameter, group)

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        rate, (first, second) = group["lr"], group["betas"]
        now, ahead = (first * (1 - 0.5 * 0.96 ** (place * group["momentum_decay"])) for place in (step, step + 1))
        state["mu_product"] *= now
        product = state["mu_product"].item()
        parts = rate * (1 - now) / (1 - product), rate * ahead / (1 - product * ahead)
        return *parts, first, second, 1 - second**step, group["eps"], *_shrinkage(group)


class RAdam(_Ruled):
    """Adam whose adaptive rate waits until its variance can be estimated (Liu et al., 2020)."""

    _rule = "RAdam"
    _kept = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, settings(self, locals()))

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        rate, (first, second) = group["lr"], group["betas"]
        fading = second**step
        limit = 2 / (1 - second) - 1
        length = limit - 2 * step * fading / (1 - fading)
        rectified = 0.0
        if length > 5.0:
            rectified = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
        corrections = 1 - first**step, math.sqrt(1 - fading)
        return rate, first, second, *corrections, rectified, group["eps"], *_shrinkage(group)


class Rprop(_Ruled):
    """Steps of a size of their own for each element, by the sign of the gradient (Riedmiller & Braun, 1993)."""

    _rule = "Rprop"
    _kept = ("prev", "step_size")

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = settings(self, locals())
        check(0.0 < etas[0] < 1.0 < etas[1], f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, defaults)

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        size = _rg.full_like(parameter, group["lr"], requires_grad=False)
        return super()._fresh(parameter, group) | {"step_size": size}

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        return *group["etas"], *group["step_sizes"]


class ASGD(_Ruled):
    """SGD that also keeps the average of its parameters (Polyak & Juditsky, 1992)."""

    _rule = "ASGD"
    _kept = ("ax",)

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, settings(self, locals(), unchecked=("alpha", "lambd")))

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        eta, mu = (_rg.tensor(value, dtype=_counter_dtype()) for value in (group["lr"], 1.0))
        return {"eta": eta, "mu": mu} | super()._fresh(parameter, group)

    def _numbers(self, step: float, state: State, group: Group) -> tuple[float, ...]:
        eta, mu, rate, pull = state["eta"].item(), state["mu"].item(), group["lr"], group["lambd"]
        after = rate / (1 + pull * rate * step) ** group["alpha"]
        for name, value in (("eta", after), ("mu", 1 / max(1, step - group["t0"]))):
            # Rounded as torch does, whatever dtype it was loaded in.
            state[name].copy_(_rg.tensor(value, dtype=_counter_dtype()))
        return eta, 1 - pull * eta, mu, group["weight_decay"]


class Adafactor(_Each):
    """Second moments of matrices kept as those of rows and columns alone (Shazeer & Stern, 2018)."""

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check(bool(lr >= 0.0), f"Learning rate should be >= 0 but is: {lr}")
        check(beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        check(eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        check(eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        check(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}")
        check(weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(params, settings(self, locals(), unchecked=("eps",)))

    def _fresh(self, parameter: Tensor, group: Group) -> State:
        del group
        if parameter.dim() < 2:
            return {"variance": _rg.zeros_like(parameter)}
        rows, columns = parameter.shape[-2:]
        batch = parameter.shape[:-2]
        return {"row_var": parameter.new_zeros((*batch, rows, 1)), "col_var": parameter.new_zeros((*batch, 1, columns))}

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: Group) -> None:
        step, rate = state["step"].item(), group["lr"]
        tiny, least = group["eps"]
        tiny = _rg.finfo(parameter.dtype).eps if tiny is None else tiny
        weight = step ** group["beta2_decay"]
        size = parameter.norm(2).item() / math.sqrt(parameter.numel())
        alpha = max(least, size) * min(rate, 1 / math.sqrt(step))
        if group["weight_decay"] != 0:
            parameter.mul_(1 - rate * group["weight_decay"])
        squares = grad * grad
        if grad.dim() > 1:
            rows = state["row_var"].lerp_(squares.mean(-1, True), weight)
            columns = state["col_var"].lerp_(squares.mean(-2, True), weight)
            variance = rows @ columns
            variance.div_(rows.mean(-2, True).clamp_(min=tiny))
        else:
            variance = state["variance"].lerp_(squares, weight).clone()
        update = variance.clamp_(min=tiny * tiny).rsqrt_().mul_(grad)
        excess = max(1.0, update.norm(2).item() / (math.sqrt(update.numel()) * group["d"]))
        parameter.add_(update, alpha=-alpha / excess)
