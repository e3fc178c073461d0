"""Running a program that is a list of lines, and reporting what became of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def statements(lines: list[str]) -> list[str]:
    """Put indented lines together with the statement they belong to."""
    whole: list[str] = []
    for line in lines:
        if line.startswith(" ") and whole:
            whole[-1] += "\n" + line
        else:
            whole.append(line)
    return whole


def scaled(T: Any) -> Any:
    """Give a custom function of the module: a product with a number, differentiable twice."""
    base: Any = T.autograd.Function

    class Scaled(base):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, k: float) -> Any:
            ctx.k = k
            ctx.save_for_backward(x)
            return x * k

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * ctx.k + (x - x) * grad, None

    return Scaled


def functions(T: Any) -> dict[str, Any]:
    """Give the custom functions that programs use: of two outputs, in place, and in the other style."""
    base: Any = T.autograd.Function

    class Two(base):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, k: float) -> Any:
            ctx.save_for_backward(x)
            ctx.k = k
            return x * k, x.sin()

        @staticmethod
        def backward(ctx: Any, one: Any, two: Any) -> Any:
            (x,) = ctx.saved_tensors
            return one * ctx.k + two * x.cos(), None

    class Dirty(base):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x.mul_(0.75)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 0.75

    class Twice(base):  # type: ignore[misc]
        @staticmethod
        def forward(x: Any) -> Any:
            return x + x.tanh()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * (2 - x.tanh() ** 2)

    return {"Scaled": scaled(T), "Two": Two, "Dirty": Dirty, "Twice": Twice}


WRITE = re.compile(r"^\s*(v\d+(?:\[[^=]*\])?)(?:\.\w+_\(|\s*[-+*/]?=\s)")


def _places(tensor: Any) -> list[int]:
    """List where the elements of a tensor lie, in their order."""
    places = [tensor.storage_offset()]
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = [place + i * stride for place in places for i in range(size)]
    return places


def order_matters(text: str, space: dict[str, Any]) -> bool:
    """Tell whether a line writes in place what it reads elsewhere in the same operation.

    ``x.add_(x[0])`` depends on the order in which a loop goes over the elements: torch calls it undefined.
    """
    found = WRITE.match(text)
    if found is None:
        return False
    try:
        target = eval(found[1], space)
        names = set(re.findall(r"\bv\d+\b", text[found.end() :]))
        written = _places(target)
        spread = any(size > 1 and stride == 0 for size, stride in zip(target.shape, target.stride(), strict=True))
        if len(set(written)) < len(written) and not spread:
            return True  # one place is written several times
        for name in names:
            source = space[name]
            if source.untyped_storage().data_ptr() != target.untyped_storage().data_ptr():
                continue
            read = _places(source.expand(target.shape))
            where = {place: i for i, place in enumerate(written)}
            if any(where.get(place, i) != i for i, place in enumerate(read)):
                return True
    except Exception:
        return False
    return False


def run(T: Any, lines: list[str], describe: Callable[[Any], Any]) -> dict[str, Any]:
    """Run a program to its end or first error; give what became of its tensors, and the error."""
    log: list[Any] = []
    space: dict[str, Any] = {"T": T, "log": log, **functions(T)}
    report: dict[str, Any] = {"error": None}
    for number, text in enumerate(statements(lines)):
        if any(order_matters(line, space) for line in text.splitlines()):
            report["undefined"] = number
        try:
            exec(text, space)
        except Exception as error:
            report["error"] = [
                number,
                next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"),
            ]
            report["message"] = f"{text}: {error}"
            break
    tensors = {}
    for name, value in space.items():
        values = value if isinstance(value, tuple) else (value,)
        if name[0] in "vg" and name[1:].isdigit():
            tensors[name] = [None if one is None else _facts(one, describe) for one in values]
    report["tensors"] = tensors
    report["log"] = [[name, None if number is None else float(number)] for name, number in log]
    return report


def _facts(tensor: Any, describe: Callable[[Any], Any]) -> dict[str, Any]:
    """Describe a tensor with its gradient and its place in the graph; what cannot be read is an error's name."""

    def grad() -> Any:
        found = tensor.grad if tensor.is_leaf or tensor.retains_grad else None
        return None if found is None else describe(found)

    facts: dict[str, Callable[[], Any]] = {
        "value": lambda: describe(tensor),
        "grad": grad,
        "requires_grad": lambda: tensor.requires_grad,
        "is_leaf": lambda: tensor.is_leaf,
        "version": lambda: tensor._version,
        "is_view": lambda: tensor._is_view(),
    }
    result = {}
    for name, fact in facts.items():
        try:
            result[name] = fact()
        except RuntimeError as error:
            result[name] = {"error": type(error).__name__}
    return result
