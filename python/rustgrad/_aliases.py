"""Torch's names of modules for ``import`` statements, where here several modules share one or a name is an object."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Alias(type(sys)):  # type: ignore[misc]
    """A name for a module that is imported when something of it is asked for."""

    def __init__(self, name: str, target: str) -> None:
        super().__init__(name, f"What ``{target}`` has.")
        self._target = target

    def _found(self) -> Any:
        from importlib import import_module

        return import_module(self._target)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            raise AttributeError(name)
        return getattr(self._found(), name)

    def __dir__(self) -> list[str]:
        return dir(self._found())


def alias(package: str, **targets: str) -> None:
    """Make modules of a package, by name, importable; they are other modules."""
    for name, target in targets.items():
        full = f"{package}.{name}"
        found = sys.modules.setdefault(full, _Alias(full, target))
        vars(sys.modules[package]).setdefault(name, found)
