"""Kernels that choose their way by shape: few and many columns, short lines, pairs of rows of two matrices."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

F = T.nn.functional

SHAPES = [(3, 5, 7), (2, 300, 5), (1, 1100, 3), (40, 3, 2), (5, 4, 70), (1, 2, 200), (2, 1, 9), (1, 3000, 20)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_softmax_along_columns_is_that_of_lines(shape: tuple[int, ...], dtype: Any) -> None:
    T.manual_seed(1)
    x = (T.randn(shape, dtype=dtype) * 4).requires_grad_()
    grad = T.randn(shape, dtype=dtype)
    near = {"rtol": 1e-5, "atol": 1e-4} if dtype == T.float32 else {}
    for function in (F.softmax, F.log_softmax):
        y = function(x, 1)
        lines = function(x.transpose(1, 2).contiguous(), 2).transpose(1, 2)
        assert T.allclose(y, lines, **near)
        (there,) = T.autograd.grad(y, x, grad)
        (here,) = T.autograd.grad(lines, x, grad)
        assert T.allclose(there, here, **near)


def test_softmax_along_columns_at_the_ends() -> None:
    x = T.zeros(3, 4)
    x[0, 0], x[1, 1], x[:, 2] = math.nan, math.inf, -math.inf
    lines, columns = F.softmax(x.t().contiguous(), 1).t(), F.softmax(x, 0)
    assert T.equal(lines.isnan(), columns.isnan())
    assert columns.isnan().any(0).tolist() == [True, True, True, False]
    assert columns[:, 3].tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("inner", [1, 2, 3, 4, 5, 8, 15, 33, 300])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"])
def test_cumulative_columns_are_cumulative_lines(name: str, inner: int) -> None:
    T.manual_seed(2)
    function = getattr(T, name)
    x = T.randn(2, 50, inner, dtype=T.float64)
    if name.startswith("cumm"):
        # Equals, of which the last counts, and what is no number, which stays.
        x = (x * 2).round()
        x[1, 30, 0] = math.nan
        for dtype in (T.float64, T.float32, T.int64, T.uint8, T.bool):
            part = x.nan_to_num(7).abs().to(dtype) if dtype not in (T.float64, T.float32) else x.to(dtype)
            values, places = function(part, 1)
            lines, found = function(part.transpose(1, 2).contiguous(), 2)
            assert T.equal(places, found.transpose(1, 2))
            assert T.equal(values.nan_to_num(9), lines.transpose(1, 2).nan_to_num(9))
        return
    lines = function(x.transpose(1, 2).contiguous(), 2).transpose(1, 2)
    assert T.allclose(function(x, 1), lines, rtol=1e-13, atol=1e-14)


def test_cumulative_extremes_of_long_lines() -> None:
    T.manual_seed(3)
    x = T.randn(3, 1000)
    x[1], x[2, 700] = T.arange(1000.0), math.nan
    values, places = x.cummax(1)
    assert T.equal(values[0], T.stack([x[0, : i + 1].max() for i in range(1000)]))
    assert T.equal(x[0, places[0]], values[0])
    assert T.equal(places[1], T.arange(1000))
    assert places[2, 700:].eq(700).all()
    assert values[2, 700:].isnan().all()
    assert not values[2, :700].isnan().any()


def test_logcumsumexp_of_columns_at_the_ends() -> None:
    x = T.tensor([[-math.inf, 0.0, math.inf, math.nan], [-math.inf, 1000.0, 1.0, 1.0], [0.0, -1000.0, math.inf, 2.0]])
    y = T.logcumsumexp(x, 0)
    assert y[:, 0].tolist() == [-math.inf, -math.inf, 0.0]
    assert y[:, 1].tolist() == [0.0, 1000.0, 1000.0]
    assert y[:, 2].tolist() == [math.inf] * 3
    assert y[:, 3].isnan().all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_short_lines_are_sorted_stably(n: int) -> None:
    T.manual_seed(4)
    for dtype in (T.float32, T.float64, T.int64, T.uint8):
        x = T.randint(0, 3, (50, n, 2)).to(dtype)
        for descending in (False, True):
            for dim in (1, 2):
                values, places = T.sort(x, dim=dim, descending=descending, stable=True)
                assert T.equal(values, x.gather(dim, places))
                apart, order = values.diff(dim=dim), places.diff(dim=dim)
                ordered = (apart <= 0) if descending else (apart >= 0)
                if dtype != T.uint8:
                    assert ordered.all()
                assert (order[apart == 0] > 0).all()
    x = T.tensor([[math.nan, 0.0, -0.0, -math.inf][:n]])
    assert T.equal(T.argsort(x, stable=True), T.tensor([[[0], [1, 0], [1, 2, 0], [3, 1, 2, 0], [3, 1, 2, 0]][n - 1]]))


def _composed(x: Any, y: Any, p: float) -> Any:
    apart = x.unsqueeze(-2) - y.unsqueeze(-3)
    return (apart != 0).sum(-1).to(x.dtype) if p == 0 else T.linalg.vector_norm(apart, p, -1)


@pytest.mark.parametrize("p", [0.0, 0.7, 1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize(("n", "m", "width"), [(3, 4, 2), (20, 17, 5), (18, 40, 37), (1, 1, 1), (2, 3, 300)])
def test_cdist(p: float, n: int, m: int, width: int) -> None:
    T.manual_seed(5)
    x = T.randn(2, n, width, dtype=T.float64, requires_grad=True)
    y = T.randn(2, m, width, dtype=T.float64, requires_grad=True)
    distances = T.cdist(x, y, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    composed = _composed(x, y, p)
    assert T.allclose(distances, composed)
    grad = T.randn(2, n, m, dtype=T.float64)
    found = T.autograd.grad(distances, (x, y), grad)
    known = T.autograd.grad(composed, (x, y), grad) if p else (T.zeros_like(x), T.zeros_like(y))
    for one, other in zip(found, known, strict=True):
        assert T.allclose(one, other)
    single = T.cdist(x.detach().float(), y.detach().float(), p=p)
    assert T.allclose(single, composed.detach().float(), rtol=1e-3, atol=1e-3)


def test_cdist_of_equal_rows_has_no_gradient() -> None:
    for p in (0.5, 1.0, 2.0, 3.0, math.inf):
        x = T.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        T.cdist(x, x.detach()[:1], p=p)[0].sum().backward()
        assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_cdist_broadcasts_stacks() -> None:
    x, y = T.randn(2, 1, 3, 4), T.randn(5, 6, 4)
    assert T.allclose(T.cdist(x, y, p=1), _composed(x, y, 1))
    assert T.cdist(T.ones(0, 3), T.ones(2, 3), p=1).shape == (0, 2)
    assert T.cdist(T.ones(2, 0), T.ones(3, 0), p=1).tolist() == [[0] * 3] * 2
    mapped = T.func.vmap(lambda x, y: T.cdist(x, y, p=1), in_dims=(0, None))(x[:, 0], y[0])
    assert T.allclose(mapped, T.cdist(x[:, 0], y[0], p=1))


def test_incomplete_gamma_functions() -> None:
    x = T.tensor([1e-3, 0.3, 0.9, 1.5, 4.0, 9.0, 20.0, 60.0], dtype=T.float64)
    for a in (1, 2, 5, 12, 30):
        upper = sum(x**k / float(math.factorial(k)) for k in range(a)) * (-x).exp()
        parameter = T.full_like(x, a)
        assert T.allclose(T.special.gammaincc(parameter, x), upper, rtol=1e-12, atol=0)
        assert T.allclose(T.special.gammainc(parameter, x), 1 - upper, rtol=1e-12, atol=1e-15)
    half = T.full_like(x, 0.5)
    assert T.allclose(T.special.gammainc(half, x), x.sqrt().erf(), rtol=1e-13, atol=0)
    assert T.allclose(T.special.gammaincc(half, x), x.sqrt().erfc(), rtol=1e-12, atol=0)
    # Of a large parameter it is nearly a normal distribution (Wilson and Hilferty).
    a = T.tensor([300.0, 1000.0, 20000.0], dtype=T.float64)
    for apart in (-2.0, -0.1, 0.0, 1.5):
        near = a + apart * a.sqrt()
        normal = ((near / a) ** (1 / 3) - (1 - 1 / (9 * a))) * 3 * a.sqrt()
        assert T.allclose(T.special.gammainc(a, near), T.special.ndtr(normal), rtol=0, atol=1e-4)
        total = T.special.gammainc(a, near) + T.special.gammaincc(a, near)
        assert T.allclose(total, T.ones_like(a), rtol=1e-13, atol=0)


def test_incomplete_gamma_functions_at_the_ends() -> None:
    a = T.tensor([0.0, 0.0, 2.0, 2.0, math.inf, 2.0, -1.0, math.nan])
    x = T.tensor([1.0, math.inf, 0.0, math.inf, 1.0, -1.0, 1.0, 1.0])
    known = [1.0, 1.0, 0.0, 1.0, 0.0, math.nan, math.nan, math.nan]
    assert T.special.gammainc(a, x).tolist() == pytest.approx(known, nan_ok=True)
    assert T.special.gammaincc(a, x).tolist() == pytest.approx([1 - value for value in known], nan_ok=True)


def test_incomplete_gamma_functions_are_differentiable_by_their_argument() -> None:
    T.manual_seed(6)
    a = T.rand(3, 1, dtype=T.float64) * 5 + 0.2
    x = (T.rand(4, dtype=T.float64) * 6 + 0.1).requires_grad_()
    for function in (T.special.gammainc, T.special.gammaincc):
        assert T.autograd.gradcheck(lambda x, function=function: function(a, x), (x,))
        assert T.autograd.gradgradcheck(lambda x, function=function: function(a, x), (x,))
    with pytest.raises(NotImplementedError):
        T.special.gammainc(a.clone().requires_grad_(), x).sum().backward()


@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_margin_losses_are_their_definition(dtype: Any) -> None:
    T.manual_seed(7)
    x = T.randn(6, 9, dtype=dtype, requires_grad=True)
    classes, weight = T.randint(0, 9, (6,)), T.rand(9, dtype=dtype)
    own = x.gather(1, classes.unsqueeze(1))
    excess = (0.7 - own + x).clamp(min=0).scatter(1, classes.unsqueeze(1), 0.0) * weight[classes].unsqueeze(1)
    losses = F.multi_margin_loss(x, classes, margin=0.7, weight=weight, reduction="none")
    grad = T.randn(6, dtype=dtype)
    assert T.allclose(losses, excess.sum(1) / 9)
    (found,), (known,) = T.autograd.grad(losses, x, grad), T.autograd.grad(excess.sum(1) / 9, x, grad)
    assert T.allclose(found, known, rtol=1e-4, atol=1e-6)
    assert T.allclose(F.multi_margin_loss(x[2], classes[2]), F.multi_margin_loss(x[2:3], classes[2:3]))

    named = T.full((6, 9), -1)
    named[1, :2], named[2, 0], named[3] = T.tensor([4, 0]), 8, T.arange(9)
    named[4, 1] = 3  # behind the end: not named
    pairs = [[(4, [0, 4]), (0, [0, 4])], [(8, [8])]]
    known_losses = T.zeros(6, dtype=dtype)
    for row, marks in zip((1, 2), pairs, strict=True):
        for own_class, left_out in marks:
            others = [i for i in range(9) if i not in left_out]
            part = (1 - (x[row, own_class] - x[row, others])).clamp(min=0).sum() / 9
            known_losses = known_losses + T.eye(6, dtype=dtype)[row] * part
    losses = F.multilabel_margin_loss(x, named, reduction="none")
    assert T.allclose(losses, known_losses)
    (found,), (known,) = T.autograd.grad(losses, x, grad), T.autograd.grad(known_losses, x, grad)
    assert T.allclose(found, known, rtol=1e-4, atol=1e-6)


def test_classes_out_of_range_are_refused() -> None:
    with pytest.raises((IndexError, RuntimeError)):
        F.multi_margin_loss(T.ones(2, 3), T.tensor([0, 3]))
    with pytest.raises((IndexError, RuntimeError)):
        F.multilabel_margin_loss(T.ones(1, 3), T.tensor([[5, -1, -1]]))


def test_the_angle_of_real_numbers() -> None:
    x = T.tensor([-2.0, -0.0, 0.0, 3.0, -math.inf, math.nan], requires_grad=True)
    y = T.angle(x)
    assert y.tolist() == pytest.approx([math.pi, 0, 0, 0, math.pi, math.nan], nan_ok=True)
    y.sum().backward()
    assert x.grad.tolist() == [0] * 6
    assert T.angle(T.tensor([-1, 2])).tolist() == pytest.approx([math.pi, 0])
    assert T.angle(T.tensor([-1, 2])).dtype == T.float32


@pytest.mark.parametrize(("height", "width"), [(7, 7), (3, 20), (1, 1), (16, 2)])
def test_maxima_of_whole_planes(height: int, width: int) -> None:
    T.manual_seed(8)
    x = T.randn(3, 4, height, width, requires_grad=True)
    y, places = F.adaptive_max_pool2d(x, 1, return_indices=True)
    assert T.equal(y, x.amax((2, 3), True))
    assert T.equal(x.flatten(2).gather(2, places.flatten(2)), y.flatten(2))
    (grad,) = T.autograd.grad(y.sum(), x)
    assert grad.sum() == 12
    assert T.equal(grad.flatten(2).gather(2, places.flatten(2)), T.ones(3, 4, 1))


def test_extremes_and_products_of_few_long_rows() -> None:
    T.manual_seed(9)
    for n in (1, 3, 4, 8, 9, 16, 33):
        x = T.randn(n, 2500, dtype=T.float64)
        x[n // 2, 7] = math.nan
        low, product = x[0], x[0]
        for row in x[1:]:
            low, product = T.minimum(low, row), product * row
        assert T.equal(x.amin(0).nan_to_num(9), low.nan_to_num(9))
        assert T.equal((-x).amax(0).nan_to_num(9), (-low).nan_to_num(9))
        assert T.allclose(x.prod(0), product, equal_nan=True)
        assert T.allclose(x.nan_to_num(0).sum(0), x.nan_to_num(0).t().contiguous().sum(1))
