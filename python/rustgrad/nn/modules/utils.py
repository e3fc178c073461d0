"""Sizes given once for all dimensions."""

from __future__ import annotations

from typing import Any


def _ntuple(n: int) -> Any:
    """Return a function that repeats a number ``n`` times and leaves sequences as tuples."""

    def parse(value: Any) -> tuple[Any, ...]:
        return tuple(value) if hasattr(value, "__iter__") else (value,) * n

    return parse


_single = _ntuple(1)
_pair = _ntuple(2)
_triple = _ntuple(3)
_quadruple = _ntuple(4)
