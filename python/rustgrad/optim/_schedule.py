"""The base class of schedules of learning rates."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

from rustgrad._core import Tensor
from rustgrad.optim.optimizer import Optimizer


def set_rate(group: dict[str, Any], rate: Any, key: str = "lr") -> None:
    """Give a group a new rate, in place if it is a tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(rate))
    else:
        group[key] = rate


def copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


class LRScheduler:
    """The base class: counts the steps and sets the rates of the optimiser's groups."""

    _called_by_init = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            message = f"{type(optimizer).__name__} is not an Optimizer"
            raise TypeError(message)
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", copy(group["lr"]))
        else:
            for place, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    message = (
                        f"param 'initial_lr' is not specified in param_groups[{place}] when resuming scheduler "
                        "with last_epoch >= 0.\nThis typically happens when:\n1. You're trying to resume training from "
                        "a checkpoint but haven't properly loaded the optimizer state\n2. You're using last_epoch >= 0 "
                        "for a fresh training run (not recommended)"
                    )
                    raise KeyError(message)
        self.base_lrs = [copy(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._watch_steps(optimizer)
        self._step_count = 0
        self._is_initial = self._get_lr_called_within_step = False
        self._initial_step()

    def _watch_steps(self, optimizer: Any) -> None:
        """Note when the optimiser makes a step, to warn of the wrong order."""
        if getattr(optimizer.step, "_watched", False):
            return
        step = type(optimizer).step
        reference = weakref.ref(optimizer)

        def watched(*args: Any, **kwargs: Any) -> Any:
            owner: Any = reference()
            owner._opt_called = True
            return step(owner, *args, **kwargs)

        watched._watched = True  # type: ignore[attr-defined]
        optimizer.step = watched

    def _initial_step(self) -> None:
        self._is_initial = True
        self.step()
        self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """Return the rates set last."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """Return the next rates; every schedule defines it."""
        raise NotImplementedError

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _rates(self) -> list[Any]:
        return [copy(group["lr"]) for group in self._groups()]

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you "
                "should call them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to "
                "do this will result in PyTorch skipping the first value of the learning rate schedule. See more "
                "details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
                "Please use `scheduler.step()` to step the scheduler. During the deprecation, if epoch is different "
                "from None, the closed form is used instead of the new chainable form, where available. "
                "Please open an issue if you are unable to replicate your use case: "
                "https://github.com/pytorch/pytorch/issues/new/choose.",
                UserWarning,
                stacklevel=2,
            )
            self.last_epoch = epoch
            closed = getattr(self, "_get_closed_form_lr", None)
            rates = self.get_lr() if closed is None else closed()
        for group, rate in zip(self._groups(), rates, strict=True):
            set_rate(group, rate)
        self._last_lr = self._rates()
