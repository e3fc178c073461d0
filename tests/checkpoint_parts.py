"""What the tests of checkpoints share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import oracle
import pytest

T: Any = oracle.T
module: Any = importlib.import_module(f"{oracle.MODULE}.utils.checkpoint")
checkpoint: Any = module.checkpoint
checkpoint_sequential: Any = module.checkpoint_sequential
CheckpointError: Any = module.CheckpointError
graph: Any = T.autograd.graph

reentrant = pytest.mark.parametrize("use_reentrant", [False, True])


def numbers(*shape: int) -> Any:
    count = 1
    for size in shape:
        count *= size
    return (T.arange(count, dtype=T.float64) * 0.37 + 0.1).sin().reshape(shape).requires_grad_()


def wave(x: Any) -> Any:
    return (x.sin().exp() * x).tanh()


def grads_of(loss: Any, *leaves: Any) -> list[Any]:
    for leaf in leaves:
        leaf.grad = None
    loss().backward()
    return [leaf.grad for leaf in leaves]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(T.equal(x, y) for x, y in zip(a, b, strict=True))


class Counter:
    """A function that counts how often it begins and ends."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.begun, self.ended = function, 0, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.begun += 1
        result = self.function(*args, **kwargs)
        self.ended += 1
        return result
