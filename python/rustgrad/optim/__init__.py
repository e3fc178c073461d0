"""Optimisers."""

from typing import Any

from rustgrad._aliases import alias
from rustgrad.optim.first_order import SGD as SGD
from rustgrad.optim.first_order import Adagrad as Adagrad
from rustgrad.optim.first_order import Adam as Adam
from rustgrad.optim.first_order import AdamW as AdamW
from rustgrad.optim.first_order import RMSprop as RMSprop
from rustgrad.optim.optimizer import Optimizer as Optimizer

_LATER = {
    **dict.fromkeys(("ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "Rprop"), "adaptive"),
    "LBFGS": "lbfgs",
    "Muon": "muon",
}


def __getattr__(name: str) -> Any:
    # What most programs do not need is imported when it is first named.
    from importlib import import_module

    if name in ("lr_scheduler", "swa_utils"):
        return import_module(f"rustgrad.optim.{name}")
    if name in _LATER:
        found = getattr(import_module(f"rustgrad.optim.{_LATER[name]}"), name)
        globals()[name] = found
        return found
    message = f"module 'rustgrad.optim' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "lr_scheduler", "swa_utils"})


alias(
    __name__,
    **dict.fromkeys(("adagrad", "adam", "adamw", "rmsprop", "sgd"), "rustgrad.optim.first_order"),
    **dict.fromkeys(("adadelta", "adamax", "asgd", "nadam", "radam", "rprop"), "rustgrad.optim.adaptive"),
    _adafactor="rustgrad.optim.adaptive",
    _muon="rustgrad.optim.muon",
)
