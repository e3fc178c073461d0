"""Names for annotations."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, TypeAlias

import rustgrad as _rg
from rustgrad import Tensor as Tensor

Number: TypeAlias = int | float | bool
Device: TypeAlias = Any
Storage: TypeAlias = Any
_int = builtins.int
_float = builtins.float
_bool = builtins.bool
_dtype = _rg.dtype
_device = _rg.device
_size = Sequence[int]
_TensorOrTensors = Tensor | Sequence[Tensor]
