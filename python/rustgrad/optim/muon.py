"""Muon: momentum whose singular values are all brought near one (Jordan et al., 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.optim.optimizer import Closure, Optimizer, Params

if TYPE_CHECKING:
    from collections.abc import Callable

_RATES: dict[str, Callable[[int, int], float]] = {
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
    "spectral_unclamped": lambda rows, columns: math.sqrt(rows / columns),
}


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Bring the singular values near one by a polynomial of odd powers, applied again and again."""
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = _rg.addmm(x, _rg.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(Optimizer):
    """For matrices of hidden layers; other parameters want another optimiser.

    Torch orthogonalises in bfloat16, this in the dtype of the parameter, so steps agree to two digits.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            message = "Tensor lr must be 1-element"
            raise ValueError(message)
        checked = (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay))
        for name, value in checked:
            if not value >= 0.0:
                message = f"{name} should be >= 0 but is: {value}"
                raise ValueError(message)
        if adjust_lr_fn is not None and adjust_lr_fn not in _RATES:
            message = f"Adjust learning rate function {adjust_lr_fn} is not supported"
            raise ValueError(message)
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    message = (
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {parameter.size()}"
                    )
                    raise ValueError(message)

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure)
        with _rg.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if group["ns_steps"] >= 100:
            message = "Number of steps must be less than 100 for computational efficiency"
            raise ValueError(message)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = _rg.zeros_like(grad)
        kept, momentum, lr = state["momentum_buffer"], group["momentum"], float(group["lr"])
        kept.lerp_(grad, 1 - momentum)
        update = grad.lerp(kept, momentum) if group["nesterov"] else kept
        update = _orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parameter.mul_(1 - lr * group["weight_decay"])
        parameter.add_(update, alpha=-lr * _RATES[group["adjust_lr_fn"] or "original"](*parameter.shape))
