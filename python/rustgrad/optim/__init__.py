"""Optimisers."""

from typing import Any

from rustgrad.optim.first_order import SGD as SGD
from rustgrad.optim.first_order import Adagrad as Adagrad
from rustgrad.optim.first_order import Adam as Adam
from rustgrad.optim.first_order import AdamW as AdamW
from rustgrad.optim.first_order import RMSprop as RMSprop
from rustgrad.optim.optimizer import Optimizer as Optimizer


def __getattr__(name: str) -> Any:
    # Modules that most programs do not need are imported when they are first named.
    from importlib import import_module

    if name == "LBFGS":
        return import_module("rustgrad.optim.lbfgs").LBFGS
    if name in ("lr_scheduler", "swa_utils"):
        return import_module(f"rustgrad.optim.{name}")
    message = f"module 'rustgrad.optim' has no attribute {name!r}"
    raise AttributeError(message)
