"""Handles that remove hooks from the dictionaries they are kept in."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook gives back; :meth:`remove` takes the hook out again.

    Used as a context manager, it removes the hook at the end of the block.
    """

    id: int

    def __init__(self, hooks: dict[int, Any], *, extra: list[dict[int, Any]] | None = None) -> None:
        self.id = next(_ids)
        self._places: list[Any] = []
        for place in (hooks, *(extra or ())):
            try:
                self._places.append(weakref.ref(place))
            except TypeError:  # a plain dict has no weak references
                self._places.append(_strong(place))

    def remove(self) -> None:
        """Remove the hook; a second time does nothing."""
        for place in self._places:
            hooks = place()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.id, [place() for place in self._places])

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.id = state[0]
        self._places = [weakref.ref(place) if place is not None else _strong({}) for place in state[1]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def _strong(value: Any) -> Callable[[], Any]:
    return lambda: value
