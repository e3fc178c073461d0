"""The graph: its nodes and edges, and hooks on what they save."""

from __future__ import annotations

from rustgrad._core import Node
from rustgrad.autograd._saved import (
    GradientEdge,
    disable_saved_tensors_hooks,
    get_gradient_edge,
    increment_version,
    saved_tensors_hooks,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rustgrad.autograd._diagnose import GraphMemory

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "memory",
    "saved_tensors_hooks",
]


def memory() -> GraphMemory:
    """List live nodes and the bytes their saved tensors hold, by line of the program.

    A graph that is kept by mistake (a loss appended to a list with its history, say) shows up as
    the line that recorded it.
    """
    from rustgrad.autograd._diagnose import memory

    return memory()
