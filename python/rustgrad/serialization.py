"""Tensors and what holds them in files: ``save`` and ``load``.

The files are pickles; archives that torch wrote are read as well.
"""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

__all__ = ["load", "save"]

_MAGIC = b"rustgrad\x01"
_PLAIN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "slice"): slice,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("_codecs", "encode"): __import__("codecs").encode,
}


def save(obj: object, f: str | os.PathLike[str] | BinaryIO, pickle_protocol: int = 4) -> None:
    """Write an object, with the tensors in it, to a file.

    Parameters
    ----------
    obj
        Anything that can be pickled. Tensors keep dtype, shape and ``requires_grad``, not their history.
    f
        A path, or a binary file open for writing.
    pickle_protocol
        The version of the pickle format.
    """
    if isinstance(f, str | os.PathLike):
        with Path(f).open("wb") as file:
            save(obj, file, pickle_protocol)
        return
    f.write(_MAGIC)
    pickle.dump(obj, f, protocol=pickle_protocol)


class _Safe(pickle.Unpickler):
    """Makes tensors, parameters and plain containers only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "rustgrad" or module.startswith("rustgrad."):
            found = super().find_class(module, name)
            kind = isinstance(found, type) and issubclass(found, Tensor | _core.device | tuple)
            if kind or isinstance(found, _core.dtype) or name.startswith("_rebuild"):
                return found
        message = (
            f"Weights only load failed: the file holds a {module}.{name}. Pass weights_only=False if you trust it: "
            "loading then runs code that the file names."
        )
        raise pickle.UnpicklingError(message)


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: object = None,
    *,
    weights_only: bool = True,
) -> Any:
    """Read what :func:`save` wrote, or torch's.

    Parameters
    ----------
    f
        A path, or a binary file open for reading.
    map_location
        Where tensors are to be: None or the CPU.
    weights_only
        Refuse anything but tensors, parameters and plain containers; without, a file can run any code.

    Raises
    ------
    pickle.UnpicklingError
        If the file holds something else and ``weights_only`` is set.
    ValueError
        If the file was written by neither.
    """
    if map_location is not None and not callable(map_location) and not isinstance(map_location, dict):
        _core.device(str(map_location))
    if isinstance(f, str | os.PathLike):
        with Path(f).open("rb") as file:
            return load(file, map_location, weights_only=weights_only)
    first = f.read(len(_MAGIC))
    if first.startswith(b"PK"):
        # An archive that torch wrote.
        from rustgrad._archive import read

        return read(io.BytesIO(first + f.read()), weights_only)
    if first != _MAGIC:
        message = "the file was not written by rustgrad.save, nor by torch.save as an archive"
        raise ValueError(message)
    if not weights_only:
        return pickle.load(f)
    return _Safe(io.BytesIO(f.read())).load()
