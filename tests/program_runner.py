"""Running a program that is a list of lines, and reporting what became of its tensors."""

from __future__ import annotations

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


def run(T: Any, lines: list[str], describe: Callable[[Any], Any]) -> dict[str, Any]:
    """Run a program to its end or first error; give what became of its tensors, and the error."""
    log: list[Any] = []
    space: dict[str, Any] = {"T": T, "log": log, "Scaled": scaled(T)}
    report: dict[str, Any] = {"error": None}
    for number, text in enumerate(statements(lines)):
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
