"""Grad modes: context managers, decorators and functions that switch recording on this thread."""

from __future__ import annotations

import warnings
from functools import wraps
from types import FunctionType

from rustgrad import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from rustgrad._core import Tensor

    F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """A grad mode as context manager and decorator; each call or step of a generator has its own."""

    _stack: list[Any]

    def __init__(self) -> None:
        self._stack = []

    def _copy(self) -> _Mode:
        return type(self)()

    def clone(self) -> Any:
        """Return a mode of the same kind and setting that is not entered."""
        return self._copy()

    def _enter(self) -> Any:
        raise NotImplementedError

    def _exit(self, before: Any) -> None:
        _core._set_grad_enabled(before)

    def __enter__(self) -> None:
        self._stack.append(self._enter())

    def __exit__(self, *exception: object) -> None:
        self._exit(self._stack.pop())

    def __call__(self, function: F) -> F:
        if isinstance(function, type):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. To preserve the current behavior of class decoration, you can directly "
                "decorate the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
            # torch gives back what makes the objects, with the mode around their construction.
            make: Callable[..., Any] = function

            @wraps(function)
            def construct(*args: Any, **kwargs: Any) -> Any:
                with self._copy():
                    return make(*args, **kwargs)

            return construct  # type: ignore[return-value]
        code = getattr(function, "__code__", None)
        flags = code.co_flags if isinstance(function, FunctionType) and code else 0
        if flags & 0x20:  # a generator function
            return _around_generator(self._copy, function)
        if flags & 0x80:  # a coroutine function

            @wraps(function)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                with self._copy():
                    return await function(*args, **kwargs)

            return asynchronous  # type: ignore[return-value]

        @wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return function(*args, **kwargs)

        return synchronous  # type: ignore[return-value]


def _around_generator(make: Callable[[], _Mode], function: F) -> F:
    """Switch the mode only while the generator runs, not while it waits for its consumer."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        try:
            with make():
                response = generator.send(None)
            while True:
                try:
                    request = yield response
                except GeneratorExit:
                    with make():
                        generator.close()
                    raise
                except BaseException as error:
                    with make():
                        response = generator.throw(error)
                else:
                    with make():
                        response = generator.send(request)
        except StopIteration as stop:
            return stop.value

    return wrapped  # type: ignore[return-value]


class no_grad(_Mode):
    """Operations inside are not recorded.

    Works as ``with no_grad():``, ``@no_grad()`` and ``@no_grad``.
    """

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = object.__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)

    def __init__(self, function: object = None) -> None:
        super().__init__()

    def _enter(self) -> bool:
        return _core._set_grad_enabled(False)


class enable_grad(no_grad):
    """Operations inside are recorded, also within :class:`no_grad`."""

    def _enter(self) -> bool:
        return _core._set_grad_enabled(True)


class set_grad_enabled(_Mode):
    """Switch recording at once; as context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = mode
        self._before = _core._set_grad_enabled(mode)

    def _copy(self) -> set_grad_enabled:
        copy = set_grad_enabled.__new__(set_grad_enabled)
        _Mode.__init__(copy)
        copy.mode = self.mode
        copy._before = _core.is_grad_enabled()
        return copy

    def __call__(self, function: F) -> F:
        _core._set_grad_enabled(self._before)
        return super().__call__(function)

    def _enter(self) -> bool:
        before = self._before
        _core._set_grad_enabled(self.mode)
        return before

    def __str__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    def __repr__(self) -> str:
        return str(self)


class inference_mode(_Mode):
    """Operations inside are not recorded, and neither views nor versions are tracked."""

    def __new__(cls, mode: Callable[..., Any] | bool = True) -> Any:
        self = object.__new__(cls)
        if isinstance(mode, bool):
            return self
        self.__init__()  # type: ignore[misc]
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = mode

    def _copy(self) -> inference_mode:
        return inference_mode(self.mode)

    def _enter(self) -> tuple[bool, bool]:
        before = _core._set_inference_mode(self.mode)
        return before, _core._set_grad_enabled(not self.mode)

    def _exit(self, before: Any) -> None:
        _core._set_inference_mode(before[0])
        _core._set_grad_enabled(before[1])


class _Switch(_Mode):
    """A switch of this thread: thrown at once, put back at the end of a block."""

    _set: Callable[[bool], bool]
    _get: Callable[[], bool]

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = mode
        self._before = type(self)._set(mode)

    def _copy(self) -> _Switch:
        copy = object.__new__(type(self))
        _Mode.__init__(copy)
        copy.mode = self.mode
        copy._before = type(self)._get()
        return copy

    def __call__(self, function: F) -> F:
        type(self)._set(self._before)
        return super().__call__(function)

    def _enter(self) -> Any:
        before = self._before
        type(self)._set(self.mode)
        return before

    def _exit(self, before: Any) -> None:
        type(self)._set(before)


class set_multithreading_enabled(_Switch):
    """Allow or forbid backward passes to use several threads; as context manager, until its end.

    Results do not depend on it: the same bits come from one thread and from many.
    """

    _set = staticmethod(_core._set_multithreading_enabled)
    _get = staticmethod(_core._is_multithreading_enabled)


class enforce_grad_layout_policy(_Switch):
    """Choose whether a gradient must be laid out like its leaf to become ``.grad`` itself (the default).

    Without, one that nobody else holds is taken as it came; where a copy is needed it is laid out like the leaf all
    the same.
    """

    _set = staticmethod(_core._set_layout_enforced)
    _get = staticmethod(_core._is_layout_enforced)

    def __init__(self, enable: bool = True) -> None:
        super().__init__(enable)


class _force_original_view_tracking(_Switch):
    """Take torch's switch of view replay, and do nothing: views are followed by sizes and strides either way."""

    _on = False

    @staticmethod
    def _set(mode: bool) -> bool:
        before = _force_original_view_tracking._on
        _force_original_view_tracking._on = mode
        return before

    @staticmethod
    def _get() -> bool:
        return _force_original_view_tracking._on


def is_view_replay_enabled() -> bool:
    """Tell what ``_force_original_view_tracking`` was set to."""
    return _force_original_view_tracking._on


class _unsafe_preserve_version_counter(_Mode):
    """Hide writes in place to these tensors from saved tensors: gradients may be wrong after."""

    def __init__(self, tensors: Tensor | tuple[Tensor, ...]) -> None:
        super().__init__()
        self.tensors = tensors if isinstance(tensors, tuple) else (tensors,)
        self._versions = [tensor._version for tensor in self.tensors]

    def _copy(self) -> _unsafe_preserve_version_counter:
        return _unsafe_preserve_version_counter(self.tensors)

    def _enter(self) -> list[int]:
        return self._versions

    def _exit(self, before: Any) -> None:
        _core._set_versions(list(self.tensors), before)
