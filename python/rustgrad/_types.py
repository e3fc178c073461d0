"""torch's types of tensors by dtype: ``FloatTensor`` and the like, for ``isinstance`` and as constructors."""

from __future__ import annotations

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _TensorType(type):
    """The type of one dtype's tensors: there are no objects of it, tensors of the dtype count as such."""

    dtype: _core.dtype

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, Tensor) and value.dtype == cls.dtype

    def __call__(cls, *args: Any) -> Any:
        return _core._legacy_tensor(cls.dtype, *args)

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


def _make(name: str, dtype: _core.dtype) -> Any:
    return _TensorType(name, (), {"dtype": dtype, "__module__": "rustgrad", "__doc__": f"Tensors of {dtype}."})


FloatTensor = _make("FloatTensor", _core.float32)
DoubleTensor = _make("DoubleTensor", _core.float64)
LongTensor = _make("LongTensor", _core.int64)
IntTensor = _make("IntTensor", _core.int32)
ShortTensor = _make("ShortTensor", _core.int16)
CharTensor = _make("CharTensor", _core.int8)
ByteTensor = _make("ByteTensor", _core.uint8)
BoolTensor = _make("BoolTensor", _core.bool)
