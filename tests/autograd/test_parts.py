"""Gradients of parts of a value are added where they belong: nothing but the time it takes may tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import T

PARTS: dict[str, Any] = {
    "rows": lambda x: [x[i] for i in range(6)],
    "columns": lambda x: [x[:, i] for i in range(4)],
    "neighbours": lambda x: [x[1:], x[:-1]],
    "steps": lambda x: [x[::2], x[1::2, ::3], x[:, 2:]],
    "diagonals": lambda x: [x.diagonal(), x.diagonal(1), x.diagonal(-2)],
    "narrow": lambda x: [x.narrow(0, 1, 3), x.narrow(1, 0, 2), x.select(0, -1)],
    "overlapping": lambda x: [x.as_strided((3, 3), (2, 1)), x.unfold(0, 3, 1), x[2:5]],
    "one part twice": lambda x: [x[2], x[2], x[2, 1]],
    "whole and parts": lambda x: [x * 2, x[0], x, x[:, 1], x.t()[3]],
    "parts of parts": lambda x: [x[1:][2:], x[:, 1:][:, 0], x[1:4].t()[1]],
    "empty": lambda x: [x[3:3], x[0], x[:, 4:]],
    "split": lambda x: [*x.split(2), *x.chunk(2, 1), *x.unbind(1)],
}


def total(parts: list[Any]) -> Any:
    return sum(((part * part * (k + 1)).sum() for k, part in enumerate(parts)), start=T.zeros(()))


@pytest.mark.parametrize("dtype", [T.float32, T.float64], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_gradients_of_parts(name: str, dtype: Any) -> None:
    x = (T.arange(24.0).reshape(6, 4) / 8 - 1).to(dtype).requires_grad_()
    total(PARTS[name](x)).backward()
    # The gradient is linear in the value, so the value's own inner product with it is twice the total.
    place = T.arange(24).reshape(6, 4)
    want = np.zeros(24)
    for k, part in enumerate(PARTS[name](place)):
        double = 2 if name == "whole and parts" and k == 0 else 1
        at = np.array((part // double).tolist(), dtype=int).ravel()
        np.add.at(want, at, 2 * (k + 1) * double**2 * np.array(x.tolist()).ravel()[at])
    np.testing.assert_allclose(np.array(x.grad.tolist()).ravel(), want, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", PARTS)
def test_second_derivatives_of_parts(name: str) -> None:
    x = (T.arange(24.0, dtype=T.float64).reshape(6, 4) / 8 - 1).requires_grad_()
    assert T.autograd.gradcheck(lambda x: total(PARTS[name](x.sin())), x)
    assert T.autograd.gradgradcheck(lambda x: total(PARTS[name](x.sin())), x)


def test_what_others_hold_is_not_written() -> None:
    x = T.ones(4, 3, requires_grad=True)
    y = x * 1
    seen: list[Any] = []
    z = y * 3  # its gradient arrives first, and a hook keeps it
    z.register_hook(lambda grad: seen.append(grad))
    w = y + z
    w.register_hook(lambda grad: seen.append(grad))
    (w.sum() + (y[0] * 5).sum() + (y[:, 1] * 7).sum()).backward()
    assert [grad.tolist() for grad in seen] == [np.ones((4, 3)).tolist()] * 2
    want = np.full((4, 3), 4.0)
    want[0] += 5
    want[:, 1] += 7
    np.testing.assert_array_equal(x.grad.tolist(), want)


def test_hooks_on_parts_and_on_the_whole() -> None:
    x = T.ones(3, 2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    order: list[str] = []
    first = y[0]
    first.register_hook(lambda grad: order.append(f"part {tuple(grad.shape)}"))
    first.grad_fn.register_hook(lambda ins, outs: order.append(f"node {tuple(ins[0].shape)}"))
    y.register_hook(lambda grad: order.append(f"whole {grad.sum().item():g}"))
    (first.sum() + y[1].sum() * 2 + y[2, 0] * 3).backward()
    assert order == ["part (2,)", "node (3, 2)", "whole 9"]
    np.testing.assert_array_equal(y.grad.tolist(), [[1, 1], [2, 2], [3, 0]])


def test_a_leaf_that_is_read_part_by_part_twice() -> None:
    x = T.zeros(5, 2, requires_grad=True)
    for step in range(1, 3):
        total = x.sum() * 0
        for i in range(5):
            total = total + x[i].sum() * i
        total.backward()
        np.testing.assert_array_equal(x.grad[:, 0].tolist(), np.arange(5.0) * step)
    grad = x.grad
    T.autograd.grad(x[1].sum() + x[2].sum(), x)
    np.testing.assert_array_equal(grad[:, 1].tolist(), np.arange(5.0) * 2)


def test_a_released_graph_is_refused_as_before() -> None:
    x = T.ones(4, requires_grad=True)
    y = x.exp()[1:]
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
