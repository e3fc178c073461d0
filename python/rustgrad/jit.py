"""What marks functions for torch's compiler. Nothing is compiled here: functions and modules come back as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "Final", "annotate", "export", "freeze", "ignore", "is_scripting", "is_tracing", "isinstance",
    "optimize_for_inference", "script", "script_if_tracing", "trace", "trace_module", "unused",
]  # fmt: skip


def script(obj: Any, *args: Any, **options: Any) -> Any:
    """Return what is given."""
    del args, options
    return obj


def trace(func: Any, example_inputs: Any = None, **options: Any) -> Any:
    """Return what is given."""
    del example_inputs, options
    return func


def trace_module(mod: Any, inputs: Any, **options: Any) -> Any:
    """Return what is given."""
    del inputs, options
    return mod


def freeze(mod: Any, *args: Any, **options: Any) -> Any:
    """Return what is given."""
    del args, options
    return mod


def optimize_for_inference(mod: Any, *args: Any, **options: Any) -> Any:
    """Return what is given."""
    del args, options
    return mod


def script_if_tracing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is given."""
    return fn


def export(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is given."""
    return fn


def unused(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is given."""
    return fn


def ignore(drop: Any = False, **options: Any) -> Any:
    """Return what is given, or what returns what it is given."""
    del options
    return drop if callable(drop) else (lambda fn: fn)


def annotate(the_type: Any, the_value: Any) -> Any:
    """Return a value of a type."""
    del the_type
    return the_value


def is_scripting() -> bool:
    """Return false."""
    return False


def is_tracing() -> bool:
    """Return false."""
    return False


_isinstance = isinstance


def isinstance(obj: Any, target_type: Any) -> bool:
    """Return whether an object is of a type."""
    return _isinstance(obj, target_type)
