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
    "node_creation_hook",
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


class node_creation_hook:
    """Call ``hook`` with each node that is recorded inside, once all that belongs to it is in place.

    It may look at the node, keep things in its ``metadata`` and register hooks on it; to record something is an
    error. Contexts nest: the outermost hook is called first. An accumulator counts when it is made, which is at the
    first use of its leaf since the last graph with it went.

    >>> import rustgrad as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.node_creation_hook(lambda node: print(node.name())):
    ...     y = (x * 2).exp()
    torch::autograd::AccumulateGrad
    MulBackward0
    ExpBackward0
    """

    def __init__(self, hook: Callable[[Node], None]) -> None:
        self.hook = hook

    def __enter__(self) -> None:
        _core._push_node_creation_hook(self.hook)

    def __exit__(self, *exception: object) -> None:
        _core._pop_node_creation_hook()


def memory() -> GraphMemory:
    """List live nodes and the bytes their saved tensors hold, by line of the program.

    A graph that is kept by mistake (a loss appended to a list with its history, say) shows up as
    the line that recorded it.
    """
    from rustgrad.autograd._diagnose import memory

    return memory()
