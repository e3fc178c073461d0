"""Helpers around training: checkpoints, data sets and loaders, and handles of hooks."""

from rustgrad.utils import checkpoint as checkpoint
from rustgrad.utils import data as data
from rustgrad.utils import hooks as hooks


def __getattr__(name: str) -> object:
    if name in ("benchmark", "_pytree"):
        from importlib import import_module

        return import_module(f"rustgrad.utils.{name}")
    message = f"module 'rustgrad.utils' has no attribute {name!r}"
    raise AttributeError(message)
