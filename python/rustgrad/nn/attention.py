"""The choice among torch's implementations of attention. Here there is one, which every choice takes."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """Torch's implementations."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: SDPBackend | list[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Accept a choice, which changes nothing."""
    del set_priority
    several = [backends] if isinstance(backends, SDPBackend) else backends
    if not all(isinstance(each, SDPBackend) for each in several):
        message = "Backend must be an instance of SDPBackend or a list of SDPBackend instances"
        raise AssertionError(message)
    yield
