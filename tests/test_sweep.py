"""Differences from torch that a sweep over its table of operations found, each once."""

from __future__ import annotations

from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional


@pytest.mark.parametrize("name", ["kthvalue", "median", "nanmedian", "mode"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_ranks_keep_the_dimension_at_size_one(name: str, dim: int) -> None:
    T.manual_seed(0)
    x = T.randn(5, 4, 3, dtype=T.float64, requires_grad=True)
    arguments = (2, dim, True) if name == "kthvalue" else (dim, True)
    values, places = getattr(T, name)(x, *arguments)
    shape = [5, 4, 3]
    shape[dim] = 1
    assert list(values.shape) == list(places.shape) == shape
    assert T.equal(x.gather(dim, places), values)
    (grad,) = T.autograd.grad(values.sum(), x)
    assert T.equal(grad, T.zeros_like(x).scatter(dim, places, 1.0))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("addmm", ((2, 3), (2, 4), (4, 3))),
        ("addmv", ((2,), (2, 3), (3,))),
        ("addr", ((2, 3), (2,), (3,))),
        ("baddbmm", ((2, 2, 3), (2, 2, 4), (2, 4, 3))),
        ("addbmm", ((2, 3), (2, 2, 4), (2, 4, 3))),
    ],
)
def test_sums_with_products_in_place(name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    T.manual_seed(1)
    a, b, c = (T.randn(*shape, dtype=T.float64, requires_grad=True) for shape in shapes)
    expected = getattr(a, name)(b, c, beta=0.5, alpha=2)
    copy = a.clone()
    assert getattr(copy, name + "_")(b, c, beta=0.5, alpha=2) is copy
    assert T.equal(copy, expected)
    for own, other in zip(
        T.autograd.grad(copy.sum(), [a, b, c]), T.autograd.grad(expected.sum(), [a, b, c]), strict=True
    ):
        assert T.equal(own, other)


def test_scans_in_place() -> None:
    x = T.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.clone().cumprod_(0)
    assert y.tolist() == [1, 2, 6]
    assert T.autograd.grad(y.sum(), x)[0].tolist() == [9, 4, 2]
    assert T.tensor([1, 2, 3], dtype=T.int32).cumsum_(0).tolist() == [1, 3, 6]
    assert T.tensor([4.0], dtype=T.float64).float_power_(0.5).tolist() == [2]
    with pytest.raises(RuntimeError, match="float_power_"):
        T.tensor([4.0]).float_power_(2)


def test_integers_in_fused_sums() -> None:
    x = T.tensor([1, 2])
    assert T.addcmul(x, x, x, value=3).tolist() == [4, 14]
    assert x.clone().addcmul_(x, x).tolist() == [2, 6]
    narrow = T.ones(2, 2, dtype=T.uint8)
    assert T.addbmm(narrow, T.ones(3, 2, 2, dtype=T.uint8), T.ones(3, 2, 2, dtype=T.uint8)).dtype is T.uint8


def test_lookups_of_nothing_and_from_the_end() -> None:
    empty = T.tensor([], dtype=T.int64)
    assert T.ones(0).take(empty).shape == (0,)
    assert T.ones(0).put(empty, T.ones(0)).shape == (0,)
    x = T.arange(6.0).reshape(2, 3)
    assert x.take_along_dim(T.tensor([[-1], [0]]), 1).tolist() == [[2], [3]]
    assert T.tensordot(T.ones(1, 3), T.arange(4.0).reshape(2, 2), dims=([0], [1])).tolist() == [[1, 5]] * 3


def test_searching_with_a_sorter() -> None:
    x = T.tensor([5.0, 1.0, 3.0])
    order = x.argsort()
    assert T.searchsorted(x, T.tensor([2.0, 3.0]), sorter=order).tolist() == [1, 1]
    assert T.searchsorted(x, T.tensor([3.0]), sorter=order, side="right").tolist() == [2]
    with pytest.raises(RuntimeError, match="can't be set to opposites"):
        T.searchsorted(x, x, right=True, side="left")


def test_spaced_integers_start_from_integers() -> None:
    assert T.linspace(4.3, 1, 4, dtype=T.int64).tolist() == [4, 3, 2, 1]
    assert T.logspace(0, 1.2, 2, dtype=T.int64).tolist() == [1, 10]


@pytest.mark.parametrize("name", ["maximum", "atan2", "hypot", "logaddexp", "heaviside", "gcd", "logical_and"])
def test_numbers_where_torch_wants_tensors(name: str) -> None:
    function = getattr(T, name)
    with pytest.raises(TypeError):
        function(T.tensor([1, 2]), 2)
    with pytest.raises(TypeError):
        function(2, T.tensor([1, 2]))


def test_dropout_draws_in_the_order_of_memory() -> None:
    x = T.ones(3, 2, 4)
    T.manual_seed(0)
    dense = F.dropout(x, 0.5)
    T.manual_seed(0)
    turned = F.dropout(x.transpose(0, 1), 0.5)
    assert T.equal(turned, dense.transpose(0, 1))


def test_errors_of_empty_reductions_and_negation() -> None:
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        T.ones(5, 0).amax()
    with pytest.raises(NotImplementedError, match="Negation"):
        -T.tensor([True])
    with pytest.raises(RuntimeError, match="order must be non-negative"):
        T.ones(3).diff(n=-1)


def test_diff_of_order_zero_is_the_input() -> None:
    x = T.ones(3, 2)
    assert T.equal(T.diff(x, 0, 0, T.zeros(1, 2), None), x)
