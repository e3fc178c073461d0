"""Optimisers that read the gradient once per step: the whole list of parameters in one call."""

from __future__ import annotations

from typing import Any

from rustgrad._core import Tensor, _adagrad_step, _adam_step, _rmsprop_step, _sgd_step
from rustgrad.optim._settings import refuse_capture, settings
from rustgrad.optim.optimizer import Closure, Optimizer, Params

Rate = float | Tensor


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    Formula source: Sutskever et al., 2013, in torch's form, ``b = momentum * b + (1 - dampening) * g``.
    """

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = settings(self, locals())
        if nesterov and (momentum <= 0 or dampening != 0):
            message = "Nesterov momentum requires a momentum and zero dampening"
            raise ValueError(message)
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure) if closure is not None else None
        for g in self.param_groups:
            _sgd_step(
                g["params"],
                self.state,
                g["lr"],
                g["momentum"],
                g["dampening"],
                g["weight_decay"],
                g["nesterov"],
                g["maximize"],
            )
        return loss


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015); with ``amsgrad`` the largest second moment so far (Reddi et al., 2018)."""

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = settings(self, locals())
        if isinstance(lr, Tensor) and foreach and not capturable:
            message = "lr as a Tensor is not supported for capturable=False and foreach=True"
            raise ValueError(message)
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "decoupled_weight_decay"):
                group.setdefault(name, False)

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure) if closure is not None else None
        for g in self.param_groups:
            refuse_capture(g)
            _adam_step(
                g["params"],
                self.state,
                g["lr"],
                g["betas"],
                g["eps"],
                g["weight_decay"],
                g["amsgrad"],
                g["maximize"],
                g["decoupled_weight_decay"],
            )
        return loss


class AdamW(Adam):
    """Adam whose weights decay by themselves, not through the gradient (Loshchilov & Hutter, 2019)."""

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011)."""

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = settings(self, locals())
        super().__init__(params, defaults)
        import rustgrad

        # The state exists from the beginning.
        for group in self.param_groups:
            for parameter in group["params"]:
                full = rustgrad.full_like(parameter, initial_accumulator_value, requires_grad=False)
                self.state[parameter] = {"step": rustgrad.tensor(0.0), "sum": full}

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure)
        for g in self.param_groups:
            _adagrad_step(
                g["params"],
                self.state,
                g["lr"],
                g["lr_decay"],
                g["weight_decay"],
                g["eps"],
                g["initial_accumulator_value"],
                g["maximize"],
            )
        return loss


class RMSprop(Optimizer):
    """Divides by the root of a running average of squared gradients (Hinton, 2012; centred: Graves, 2013)."""

    def __init__(
        self,
        params: Params,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = settings(self, locals())
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0)
            group.setdefault("centered", False)
            group.setdefault("maximize", False)

    def step(self, closure: Closure | None = None) -> Any:
        """Make a step; returns what the closure returns."""
        loss = self._loss(closure)
        for g in self.param_groups:
            refuse_capture(g)
            _rmsprop_step(
                g["params"],
                self.state,
                g["lr"],
                g["alpha"],
                g["eps"],
                g["weight_decay"],
                g["momentum"],
                g["centered"],
                g["maximize"],
            )
        return loss
