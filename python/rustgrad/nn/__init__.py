"""Functions for neural networks."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    if name == "functional":
        from importlib import import_module

        return import_module("rustgrad.nn.functional")
    message = f"module 'rustgrad.nn' has no attribute {name!r}"
    raise AttributeError(message)
