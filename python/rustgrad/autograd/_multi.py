"""Hooks on several gradients at once."""

from __future__ import annotations

from _thread import allocate_lock
from functools import partial

from rustgrad import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from typing_extensions import Self

    from rustgrad._core import Tensor


class _Handle:
    """Removes the hook from all tensors."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Remove the hook; doing so again does nothing."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _All:
    """Collects the gradients of each pass and calls the hook with all of them."""

    def __init__(self, nodes: list[Any], function: Callable[[Sequence[Tensor | None]], None]) -> None:
        self.nodes = nodes
        self.function = function
        self.lock = allocate_lock()
        # By pass: how many gradients it will bring, and those that have come.
        self.passes: dict[int, tuple[int, list[Tensor | None]]] = {}

    def arrived(self, index: int, grad: Tensor | None) -> None:
        running = _core._current_graph_task_id()
        with self.lock:
            if running in self.passes:
                expected, grads = self.passes[running]
            else:
                # What passes that failed have left behind.
                while len(self.passes) > 64:
                    self.passes.pop(next(iter(self.passes)))
                expected, grads = sum(_core._will_run(node) for node in self.nodes), [None] * len(self.nodes)
            grads[index] = grad
            expected -= 1
            if expected > 0:
                self.passes[running] = expected, grads
            else:
                self.passes.pop(running, None)
        if expected == 0:
            self.function(grads)


class _Any:
    """Calls the hook with the first gradient of each pass."""

    def __init__(self, function: Callable[[Tensor], None]) -> None:
        self.function = function
        self.lock = allocate_lock()
        self.seen: dict[int, None] = {}

    def arrived(self, grad: Tensor) -> None:
        running = _core._current_graph_task_id()
        with self.lock:
            first = running not in self.seen
            self.seen[running] = None
            while len(self.seen) > 64:
                self.seen.pop(next(iter(self.seen)))
        if first:
            self.function(grad)


def register_multi_grad_hook(
    tensors: Sequence[Tensor],
    fn: Callable[[Sequence[Tensor | None]], None] | Callable[[Tensor], None],
    *,
    mode: str = "all",
) -> _Handle:
    """Register a function that is called when gradients of several tensors are there.

    Parameters
    ----------
    tensors
        The tensors; each must require a gradient.
    fn
        With mode ``"all"`` it is called once in each pass, when the last gradient of ``tensors`` that
        the pass computes is there, with all of them (None for those it does not compute). With mode
        ``"any"`` it is called with the first gradient of each pass.
    mode
        ``"all"`` or ``"any"``.

    Returns
    -------
    A handle with ``remove()``.

    Raises
    ------
    ValueError
        If ``mode`` is neither.
    """
    if mode not in ("all", "any"):
        message = f"Expects mode to be one of ('all', 'any') but got {mode}"
        raise ValueError(message)
    if mode == "any":
        hook = _Any(fn)  # type: ignore[arg-type]
        return _Handle([tensor.register_hook(hook.arrived) for tensor in tensors if tensor.requires_grad])
    nodes = []
    for tensor in tensors:
        if not tensor.requires_grad:
            message = "Expected gradient function to be set"
            raise AssertionError(message)
        nodes.append(_core._gradient_edge(tensor)[0])
    collector = _All(nodes, fn)  # type: ignore[arg-type]
    handles = [tensor.register_hook(partial(collector.arrived, i)) for i, tensor in enumerate(tensors)]
    return _Handle(handles)
