"""The graph: its nodes and edges, and hooks on what they save."""

from __future__ import annotations

from rustgrad import _core
from rustgrad._core import Node
from rustgrad.autograd._multi import register_multi_grad_hook
from rustgrad.autograd._saved import (
    GradientEdge,
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    get_gradient_edge,
    increment_version,
    save_on_cpu,
    saved_tensors_hooks,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rustgrad.autograd._diagnose import GraphMemory

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "memory",
    "queue_callback",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


def queue_callback(callback: Callable[[], Any]) -> None:
    """Have ``callback`` called when the backward pass running on this thread has ended without an error.

    Raises
    ------
    RuntimeError
        If no pass is running.
    """
    _core._queue_callback(callback)


def memory() -> GraphMemory:
    """List live nodes and the bytes their saved tensors hold, by line of the program.

    A graph that is kept by mistake (a loss appended to a list with its history, say) shows up as
    the line that recorded it.
    """
    from rustgrad.autograd._diagnose import memory

    return memory()
