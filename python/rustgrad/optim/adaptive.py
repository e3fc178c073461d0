"""Optimisers written over tensors, one parameter at a time: the less common relatives of SGD and Adam."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.optim._settings import refuse_capture, settings
from rustgrad.optim.optimizer import Closure, Optimizer, Params, check

Rate = float | Tensor
State = dict[str, Any]


class _Each(Optimizer):
    """An optimiser that is told by what it keeps for a parameter, and by how it moves one."""

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        """Return what is kept for a parameter, beside the number of its steps, before the first of them."""
        raise NotImplementedError

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        """Change a parameter and what is kept for it; ``grad`` has its final sign."""
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("maximize", False)

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure)
        with _rg.no_grad():
            for group in self.param_groups:
                refuse_capture(group)
                plain = {**group, "lr": float(group["lr"])}
                for parameter in group["params"]:
                    grad = parameter.grad
                    if grad is None:
                        continue
                    state = self.state[parameter]
                    if not state:
                        state["step"] = _rg.tensor(0.0, dtype=_counter_dtype())
                        state.update(self._fresh(parameter, group))
                    state["step"] += 1
                    self._move(parameter, -grad if group["maximize"] else grad, state, plain)
        return loss


def _counter_dtype() -> Any:
    return _rg.float64 if _rg.get_default_dtype() == _rg.float64 else _rg.float32


def _decayed(grad: Tensor, parameter: Tensor, group: dict[str, Any]) -> Tensor:
    """Return the gradient of the loss with the penalty ``weight_decay / 2 * |parameter|^2``."""
    decay = group["weight_decay"]
    return grad.add(parameter, alpha=decay) if decay != 0 else grad


def _decay(grad: Tensor, parameter: Tensor, group: dict[str, Any]) -> Tensor:
    """As :func:`_decayed`, or shrink the parameter itself where the group asks for that."""
    if not group["decoupled_weight_decay"]:
        return _decayed(grad, parameter, group)
    if group["weight_decay"] != 0:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
    return grad


def _moments(grad: Tensor, state: State, betas: tuple[float, float]) -> None:
    """Move the running averages of the gradient and of its square."""
    state["exp_avg"].lerp_(grad, 1 - betas[0])
    state["exp_avg_sq"].mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])


class Adadelta(_Each):
    """Steps in the ratio of running averages of squared steps and squared gradients (Zeiler, 2012)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        del group
        return {"square_avg": _rg.zeros_like(parameter), "acc_delta": _rg.zeros_like(parameter)}

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        grad = _decayed(grad, parameter, group)
        squares, steps = state["square_avg"], state["acc_delta"]
        squares.mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = (steps + eps).sqrt_().div_((squares + eps).sqrt_()).mul_(grad)
        steps.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        parameter.add_(delta, alpha=-group["lr"])


class Adamax(_Each):
    """Adam with the infinity norm in place of the second moment (Kingma & Ba, 2015, section 7.1)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        del group
        return {"exp_avg": _rg.zeros_like(parameter), "exp_inf": _rg.zeros_like(parameter)}

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        grad = _decayed(grad, parameter, group)
        average, largest = state["exp_avg"], state["exp_inf"]
        average.lerp_(grad, 1 - first)
        largest.copy_(_rg.maximum(largest * second, grad.abs().add_(group["eps"])))
        rate = group["lr"] / (1 - first ** state["step"].item())
        parameter.addcdiv_(average, largest, value=-rate)


class NAdam(_Each):
    """Adam with Nesterov's look ahead (Dozat, 2016)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        del group
        return {
            "mu_product": _rg.tensor(1.0, dtype=_counter_dtype()),
            "exp_avg": _rg.zeros_like(parameter),
            "exp_avg_sq": _rg.zeros_like(parameter),
        }

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        step, rate, (first, second) = state["step"].item(), group["lr"], group["betas"]
        grad = _decay(grad, parameter, group)
        now, ahead = (first * (1 - 0.5 * 0.96 ** (place * group["momentum_decay"])) for place in (step, step + 1))
        state["mu_product"] *= now
        product = state["mu_product"].item()
        _moments(grad, state, group["betas"])
        below = (state["exp_avg_sq"] / (1 - second**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(grad, below, value=-rate * (1 - now) / (1 - product))
        parameter.addcdiv_(state["exp_avg"], below, value=-rate * ahead / (1 - product * ahead))


class RAdam(_Each):
    """Adam whose adaptive rate waits until its variance can be estimated (Liu et al., 2020)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        del group
        return {"exp_avg": _rg.zeros_like(parameter), "exp_avg_sq": _rg.zeros_like(parameter)}

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        step, rate, (first, second) = state["step"].item(), group["lr"], group["betas"]
        grad = _decay(grad, parameter, group)
        _moments(grad, state, group["betas"])
        fading = second**step
        average = state["exp_avg"] / (1 - first**step)
        limit = 2 / (1 - second) - 1
        length = limit - 2 * step * fading / (1 - fading)
        if length > 5.0:
            rectified = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
            root = state["exp_avg_sq"].sqrt().add_(group["eps"])
            average.div_(root).mul_(math.sqrt(1 - fading) * math.sqrt(rectified))
        parameter.add_(average, alpha=-rate)


class Rprop(_Each):
    """Steps of a size of their own for each element, by the sign of the gradient (Riedmiller & Braun, 1993)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        return {
            "prev": _rg.zeros_like(parameter),
            "step_size": _rg.full_like(parameter, float(group["lr"]), requires_grad=False),
        }

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        (less, more), (least, most) = group["etas"], group["step_sizes"]
        agreement = grad * state["prev"]
        turned = agreement < 0
        factor = _rg.ones_like(grad).masked_fill_(agreement > 0, more).masked_fill_(turned, less)
        state["step_size"].mul_(factor).clamp_(least, most)
        # Where the sign turned the step is left out, and no sign is remembered.
        grad = grad.masked_fill(turned, 0.0)
        parameter.addcmul_(grad.sign(), state["step_size"], value=-1)
        state["prev"].copy_(grad)


class ASGD(_Each):
    """SGD that also keeps the average of its parameters (Polyak & Juditsky, 1992)."""

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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        return {
            "eta": _rg.tensor(float(group["lr"]), dtype=_counter_dtype()),
            "mu": _rg.tensor(1.0, dtype=_counter_dtype()),
            "ax": _rg.zeros_like(parameter),
        }

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
        step, eta, mu = state["step"].item(), state["eta"].item(), state["mu"].item()
        grad = _decayed(grad, parameter, group)
        parameter.mul_(1 - group["lambd"] * eta)
        parameter.add_(grad, alpha=-eta)
        mean = state["ax"]
        if mu == 1:
            mean.copy_(parameter)
        else:
            mean.add_((parameter - mean) * mu)
        eta = group["lr"] / (1 + group["lambd"] * group["lr"] * step) ** group["alpha"]
        for name, value in (("eta", eta), ("mu", 1 / max(1, step - group["t0"]))):
            # Rounded as torch does, whatever dtype it was loaded in.
            state[name].copy_(_rg.tensor(value, dtype=_counter_dtype()))


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

    def _fresh(self, parameter: Tensor, group: dict[str, Any]) -> State:
        del group
        if parameter.dim() < 2:
            return {"variance": _rg.zeros_like(parameter)}
        rows, columns = parameter.shape[-2:]
        batch = parameter.shape[:-2]
        return {"row_var": parameter.new_zeros((*batch, rows, 1)), "col_var": parameter.new_zeros((*batch, 1, columns))}

    def _move(self, parameter: Tensor, grad: Tensor, state: State, group: dict[str, Any]) -> None:
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
