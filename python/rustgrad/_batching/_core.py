"""Tensors that stand for all slices of a batch, and how operations find their rules."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad import _core
from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Rule = Callable[..., Any]


class Refused(Exception):
    """There is no rule for what was asked of a batch; the function must be called slice by slice."""


class Forbidden(RuntimeError):
    """What a function that is mapped over a batch must not do."""


class Level:
    """One batch at work: the number of its slices, and how it stands to others."""

    __slots__ = ("before", "depth", "inputs", "randomness", "size", "state")

    def __init__(self, size: int, depth: int, randomness: str, inputs: Sequence[Any]) -> None:
        self.size = size
        self.depth = depth
        self.randomness = randomness
        #: The tensors that the slices are of, and what they held before the first was written to.
        self.inputs = inputs
        self.before: list[tuple[Any, Any]] = []
        #: Where the generator of random numbers stood, but for draws of each slice its own.
        self.state = _core.get_rng_state()

    def note_write(self, value: Any) -> None:
        """Keep what an argument holds before it is overwritten, in case the function must be called again."""
        if self.before:
            return
        written = _root(base(value))
        for one in self.inputs:
            if _root(one) is written:
                if one.requires_grad:
                    refuse("a write in place to what has a history")
                self.before.append((one, one.detach().clone()))

    def undo(self) -> None:
        """Put back what arguments held."""
        for one, held in self.before:
            one.detach().copy_(held)


class _Active(threading.local):
    def __init__(self) -> None:
        self.levels: list[Level] = []


active = _Active()

#: What each operation is for a batch: called with the level, the operation's name and its arguments.
RULES: dict[str, Rule] = {}

_SPELLINGS = {"axis": "dim", "keepdims": "keepdim", "x2": "other"}
_FIRST = ("input", "x", "a", "x1")


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a function as the rule of operations."""

    def enter(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return enter


def refuse(what: str) -> Any:
    """Say that there is no rule."""
    message = f"{what} has no rule for a batch"
    raise Refused(message)


def _root(tensor: Any) -> Any:
    return tensor if tensor._base is None else tensor._base


def _deepest(values: Any, found: Level | None) -> Level | None:
    for value in values:
        kind = type(value)
        if kind is Batched:
            if found is None or value.level.depth > found.depth:
                found = value.level
        elif kind is list or kind is tuple:
            found = _deepest(value, found)
    return found


def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out an operation with arguments that stand for batches: the innermost batch first."""
    found = RULES.get(name)
    if found is None:
        refuse(name)
    level = _deepest(args, None)
    if kwargs:
        if "out" in kwargs:
            if kwargs["out"] is not None:
                refuse(f"{name}(out=...)")
            del kwargs["out"]
        for spelling in _FIRST:
            if spelling in kwargs and not spelling.startswith("_"):
                args = (kwargs.pop(spelling), *args)
        for wrong, right in _SPELLINGS.items():
            if wrong in kwargs:
                kwargs[right] = kwargs.pop(wrong)
        level = _deepest(kwargs.values(), _deepest(args, level))
    return found(level, name, *args, **kwargs)  # type: ignore[misc]


def opened(level: Level, value: Any) -> Any:
    """Give the slices of what stands for a batch of this level; None for anything else."""
    return value.value if type(value) is Batched and value.level is level else None


def slices(level: Level, value: Any) -> Any:
    """Give the slices of a tensor, with the batch in front: all the same ones if it is no batch."""
    if type(value) is Batched and value.level is level:
        return value.value
    return value.expand(level.size, *value.shape)


def wrapped(level: Level, result: Any) -> Any:
    """Make a batch of a result, or of each of several."""
    if isinstance(result, Tensor):
        return Batched(result, level)
    if isinstance(result, tuple):
        parts = [wrapped(level, one) for one in result]
        return type(result)(parts) if hasattr(result, "_fields") or type(result) is not tuple else tuple(parts)
    return [wrapped(level, one) for one in result] if isinstance(result, list) else result


def base(value: Any) -> Any:
    """Give the tensor with all batches in front."""
    while type(value) is Batched:
        value = value.value
    return value


def lifted(value: Any, levels: Sequence[Level]) -> Any:
    """Give a tensor of which each slice of all these batches, the outermost first, has its own."""
    if not levels:
        return value
    return Batched(lifted(slices(levels[-1], value), levels[:-1]), levels[-1])


def like(value: Any, other: Any) -> Any:
    """Give the slices of ``value`` in front of all batches, as those of ``other`` lie."""
    while type(other) is Batched:
        value, other = slices(other.level, value), other.value
    if type(value) is Batched:
        refuse("a batch where there was none")
    return value


def rewrapped(value: Any, other: Any) -> Any:
    """Undo :func:`base`, for a tensor that lies as ``base(other)``."""
    if type(other) is not Batched:
        return value
    return Batched(rewrapped(value, other.value), other.level)


def _described(name: str) -> property:
    return property(lambda self: getattr(self.value, name))


def _refused(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        del self, args, kwargs
        return refuse(name)

    return method


class Batched:
    """A tensor of each slice of a batch; ``value`` holds them along its first dimension."""

    __slots__ = ("__weakref__", "level", "value")

    def __init__(self, value: Any, level: Level) -> None:
        self.value = value
        self.level = level

    # What the function sees is a tensor.
    __class__ = property(lambda self: Tensor)

    shape = property(lambda self: self.value.shape[1:])
    ndim = property(lambda self: self.value.dim() - 1)
    is_leaf = property(lambda self: self.value.is_leaf)
    data = property(lambda self: Batched(self.value.detach(), self.level))

    def __hash__(self) -> int:
        return id(self)

    def dim(self) -> int:
        """Return the number of dimensions."""
        return int(self.value.dim()) - 1

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """Return the sizes, or that of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        """Return the strides, or that of one dimension."""
        strides = self.value.stride()[1:]
        return strides if dim is None else strides[dim]

    def numel(self) -> int:
        """Return the number of elements."""
        return int(self.value.shape[1:].numel())

    nelement = numel

    def __len__(self) -> int:
        if self.value.dim() == 1:
            message = "len() of a 0-d tensor"
            raise TypeError(message)
        return int(self.value.shape[1])

    def __iter__(self) -> Iterator[Any]:
        if self.value.dim() == 1:
            message = "iteration over a 0-d tensor"
            raise TypeError(message)
        return iter(self.unbind(0))

    def __repr__(self) -> str:
        return f"BatchedTensor(lvl={self.level.depth}, bdim=0, value=\n    {self.value!r}\n)"

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Record operations on it, or no longer."""
        value = self.value
        if any(base(value) is one for one in self.level.inputs) and value.requires_grad != requires_grad:
            # The argument itself stays as it is.
            self.value = value = value.view_as(value)
        value.requires_grad_(requires_grad)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(Tensor, name):
            message = f"'Tensor' object has no attribute '{name}'"
            raise AttributeError(message)
        from rustgrad import _composed

        function: Any = getattr(_composed, name, None)
        if function is None:
            refuse(f"Tensor.{name}")
        return partial(function, self)


for _name in ("dtype", "device", "requires_grad", "grad_fn", "layout", "itemsize", "is_cpu", "is_cuda", "_version"):
    setattr(Batched, _name, _described(_name))
for _name in ("is_floating_point", "is_complex", "element_size", "is_signed", "is_inference", "is_contiguous"):
    setattr(Batched, _name, _described(_name))
for _name in (
    "__bool__", "__float__", "__int__", "__index__", "__complex__", "__array__", "__format__", "__contains__",
    "__deepcopy__", "__copy__", "__reduce_ex__", "item", "tolist", "numpy", "backward",
):  # fmt: skip
    setattr(Batched, _name, _refused(_name))


def _method(name: str) -> Any:
    def method(*args: Any, **kwargs: Any) -> Any:
        return call(name, args, kwargs)

    method.__name__ = name
    return method


_VALUES = {"is_floating_point", "is_complex", "numel", "is_same_size"}


def handle(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out what the compiled code was asked to do with batches."""
    if name in _VALUES:
        return getattr(args[0], name)(*args[1:], **kwargs)
    return call(name, args, kwargs)


def install() -> None:
    """Give the class its methods, one for each rule, and have the compiled code ask here."""
    for name in RULES:
        if name not in Batched.__dict__:
            setattr(Batched, name, _method(name))
    _core._set_stand_ins(Batched, handle)


def module_function(name: str) -> Any:
    """Find the function of the module, or of the compiled part, with a name."""
    return getattr(_core, name, None) or getattr(_rg, name)
