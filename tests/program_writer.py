"""Writing random programs: what the writer knows of its variables, and how it chooses among them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]

LIMIT = 30.0
"""Values that may be larger than this are brought back by ``tanh``, so that rounding stays small."""


@dataclass
class Variable:
    """What the writer knows of a tensor of its program."""

    name: str
    shape: Shape
    dtype: str = "float64"
    leaf: bool = False
    grad: bool = True
    bound: float = 2.0
    """An estimate of the largest magnitude."""
    several: bool = False
    """One of several views made by one operation, which refuse writes in place."""

    @property
    def floating(self) -> bool:
        return self.dtype.startswith("float")

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """Give the common shape of two, if there is one."""
    n = max(len(a), len(b))
    padded = [(1,) * (n - len(s)) + s for s in (a, b)]
    if any(x != y and 1 not in (x, y) for x, y in zip(*padded, strict=True)):
        return None
    return tuple(y if x == 1 else x for x, y in zip(*padded, strict=True))


Kinds = list[tuple[float, Callable[["Writer"], bool]]]
"""Kinds of statements with their weights: functions of the writer that say whether they wrote something."""


class Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.variables: list[Variable] = []
        self.count = 0
        self.no_grad = False

    # Choosing.

    def pick(self, accept: Callable[[Variable], bool] = lambda _: True) -> Variable | None:
        """Choose a variable, a late one more likely."""
        found = [one for one in self.variables if accept(one)]
        if not found:
            return None
        return self.random.choices(found, [1 + 0.5 * i for i in range(len(found))])[0]

    def floating(self) -> Variable | None:
        """Choose a variable of floating dtype."""
        return self.pick(lambda one: one.floating)

    def number(self) -> float:
        return round(self.random.uniform(-2, 2), 2)

    def shape(self) -> Shape:
        dims = self.random.choices((0, 1, 2, 3), (1, 3, 5, 2))[0]
        return tuple(self.random.choices((1, 2, 3, 4, 0), (2, 5, 5, 2, 0.1))[0] for _ in range(dims))

    def dim(self, one: Variable) -> int:
        return self.random.randrange(-len(one.shape), len(one.shape))

    # Writing.

    def write(self, line: str) -> None:
        if self.no_grad and not line.startswith(" "):
            line = "    " + line
        self.lines.append(line)

    def new(
        self, text: str, shape: Shape, of: list[Variable], dtype: str | None = None, bound: float = 2.0, **more: Any
    ) -> None:
        """Write ``name = text`` and remember the result."""
        name = f"v{self.count}"
        self.count += 1
        self.write(f"{name} = {text}")
        if dtype is None:
            dtype = of[0].dtype
            if len(of) > 1 and any(one.dtype == "float64" and one.shape for one in of):
                dtype = "float64"
        grad = not self.no_grad and dtype.startswith("float") and any(one.grad for one in of)
        self.variables.append(Variable(name, shape, dtype, grad=grad, bound=bound, **more))
        if bound > LIMIT:
            self.new(f"{name}.tanh()", shape, [self.variables[-1]], bound=1.0)

    def data(self, shape: Shape, low: float = -2.0, high: float = 2.0) -> str:
        """Write out random numbers as nested lists."""
        if not shape:
            return str(round(self.random.uniform(low, high), 3))
        return "[" + ", ".join(self.data(shape[1:], low, high) for _ in range(shape[0])) + "]"

    def tensor(self, shape: Shape, dtype: str, grad: bool = False) -> str:
        flag = ", requires_grad=True" if grad else ""
        if 0 in shape:
            return f"T.zeros({shape}, dtype=T.{dtype}{flag})"
        return f"T.tensor({self.data(shape)}, dtype=T.{dtype}{flag})"

    def leaf(self) -> None:
        shape = self.shape()
        if self.variables and self.random.random() < 0.6:
            shape = self.random.choice(self.variables).shape
        dtype = "float32" if self.random.random() < 0.08 else "float64"
        grad = self.random.random() < 0.7
        name = f"v{self.count}"
        self.count += 1
        self.write(f"{name} = {self.tensor(shape, dtype, grad)}")
        self.variables.append(Variable(name, shape, dtype, leaf=True, grad=grad))

    def program(self, statements: Kinds, mistakes: Kinds, endings: Kinds) -> list[str]:
        """Write leaves, statements, perhaps a mistake among them, and backward passes."""
        for _ in range(self.random.randint(2, 4)):
            self.leaf()
        steps = self.random.randint(4, 16)
        mistake = self.random.randrange(steps) if self.random.random() < 0.12 else -1
        for step in range(steps):
            if self.no_grad and self.random.random() < 0.35:
                self.no_grad = False
            if step == mistake:
                self.attempt(mistakes)
            self.attempt(statements)
        self.no_grad = False
        for _ in range(self.random.choices((1, 2), (4, 1))[0]):
            self.attempt(endings)
        return self.lines

    def attempt(self, kinds: Kinds) -> None:
        """Write a statement of some kind; a kind says False where there is nothing it can be applied to."""
        for _ in range(20):
            kind = self.random.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]
            if kind(self):
                return
