"""Hooks on saved tensors, and edges of the graph."""

from __future__ import annotations

from _thread import _local as thread_local
from collections import namedtuple
from contextlib import contextmanager
from functools import wraps
from weakref import WeakSet

from rustgrad import _core
from rustgrad._core import Node, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NamedTuple


if TYPE_CHECKING:

    class GradientEdge(NamedTuple):
        """A place in the graph: output ``output_nr`` of ``node``."""

        node: Node
        output_nr: int
        ownership_token: Node | None = None

else:
    # `typing` would take half of the time of the import.
    GradientEdge = namedtuple("GradientEdge", ("node", "output_nr", "ownership_token"), defaults=(None,))  # noqa: PYI024
    GradientEdge.__doc__ = "A place in the graph: output ``output_nr`` of ``node``."


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Give the place in the graph where the gradient of ``tensor`` goes.

    It can stand for the tensor in ``backward`` and ``grad`` without keeping its data alive.

    Raises
    ------
    RuntimeError
        If the tensor does not require a gradient.
    """
    node, output = _core._gradient_edge(tensor)
    token = None
    if isinstance(node, _core._FunctionBase):
        # The context of a custom function does not keep its node; the node of a view does.
        before = _core._set_grad_enabled(True)
        try:
            token = tensor.view_as(tensor).grad_fn
        finally:
            _core._set_grad_enabled(before)
    return GradientEdge(node, output, ownership_token=token)


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write in place that was made behind the engine's back, so that it is not missed.

    Raises
    ------
    RuntimeError
        If ``tensor`` is neither a tensor nor an iterable of tensors.
    """
    if isinstance(tensor, Tensor):
        tensor = [tensor]
    elif not hasattr(tensor, "__iter__"):
        message = "increment_version expect a Iterable[Tensor] as input"
        raise RuntimeError(message)
    _core._increment_version(list(tensor))


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


class save_on_cpu(saved_tensors_hooks):
    """Keep what operations save in copies on the CPU, where all tensors are already.

    Parameters
    ----------
    pin_memory
        Accepted; there is no device that pinned memory would help.
    device_type
        Accepted; there is no other device.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def unpack(packed: tuple[Any, Tensor]) -> Tensor:
            return packed[1].to(packed[0])

        super().__init__(lambda tensor: (tensor.device, tensor.cpu()), unpack)


class _Kept:
    """A saved tensor, or a copy of it once it was about to be overwritten."""

    __slots__ = ("__weakref__", "copied", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self.copied = False


class _AllowMutationOnSavedContext(saved_tensors_hooks):
    """The state of one :func:`allow_mutation_on_saved_tensors` block."""

    def __init__(self) -> None:
        # Those not copied yet, by their buffer; and all.
        self._kept: dict[int, WeakSet[_Kept]] = {}
        self._all: WeakSet[_Kept] = WeakSet()
        self._open = False
        super().__init__(self._pack, self._unpack)

    @property
    def cloned(self) -> dict[_Kept, Tensor]:
        """The saved tensors that were copied because they were about to be overwritten."""
        return {kept: kept.tensor for kept in self._all if kept.copied and kept.tensor is not None}

    def clear(self) -> None:
        """Forget all that was saved."""
        for kept in self._all:
            kept.tensor = None
        self._all.clear()
        self._kept.clear()

    def _pack(self, tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        self._all.add(kept)
        self._kept.setdefault(_buffer(tensor), WeakSet()).add(kept)
        return kept

    def _unpack(self, kept: _Kept) -> Tensor:
        if not self._open or kept.tensor is None:
            message = (
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context "
                "in which the graph was originally recorded."
            )
            raise AssertionError(message)
        return kept.tensor

    def _before_write(self, target: Tensor) -> None:
        for kept in self._kept.pop(_buffer(target), ()):
            if kept.tensor is not None and not kept.copied:
                enabled = _core._set_grad_enabled(False)
                try:
                    kept.tensor = kept.tensor.detach().clone()
                finally:
                    _core._set_grad_enabled(enabled)
                kept.copied = True


def _buffer(tensor: Tensor) -> int:
    """Tell buffers apart: the address of the first element of the whole buffer."""
    return tensor.data_ptr() - tensor.storage_offset() * tensor.element_size()


_mutation = thread_local()


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_AllowMutationOnSavedContext]:
    """Let tensors that were saved be overwritten: they are copied before that.

    The backward pass must run inside too. Yields an object whose ``clear()`` gives up all copies.

    Raises
    ------
    RuntimeError
        If such blocks are nested.
    AssertionError
        By a backward pass outside of the block, or after ``clear()``.
    """
    if getattr(_mutation, "active", False):
        message = "allow_mutation_on_saved_tensors contexts cannot be nested"
        raise RuntimeError(message)
    context = _AllowMutationOnSavedContext()
    _mutation.active = context._open = True
    try:
        with context:
            _core._watch_writes(context._before_write)
            yield context
    finally:
        _core._watch_writes(None)
        _mutation.active = context._open = False
        context.clear()
