"""The old name of a tensor that takes part in differentiation."""

from __future__ import annotations

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Variable"]


class _Engine:
    """What programs ask of torch's engine object."""

    @staticmethod
    def queue_callback(callback: Callable[[], Any]) -> None:
        """Have ``callback`` called when the backward pass running on this thread has ended.

        Raises
        ------
        RuntimeError
            If no pass is running.
        """
        _core._queue_callback(callback)

    @staticmethod
    def is_checkpoint_valid() -> bool:
        """Tell whether re-entrant checkpoints work in the running pass: they do where it goes to all leaves."""
        return bool(_core._is_checkpoint_valid())


class _VariableMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(data, requires_grad=False)`` gives a tensor that shares memory with ``data``.

    Tensors are variables: ``isinstance(tensor, Variable)`` holds.
    """

    _execution_engine = _Engine()

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        """Give a tensor with the same data and no history."""
        if data is None:
            from rustgrad._core import empty

            return empty(0, requires_grad=requires_grad)
        if not isinstance(data, Tensor):
            message = f"Variable data has to be a tensor, but got {type(data).__name__}"
            raise TypeError(message)
        return data.detach().requires_grad_(requires_grad)
