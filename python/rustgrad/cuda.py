"""The module that programs ask whether there is a GPU: there is none."""

from __future__ import annotations

from typing import NoReturn

from rustgrad._aliases import alias


def is_available() -> bool:
    """Return false."""
    return False


def is_initialized() -> bool:
    """Return false."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Return false."""
    return False


def device_count() -> int:
    """Return zero."""
    return 0


def manual_seed(seed: int) -> None:
    """Do nothing: there is no generator on a GPU."""


def manual_seed_all(seed: int) -> None:
    """Do nothing: there is no generator on a GPU."""


def empty_cache() -> None:
    """Do nothing: there is no memory on a GPU."""


def _absent(*args: object, **kwargs: object) -> NoReturn:
    message = "rustgrad runs on the CPU only: there is no CUDA device"
    raise RuntimeError(message)


current_device = get_device_name = get_device_properties = synchronize = set_device = memory_allocated = _absent
max_memory_allocated = _absent

alias(__name__, amp="rustgrad._cuda_amp")
