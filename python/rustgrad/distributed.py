"""What programs ask before they use several processes: there is one."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["get_rank", "get_world_size", "init_process_group", "is_available", "is_initialized"]


def is_available() -> bool:
    """Return false."""
    return False


def is_initialized() -> bool:
    """Return false."""
    return False


def is_torchelastic_launched() -> bool:
    """Return false."""
    return False


def _absent(*args: Any, **kwargs: Any) -> NoReturn:
    message = "Default process group has not been initialized, please make sure to call init_process_group."
    raise ValueError(message)


get_rank = get_world_size = barrier = all_reduce = all_gather = broadcast = reduce = destroy_process_group = _absent


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: programs run in one process."""
    message = "rustgrad has no communication between processes"
    raise NotImplementedError(message)
