"""Modules on several devices: there is one."""

from __future__ import annotations

from typing import Any

from rustgrad.nn.modules.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """A module around another one, which it calls."""

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        self.output_device, self.dim = output_device, dim
        del device_ids

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(*inputs, **kwargs)
