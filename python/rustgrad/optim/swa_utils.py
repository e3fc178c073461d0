"""Averages of models over the steps of their training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.nn import Module
from rustgrad.nn.modules.normalization import _BatchNorm
from rustgrad.optim._schedule import LRScheduler

if TYPE_CHECKING:
    from rustgrad.optim.optimizer import Optimizer

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        message = f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        raise ValueError(message)


def get_swa_avg_fn() -> Average:
    """Return the equally weighted mean, as a function of the mean so far, a new value and the number so far."""

    def average(mean: Tensor, value: Tensor, count: Any) -> Tensor:
        result: Tensor = mean + (value - mean) / (count + 1)
        return result

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the exponentially weighted mean, as a function of the mean so far, a new value and the number so far."""
    _check_decay(decay)

    def average(mean: Tensor, value: Tensor, count: Any) -> Tensor:
        del count
        return decay * mean + (1 - decay) * value

    return average


def _of_lists(average: Average) -> Averages:
    def averages(means: list[Tensor], values: list[Tensor], count: Any) -> None:
        with _rg.no_grad():
            for mean, value in zip(means, values, strict=True):
                mean.copy_(average(mean, value, count))

    return averages


def get_swa_multi_avg_fn() -> Averages:
    """Return :func:`get_swa_avg_fn` for lists of tensors, which it changes in place."""
    return _of_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """Return :func:`get_ema_avg_fn` for lists of tensors, which it changes in place."""
    return _of_lists(get_ema_avg_fn(decay))


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of those of the model.

    Parameters
    ----------
    model
        The model to copy.
    device
        Where the copy is to be.
    avg_fn, multi_avg_fn
        How one tensor or lists of tensors are averaged; equal weights if both are absent.
    use_buffers
        Whether buffers are averaged too; otherwise they are copied.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            message = "Only one of avg_fn and multi_avg_fn should be provided"
            raise AssertionError(message)
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _rg.tensor(0, dtype=_rg.long))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    def _averaged(self, model: Module) -> list[Tensor]:
        buffers: Iterable[Tensor] = model.buffers() if self.use_buffers else ()
        return [tensor.detach() for tensor in itertools.chain(model.parameters(), buffers)]

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of the model into the averages."""
        means, values = self._averaged(self.module), self._averaged(model)
        if self.n_averaged == 0:
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(means, values, self.n_averaged)
        else:
            _of_lists(self.avg_fn or get_swa_avg_fn())(means, values, self.n_averaged)
        if not self.use_buffers:
            for own, new in zip(self.module.buffers(), model.buffers(), strict=True):
                own.detach().copy_(new.detach())
        self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Estimate the running statistics of batch normalisations anew, with a pass over the data."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    if not layers:
        return
    was_training = model.training
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    with _rg.no_grad():
        for batch in loader:
            data = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(data if device is None else data.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to a fixed one within some epochs, by a cosine or a straight line."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            message = (
                f"swa_lr must have the same length as optimizer.param_groups: swa_lr has {len(rates)}, "
                f"optimizer.param_groups has {len(groups)}"
            )
            raise ValueError(message)
        for group, rate in zip(groups, rates, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            message = f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            raise ValueError(message)
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            message = f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}"
            raise ValueError(message)
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """Return how much of the way is done after a number of steps."""
        done = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * done)) / 2 if self._anneal_strategy == "cos" else done

    def get_lr(self) -> list[Any]:
        """Return the next rates."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self._groups():
            target, rate = group["swa_lr"], group["lr"]
            # The rate the way began with, from where it is now.
            start = target if before == 1 else (rate - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
