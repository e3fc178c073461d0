"""Distances of pairs of rows, rectifiers per channel, channels normalised alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional
DEGREES = [0, 0.5, 1, 1.5, 2, 3, float("inf")]


def draw(*shape: int, seed: int = 0) -> Any:
    T.manual_seed(seed)
    return T.randn(shape, dtype=T.float64, requires_grad=True)


@pytest.mark.parametrize("p", DEGREES)
@pytest.mark.parametrize("shape", [(5, 3), (9, 40), (2, 1)])
def test_distances(p: float, shape: tuple[int, int]) -> None:
    x = draw(*shape)
    got = F.pdist(x, p)
    expected = T.stack([(a - b).norm(p) for a, b in itertools.combinations(x, 2)])
    assert got.grad_fn.name() == "PdistBackward0"
    assert got.grad_fn._saved_p == p
    assert T.allclose(got, expected)
    assert T.allclose(F.pdist(x.t().contiguous().t(), p), expected)
    if p:
        assert T.autograd.gradcheck(lambda x: F.pdist(x, p), x)
    else:
        (grad,) = T.autograd.grad(got.sum(), x)
        assert grad.eq(0).all()


@pytest.mark.parametrize("p", DEGREES)
def test_equal_rows_have_no_gradient(p: float) -> None:
    x = T.tensor([[1.0, 2, 3], [1, 2, 3], [4, 5, 3]], requires_grad=True)
    y = F.pdist(x, p)
    assert y[0] == 0
    (grad,) = T.autograd.grad(y[0], x)
    assert grad.eq(0).all()
    (grad,) = T.autograd.grad(F.pdist(x, p).sum(), x)
    assert T.isfinite(grad).all()
    assert grad[:, 2].eq(0).all()


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, float("inf")])
def test_second_derivatives_of_distances(p: float) -> None:
    x = draw(4, 3)
    assert T.autograd.gradgradcheck(lambda x: F.pdist(x, p), x)
    # In a recorded pass the gradient is the same.
    (plain,) = T.autograd.grad(F.pdist(x, p).square().sum(), x)
    (recorded,) = T.autograd.grad(F.pdist(x, p).square().sum(), x, create_graph=True)
    assert T.allclose(plain, recorded)


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("rows", [0, 1])
def test_no_pairs_have_a_gradient(rows: int) -> None:
    x = T.ones(rows, 3, requires_grad=True)
    (grad,) = T.autograd.grad(F.pdist(x).sum(), x)
    assert grad.tolist() == [[0.0] * 3] * rows


def test_no_pairs_and_errors() -> None:
    assert F.pdist(T.ones(1, 3)).shape == (0,)
    assert F.pdist(T.ones(0, 3)).shape == (0,)
    assert F.pdist(T.ones(3, 0)).tolist() == [0, 0, 0]
    for words, x, p in [
        ("2D tensors, got: 1D", T.ones(3), 2),
        ("floating-point dtypes", T.ones(3, 3).int(), 2),
        ("non-negative p", T.ones(3, 3), -1),
        ("non-negative p", T.ones(3, 3), float("nan")),
    ]:
        with pytest.raises(RuntimeError, match=words):
            F.pdist(x, p)


@pytest.mark.parametrize(("shape", "count"), [((4, 3), 3), ((4, 3), 1), ((2, 3, 4, 5), 3), ((2, 3, 4, 5), 1), ((7,), 1), ((), 1)])  # fmt: skip
def test_rectifier(shape: tuple[int, ...], count: int) -> None:
    x, weight = draw(*shape), draw(count, seed=1)
    wide = weight.reshape([-1] + [1] * (len(shape) - 2)) if len(shape) > 1 else weight.reshape([1] * len(shape))
    y = F.prelu(x, weight)
    assert y.grad_fn.name() == "PreluKernelBackward0"
    assert T.equal(y, T.where(x > 0, x, wide * x))
    assert T.autograd.gradcheck(F.prelu, (x, weight))
    assert T.autograd.gradgradcheck(F.prelu, (x, weight))


def test_errors_of_the_rectifier() -> None:
    x = T.ones(4, 3)
    cases: list[tuple[Any, str, Any, Any]] = [
        (RuntimeError, "numbers = 2 and channel size = 3", x, T.ones(2)),
        (RuntimeError, "numbers = 3 and channel size = 1", x[0], T.ones(3)),
        (RuntimeError, "zero-dim input", x[0, 0], T.ones(2)),
        (RuntimeError, "scalar or 1D tensor, but got: ndim = 2", x, T.ones(1, 3)),
        (RuntimeError, "Type promoting not supported. Got Double and Float", x.double(), T.ones(3)),
        (NotImplementedError, "not implemented for 'Int'", x.int(), T.ones(3).int()),
    ]
    for error, words, input, weight in cases:
        with pytest.raises(error, match=words):
            F.prelu(input, weight)


def test_channels_alone() -> None:
    x = draw(2, 3, 4, 5)
    weight, bias = draw(3, seed=1), draw(3, seed=2)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * weight.reshape(3, 1, 1) + bias.reshape(3, 1, 1)
    y = F.instance_norm(x, weight=weight, bias=bias)
    assert y.grad_fn.name() == "ViewBackward0"
    assert T.allclose(y, expected)
    assert T.allclose(F.instance_norm(x.transpose(2, 3)).transpose(2, 3), F.instance_norm(x))
    assert T.autograd.gradcheck(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), (x, weight, bias))
    with pytest.raises(RuntimeError, match="weight should contain"):
        F.instance_norm(x, weight=weight[:2])
    assert F.instance_norm(x[:0]).shape == (0, 3, 4, 5)
