"""Batches of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor

WRONG = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found"


def default_convert(data: Any) -> Any:
    """Return the data with arrays as tensors, in what holds them."""
    if type(data).__module__ == "numpy":
        if type(data).__name__ == "ndarray" and data.dtype.kind in "SaUO":
            return data
        return _rg.as_tensor(data)
    if isinstance(data, Mapping):
        return type(data)({key: default_convert(value) for key, value in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(value) for value in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Return a batch of samples: tensors stacked, numbers as a tensor, sequences and mappings by their parts."""
    first = batch[0]
    if isinstance(first, Tensor):
        return _rg.stack(list(batch), 0)
    if type(first).__module__ == "numpy" and type(first).__name__ not in ("str_", "string_", "bytes_"):
        if type(first).__name__ == "ndarray":
            if first.dtype.kind in "SaUO":
                message = f"{WRONG} {first.dtype}"
                raise TypeError(message)
            return default_collate([_rg.as_tensor(array) for array in batch])
        if first.shape == ():
            return _rg.as_tensor(batch)
    if isinstance(first, float):
        return _rg.tensor(batch, dtype=_rg.float64)
    if isinstance(first, int):
        return _rg.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        parts = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return type(first)(parts) if type(first) is not dict else parts  # type: ignore[call-arg]
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(part) for part in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            message = "each element in list of batch should be of equal size"
            raise RuntimeError(message)
        # Strings stay in the tuple that transposing the samples makes, as in torch.
        return [default_collate(part) for part in zip(*batch, strict=True)]
    message = f"{WRONG} {type(first)}"
    raise TypeError(message)
