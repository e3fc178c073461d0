"""Checkpoints that torch wrote: archives of a pickle, which names storages, and of a file for each storage.

Half-precision numbers, which rustgrad does not have, become float32.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._size import Size
from rustgrad.serialization import _PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from rustgrad._core import Tensor

# By torch's name of the storage: NumPy's dtype.
_STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2",
    "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?", "HalfStorage": "f2", "BFloat16Storage": "u2",
}  # fmt: skip


def _tensor(
    storage: Tensor, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any, metadata: Any = None
) -> Tensor:
    del hooks, metadata
    # Tensors of one storage share memory, but none is a view of another.
    made: Tensor = storage.as_strided(tuple(size), tuple(stride), offset).detach()
    return made.requires_grad_(requires_grad)


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Any:
    from rustgrad.nn.parameter import Parameter

    del hooks
    return Parameter(data, requires_grad)


def _parameter_with_state(data: Tensor, requires_grad: bool, hooks: Any, state: Any) -> Any:
    made = _parameter(data, requires_grad, hooks)
    made.__dict__.update(state)
    return made


_REBUILD: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch", "Size"): Size,
    ("torch", "device"): _rg.device,
    ("torch.serialization", "_get_layout"): lambda name: _rg.strided,
}


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, read: Callable[[str], bytes], weights_only: bool) -> None:
        super().__init__(io.BytesIO(data))
        self._read, self._weights_only = read, weights_only
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of torch's stands for here."""
        if (module, name) in _REBUILD:
            return _REBUILD[module, name]
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "torch":
            if name in _STORAGES:
                return name
            found = getattr(_rg, name, None)
            if isinstance(found, type(_rg.float32)):
                return found
        if self._weights_only:
            message = (
                f"Weights only load failed: the file holds a {module}.{name}. Pass weights_only=False if you trust "
                "it: loading then runs code that the file names."
            )
            raise pickle.UnpicklingError(message)
        if module == "torch" or module.startswith("torch."):
            module = f"rustgrad{module[5:]}"
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage, as a tensor of one dimension."""
        _, kind, key, _, count = pid
        if key not in self._storages:
            self._storages[key] = _elements(self._read(key), kind, count)
        return self._storages[key]


def _elements(data: bytes, kind: Any, count: int) -> Tensor:
    import numpy as np

    if not isinstance(kind, str):
        message = f"the file holds a storage of {kind}, which rustgrad does not have"
        raise pickle.UnpicklingError(message)
    array: Any = np.frombuffer(data, dtype=np.dtype(_STORAGES[kind]).newbyteorder("<"), count=count)
    if kind in ("HalfStorage", "BFloat16Storage"):
        warnings.warn("rustgrad has no half precision: tensors of it are loaded as float32", stacklevel=5)
        wide = array.astype(np.uint32) << 16
        array = wide.view(np.float32) if kind == "BFloat16Storage" else array.astype(np.float32)
    result: Tensor = _rg.tensor(array.astype(array.dtype.newbyteorder("=")))
    return result


def read(file: BinaryIO, weights_only: bool) -> Any:
    """Read an archive."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next((name[: -len("data.pkl")] for name in names if name.endswith("data.pkl")), None)
        if root is None:
            message = "the archive holds no data.pkl: it is no checkpoint of torch's"
            raise RuntimeError(message)
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            message = "the checkpoint was written in the other order of bytes"
            raise RuntimeError(message)
        data = archive.read(f"{root}data.pkl")
        return _Reader(data, lambda key: archive.read(f"{root}data/{key}"), weights_only).load()
