"""Hooks on saved tensors, and edges of the graph."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import NamedTuple

from rustgrad import _core
from rustgrad._core import Node, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any


class GradientEdge(NamedTuple):
    """A place in the graph: output ``output_nr`` of ``node``."""

    node: Node
    output_nr: int
    ownership_token: Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Give the place in the graph where the gradient of ``tensor`` goes.

    It can stand for the tensor in ``backward`` and ``grad`` without keeping its data alive.

    Raises
    ------
    RuntimeError
        If the tensor does not require a gradient.
    """
    node, output = _core._gradient_edge(tensor)
    return GradientEdge(node, output, ownership_token=node if isinstance(node, _core._FunctionBase) else None)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write in place that was made behind the engine's back, so that it is not missed."""
    _core._increment_version([tensor] if isinstance(tensor, Tensor) else list(tensor))


class saved_tensors_hooks:
    """Replace what operations save inside by what ``pack_hook`` makes of it.

    ``pack_hook`` is called with each tensor when it is saved and may return anything;
    ``unpack_hook`` is called with that when the backward pass needs it, and returns a tensor with
    the same values. The innermost pair counts. A context manager and a decorator.

    Raises
    ------
    RuntimeError
        On entering where hooks are disabled (:func:`disable_saved_tensors_hooks`).
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        _core._push_saved_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exception: object) -> None:
        _core._pop_saved_hooks()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Refuse hooks on saved tensors inside: whoever enters them gets ``error_message``.

    Raises
    ------
    RuntimeError
        If hooks are active already.
    """
    if _core._saved_hooks_depth():
        raise RuntimeError(error_message)
    before = _core._disable_saved_hooks(error_message)
    try:
        yield
    finally:
        _core._disable_saved_hooks(before)
