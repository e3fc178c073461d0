"""Functions for other devices, layouts and languages, for ``rustgrad._composed``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad as _rg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor

# What other devices and layouts would need; here there is the CPU and strides.


def get_device(input: Tensor) -> int:
    """Return ``-1``, the number of the CPU."""
    del input
    return -1


def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """Return the tensor, which is dense, in a dtype."""
    del masked_grad
    return input if dtype is None else input.to(dtype)


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Refuse: the CPU is the only device."""
    message = "Torch not compiled with CUDA enabled"
    raise AssertionError(message)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Refuse: memory is pinned for the sake of other devices."""
    message = "Cannot access accelerator device when none is available."
    raise RuntimeError(message)


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Return False."""
    return False


def is_shared(self: Tensor) -> bool:
    """Return False: memory is the process's own."""
    return False


def share_memory_(self: Tensor) -> Tensor:
    """Refuse: memory is the process's own."""
    message = "share_memory_: tensors cannot be moved to memory that processes share; send their values instead"
    raise NotImplementedError(message)


# A Python function for each element.


def _by_element(name: str, input: Tensor, function: Any, others: Sequence[Tensor]) -> Tensor:
    if input.requires_grad:
        message = f"{name}() cannot be called on a tensor that requires grad. Use detach() before."
        raise RuntimeError(message)
    if not callable(function):
        message = f"{name}(): argument 'callable' must be callable, not {type(function).__name__}"
        raise TypeError(message)
    values = [function(*each) for each in zip(*(t.flatten().tolist() for t in (input, *others)), strict=True)]
    return input.copy_(_rg.tensor(values, dtype=input.dtype).view(input.shape))


def apply_(input: Tensor, callable: Any) -> Tensor:
    """Replace each element by what a function makes of it."""
    return _by_element("apply_", input, callable, ())


def map_(input: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replace each element by what a function makes of it and of another tensor's."""
    return _by_element("map_", input, callable, (tensor.expand_as(input),))
