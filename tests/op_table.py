"""The table of operations that the tests run.

A row is an expression in torch's names over the module ``T`` and named inputs. It says everything else
that is special about the operation: the domain of its inputs, the order up to which it is
differentiated, tolerances, and the ``stage`` from which it is expected to exist (3: issue 3; 4: later;
see ``oracle.STAGE``). ``test_ops.py`` runs the rows; ``record_golden.py`` asks torch about them.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

DTYPES = ("float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool")
FLOATS = ("float64", "float32")


def shuffled(key: str, count: int) -> Array:
    """Return 0 .. count-1 in an order that depends on ``key`` alone."""
    state = zlib.crc32(key.encode())
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        state = (1103515245 * state + 12345) % (1 << 31)
        other = (state >> 8) % (last + 1)
        order[last], order[other] = order[other], order[last]
    return np.array(order, dtype=np.int64)


@dataclass(frozen=True)
class Numbers:
    """Distinct real numbers, exact in float32, never integers or halves; small integers for other dtypes."""

    shape: Shape
    low: float = -2.0
    high: float = 2.0
    ints: tuple[int, int] = (-4, 5)

    def make(self, key: str, dtype: str) -> Array:
        """Return the numbers as an array of ``dtype``."""
        count = int(np.prod(self.shape, dtype=np.int64))
        order = shuffled(key, count)
        if dtype in FLOATS:
            points = self.low + (self.high - self.low) * (order + 0.5) / max(count, 1)
            shift = 1 + 2 * (zlib.crc32(key.encode()) % 2)  # two inputs rarely coincide
            numbers = (np.floor(points * 1024) * 4 + shift) / 4096
        else:
            first, end = self.ints
            numbers = first + order % (end - first)
            if dtype == "uint8":
                numbers = np.abs(numbers)
            if dtype == "bool":
                numbers = order % 2
        return numbers.reshape(self.shape).astype(dtype)


@dataclass(frozen=True)
class Given:
    """The very numbers written here (edges, ties, NaN); integers and booleans keep their own dtype."""

    data: Any

    def make(self, key: str, dtype: str) -> Array:
        """Return the numbers as an array of ``dtype``."""
        del key
        numbers = np.array(self.data)
        kept: Array = numbers.astype(dtype) if numbers.dtype.kind == "f" else numbers
        return kept


@dataclass(frozen=True)
class Index:
    """Indices 0 .. size-1 as int64, repeated if there are more places than indices."""

    shape: Shape
    size: int

    def make(self, key: str, dtype: str) -> Array:
        """Return the indices; they are int64 whatever the dtype of the row."""
        del dtype
        count = int(np.prod(self.shape, dtype=np.int64))
        return (shuffled(key, count) % self.size).reshape(self.shape).astype(np.int64)


@dataclass(frozen=True)
class Mask:
    """Booleans, about half of them true."""

    shape: Shape

    def make(self, key: str, dtype: str) -> Array:
        """Return the mask; it is bool whatever the dtype of the row."""
        del dtype
        count = int(np.prod(self.shape, dtype=np.int64))
        mask: Array = (shuffled(key, count) % 2 == 0).reshape(self.shape)
        return mask


Input = Numbers | Given | Index | Mask


@dataclass(frozen=True)
class Case:
    """One set of inputs; ``order`` is how often the result is differentiated with these."""

    inputs: dict[str, Input]
    order: int
    dtypes: tuple[str, ...]

    def arrays(self, dtype: str) -> dict[str, Array]:
        """Return the inputs as arrays."""
        return {name: entry.make(f"{name}{entry}", dtype) for name, entry in self.inputs.items()}


def put(target: Any, key: Any, value: Any) -> Any:
    """Return a clone of ``target`` into which ``value`` has been assigned at ``key``."""
    clone = target.clone()
    clone[key] = value
    return clone


@dataclass(frozen=True)
class Row:
    """One operation. ``cases["base"]`` runs with every dtype, the others as they say."""

    text: str
    family: str
    cases: dict[str, Case]
    order: int = 2
    stage: int = 3
    rtol: float = 2e-5
    """Tolerance for float32; float64 has a ten-thousandth of a thousandth of it."""
    atol: float = 2e-6
    extends: tuple[str, ...] = ()
    """Dtypes that rustgrad takes though torch does not."""
    numeric: bool = True
    """Whether central differences make sense (false where the function jumps or is random)."""
    code: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", compile(self.text, self.text, "eval"))

    def run(self, module: Any, inputs: dict[str, Any]) -> Any:
        """Evaluate the row's expression."""
        return eval(self.code, {"T": module, "put": put, "s_": np.s_, **inputs})

    def tolerance(self, dtype: str) -> tuple[float, float]:
        """Return (relative, absolute) tolerance for results of ``dtype``."""
        return (self.rtol, self.atol) if dtype == "float32" else (self.rtol * 1e-5, self.atol * 1e-5)


TABLE: list[Row] = []
FAMILY = ["arithmetic"]


def at(*shape: int, low: float = -2.0, high: float = 2.0, ints: tuple[int, int] = (-4, 5)) -> Numbers:
    """Numbers of a shape within [low, high); ``ints`` is the range for integer dtypes."""
    return Numbers(shape, low, high, ints)


def row(text: str, *more: dict[str, Any], **options: Any) -> None:
    """Add a row. Inputs are keyword arguments of one letter; each dict of ``more`` is a further case."""
    inputs = {name: options.pop(name) for name in list(options) if len(name) == 1}
    order = options.get("order", 2)
    kinds = options.pop("dtypes", DTYPES)

    def case(given: dict[str, Any], *, base: bool) -> Case:
        given = dict(given)
        own = min(given.pop("order", order), order)
        dtypes = given.pop("dtypes", kinds if base else ("float64",))
        specs = {name: at(*spec) if isinstance(spec, tuple) else spec for name, spec in given.items()}
        return Case(specs, own, dtypes)

    cases = {"base": case(inputs, base=True)}
    for number, given in enumerate(more):
        label = given.get("label", f"case{number + 1}")
        cases[label] = case({name: entry for name, entry in given.items() if name != "label"}, base=False)
    TABLE.append(Row(text, FAMILY[0], cases, **options))


EDGES = Given([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, 20.0, -20.0, 100.0, -100.0])
NON_FINITE = Given([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0])
TIES = list(itertools.product([0.0, 1.0, -1.0, 2.0, -2.5], repeat=2))
SPECIAL = list(itertools.product([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, -2.0], repeat=2))


def unary(
    text: str,
    low: float = -2.0,
    high: float = 2.0,
    *,
    ints: tuple[int, int] = (-4, 5),
    edge_order: int = 1,
    **options: Any,
) -> None:
    """Add an elementwise row of one input with the usual shapes, edges and non-finite values."""
    row(
        text,
        {"label": "long", "x": at(4, 33, low=low, high=high)},
        {"label": "empty", "x": at(0, 3)},
        {"label": "scalar", "x": at(low=low, high=high)},
        {"label": "edges", "x": EDGES, "order": edge_order, "dtypes": FLOATS},
        {"label": "non_finite", "x": NON_FINITE, "order": 0, "dtypes": FLOATS},
        x=at(3, 5, low=low, high=high, ints=ints),
        **options,
    )


def binary(
    text: str,
    x: tuple[float, float] = (-2.0, 2.0),
    y: tuple[float, float] = (-2.0, 2.0),
    *,
    ints: tuple[int, int] = (-4, 5),
    x_ints: tuple[int, int] | None = None,
    tie_order: int = 1,
    **options: Any,
) -> None:
    """Add an elementwise row of two inputs with broadcasting, ties and non-finite values."""

    def pair(left: Shape, right: Shape) -> dict[str, Any]:
        return {
            "x": at(*left, low=x[0], high=x[1], ints=x_ints or ints),
            "y": at(*right, low=y[0], high=y[1], ints=ints),
        }

    row(
        text,
        {"label": "broadcast", **pair((3, 1), (5,))},
        {"label": "broadcast3", **pair((2, 1, 4), (3, 1))},
        {"label": "long", **pair((2, 37), (2, 37))},
        {"label": "empty", **pair((0, 3), (1, 3))},
        {"label": "scalar", **pair((), ())},
        {"label": "scalar_left", **pair((), (4,))},
        {"label": "scalar_right", **pair((4,), ())},
        {
            "label": "ties",
            "x": Given([a for a, _ in TIES]),
            "y": Given([b for _, b in TIES]),
            "order": tie_order,
            "dtypes": FLOATS,
        },
        {
            "label": "non_finite",
            "x": Given([a for a, _ in SPECIAL]),
            "y": Given([b for _, b in SPECIAL]),
            "order": 0,
            "dtypes": FLOATS,
        },
        **pair((3, 5), (3, 5)),
        **options,
    )


def family(name: str) -> None:
    """Put the rows that follow into a family (one golden file each)."""
    FAMILY[0] = name


def fill_arithmetic() -> None:
    """Add sums, products, powers, remainders, comparisons, logic, in-place forms."""
    family("arithmetic")
    for text in ("x + y", "x - y", "x * y", "T.add(x, y, alpha=2)", "T.sub(x, y, alpha=2)"):
        binary(text)
    for text in ("x / y", "T.div(x, y)", "T.true_divide(x, y)"):
        binary(text, y=(0.3, 2.5), ints=(1, 5), tie_order=0)
    for text in (
        "x // y",
        "T.floor_divide(x, y)",
        'T.div(x, y, rounding_mode="floor")',
        'T.div(x, y, rounding_mode="trunc")',
    ):
        binary(text, y=(0.3, 2.5), ints=(1, 5), x_ints=(-7, 8), tie_order=0, order=0)
    for text in ("x % y", "T.remainder(x, y)", "T.fmod(x, y)"):
        binary(text, y=(0.3, 2.5), ints=(1, 5), x_ints=(-7, 8), tie_order=0, order=1)
    binary("x ** y", x=(0.2, 2.5), ints=(0, 3), tie_order=0)
    binary("T.pow(x, y)", x=(0.2, 2.5), ints=(0, 3), tie_order=0)
    for text in ("x + 2", "x + 2.5", "2 + x", "x - 1", "2 - x", "x * 3", "1.5 * x", "x / 2", "-x", "+x", "x * True"):
        unary(text)
    for text in ("x ** 2", "x ** 3", "x ** 2.0", "x ** 0", "x ** 1", "x.square()", "T.pow(x, 4)"):
        unary(text)
    for text in ("x ** 0.5", "x ** -1", "x ** -0.5", "x ** 2.5", "2 / x", "1 / x"):
        unary(text, 0.2, 3.0, ints=(1, 5), edge_order=0)
    for text in ("2 ** x", "2.5 ** x", "T.pow(3.0, x)"):
        unary(text, ints=(0, 3))
    for text in ("x // 2", "x // 1.5", "7 // x"):
        unary(text, 0.3, 5.0, ints=(1, 5), edge_order=0, order=0)
    for text in ("x % 3", "x % -2", "x % 1.5", "T.fmod(x, 2)", "T.remainder(x, -1.5)"):
        unary(text, -5.0, 5.0, order=1, edge_order=0)
    for name in ("atan2", "hypot", "logaddexp", "logaddexp2"):
        binary(f"T.{name}(x, y)", tie_order=0, stage=4)
    binary("T.xlogy(x, y)", y=(0.2, 2.0), tie_order=0, stage=4)
    for name in ("maximum", "minimum"):
        binary(f"T.{name}(x, y)", order=2)
    for text in ("T.max(x, y)", "T.min(x, y)"):
        binary(text)
    for name in ("fmax", "fmin", "copysign"):
        binary(f"T.{name}(x, y)", order=1, stage=4)
    for text in ("x == y", "x != y", "x < y", "x <= y", "x > y", "x >= y", "T.eq(x, y)", "T.ge(x, y)", "x.lt(y)"):
        binary(text, order=0)
    for text in ("x == 1", "x != 0", "x < 0.5", "x <= 1", "x > 0", "x >= -1", "1 < x", "x > True"):
        unary(text, order=0)
    for name in ("logical_and", "logical_or", "logical_xor"):
        binary(f"T.{name}(x, y)", order=0)
    for text in ("x & y", "x | y", "x ^ y", "T.bitwise_and(x, y)"):
        row(text, x=(3, 4), y=(3, 4), order=0)
    for text in ("x << y", "x >> y"):
        row(text, x=at(3, 4, ints=(0, 9)), y=at(3, 4, ints=(0, 4)), order=0, stage=4)
    row("~x", x=(3, 4), order=0)
    for text in ("T.logical_not(x)", "T.isnan(x)", "T.isinf(x)", "T.isfinite(x)", "x.signbit()"):
        unary(text, order=0, stage=4 if "signbit" in text else 3)
    binary("T.isclose(x, y)", order=0)
    binary("T.isclose(x, y, rtol=0.5, atol=0.1, equal_nan=True)", order=0)
    for symbol in ("add_", "sub_", "mul_"):
        row(f"x.clone().{symbol}(y)", {"x": (3, 4), "y": (4,)}, {"x": (3, 4), "y": ()}, x=(3, 4), y=(3, 4))
    row("x.clone().div_(y)", x=(3, 4), y=at(3, 4, low=0.3, high=2.0, ints=(1, 5)))
    row("x.clone().pow_(3)", x=(3, 4))
    row("x.clone().add_(y, alpha=2)", x=(3, 4), y=(3, 4))
    row("x.clone().copy_(y)", {"x": (3, 4), "y": (4,)}, x=(3, 4), y=(3, 4))
    for name in (
        "zero_()",
        "fill_(3)",
        "fill_(2.5)",
        "neg_()",
        "clamp_(-1, 1)",
        "add_(2)",
        "mul_(2)",
        "abs_()",
        "relu_()",
    ):
        row(f"x.clone().{name}", x=(3, 4))
    for name in ("exp_()", "tanh_()", "sigmoid_()", "sin_()", "mul_(1.5)", "div_(2)"):
        row(f"x.clone().{name}", x=(3, 4))
    for name in ("sqrt_()", "log_()"):
        row(f"x.clone().{name}", x=at(3, 4, low=0.2, high=3.0, ints=(1, 5)))
    row("T.lerp(x, y, 0.3)", x=(3, 4), y=(3, 4), stage=4)
    row("T.lerp(x, y, z)", {"x": (3, 4), "y": (4,), "z": ()}, x=(3, 4), y=(3, 4), z=(3, 4), stage=4)
    row("T.addcmul(x, y, z, value=0.5)", {"x": (3, 4), "y": (4,), "z": (3, 1)}, x=(3, 4), y=(3, 4), z=(3, 4), stage=4)
    row("T.addcdiv(x, y, z, value=0.5)", x=(3, 4), y=(3, 4), z=at(3, 4, low=0.4, high=2.0, ints=(1, 4)), stage=4)


def fill_unary() -> None:
    """Add elementwise functions of one input."""
    family("unary")
    for name in (
        "exp",
        "expm1",
        "sin",
        "cos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "sigmoid",
        "relu",
        "abs",
        "neg",
        "square",
    ):
        unary(f"T.{name}(x)")
    for name in ("exp2", "asinh", "positive", "absolute", "negative", "sgn"):
        unary(f"T.{name}(x)", edge_order=0 if name == "sgn" else 1)
    for name in ("floor", "ceil", "round", "trunc", "frac", "sign"):
        unary(f"T.{name}(x)", -4.0, 4.0, order=1)
    unary("T.round(x, decimals=1)", -4.0, 4.0, order=1, stage=4)
    for name in ("log", "log2", "log10", "sqrt", "rsqrt"):
        unary(f"T.{name}(x)", 0.1, 4.0, edge_order=1 if name == "sqrt" else 0)
    unary("T.log1p(x)", -0.8, 3.0, edge_order=0)
    unary("T.reciprocal(x)", 0.3, 3.0, edge_order=0)
    unary("T.tan(x)", -1.2, 1.2)
    for name in ("asin", "acos", "atanh"):
        unary(f"T.{name}(x)", -0.9, 0.9, edge_order=0)
    unary("T.acosh(x)", 1.1, 4.0, edge_order=0)
    unary("T.erf(x)")
    unary("T.erfc(x)", stage=4)
    unary("T.erfinv(x)", -0.9, 0.9, stage=4, edge_order=0)
    unary("T.lgamma(x)", 0.3, 4.0, stage=4, edge_order=0, rtol=5e-5)
    unary("T.digamma(x)", 0.3, 4.0, stage=4, edge_order=0, rtol=1e-4, atol=1e-5)
    for name in ("x.exp()", "x.sin()", "x.tanh()", "x.sigmoid()", "x.relu()", "x.abs()", "abs(x)", "x.neg()"):
        unary(name)
    for name in ("x.log()", "x.sqrt()"):
        unary(name, 0.1, 4.0, edge_order=0)
    for name in ("clamp(-1, 1)", "clamp(min=0.5)", "clamp(max=1.0)", "clip(-0.5, 2)", "clamp_min(0)", "clamp_max(1.5)"):
        unary(f"x.{name}")
    row(
        "T.clamp(x, y, z)",
        {"x": (3, 4), "y": (4,), "z": ()},
        x=(3, 4),
        y=at(3, 4, low=-2, high=-0.5),
        z=at(3, 4, low=0.5),
    )
    row("T.clamp(x, min=y)", x=(3, 4), y=(3, 4))
    unary("T.nan_to_num(x)", stage=4)
    unary("T.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-2.0)", stage=4)
    for name in ("relu(x)", "sigmoid(x)", "tanh(x)", "gelu(x)", 'gelu(x, approximate="tanh")'):
        unary(f"T.nn.functional.{name}", rtol=5e-5)
    for name in (
        "silu(x)",
        "softplus(x)",
        "softplus(x, beta=2, threshold=3)",
        "elu(x)",
        "elu(x, alpha=0.5)",
        "leaky_relu(x)",
    ):
        unary(f"T.nn.functional.{name}", stage=4)
    for name in ("leaky_relu(x, 0.3)", "hardtanh(x)", "hardtanh(x, -0.5, 1.5)", "relu6(x)", "logsigmoid(x)", "mish(x)"):
        unary(f"T.nn.functional.{name}", stage=4)
    for name in ("selu(x)", "celu(x, alpha=0.7)", "hardswish(x)", "softsign(x)", "tanhshrink(x)"):
        unary(f"T.nn.functional.{name}", stage=4)
    unary("T.nn.functional.hardsigmoid(x)", order=1, stage=4)
    for dtype in DTYPES:
        row(f"x.to(T.{dtype})", x=at(3, 4, low=0.1, high=3.0), numeric=dtype == "float64")
    for name in (
        "float()",
        "double()",
        "long()",
        "int()",
        "bool()",
        "short()",
        "char()",
        "byte()",
        "type_as(y)",
        "to(y)",
    ):
        row(f"x.{name}", x=at(3, 4, low=0.1, high=3.0), y=(2,), numeric=name != "float()")
    row("T.where(m, x, y)", {"m": Mask((3, 1)), "x": (4,), "y": (3, 4)}, m=Mask((3, 4)), x=(3, 4), y=(3, 4))
    row("T.where(m, x, 0.0)", m=Mask((3, 4)), x=(3, 4))
    row("T.where(m, 1, x)", m=Mask((3, 4)), x=(3, 4))
    row("T.where(x > 0, x, -x)", x=(3, 4))
    row("T.where(m)", m=Mask((3, 4)), order=0)
    row("x.where(m, y)", m=Mask((3, 4)), x=(3, 4), y=(3, 4))


def fill_reduce() -> None:
    """Add reductions: whole, along one dimension, along several; ties and empty ones."""
    family("reduce")
    ties = Given([[1.0, 3.0, 3.0, 2.0], [2.0, 2.0, 2.0, 2.0], [0.0, -1.0, 0.0, -2.0]])
    empty = {"label": "empty", "x": at(0, 3)}
    empty_dim = {"label": "empty_dim", "x": at(2, 0)}
    tied = {"label": "ties", "x": ties, "order": 1}
    for name in ("sum", "mean", "prod"):
        for arguments in ("", "0", "-1", "1, keepdim=True", "dim=0"):
            row(f"x.{name}({arguments})", empty, empty_dim, {"x": (2, 3, 4)}, {"x": (7, 129), "order": 1}, x=(3, 4))
        row(f"T.{name}(x, dtype=T.float64)", x=(3, 4))
    row("T.sum(x, 0)", {"x": (67, 33)}, {"x": (3, 1, 5)}, x=(5, 6))
    for name in ("sum", "mean"):
        for arguments in ("(0, 1)", "dim=(0, 2), keepdim=True", "(-1, 0)", "dim=()", "dim=None"):
            row(f"x.{name}({arguments})", {"x": (2, 0, 3)}, x=(2, 3, 4))
    zero = Given([[1.0, 0.0, 2.0], [3.0, 2.0, 4.0]])
    row("T.prod(x, 1)", {"label": "one_zero", "x": zero}, x=(2, 3))
    zeros = ({"label": "one_zero", "x": Given([1.0, 0.0, 2.0])}, {"label": "two_zeros", "x": Given([0.0, 0.0, 2.0])})
    row("T.prod(x)", *zeros, x=(5,))
    for name in ("max", "min"):
        row(f"x.{name}()", tied, {"x": ()}, x=(3, 4))
        for arguments in ("0", "-1", "1, keepdim=True", "dim=1"):
            row(f"x.{name}({arguments})", {"label": "ties", "x": ties, "order": 1}, {"x": (2, 3, 4)}, empty, x=(3, 4))
        row(f"T.arg{name}(x)", tied, x=(3, 4), order=0)
        row(f"T.arg{name}(x, dim=1)", tied, x=(3, 4), order=0)
        row(f"x.arg{name}(0, keepdim=True)", tied, x=(3, 4), order=0)
        for arguments in ("()", "(0)", "(dim=(0, 1))", "(-1, keepdim=True)"):
            row(f"x.a{name}{arguments}", tied, {"x": (2, 3, 4)}, x=(3, 4))
        row(
            f"x.{name}(0).values", {"label": "nan", "x": Given([[1.0, float("nan")], [2.0, 3.0]]), "order": 0}, x=(3, 4)
        )
    row("T.aminmax(x)", x=(3, 4), stage=4)
    for arguments in (
        "",
        "0",
        "1, keepdim=True",
        "dim=0, unbiased=False",
        "dim=(0, 1)",
        "unbiased=False",
        "correction=0",
        "dim=1, correction=2",
    ):
        for name in ("var", "std"):
            row(f"x.{name}({arguments})", {"x": (6, 5)}, {"label": "empty", "x": at(0, 3), "order": 1}, x=(3, 4))
    row("T.var_mean(x, dim=1)", x=(3, 4), stage=4)
    row("T.std_mean(x)", x=(3, 4), stage=4)
    for arguments in (
        "",
        "2",
        "1",
        "p=3",
        'float("inf")',
        '-float("inf")',
        "0",
        "dim=1",
        "2, 0",
        "1, dim=(0, 1)",
        "dim=1, keepdim=True",
        '"fro"',
    ):
        row(f"x.norm({arguments})", x=(3, 4), order=1 if arguments == "0" else 2)
    row("T.norm(x)", {"label": "zero", "x": Given([0.0, 0.0]), "order": 1}, {"x": ()}, x=(5,))
    row("T.linalg.vector_norm(x, 3, dim=1)", x=(3, 4), stage=4)
    row("T.linalg.norm(x)", x=(3, 4), stage=4)
    for arguments in ("0", "dim=1, keepdim=True", "(0, 1)"):
        row(
            f"T.logsumexp(x, {arguments})",
            {"x": (5, 17)},
            {"label": "huge", "x": Given([[1000.0, 999.0], [-1000.0, 0.0]]), "order": 1},
            x=(3, 4),
        )
    for name in ("all", "any"):
        for arguments in ("", "0", "dim=1, keepdim=True"):
            row(f"x.{name}({arguments})", {"x": at(0, 3)}, x=(3, 4), order=0)
    row("(x > 0).sum()", x=(3, 4), order=0)
    row("(x > 0).float().mean()", x=(3, 4), order=0)
    for name in ("softmax", "log_softmax"):
        for arguments in ("0", "dim=-1", "1, dtype=T.float64"):
            row(
                f"T.{name}(x, {arguments})",
                {"x": (2, 5, 3)} if "1, " in arguments else {"x": (17, 5)},
                {"x": at(0, 3)},
                x=(3, 4),
            )
        row(f"x.{name}(0)", {"label": "huge", "x": Given([1000.0, 999.0, -1000.0]), "order": 1}, {"x": ()}, x=(6,))
        row(f"T.nn.functional.{name}(x, dim=1)", x=(3, 4))
    row("T.nn.functional.softmin(x, dim=1)", x=(3, 4), stage=4)
    for arguments in ("0", "dim=1", "-1"):
        row(f"x.cumsum({arguments})", {"x": (2, 9)}, {"x": at(0, 3)}, x=(3, 4))
        row(
            f"T.cumprod(x, {arguments})",
            {"label": "zeros", "x": Given([[1.0, 0.0, 2.0, 0.0], [3.0, 2.0, 0.0, 4.0]]), "order": 1},
            x=(3, 4),
            stage=4,
        )
        for name in ("cummax", "cummin"):
            row(f"T.{name}(x, {arguments})", {"label": "ties", "x": ties, "order": 1}, x=(3, 4), stage=4)
        row(f"T.logcumsumexp(x, {arguments})", x=(3, 4), stage=4, order=1)
    row("T.cumsum(x, 0, dtype=T.float32)", x=(3, 4), order=1, numeric=False)
    row("T.median(x)", {"x": (4,)}, x=(3, 5), stage=4)
    row("x.median(1)", {"x": (3, 4)}, x=(3, 5), stage=4)
    row("x.kthvalue(2, dim=1)", x=(3, 5), stage=4)
    row("T.mode(x, 1)", x=(3, 5), stage=4, order=1)
    row("T.quantile(x, 0.3)", x=(3, 5), stage=4)
    row("T.quantile(x, y, dim=1)", x=(3, 5), y=at(2, low=0.1, high=0.9), stage=4, order=0)
    row("T.nansum(x)", {"label": "nan", "x": Given([1.0, float("nan")]), "order": 1}, x=(3, 4), stage=4)
    row("T.nanmean(x)", {"label": "nan", "x": Given([1.0, float("nan")]), "order": 1}, x=(3, 4), stage=4)
    row("T.count_nonzero(x)", x=(3, 4), order=0, stage=4)
    for arguments in ("", "dim=0", "descending=True", "stable=True", "dim=-1, descending=True, stable=True"):
        row(f"x.sort({arguments})", {"x": (2, 3, 5)}, {"x": at(0, 3)}, x=(3, 4))
    stable = {"label": "ties", "x": ties, "order": 1}
    row("T.sort(x, stable=True)", stable, {"label": "nan", "x": Given([2.0, float("nan"), 1.0]), "order": 0}, x=(3, 4))
    row("T.argsort(x, dim=1, stable=True)", stable, x=(3, 4), order=0)
    row("T.argsort(x, descending=True, stable=True)", stable, x=(3, 4), order=0)
    for arguments in ("2", "2, dim=0", "2, largest=False", "1, 1, False, True"):
        row(f"x.topk({arguments}).values", {"x": (2, 3, 5)}, x=(3, 4))
    row("x.topk(3).indices", {"x": (4, 9)}, {"x": (3,)}, x=Given([3.0, 1.0, 2.0, 0.0]), order=0, numeric=False)
    row("T.unique(x)", x=Given([3.0, 1.0, 1.0, 0.0]), order=0, stage=4)
    row("T.unique(x, return_inverse=True, return_counts=True)", x=Given([3.0, 1.0, 1.0, 0.0]), order=0, stage=4)
    row("T.bincount(i)", i=Index((9,), 4), order=0, stage=4)
    row("T.histc(x, bins=4, min=-2, max=2)", x=(9,), order=0, stage=4)
    row("T.searchsorted(T.arange(5), x)", x=(3, 4), order=0, stage=4)
    row("T.cdist(x, y)", x=(3, 4), y=(2, 4), stage=4)


def fill_matmul() -> None:
    """Add products of matrices and vectors."""
    family("matmul")
    shapes: list[tuple[Shape, Shape]] = [
        ((3, 4), (4, 5)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((2, 0, 4), (2, 4, 5)),
        ((1, 1), (1, 1)),
        ((17, 9), (9, 33)),
    ]
    for text in ("x @ y", "T.matmul(x, y)"):
        row(text, *[{"x": x, "y": y} for x, y in shapes[1:]], x=shapes[0][0], y=shapes[0][1])
    row("T.mm(x, y)", {"x": (1, 7), "y": (7, 1)}, x=(3, 4), y=(4, 5))
    row("T.bmm(x, y)", {"x": (2, 0, 4), "y": (2, 4, 5)}, x=(2, 3, 4), y=(2, 4, 5))
    row("T.mv(x, y)", x=(3, 4), y=(4,))
    row("T.dot(x, y)", {"x": (0,), "y": (0,)}, {"x": (65,), "y": (65,)}, x=(5,), y=(5,))
    row("x.dot(x)", x=(5,))
    row("T.outer(x, y)", {"x": (0,), "y": (3,)}, x=(3,), y=(4,))
    row("x.t() @ y", x=(4, 3), y=(4, 5))
    row("x @ y.t()", x=(3, 4), y=(5, 4))
    row("x.mT @ y", x=(2, 4, 3), y=(2, 4, 5))
    row("T.inner(x, y)", {"x": (3, 4), "y": (2, 4)}, x=(4,), y=(4,), stage=4)
    row(
        "T.addmm(z, x, y, beta=0.5, alpha=2)",
        {"z": (5,), "x": (3, 4), "y": (4, 5)},
        z=(3, 5),
        x=(3, 4),
        y=(4, 5),
        stage=4,
        order=2,
    )
    row("T.addmv(z, x, y)", z=(3,), x=(3, 4), y=(4,), stage=4)
    row("T.baddbmm(z, x, y)", z=(2, 3, 5), x=(2, 3, 4), y=(2, 4, 5), stage=4)
    row(
        "T.nn.functional.linear(x, y, z)", {"x": (2, 3, 4), "y": (5, 4), "z": (5,)}, x=(3, 4), y=(5, 4), z=(5,), stage=4
    )
    row("T.nn.functional.linear(x, y)", x=(3, 4), y=(5, 4), stage=4)
    row("T.nn.functional.bilinear(x, y, z)", x=(3, 2), y=(3, 4), z=(5, 2, 4), stage=4)
    for equation in (
        "ij,jk->ik",
        "ij,ij->",
        "ij,kj",
        "bij,bjk->bik",
        "ii->i",
        "ii",
        "ij->ji",
        "ij->j",
        "...ij,...jk->...ik",
    ):
        first = "bij" in equation
        if "," not in equation:
            row(f'T.einsum("{equation}", x)', x=(4, 4), stage=4)
        else:
            row(
                f'T.einsum("{equation}", x, y)',
                x=(2, 4, 4) if first else (4, 4),
                y=(2, 4, 4) if first else (4, 4),
                stage=4,
            )
    row("T.tensordot(x, y, dims=2)", x=(2, 3, 4), y=(3, 4, 5), stage=4)
    row("T.tensordot(x, y, dims=([1], [0]))", x=(2, 3), y=(3, 4), stage=4)
    row("T.kron(x, y)", x=(2, 3), y=(3, 2), stage=4)
    row("T.linalg.multi_dot([x, y, z])", x=(2, 3), y=(3, 4), z=(4, 2), stage=4)
    row("T.cross(x, y, dim=1)", x=(2, 3), y=(2, 3), stage=4)


def fill_shape() -> None:
    """Add views, joins, splits and other rearrangements."""
    family("shape")
    texts = (
        "x.reshape(4, 6)",
        "x.reshape(-1)",
        "x.reshape((2, -1))",
        "x.reshape(3, 2, 4)",
        "x.view(6, 4)",
        "x.view(-1, 2)",
        "T.reshape(x, (24,))",
        "x.permute(2, 0, 1)",
        "x.permute((1, 0, 2))",
        "T.permute(x, (0, -1, 1))",
        "x.transpose(0, 1)",
        "x.transpose(-1, 0)",
        "T.transpose(x, 1, 2)",
        "x.mT",
        "x.flatten()",
        "x.flatten(1)",
        "T.flatten(x, 0, 1)",
        "x.unsqueeze(0)",
        "x.unsqueeze(-1)",
        "T.unsqueeze(x, 1)",
        "x.unsqueeze(0).squeeze()",
        "x.unsqueeze(1).squeeze(1)",
        "x.squeeze(0)",
        "x.unsqueeze(0).unsqueeze(2).squeeze((0, 2))",
        "x.contiguous()",
        "x.clone()",
        "x.transpose(0, 2).contiguous()",
        "x.permute(2, 1, 0).reshape(-1)",
        "x.expand(5, 2, 3, 4)",
        "x.expand(2, -1, 4)",
        "x[:, :1].expand(2, 7, 4)",
        "x.unsqueeze(1).expand(-1, 5, -1, -1)",
        "x[:1].expand_as(x)",
        "T.broadcast_to(x, (2, 2, 3, 4))",
        "x.split(2)",
        "x.split(2, dim=1)",
        "x.split([1, 3], dim=-1)",
        "T.split(x, 1, dim=2)",
        "x.chunk(2, dim=2)",
        "x.chunk(3, dim=1)",
        "T.chunk(x, 5, -1)",
        "x.unbind()",
        "x.unbind(1)",
        "T.unbind(x, dim=-1)",
        "x.flip(0)",
        "x.flip(0, 2)",
        "T.flip(x, (1, -1))",
        "T.flip(x, dims=[0, 1, 2])",
        "x.view_as(y)",
        "x.reshape_as(y)",
        "x.narrow(1, 1, 2)",
        "x.select(1, 2)",
        "x.T if x.dim() == 2 else x.mT",
        "T.cat([x, x])",
        "T.cat((x, x, x), dim=1)",
        "T.cat([x, x], -1)",
        "T.stack([x, x])",
        "T.stack([x, x, x], dim=1)",
        "T.stack((x, x), -1)",
        "x.numel() * x.sum()",
    )
    for text in texts:
        row(text, x=(2, 3, 4), y=(4, 3, 2))
    for text in (
        "T.cat([x, y])",
        "T.cat([x, y, x], dim=0)",
    ):
        row(text, {"x": (0, 3), "y": (2, 3)}, {"label": "legacy_empty", "x": (0,), "y": (2, 3)}, x=(2, 3), y=(4, 3))
    row("T.concat([x, y], dim=1)", x=(2, 3), y=(2, 1), stage=4)
    row("x.t()", {"x": (5,)}, {"x": ()}, {"x": (0, 2)}, x=(2, 3))
    row("x.T", {"x": (5, 1)}, x=(2, 3))
    row("x.squeeze()", {"x": (1, 1)}, x=(1, 3, 1))
    row("x.reshape(0, 5)", x=(0, 3))
    row("x.reshape(())", {"x": ()}, x=(1, 1))
    row("x.view(2, 2).t().reshape(4)", x=(4,))
    later = (
        "T.movedim(x, 0, 2)", "T.movedim(x, (0, 1), (2, 0))", "x.swapaxes(0, 1)", "x.swapdims(1, 2)", "x.roll(1)", "x.roll(2, 1)", "T.roll(x, (1, -1), (0, 2))",
        "x.tile(2)", "x.tile((2, 1, 3))", "x.repeat(2, 1, 1)", "x.repeat(3, 1, 2, 2)", "T.repeat_interleave(x, 2)", "x.repeat_interleave(3, dim=1)", "T.rot90(x, 1, (0, 1))",
        "T.tril(x)", "T.triu(x, 1)", "T.tril(x, -1)", "T.diagonal(x)", "T.diagonal(x, 1, 1, 2)", "T.diagonal(x, offset=-1, dim1=0, dim2=1)", "T.diag_embed(x)",
        "x.unfold(2, 2, 1)", "x.unfold(1, 2, 2)", "x.unflatten(2, (2, 2))", "T.hstack([x, x])", "T.vstack([x, x])", "T.dstack([x, x])", "T.column_stack([x, x])",
        "T.tensor_split(x, 3, dim=2)", "T.hsplit(x, 3)", "T.fliplr(x)", "T.flipud(x)", "T.atleast_3d(x)", "x.ravel()", "x.as_strided((2, 2), (1, 2))", "x.moveaxis(0, 1)",
        "T.nn.functional.pad(x, (1, 2))", "T.nn.functional.pad(x, (1, 0, 0, 2), value=1.5)",
    )  # fmt: skip
    for text in later:
        row(text, x=(2, 3, 4), stage=4)
    row("T.diag(x)", {"x": (4,)}, x=(3, 4), stage=4)
    row("T.diag(x, 1)", {"x": (2,)}, x=(3, 4), stage=4)
    row("T.trace(x)", x=(3, 4), stage=4)
    row('T.meshgrid(x, y, indexing="ij")', x=(3,), y=(4,), stage=4)
    row('T.meshgrid(x, y, indexing="xy")', x=(3,), y=(4,), stage=4)
    row("T.cartesian_prod(x, y)", x=(3,), y=(2,), stage=4)
    row("T.block_diag(x, y)", x=(2, 3), y=(1, 2), stage=4)


def fill_index() -> None:
    """Add reading and writing by index."""
    family("index")
    basic = (
        "x[0]", "x[-1]", "x[1, 2]", "x[1, 2, 3]", "x[:]", "x[1:]", "x[:, 1]", "x[..., 0]", "x[0, ..., 1]", "x[None]", "x[:, None, 1]", "x[::2]", "x[:, ::2, 1:3]",
        "x[0:0]", "x[5:]", "x[-2:, :-1]", "x[...]", "x[()]", "x[:, 1:3, ::3]", "x[True]", "x[False]", "x[None, ..., None]",
    )  # fmt: skip
    for text in basic:
        row(text, x=(2, 3, 4))
    advanced = (
        "x[i]",
        "x[:, i]",
        "x[i, 1]",
        "x[..., i]",
        "x[i, i]",
        "x[i, :, i]",
        "x[i, None]",
        "x[i][:, 1]",
        "x[[0, 1, 0]]",
        "x[[0, 1], [1, 0]]",
        "x[:, [2, 0]]",
        "x[i.tolist()]",
        "x[0, i]",
        "x[i, ..., 1:]",
        "x[T.tensor(1)]",
    )
    for text in advanced:
        row(
            text,
            {"x": (2, 3, 4), "i": Index((2, 2), 2)},
            {"label": "none", "x": (2, 3, 4), "i": Index((0,), 2)},
            x=(2, 3, 4),
            i=Index((5,), 2),
        )
    row("x[i.unsqueeze(1), j]", x=(4, 5), i=Index((3,), 4), j=Index((2,), 5))
    row("x[-1 - i]", x=(4, 5), i=Index((6,), 4))
    row("x[m]", {"x": (2, 3, 4), "m": Mask((2, 3))}, {"x": (2, 3, 4), "m": Mask((2,))}, x=(2, 3, 4), m=Mask((2, 3, 4)))
    row("x[:, m]", x=(2, 3, 4), m=Mask((3,)))
    row("x[m, 1]", x=(2, 3, 4), m=Mask((2,)))
    row("x[x > 0]", x=(3, 4))
    row("x.masked_select(m)", {"x": (3, 4), "m": Mask((4,))}, x=(3, 4), m=Mask((3, 4)), stage=4)
    row("x.masked_fill(m, 0.5)", {"x": (3, 4), "m": Mask((4,))}, x=(3, 4), m=Mask((3, 4)))
    row("x.masked_fill(m, -2)", x=(3, 4), m=Mask((3, 4)))
    row('x.double().masked_fill(m, -float("inf")).softmax(1)', x=(3, 4), m=Given([[False, True, False, False]] * 3))
    row("x.masked_fill(m, y)", x=(3, 4), m=Mask((3, 4)), y=())
    row("x.clone().masked_fill_(m, 1)", x=(3, 4), m=Mask((3, 4)))
    row("x.masked_scatter(m, y)", x=(3, 4), m=Mask((3, 4)), y=(12,), stage=4)
    for dim, shape in ((0, (2, 4)), (1, (3, 6)), (-1, (2, 2))):
        size = 3 if dim == 0 else 4
        row(f"x.gather({dim}, i)", {"x": (3, 4), "i": Index((0, 2), size)}, x=(3, 4), i=Index(shape, size))
    row("T.gather(x, 1, i.unsqueeze(1)).squeeze(1)", x=(4, 5), i=Index((4,), 5))
    for dim in (0, 1):
        size = 3 if dim == 0 else 4
        row(
            f"x.scatter_add({dim}, i, y)",
            {"x": (3, 4), "i": Index((2, 3), size), "y": (3, 4), "order": 0},
            x=(3, 4),
            i=Index((3, 4), size),
            y=(3, 4),
        )
        row(f"x.clone().scatter_add_({dim}, i, y)", x=(3, 4), i=Index((3, 4), size), y=(3, 4))
        row(f"x.index_select({dim}, i)", {"x": (3, 4), "i": Index((0,), size)}, x=(3, 4), i=Index((7,), size))
        row(f"x.index_add({dim}, i, y)", x=(3, 4), i=Index((5,), size), y=(5, 4) if dim == 0 else (3, 5), stage=4)
        row(f"x.index_fill({dim}, i, 1.5)", x=(3, 4), i=Index((2,), size), stage=4)
        row(
            f"x.scatter({dim}, i, y)",
            x=(3, 4),
            i=Given([[0, 1, 2, 1]] if dim == 0 else [[0, 1], [3, 2], [2, 0]]),
            y=(1, 4) if dim == 0 else (3, 2),
            stage=4,
        )
        row(f"x.scatter({dim}, i, 2)", x=(3, 4), i=Index((1, 1), size), stage=4)
        row(f"x.index_copy({dim}, i, y)", x=(3, 4), i=Given([2, 0]), y=(2, 4) if dim == 0 else (3, 2), stage=4)
    for name in ("sum", "mean", "amax", "prod"):
        row(f'x.scatter_reduce(0, i, y, "{name}")', x=(3, 4), i=Index((3, 4), 3), y=(3, 4), stage=4, order=1)
    row("T.take(x, i)", x=(3, 4), i=Index((2, 3), 12), stage=4)
    row("T.take_along_dim(x, i, 1)", x=(3, 4), i=Index((3, 2), 4), stage=4)
    row("T.nonzero(x)", x=(3, 4), order=0, stage=4)
    row("x.index_put((i,), y)", x=(3, 4), i=Given([2, 0]), y=(2, 4), stage=4)
    row("x.index_put((i,), y, accumulate=True)", x=(3, 4), i=Index((5,), 3), y=(5, 4), stage=4)
    for key in ("0", ":, 1", "::2", "1, 2", "..., 0", "i", ":, i", "m", "[2, 0]", "i, 1", "..."):
        for value in ("2.5", "y"):
            row(f"put(x, s_[{key}], {value})", x=(3, 4), y=(), i=Given([2, 0]), m=Mask((3, 4)))
    row("put(x, s_[i], y)[0]", x=(3, 4), y=(2, 4), i=Given([2, 0]))
    row("put(x, s_[m], y)[1:]", x=(3, 4), y=(6,), m=Mask((3, 4)))
    row("put(x, s_[:], y)", {"x": (3, 4), "y": (3, 1)}, x=(3, 4), y=(4,))
    row("T.nn.functional.one_hot(i, 5)", i=Index((6,), 5), order=0, stage=4)
    row("T.nn.functional.embedding(i, x)", x=(5, 3), i=Index((2, 4), 5), stage=4)


def fill_loss() -> None:
    """Add losses and layers of ``nn.functional``."""
    family("loss")
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        for reduction in ("mean", "sum", "none"):
            row(f'T.nn.functional.{name}(x, y, reduction="{reduction}")', x=(3, 4), y=(3, 4))
    row(
        "T.nn.functional.cross_entropy(x, i)",
        {"x": (2, 5, 3), "i": Index((2, 3), 5)},
        x=(4, 5),
        i=Index((4,), 5),
    )
    row('T.nn.functional.cross_entropy(x, i, reduction="sum")', x=(4, 5), i=Index((4,), 5))
    row("T.nn.functional.cross_entropy(x, i, label_smoothing=0.1)", x=(4, 5), i=Index((4,), 5))
    row("T.nn.functional.cross_entropy(x, i, ignore_index=2)", x=(4, 5), i=Index((4,), 5))
    row("T.nn.functional.nll_loss(x, i)", x=(4, 5), i=Index((4,), 5))
    row("T.nn.functional.binary_cross_entropy_with_logits(x, y)", x=(3, 4), y=at(3, 4, low=0.1, high=0.9))
    row(
        "T.nn.functional.binary_cross_entropy(x, y)",
        x=at(3, 4, low=0.1, high=0.9),
        y=at(3, 4, low=0.1, high=0.9),
    )
    row('T.nn.functional.kl_div(x, y, reduction="sum")', x=(3, 4), y=at(3, 4, low=0.1, high=0.9), dtypes=FLOATS)
    row("T.nn.functional.layer_norm(x, (4,), y, z)", x=(3, 4), y=(4,), z=(4,))
    row("T.nn.functional.cosine_similarity(x, y)", x=(3, 4), y=(3, 4))
    row("T.nn.functional.normalize(x)", x=(3, 4))
    row(
        "T.nn.functional.conv2d(x, y, z)",
        {"x": (1, 2, 3, 3), "y": (2, 2, 1, 1), "z": (2,)},
        x=(2, 2, 5, 5),
        y=(3, 2, 3, 3),
        z=(3,),
        dtypes=FLOATS,
    )
    row("T.nn.functional.conv2d(x, y, stride=2, padding=1)", x=(2, 2, 5, 5), y=(3, 2, 3, 3), dtypes=FLOATS)
    row("T.nn.functional.avg_pool2d(x, 2)", x=(2, 2, 4, 4), dtypes=FLOATS)
    row("T.nn.functional.max_pool2d(x, 2)", x=(2, 2, 4, 4), dtypes=FLOATS)


def fill_layers() -> None:
    """Add convolutions, pooling, normalisations, attention and padding of ``nn.functional``."""
    family("layers")
    F = "T.nn.functional."

    def layer(text: str, *more: dict[str, Any], **options: Any) -> None:
        row(text, *more, dtypes=FLOATS, **options)

    image, weight = (2, 4, 5, 6), (6, 4, 3, 2)
    for text in (
        "x, y",
        "x, y, z",
        "x, y, z, 2, 1",
        "x, y, padding=(1, 0), dilation=(1, 2)",
        "x, y, padding='same'",
        "x, y, None, (2, 1), 'valid'",
    ):
        layer(
            f"{F}conv2d({text.replace(chr(39), chr(34))})",
            {"x": (4, 5, 6), "y": weight, "z": (6,)},
            x=image,
            y=weight,
            z=(6,),
            rtol=1e-4,
        )
    layer(f"{F}conv2d(x, y, z, groups=2)", x=image, y=(6, 2, 3, 2), z=(6,), rtol=1e-4)
    layer(f"{F}conv2d(x, y, groups=4)", x=image, y=(4, 1, 3, 3), rtol=1e-4)
    layer(f"{F}conv2d(x, y, z, 1)", x=(0, 2, 3, 3), y=(3, 2, 1, 1), z=(3,))
    layer(
        f"{F}conv1d(x, y, z, stride=2, padding=1)",
        {"x": (3, 7), "y": (4, 3, 2), "z": (4,)},
        x=(2, 3, 7),
        y=(4, 3, 2),
        z=(4,),
        rtol=1e-4,
    )
    layer(
        f"{F}conv_transpose2d(x, y, z, stride=2, padding=1, output_padding=1)",
        x=(2, 3, 3, 4),
        y=(3, 2, 3, 3),
        z=(2,),
        rtol=1e-4,
    )
    layer(f"{F}conv_transpose1d(x, y, dilation=2)", x=(2, 3, 4), y=(3, 2, 3), rtol=1e-4)
    for text in (
        "2",
        "(2, 3), stride=1",
        "3, 2, padding=1",
        "3, 2, 1, count_include_pad=False",
        "2, ceil_mode=True",
        "2, divisor_override=3",
        "3, 2, 1, True, False",
    ):
        layer(f"{F}avg_pool2d(x, {text})", {"x": (3, 5, 5)}, x=(2, 2, 5, 7))
    for text in (
        "2",
        "(2, 3), stride=1",
        "3, 2, padding=1",
        "2, ceil_mode=True",
        "2, 1, 0, 2",
        "2, return_indices=True",
    ):
        layer(f"{F}max_pool2d(x, {text})", {"x": (3, 5, 5)}, x=(2, 2, 5, 7))
    layer(f"{F}avg_pool1d(x, 2, 1, 1)", {"x": (2, 5)}, x=(2, 3, 6))
    layer(f"{F}max_pool1d(x, 3, 2)", {"x": (2, 5)}, x=(2, 3, 6))
    for text in ("1", "(2, 3)", "(3, None)", "4"):
        layer(f"{F}adaptive_avg_pool2d(x, {text})", {"x": (2, 6, 6)}, x=(2, 2, 6, 7))
    layer(f"{F}adaptive_avg_pool1d(x, 3)", x=(2, 2, 7))
    for text in (
        "(1, 2), 'reflect'",
        "(1, 2, 2, 1), 'replicate'",
        "(0, 1, 2, 0), 'circular'",
        "(-1, 1)",
        "(1, -2, 0, 1, 1, 1), value=2",
    ):
        layer(
            f"{F}pad(x, {text.replace(chr(39), chr(34))})",
            x=(2, 3, 4) if text.count(",") == 2 and "'" in text else (2, 3, 4, 5),
        )
    layer(
        f"{F}batch_norm(x, None, None, y, z, True)",
        {"x": (4, 3), "y": (3,), "z": (3,)},
        x=(2, 3, 4),
        y=(3,),
        z=(3,),
        rtol=1e-3,
    )
    layer(
        f"{F}batch_norm(x, T.linspace(0, 1, 3, dtype=x.dtype), T.linspace(0.5, 1.5, 3, dtype=x.dtype), eps=0.1)",
        x=(2, 3, 4),
        rtol=1e-4,
    )
    layer(f"{F}layer_norm(x, (3, 4))", x=(2, 3, 4), rtol=1e-3)
    layer(f"{F}layer_norm(x, (4,), y, None, 0.1)", x=(2, 3, 4), y=(4,), rtol=1e-4)
    layer(f"{F}rms_norm(x, (4,), y)", x=(2, 3, 4), y=(4,), rtol=1e-4)
    layer(f"{F}group_norm(x, 2, y, z)", x=(2, 4, 3), y=(4,), z=(4,), rtol=1e-3)
    layer(f"{F}instance_norm(x)", x=(2, 3, 4), rtol=1e-3)
    attention = {"x": (2, 3, 4), "y": (2, 5, 4), "z": (2, 5, 3)}
    layer(f"{F}scaled_dot_product_attention(x, y, z)", **attention, rtol=1e-4)
    layer(f"{F}scaled_dot_product_attention(x, y, z, is_causal=True)", **attention, rtol=1e-4)
    layer(
        f"{F}scaled_dot_product_attention(x, y, z, m, scale=0.5)",
        **attention,
        m=Given([[True, False, True, True, False]] * 3),
        rtol=1e-4,
    )
    layer(f"{F}embedding(i, x, padding_idx=1)", x=(5, 3), i=Index((2, 4), 5), order=0)
    layer(f"{F}glu(x, 1)", x=(2, 4, 3))
    layer(f"{F}prelu(x, y)", x=(2, 3, 4), y=(3,))
    layer(f"{F}unfold(x, 2, padding=1, stride=2)", x=(2, 2, 4, 5))
    layer(
        f"{F}linear(x, y, z)",
        {"x": (0, 4), "y": (5, 4), "z": (5,)},
        {"x": (4,), "y": (5, 4), "z": (5,)},
        x=(2, 3, 4),
        y=(5, 4),
        z=(5,),
    )
    layer(
        f"{F}cross_entropy(x, i, T.linspace(0.5, 1.5, 5, dtype=x.dtype))",
        {"x": (2, 5, 3), "i": Index((2, 3), 5)},
        {"x": (5,), "i": Given(2)},
        x=(4, 5),
        i=Index((4,), 5),
        rtol=1e-4,
    )
    layer(
        f"{F}cross_entropy(x, y)",
        {"x": (5,), "y": (5,)},
        {"x": (2, 5, 3), "y": (2, 5, 3)},
        x=(4, 5),
        y=(4, 5),
        rtol=1e-4,
    )
    layer(
        f"{F}cross_entropy(x, i, label_smoothing=0.2, ignore_index=1, reduction='none')".replace("'", '"'),
        {"x": (2, 5, 3), "i": Index((2, 3), 5)},
        x=(4, 5),
        i=Index((4,), 5),
        rtol=1e-4,
    )
    layer(
        f"{F}nll_loss(x, i, T.linspace(0.5, 1.5, 5, dtype=x.dtype), ignore_index=0)",
        {"x": (2, 5, 3), "i": Index((2, 3), 5)},
        x=(4, 5),
        i=Index((4,), 5),
    )
    layer(f"{F}smooth_l1_loss(x, y, beta=0.5)", x=(3, 4), y=(3, 4))
    layer(f"{F}huber_loss(x, y, delta=0.5)", x=(3, 4), y=(3, 4))
    layer(f"{F}kl_div(x, y, reduction='batchmean', log_target=True)".replace("'", '"'), x=(3, 4), y=(3, 4), rtol=1e-4)
    layer(
        f"{F}binary_cross_entropy_with_logits(x, y, pos_weight=T.linspace(0.5, 1.5, 4, dtype=x.dtype))",
        x=(3, 4),
        y=at(3, 4, low=0.1, high=0.9),
        rtol=1e-4,
    )
    layer(f"{F}poisson_nll_loss(x, y)", x=(3, 4), y=(3, 4))
    layer(f"{F}soft_margin_loss(x, T.ones_like(x))", x=(3, 4), rtol=1e-4)
    layer(f"{F}triplet_margin_loss(x, y, z)", x=(3, 4), y=(3, 4), z=(3, 4), rtol=1e-4)


for fill in (fill_arithmetic, fill_unary, fill_reduce, fill_matmul, fill_shape, fill_index, fill_loss, fill_layers):
    fill()


def rows(stage: int) -> Iterator[Row]:
    """Yield the rows that are expected to work at a stage."""
    return (entry for entry in TABLE if entry.stage <= stage)


def families() -> Sequence[str]:
    """Name the families, each with its golden file."""
    return tuple(dict.fromkeys(entry.family for entry in TABLE))
