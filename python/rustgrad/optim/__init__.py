"""Optimisers."""

from typing import Any

from rustgrad.optim.first_order import SGD as SGD
from rustgrad.optim.first_order import Adagrad as Adagrad
from rustgrad.optim.first_order import Adam as Adam
from rustgrad.optim.first_order import AdamW as AdamW
from rustgrad.optim.first_order import RMSprop as RMSprop
from rustgrad.optim.optimizer import Optimizer as Optimizer


def __getattr__(name: str) -> Any:
    # What most programs do not need is imported when it is first named.
    from importlib import import_module

    if name == "lr_scheduler":
        return import_module("rustgrad.optim.lr_scheduler")
    message = f"module 'rustgrad.optim' has no attribute {name!r}"
    raise AttributeError(message)
