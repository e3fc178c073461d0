"""Kernels that write at places or put in order: rows broadcast over indices, lines of copies, short sorts, searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import T

rng = np.random.default_rng(11)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("sizes", [(500, 400), (70, 1000), (3, 20_000), (4000, 3), (5, 4)])
def test_rows_written_at_indices_broadcast(sizes: tuple[int, int], accumulate: bool) -> None:
    n, m = sizes
    x = rng.integers(0, 50, (n, m)).astype(np.float32)
    index = rng.integers(0, n, n)
    if not accumulate:
        index = rng.permutation(n)[: n // 2 + 1]
    k = len(index)
    for shape in ((m,), (k, 1), (1, 1), (k, m), ()):
        values = rng.integers(0, 50, shape).astype(np.float32)
        want = x.copy()
        if accumulate:
            np.add.at(want, index, np.broadcast_to(values, (k, m)))
        else:
            want[index] = values
        a = T.from_numpy(x.copy()).requires_grad_()
        v = T.from_numpy(np.asarray(values)).requires_grad_()
        put = T.index_put(a, (T.from_numpy(index),), v, accumulate=accumulate)
        assert np.array_equal(put.detach().numpy(), want), shape
        put.sum().backward()
        assert v.grad.shape == v.shape
        assert v.grad.sum().item() == k * m
        kept = n * m if accumulate else (n - k) * m
        assert a.grad.sum().item() == kept


def test_the_last_of_rows_written_to_one_place_stays() -> None:
    x = T.zeros(100, 500)
    index = T.tensor([3] * 400 + [4] * 400)
    rows = T.arange(800.0)[:, None].expand(800, 500)
    x[index] = rows
    assert x[3].unique().tolist() == [399]
    assert x[4].unique().tolist() == [799]
    assert x.count_nonzero().item() == 1000


@pytest.mark.parametrize("sizes", [(500, 400), (3, 7), (2000, 60), (1, 5000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_scatter_along_lines_of_a_copy(sizes: tuple[int, int], dtype: type) -> None:
    n, m = sizes
    x: Any = rng.integers(0, 9, (n, m)).astype(dtype)
    source: Any = rng.integers(0, 9, (n, m)).astype(dtype)
    index = rng.permuted(np.tile(np.arange(m), (n, 1)), axis=1)
    lines = np.arange(n)[:, None]
    want = x.copy()
    want[lines, index] = source
    a, at, s = T.from_numpy(x.copy()), T.from_numpy(index), T.from_numpy(source)
    assert np.array_equal(a.scatter(1, at, s).numpy(), want)
    some = index[:, : m // 2 + 1] // 2
    want = x.copy()
    np.add.at(want, (lines, some), source[:, : m // 2 + 1])
    part = T.from_numpy(some)
    assert np.array_equal(a.scatter_add(1, part, s).numpy(), want)
    assert np.array_equal(T.zeros_like(a).scatter_add(-1, part, s).numpy(), want - x)
    assert np.array_equal(a.numpy(), x), "the input stays"
    fewer = a.scatter_add(1, part[: n - 1], s)
    assert np.array_equal(fewer[n - 1].numpy(), x[n - 1])
    bad = at.clone()
    bad[n // 2, m // 2] = m
    writes: tuple[Callable[[], Any], ...] = (
        lambda: a.scatter(1, bad, s),
        lambda: a.scatter_add(1, bad, s),
        lambda: a.gather(1, bad),
    )
    for write in writes:
        with pytest.raises(RuntimeError, match="out of bounds"):
            write()
    assert np.array_equal(a.numpy(), x)


@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)])
def test_scatter_makes_the_gradients_that_are_wanted(needs: tuple[bool, bool]) -> None:
    n, m = 60, 70
    index = T.from_numpy(rng.integers(0, m, (n, m)))
    g = T.rand(n, m)
    writes: tuple[Callable[[Any, Any], Any], ...] = (
        lambda x, s: x.scatter(1, index, s),
        lambda x, s: x.scatter_add(1, index, s),
        lambda x, s: x.scatter_reduce(1, index, s, "sum", include_self=False),
    )
    for write in writes:
        x, s = T.rand(n, m).requires_grad_(needs[0]), T.rand(n, m).requires_grad_(needs[1])
        write(x, s).backward(g)
        assert [x.grad is not None, s.grad is not None] == list(needs)
        if needs[1]:
            assert T.equal(s.grad, g.gather(1, index))


@pytest.mark.parametrize("dim", [0, 1])
def test_gradient_of_gather(dim: int) -> None:
    x = T.rand(30, 40, dtype=T.float64).requires_grad_()
    for shape in ((30, 40), (20, 40), (30, 11), (7, 5)):
        index = T.from_numpy(rng.integers(0, x.shape[dim], shape))
        g = T.rand(shape, dtype=T.float64)
        (got,) = T.autograd.grad(x.gather(dim, index), x, g)
        want = T.zeros(30, 40, dtype=T.float64).scatter_add(dim, index, g)
        assert T.equal(got, want)
        (again,) = T.autograd.grad(x.gather(dim, index), x, g, create_graph=True)
        assert T.equal(again.detach(), want)


@pytest.mark.parametrize("size", [1, 2, 3, 9])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_gradient_of_overlapping_windows(size: int, step: int) -> None:
    x = T.rand(5, 9, dtype=T.float64).requires_grad_()
    windows = x.unfold(1, size, step)
    g = T.rand(windows.shape, dtype=T.float64)
    (got,) = T.autograd.grad(windows, x, g)
    want = np.zeros((5, 9))
    for w in range(windows.shape[1]):
        want[:, w * step : w * step + size] += g[:, w].numpy()
    assert np.allclose(got.numpy(), want)
    both = x.unfold(0, 2, 1).unfold(1, size, step)
    assert T.autograd.gradcheck(lambda x: x.unfold(0, 2, 1).unfold(1, size, step).square(), (x,))
    assert both.shape[-1] == size


def test_replaced_parts() -> None:
    x, row = T.rand(40, 50).requires_grad_(), T.rand(50).requires_grad_()
    y = x.select_scatter(row, 0, 3)
    want = x.detach().clone()
    want[3] = row.detach()
    assert T.equal(y.detach(), want)
    g = T.rand(40, 50)
    y.backward(g)
    cleared = g.clone()
    cleared[3] = 0
    assert T.equal(x.grad, cleared)
    assert T.equal(row.grad, g[3])
    part = T.rand(40, 10)
    z = x.detach().t().slice_scatter(part.t(), 0, 5, 25, 2)
    want = x.detach().clone()
    want[:, 5:25:2] = part
    assert T.equal(z, want.t())


@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_gradients_of_remainders(dtype: Any) -> None:
    a = T.tensor([7.5, -7.5, 0.0, 1e30, 5.0, -1e-3, 3.0, 8.0] * 40, dtype=dtype).requires_grad_()
    b = T.tensor([2.0, 2.0, 3.0, 0.7, -2.0, 0.3, float("inf"), -4.0] * 40, dtype=dtype).requires_grad_()
    cases: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
        (T.remainder, lambda a, b: -T.div(a, b, rounding_mode="floor")),
        (T.fmod, lambda a, b: -T.div(a, b, rounding_mode="trunc")),
    )
    for function, slope in cases:
        da, db = T.autograd.grad(function(a, b).sum(), (a, b))
        assert da.unique().tolist() == [1]
        assert T.equal(db, slope(a.detach(), b.detach()))


@pytest.mark.parametrize("n", [9, 31, 32, 33, 400, 767, 768, 2000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32])
@pytest.mark.parametrize("descending", [False, True])
def test_lines_are_sorted_stably(n: int, dtype: type, descending: bool) -> None:
    lines: list[Any] = [
        rng.standard_normal(n) * 10.0 ** rng.integers(-300 if dtype is np.float64 else -30, 30, n),
        rng.standard_normal(n),
        rng.integers(0, 5, n),
        np.zeros(n),
        np.arange(n)[::-1],
        rng.integers(-(2**62), 2**62, n),
        # One bit apart far from the least: what leading bits leave in disorder.
        np.concatenate([[-1.0], 1 + rng.permutation(n - 1) * 2.0**-52]),
        1e18 + rng.permutation(n),
    ]
    with np.errstate(all="ignore"):
        x = np.stack([line.astype(np.int64).astype(dtype) if np.dtype(dtype).kind == "i" else line.astype(dtype)
                      for line in lines])  # fmt: skip
    if np.dtype(dtype).kind == "f":
        x[0, :: max(n // 7, 1)] = np.nan
        x[1, :2] = [0.0, -0.0]
    values, places = T.from_numpy(x).sort(dim=1, descending=descending, stable=True)
    for line, value, place in zip(x, values.numpy(), places.numpy(), strict=True):
        key = np.where(np.isnan(line), np.inf, line) if np.dtype(dtype).kind == "f" else line
        rank = np.unique(key, return_inverse=True)[1].reshape(-1)
        order = np.argsort(-rank if descending else rank, kind="stable")
        finite = not (np.isnan(line).any() and np.isinf(line).any())
        if finite:
            assert np.array_equal(place, order)
        assert np.array_equal(value, line[place], equal_nan=np.dtype(dtype).kind == "f")


@pytest.mark.parametrize("n", [1, 2, 7, 400])
@pytest.mark.parametrize("right", [False, True])
def test_searches_side_by_side(n: int, right: bool) -> None:
    line = np.sort(rng.integers(0, 50, n).astype(np.float32))
    values = rng.integers(-5, 60, (37, 11)).astype(np.float32)
    got = T.searchsorted(T.from_numpy(line), T.from_numpy(values), right=right)
    assert np.array_equal(got.numpy(), np.searchsorted(line, values, side="right" if right else "left"))
    nan = T.full((16,), float("nan"))
    assert T.searchsorted(T.from_numpy(line), nan).tolist() == [n] * 16
    assert T.searchsorted(T.zeros(0), T.zeros(20), right=right).tolist() == [0] * 20


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (1, 1), (4, 7), (7, 4)])
@pytest.mark.parametrize("offset", [-9, -2, 0, 1, 9])
def test_indices_of_triangles(sizes: tuple[int, int], offset: int) -> None:
    rows, columns = sizes
    for function, reference in ((T.tril_indices, np.tril_indices), (T.triu_indices, np.triu_indices)):
        got = function(rows, columns, offset)
        assert got.dtype == T.int64
        assert np.array_equal(got.numpy(), np.stack(reference(rows, offset, columns)))


@pytest.mark.parametrize("columns", [1, 7, 31, 100, 400, 1000, 3000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_in_place_by_a_row(columns: int, dtype: type) -> None:
    x: Any = rng.integers(1, 9, (123, columns)).astype(dtype)
    row: Any = rng.integers(1, 9, columns).astype(dtype)
    a, r = T.from_numpy(x.copy()), T.from_numpy(row)
    assert np.array_equal(a.mul_(r).numpy(), x * row)
    assert np.array_equal(a.sub_(r).numpy(), x * row - row)
    wide = T.from_numpy(np.tile(x, (1, 2)))
    wide[:, columns:].add_(r)
    assert np.array_equal(wide.numpy(), np.concatenate([x, x + row], 1))


@pytest.mark.parametrize("n", [5, 33, 4099])
def test_rounding_in_place(n: int) -> None:
    x = (rng.standard_normal(n) * 3).astype(np.float32)
    x[::4] = 2.5
    cases: dict[str, Callable[[Any], Any]] = {
        "floor": np.floor, "ceil": np.ceil, "round": np.round, "trunc": np.trunc, "sign": np.sign,
    }  # fmt: skip
    for name, reference in cases.items():
        a = T.from_numpy(x.copy())
        assert np.array_equal(getattr(a, name + "_")().numpy(), reference(x)), name
        assert np.array_equal(getattr(T.from_numpy(x), name)().numpy(), reference(x)), name
    a = T.from_numpy(x.copy()).requires_grad_()
    (a**1.0).sum().backward()
    assert a.grad.unique().tolist() == [1]


def test_whole_quotients_round_down() -> None:
    a = np.array([7, -7, 7, -7, 0, 6, -6, 2**62, -(2**63)] * 5)
    b = np.array([2, 2, -2, -2, 5, 3, 3, -1, 1] * 5)
    for dtype in (np.int64, np.int32, np.int16):
        x, y = a.astype(dtype), b.astype(dtype)
        got = T.from_numpy(x) // T.from_numpy(y)
        with np.errstate(all="ignore"):
            assert np.array_equal(got.numpy(), x // y)
    assert (T.tensor([-(2**63)]) // T.tensor([-1])).dtype == T.int64


def test_batch_norm_by_given_statistics_does_not_read_its_input_in_the_gradient() -> None:
    x = T.rand(6, 3, 4, 5)
    x[0, 0, 0, 0] = float("inf")
    x.requires_grad_()
    mean, variance, weight = T.rand(3), T.rand(3) + 0.5, T.rand(3)
    g = T.rand(6, 3, 4, 5)
    T.nn.functional.batch_norm(x, mean, variance, weight).backward(g)
    scale = (weight / (variance + 1e-5).sqrt()).view(3, 1, 1)
    assert T.allclose(x.grad, g * scale)


@pytest.mark.parametrize("sizes", [(1, 1000, 7), (2, 333, 4), (3, 64, 2)])
def test_averages_of_wide_windows(sizes: tuple[int, int, int]) -> None:
    channels, n, count = sizes
    x = T.rand(channels, n, dtype=T.float64)
    got = T.nn.functional.adaptive_avg_pool1d(x, count)
    for i in range(count):
        part = x[:, i * n // count : -(-(i + 1) * n // count)]
        assert T.allclose(got[:, i], part.mean(1))
