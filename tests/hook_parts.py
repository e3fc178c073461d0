"""What the tests of hooks share."""

from __future__ import annotations

from typing import Any

import oracle

T = oracle.T
Function: Any = T.autograd.Function
graph = T.autograd.graph


class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2


class Pair(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, a: Any, b: Any) -> Any:
        return a * 2 + b * 3


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


def accumulator(x: Any) -> Any:
    return x.view_as(x).grad_fn.next_functions[0][0]
