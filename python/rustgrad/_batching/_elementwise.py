"""Rules of operations on each element by itself."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from rustgrad import _core
from rustgrad._batching._core import (
    RULES,
    Batched,
    Forbidden,
    Level,
    call,
    module_function,
    opened,
    refuse,
    rule,
    wrapped,
)  # fmt: skip
from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNARY = (
    "abs", "absolute", "acos", "acosh", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "asin",
    "asinh", "atan", "atanh", "bitwise_not", "ceil", "celu", "cos", "cosh", "deg2rad", "digamma", "erf",
    "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "floor", "frac", "hardshrink", "i0", "lgamma", "log",
    "log10", "log1p", "log2", "logical_not", "logit", "nan_to_num", "neg", "negative", "polygamma",
    "positive", "rad2deg", "reciprocal", "relu", "round", "rsqrt", "selu", "sgn", "sigmoid", "sign", "sin",
    "sinc", "sinh", "sqrt", "square", "tan", "tanh", "threshold", "trunc", "isfinite", "isinf", "isnan",
    "signbit",
)  # fmt: skip
_SAME = (
    "bool", "byte", "char", "clone", "contiguous", "cpu", "detach", "double", "float", "int", "long", "short",
    "to", "type", "isneginf", "isposinf", "isreal", "real", "conj", "resolve_conj", "resolve_neg",
    "conj_physical",
)  # fmt: skip
_ACTIVATIONS = (
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
    "mish", "relu", "relu6", "selu", "silu", "softplus", "softshrink", "softsign", "tanhshrink", "threshold",
)  # fmt: skip
_SEVERAL = (
    "add", "addcdiv", "addcmul", "arctan2", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "clamp", "clamp_max", "clamp_min", "clip", "copysign", "div",
    "divide", "eq", "float_power", "floor_divide", "fmax", "fmin", "fmod", "gcd", "ge", "greater",
    "greater_equal", "gt", "heaviside", "hypot", "isclose", "lcm", "le", "lerp", "less", "less_equal",
    "logaddexp", "logaddexp2", "logical_and", "logical_or", "logical_xor", "lt", "masked_fill", "maximum",
    "minimum", "mul", "multiply", "ne", "nextafter", "not_equal", "pow", "remainder", "rsub", "sub",
    "subtract", "true_divide", "xlogy", "_igamma", "_igammac",
)  # fmt: skip
#: Those of which a number or a tensor may come first, so that the function of the module is called.
_FUNCTIONS = {"pow", "float_power", "xlogy", "rsub"}


def _promoted(tensors: Sequence[Any], ranks: Sequence[int]) -> list[Any]:
    """Give tensors of one dtype: what is 0-d to the function yields to others, though its slices are a vector."""
    like: Any = None
    for tensor, rank in zip(tensors, ranks, strict=True):
        probe = _core.empty((0,) * rank if rank else (), dtype=tensor.dtype)
        like = probe if like is None else _core.empty(
            (0,) * max(rank, like.dim()), dtype=_core.result_type(like, probe)
        )  # fmt: skip
    dtype = like.dtype
    return [t if t.dtype == dtype or t.dtype is _core.bool else t.to(dtype) for t in tensors]


def aligned(level: Level, operands: Sequence[Any], promote: bool = True) -> list[Any]:
    """Give the operands of an elementwise operation so that they broadcast behind the dimension of the batch."""
    places = [i for i, x in enumerate(operands) if isinstance(x, Tensor)]
    ranks = [operands[i].dim() for i in places]
    rank = max(ranks)
    given = list(operands)
    for i, own in zip(places, ranks, strict=True):
        x = given[i]
        if type(x) is Batched and x.level is level:
            value = x.value
            if own < rank:
                value = value.reshape(level.size, *(1,) * (rank - own), *value.shape[1:])
            given[i] = value
    if promote and 0 in ranks and len({given[i].dtype for i in places}) > 1:
        for i, value in zip(places, _promoted([given[i] for i in places], ranks), strict=True):
            given[i] = value
    return given


@rule(*_UNARY, *_SAME)
def _unary(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    if value is None:
        if name == "polygamma" and len(args) == 1:
            return Batched(args[0].value.polygamma(x), level)
        refuse(name)
    return Batched(getattr(value, name)(*args, **kwargs), level)


@rule(*(f"_nn_{name}" for name in _ACTIVATIONS))
def _activation(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    result = getattr(_core, name)(value, *args, **kwargs)
    return x if result is value else Batched(result, level)


@rule(*_SEVERAL)
def _several(level: Level, name: str, *args: Any, **kwargs: Any) -> Any:
    names = [key for key, value in kwargs.items() if isinstance(value, Tensor)]
    given = aligned(level, [*args, *(kwargs[key] for key in names)], name not in ("lerp", "addcmul", "addcdiv"))
    for key, value in zip(names, given[len(args) :], strict=True):
        kwargs[key] = value
    first, *rest = given[: len(args)]
    if isinstance(first, Tensor) and name not in _FUNCTIONS:
        return Batched(getattr(first, name)(*rest, **kwargs), level)
    return Batched(module_function(name)(first, *rest, **kwargs), level)


@rule("where")
def _where(level: Level, name: str, *args: Any) -> Any:
    del name
    if len(args) != 3:
        refuse("where of one argument")
    return Batched(_core.where(*aligned(level, args)), level)


def _where_method(self: Any, condition: Any, other: Any) -> Any:
    return call("where", (condition, self, other), {})


Batched.where = _where_method  # type: ignore[attr-defined]


def written(level: Level, target: Any, name: str) -> Any:
    """Give what an operation in place may write to: the slices of a batch of this level."""
    value = opened(level, target)
    if value is None:
        message = (
            f"vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in "
            f"extra_args that has more elements than `self` ({name}): `self` has no dimension for the batch. Use an "
            "out-of-place operator instead, or make `self` of an argument that is mapped over."
        )
        raise Forbidden(message)
    level.note_write(value)
    return value


@rule("__iop__")
def _augmented(level: Level, name: str, target: Any, *_rest: Any) -> Any:
    written(level, target, name)
    refuse(name)


@rule(*(f"{name}_" for name in (*_UNARY, *_SEVERAL) if hasattr(Tensor, f"{name}_")), "copy_")
def _in_place(level: Level, name: str, target: Any, *args: Any, **kwargs: Any) -> Any:
    value = written(level, target, name)
    if args:
        rank = value.dim() - 1
        if any(isinstance(x, Tensor) and x.dim() > rank for x in args):
            refuse(f"{name} with more dimensions")
        args = tuple(aligned(level, [target, *args], name != "copy_")[1:])
    getattr(value, name)(*args, **kwargs)
    return target


@rule("fill_", "zero_", "clamp_", "clip_")
def _filled(level: Level, name: str, target: Any, *args: Any, **kwargs: Any) -> Any:
    value = written(level, target, name)
    if any(isinstance(one, Tensor) for one in (*args, *kwargs.values())):
        refuse(f"{name} with tensors")
    getattr(value, name)(*args, **kwargs)
    return target


def _operator(function: Callable[[Any, Any], Any], name: str, reverse: bool) -> Any:
    """Make the method of an operator: what is most common first, by the operator itself."""

    def method(self: Any, other: Any) -> Any:
        value, level = self.value, self.level
        kind = type(other)
        if kind is float or kind is int:
            return Batched(function(other, value) if reverse else function(value, other), level)
        if kind is Batched:
            if other.level is level and (another := other.value).dim() == value.dim() and another.dtype is value.dtype:
                return Batched(function(another, value) if reverse else function(value, another), level)
        elif isinstance(other, Tensor):
            if other.dim() < value.dim() and other.dtype is value.dtype:
                return Batched(function(other, value) if reverse else function(value, other), level)
        elif not isinstance(other, (bool, int, float)):
            return NotImplemented
        return call(name, (other, self) if reverse else (self, other), {})

    return method


def _assigning(name: str) -> Any:
    def method(self: Any, other: Any) -> Any:
        return call(name, (self, other), {})

    return method


for _name, _rule_name in (
    ("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"), ("floordiv", "floor_divide"),
    ("mod", "remainder"), ("pow", "pow"), ("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"),
):  # fmt: skip
    _function = getattr(operator, {"and": "and_", "or": "or_"}.get(_name, _name))
    setattr(Batched, f"__{_name}__", _operator(_function, f"__{_name}__", False))
    setattr(Batched, f"__r{_name}__", _operator(_function, f"__{_name}__", True))
    setattr(Batched, f"__i{_name}__", _assigning(f"{_rule_name}_"))
    RULES[f"__{_name}__"] = lambda level, _, a, b, f=_function: Batched(f(*aligned(level, (a, b))), level)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _function = getattr(operator, _name)
    setattr(Batched, f"__{_name}__", _operator(_function, f"__{_name}__", False))
    RULES[f"__{_name}__"] = lambda level, _, a, b, f=_function: Batched(f(*aligned(level, (a, b))), level)
for _name, _rule_name in (("__neg__", "neg"), ("__abs__", "abs"), ("__invert__", "bitwise_not")):
    setattr(Batched, _name, lambda self, name=_rule_name: call(name, (self,), {}))
setattr(Batched, "__pos__", lambda self: self)  # noqa: B010


@rule("type_as")
def _type_as(level: Level, name: str, x: Any, other: Any) -> Any:
    del level, name
    return x.to(other.dtype)


@rule("zeros_like", "ones_like", "empty_like", "full_like")
def _created_like(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    return Batched(getattr(_core, name)(x.value, *args, **kwargs), level)


@rule("new_zeros", "new_ones", "new_empty", "new_full")
def _created(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    if name == "new_full":
        size, *args = args  # type: ignore[assignment]
    else:
        size, args = (args[0] if len(args) == 1 and not isinstance(args[0], int) else args), ()
    return Batched(getattr(x.value, name)((level.size, *size), *args, **kwargs), level)


@rule("frexp")
def _parts(level: Level, name: str, x: Any) -> Any:
    return wrapped(level, getattr(x.value, name)())
