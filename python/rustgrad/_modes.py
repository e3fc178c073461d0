"""Layouts, memory formats and switches of the module that programs name, with one choice each."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg


class layout:
    """How the elements of a tensor lie: dense."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


class memory_format:
    """In which order the dimensions lie."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
newaxis = None

_precision = "highest"
_deterministic = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Note the wish: results here never depend on chance or on the number of threads."""
    del warn_only
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """Return what :func:`use_deterministic_algorithms` was told."""
    return _deterministic


def set_float32_matmul_precision(precision: str) -> None:
    """Note the wish: products here have full precision always."""
    if precision not in ("highest", "high", "medium"):
        message = f"Invalid Precision: {precision}, it must be 'highest', 'high' or 'medium'"
        raise RuntimeError(message)
    global _precision
    _precision = precision


def get_float32_matmul_precision() -> str:
    """Return what :func:`set_float32_matmul_precision` was told."""
    return _precision


def get_default_device() -> Any:
    """Return the CPU."""
    return _rg.device("cpu")


def set_default_device(device: Any) -> None:
    """Accept the CPU."""
    if device is not None:
        _rg.device(str(device))
