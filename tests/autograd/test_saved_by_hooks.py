"""What a hook on saved tensors may give back, and what the engine makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import pytest

T: Any = oracle.T
F: Any = T.nn.functional
hooks: Any = T.autograd.graph.saved_tensors_hooks

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "mul": lambda a: a * a, "sin": lambda a: a.sin(), "exp": lambda a: a.exp(), "pow": lambda a: a.pow(3), "div": lambda a: a / (a + 9),
    "softmax": lambda a: a.softmax(0), "mm": lambda a: a.view(8, 8) @ a.view(8, 8), "dot": lambda a: a.dot(a), "prod": lambda a: a.prod(),
    "max": lambda a: a.max(0)[0], "gather": lambda a: a.gather(0, T.arange(5)), "index": lambda a: a[T.arange(3)], "where": lambda a: T.where(a > 0, a, a * 2),
    "layer_norm": lambda a: F.layer_norm(a, (64,)), "var": lambda a: a.var(), "cumprod": lambda a: a.cumprod(0), "conv1d": lambda a: F.conv1d(a.view(1, 1, 64), a[:3].view(1, 1, 3)),
    "pool": lambda a: F.max_pool1d(a.view(1, 1, 64), 2), "nll": lambda a: F.nll_loss(a.view(8, 8), T.zeros(8).long()), "embedding": lambda a: F.embedding(T.arange(4), a.view(8, 8)),
    "inv": lambda a: T.linalg.inv(a.view(8, 8)), "sort": lambda a: a.sort()[0], "lerp": lambda a: a.lerp(a, a), "norm": lambda a: a.norm(), "scatter": lambda a: a.scatter(0, T.arange(3), a),
}  # fmt: skip

GIVEN: dict[str, Callable[[], Any]] = {
    "short": lambda: T.ones(2),
    "empty": lambda: T.ones(0),
    "integers": lambda: T.ones(2).long(),
    "more dimensions": lambda: T.ones(2, 3, 4),
    "far": lambda: T.full((64,), 10**6),
    "single": lambda: T.ones(()),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_wrong_tensor_is_an_error_or_a_number_but_no_crash(function: str, given: str) -> None:
    a = (T.arange(64.0) * 0.37).sin().requires_grad_()
    with hooks(lambda tensor: tensor, lambda _: GIVEN[given]()):
        y = FUNCTIONS[function](a)
    try:
        (grad,) = T.autograd.grad(y.sum(), a)
    except (RuntimeError, IndexError, ValueError, TypeError):
        return
    assert grad.shape == a.shape


def test_another_dtype_gives_the_gradient_of_the_input() -> None:
    a = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with hooks(lambda tensor: tensor.double(), lambda tensor: tensor):
        y = a * a
    y.sum().backward()
    assert a.grad.dtype == T.float32
    assert a.grad.tolist() == [2.0, 4.0, 6.0]


def test_a_tensor_that_broadcasts_stands_for_the_whole() -> None:
    a = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with hooks(lambda tensor: tensor, lambda _: T.tensor(5.0)):
        y = a.square()
    y.sum().backward()
    assert a.grad.tolist() == [10.0, 10.0, 10.0]


def test_a_saved_tensor_of_another_shape_is_refused() -> None:
    a = T.ones(5, requires_grad=True)
    with hooks(lambda tensor: tensor, lambda tensor: tensor[:2]):
        y = a * a
    with pytest.raises(RuntimeError):
        y.sum().backward()


def test_hooks_on_what_was_freed() -> None:
    a = T.ones(3, requires_grad=True)
    y = a * a
    y.sum().backward()
    with pytest.raises(RuntimeError, match="after it has been freed"):
        y.grad_fn._raw_saved_other.register_hooks(lambda x: x, lambda x: x)


def test_mutation_on_saved_tensors_copies_what_is_overwritten_only() -> None:
    with T.autograd.graph.allow_mutation_on_saved_tensors() as context:
        a = T.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        assert len(context.cloned) == 0
        b.sin_()
        assert len(context.cloned) == 1
        out.backward()
        assert T.equal(a.grad, T.full((2, 3), 2.0))
        del out
