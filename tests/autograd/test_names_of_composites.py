"""Functions that torch differentiates as one operation: their node, and gradients of gradients through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import pytest

T: Any = oracle.T


def numbers(*shape: int) -> Any:
    count = 1
    for size in shape:
        count *= size
    return (T.arange(count, dtype=T.float64) * 0.37 + 0.1).sin().reshape(shape).requires_grad_()


CASES: dict[str, tuple[Callable[..., Any], list[Any], str]] = {
    "addmm": (lambda a, b, c: T.addmm(a, b, c, beta=2, alpha=0.5), [(2, 4), (2, 3), (3, 4)], "AddmmBackward0"),
    "addmm of a row": (lambda a, b, c: T.addmm(a, b, c), [(4,), (2, 3), (3, 4)], "AddmmBackward0"),
    "addmm without the summand": (lambda a, b, c: T.addmm(a, b, c, beta=0), [(2, 4), (2, 3), (3, 4)], "AddmmBackward0"),
    "addmv": (lambda a, b, c: T.addmv(a, b, c, alpha=-1), [(2,), (2, 3), (3,)], "AddmvBackward0"),
    "addr": (lambda a, b, c: T.addr(a, b, c, alpha=3), [(2, 3), (2,), (3,)], "AddrBackward0"),
    "baddbmm": (lambda a, b, c: T.baddbmm(a, b, c), [(2, 2, 4), (2, 2, 3), (2, 3, 4)], "BaddbmmBackward0"),
    "addbmm": (lambda a, b, c: T.addbmm(a, b, c, beta=0.5), [(2, 4), (3, 2, 3), (3, 3, 4)], "AddbmmBackward0"),
    "repeat": (lambda a: a.repeat(2, 3, 1), [(2, 3)], "RepeatBackward0"),
    "repeat of nothing": (lambda a: a.repeat(0, 2), [(2, 3)], "RepeatBackward0"),
    "tile": (lambda a: a.tile(2), [(2, 3)], "RepeatBackward0"),
    "roll": (lambda a: a.roll((1, -2), (0, 1)), [(2, 3)], "RollBackward0"),
    "roll of all": (lambda a: a.roll(4), [(2, 3)], "RollBackward0"),
    "rot90": (lambda a: a.rot90(1, (0, 1)), [(2, 3)], "Rot90Backward0"),
    "rot90 backwards": (lambda a: a.rot90(-1, (1, 0)), [(2, 3)], "Rot90Backward0"),
    "trace": (lambda a: a.trace(), [(2, 3)], "TraceBackward0"),
    "masked_select": (lambda a: a.masked_select(a.detach() > 0), [(2, 3)], "MaskedSelectBackward0"),
    "masked_select, broadcast": (lambda a: a.masked_select(T.ones(2, 1, 3) > 0), [(2, 3)], "MaskedSelectBackward0"),
    "diag_embed": (lambda a: a.diag_embed(1), [(2, 3)], "DiagEmbedBackward0"),
    "diag of a vector": (lambda a: a.diag(-1), [(3,)], "DiagEmbedBackward0"),
    "select_scatter": (lambda a, b: a.select_scatter(b, 0, 1), [(2, 3), (3,)], "SelectScatterBackward0"),
    "slice_scatter": (lambda a, b: a.slice_scatter(b, 1, 0, 3, 2), [(2, 3), (2, 2)], "SliceScatterBackward0"),
    "diagonal_scatter": (lambda a, b: a.diagonal_scatter(b), [(2, 3), (2,)], "DiagonalScatterBackward0"),
    "clamp": (lambda a, b, c: a.clamp(b, c), [(4,), (4,), (4,)], "ClampBackward0"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_node_and_its_gradients(name: str) -> None:
    function, shapes, node = CASES[name]
    inputs = [numbers(*shape) for shape in shapes]
    if name == "clamp":
        inputs[1] = (inputs[1].detach() - 0.7).requires_grad_()
        inputs[2] = (inputs[2].detach() * 0.3).requires_grad_()
    out = function(*inputs)
    assert out.grad_fn.name() == node
    assert [edge[0].variable is one for edge, one in zip(out.grad_fn.next_functions, inputs, strict=True)]
    assert not out._is_view()
    assert out._version == 0
    if out.numel():
        assert T.autograd.gradcheck(function, inputs)
        assert T.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("low", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("high", [1.0, 2.0, 3.0])
def test_clamp_between_tensors_shares_gradients(low: float, high: float) -> None:
    x = T.tensor([0.0, 1.0, 2.0, 3.0, float("nan")], requires_grad=True)
    a, b = (T.full((5,), value, requires_grad=True) for value in (low, high))
    x.clamp(a, b).sum().backward()
    total = x.grad + a.grad + b.grad
    assert total.tolist()[:4] == [1.0] * 4
    if low > high:
        assert b.grad.tolist()[:4] == [1.0] * 4
    elif low == high:
        assert x.grad.tolist() == [1.0 if value == low else 0.0 for value in (0.0, 1.0, 2.0, 3.0)] + [1.0]
    else:
        assert x.grad[int(low)].item() == a.grad[int(low)].item() == 0.5
        assert x.grad[int(high)].item() == b.grad[int(high)].item() == 0.5


def test_clamp_by_one_tensor() -> None:
    x = T.tensor([0.0, 2.0, 3.0, float("nan")], requires_grad=True)
    low = T.full((4,), 2.0, requires_grad=True)
    for name, node in (("clamp", "ClampBackward0"), ("clamp_min", "ClampMinBackward1")):
        x.grad = low.grad = None
        y = getattr(x, name)(min=low)
        assert y.grad_fn.name() == node
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 0.5, 1.0, 1.0]
        assert low.grad.tolist() == [1.0, 0.5, 0.0, 1.0]


def test_clamp_shows_what_it_saved() -> None:
    x = T.ones(3, requires_grad=True)
    node = x.clamp(min=T.zeros(3)).grad_fn
    assert node._saved_max is None
    assert T.equal(node._saved_min, T.zeros(3))
    with pytest.raises(RuntimeError, match="value None is forbidden"):
        node._raw_saved_max.register_hooks(lambda one: one, lambda one: one)
