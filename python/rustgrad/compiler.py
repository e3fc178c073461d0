"""What steers torch's compiler. Nothing is compiled here: functions come back as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rustgrad.nn._module_functions import compile as compile

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "reset",
]


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Return what is given, or what returns what it is given."""
    del recursive, reason
    return (lambda given: given) if fn is None else fn


def allow_in_graph(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is given."""
    return fn


def assume_constant_result(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is given."""
    return fn


def is_compiling() -> bool:
    """Return false."""
    return False


def is_dynamo_compiling() -> bool:
    """Return false."""
    return False


def reset() -> None:
    """Do nothing: nothing was compiled."""
