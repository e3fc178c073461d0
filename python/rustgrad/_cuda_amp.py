"""``cuda.amp``: what :mod:`rustgrad.amp` has, for a GPU, which is absent."""

from __future__ import annotations

from typing import Any

from rustgrad import amp


class GradScaler(amp.GradScaler):
    """A scaler that switches itself off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cuda", *args, **kwargs)


class autocast(amp.autocast):
    """A block that switches itself off."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)
