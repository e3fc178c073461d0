"""Elementwise work on large tensors is put off and fused: nothing of that may be visible."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from oracle import T

N = 50_000  # large enough to be put off


def ramp() -> Any:
    return T.linspace(-2, 2, N, dtype=T.float64)


def reference(x: Any) -> np.ndarray[Any, Any]:
    """Copy the values through a list, so that no memory is shared."""
    return np.array(x.tolist())


def test_a_chain_has_the_values_of_its_parts() -> None:
    x = ramp()
    values = reference(x)
    y = ((x * 2 + 1).tanh() * x).sigmoid()
    want = 1 / (1 + np.exp(-np.tanh(values * 2 + 1) * values))
    np.testing.assert_allclose(reference(y), want, rtol=1e-14)


def test_a_write_to_an_input_comes_after_what_was_asked_before() -> None:
    x = ramp()
    before = reference(x)
    y = x * 2
    z = y + 1
    x.add_(5)
    y.mul_(10)
    np.testing.assert_array_equal(reference(z), before * 2 + 1)
    np.testing.assert_array_equal(reference(y), before * 2 * 10)
    np.testing.assert_array_equal(reference(x), before + 5)


def test_a_write_through_a_view_counts_too() -> None:
    x = ramp()
    before = reference(x)
    y = x * 3
    x[:100] = 0
    x.view(2, -1)[1].zero_()
    np.testing.assert_array_equal(reference(y), before * 3)


def test_out_arguments_and_item_assignment_are_writes() -> None:
    x = ramp()
    before = reference(x)
    y = x + 1
    T.mul(x, 2, out=x)
    w = x - 1
    x[5] = 100.0
    np.testing.assert_array_equal(reference(y), before + 1)
    np.testing.assert_array_equal(reference(w), before * 2 - 1)


def test_numpy_sees_and_shows_writes() -> None:
    array = np.linspace(0.0, 1.0, N)
    x = T.from_numpy(array)
    y = x * 2
    array[0] = 7.0
    assert y[0].item() == 0.0
    z = T.ones(N, dtype=T.float64)
    shared = z.numpy()
    w = z + 1
    shared[3] = 10.0
    assert w[3].item() == 2.0
    late = (z * 2).numpy()
    assert late[3] == 20.0


def test_a_shared_result_is_not_overwritten_later() -> None:
    x = ramp()
    y = x + 1
    lent = y.numpy()
    copy = lent.copy()
    z = y * 2
    z.add_(1)
    np.testing.assert_array_equal(lent, copy)


def test_broadcast_operands() -> None:
    m = T.arange(60_000.0, dtype=T.float64).view(200, 300)
    rows, columns = T.arange(200.0, dtype=T.float64)[:, None], T.arange(300.0, dtype=T.float64)
    got = ((m - rows) * columns + 2.0) / (rows + 1)
    values, r, c = reference(m), np.arange(200.0)[:, None], np.arange(300.0)
    np.testing.assert_array_equal(reference(got), ((values - r) * c + 2.0) / (r + 1))


@pytest.mark.parametrize("columns", [1, 2, 3, 5, 16, 17, 64, 100, 333, 511, 512, 1000, 1024, 1025, 3000, 7001])
@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_rows_and_columns_of_any_length(columns: int, dtype: Any) -> None:
    rows = 70_001 // columns
    m = T.arange(float(rows * columns), dtype=dtype).view(rows, columns) % 251
    row = T.arange(float(columns), dtype=dtype) % 83
    column = (T.arange(float(rows), dtype=dtype) % 89)[:, None]
    values, r, c = m.numpy().copy(), row.numpy().copy(), column.numpy().copy()
    np.testing.assert_array_equal((m + row).numpy(), values + r)
    np.testing.assert_array_equal((m - column).numpy(), values - c)
    np.testing.assert_array_equal(T.where(m > column, row, m).numpy(), np.where(values > c, r, values))
    other = T.arange(float(columns), dtype=dtype) % 7
    got = ((m * row - column) * other + row) * column
    np.testing.assert_array_equal(got.numpy(), ((values * r - c) * other.numpy() + r) * c)
    m += row
    m *= column
    np.testing.assert_array_equal(m.numpy(), (values + r) * c)


def test_cycles_of_several_lengths_in_one_pass() -> None:
    x = T.arange(120_000.0, dtype=T.float64).view(2, 60, 1000)
    values = reference(x)
    row, plane = T.arange(1000.0, dtype=T.float64), T.arange(60_000.0, dtype=T.float64).view(60, 1000)
    first = T.arange(2.0, dtype=T.float64).view(2, 1, 1)
    got = (x + row) * first + plane - row
    r, p, f = reference(row), reference(plane), reference(first)
    np.testing.assert_array_equal(reference(got), (values + r) * f + p - r)


def test_cycles_of_two_dtypes_in_the_same_memory() -> None:
    wide = T.arange(1.0, 5.0, dtype=T.float64)
    narrow = wide.view(T.float32)[:4]
    a, b = T.ones(40_000, 4, dtype=T.float64), T.ones(40_000, 4, dtype=T.float32)
    got = T.where(a * wide > 2, b + narrow, b - narrow).numpy()
    w, n = wide.numpy(), narrow.numpy().copy()
    want = np.where(np.ones((40_000, 4)) * w > 2, 1 + n, 1 - n)
    np.testing.assert_array_equal(got, want.astype(np.float32))


def test_copies_of_what_was_put_off() -> None:
    x, out = ramp(), T.zeros(N, dtype=T.float64)
    values = reference(x)
    y = x * 3
    out.copy_(y)
    np.testing.assert_array_equal(reference(out), values * 3)
    np.testing.assert_array_equal(reference(y), values * 3)
    view = out.view(2, -1)[1]
    view.copy_((x * 2)[N // 2 :] + 1)
    np.testing.assert_array_equal(reference(out)[N // 2 :], values[N // 2 :] * 2 + 1)
    x.copy_(x * 5)
    np.testing.assert_array_equal(reference(x), values * 5)
    before = x + 1
    x[:] = out - 1
    np.testing.assert_array_equal(reference(before), values * 5 + 1)
    np.testing.assert_array_equal(reference(x), reference(out) - 1)
    whole = T.zeros(N, dtype=T.float32)
    whole.copy_(x + 1)
    np.testing.assert_array_equal(reference(whole), reference(out).astype(np.float32))
    shared = np.zeros(N)
    T.from_numpy(shared).copy_(out * 2)
    np.testing.assert_array_equal(shared, reference(out) * 2)


def test_results_that_go_past_the_caches() -> None:
    n = 8_400_003  # above 32 MiB of float32
    x = (T.arange(n, dtype=T.float32) % 251).requires_grad_()
    values = x.detach().numpy()
    y = (x * 2).abs()
    z = (y + 1) * x
    total = z.sum(dtype=T.float64)
    want = (values * 2 + 1) * values
    assert total.item() == want.sum(dtype=np.float64)
    np.testing.assert_array_equal(z.detach().numpy(), want)
    np.testing.assert_array_equal(y.detach().numpy(), values * 2)
    total.backward()
    np.testing.assert_array_equal(x.grad.numpy(), values * 4 + 1)


def test_transposed_and_stepped_operands() -> None:
    m = T.arange(90_000.0, dtype=T.float64).view(300, 300)
    values = reference(m)
    np.testing.assert_array_equal(reference(m.t() * m + m), values.T * values + values)
    np.testing.assert_array_equal(reference((m * 2).t() + m), (values * 2).T + values)
    np.testing.assert_array_equal(reference((m * 2)[::2] + 1), (values * 2)[::2] + 1)


DTYPES = [T.float32, T.float64, T.int64, T.uint8, T.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "cols"), [(300, 170), (170, 300), (40, 5000), (5000, 17), (1, 60_000), (33_000, 3)])
def test_matrices_walked_from_across(rows: int, cols: int, dtype: Any) -> None:
    a = (T.arange(rows * cols).reshape(rows, cols) % 7 - 3).to(dtype)
    b = (T.arange(rows * cols).reshape(cols, rows) % 5).to(dtype)
    one, two = np.array(a.tolist()).astype(int), np.array(b.tolist()).astype(int)
    first = a.t() * b + b * a.t()
    second = b + a.t()
    result = 2 * one.T * two
    if dtype == T.bool:
        result = result != 0
        np.testing.assert_array_equal(second.tolist(), (two + one.T) != 0)
    elif dtype == T.uint8:
        result = result % 256
        np.testing.assert_array_equal(second.tolist(), (two + one.T) % 256)
    else:
        np.testing.assert_array_equal(second.tolist(), two + one.T)
    assert first.shape == second.shape == (cols, rows)
    np.testing.assert_array_equal(first.tolist(), result)
    total = first.sum().item() if dtype != T.uint8 else result.sum()
    assert total == result.sum()
    assert (a.t() * b).t().contiguous().is_contiguous()


def test_planes_walked_from_across() -> None:
    a = T.arange(3.0 * 70 * 90).reshape(3, 70, 90)
    b = T.arange(3.0 * 90 * 70).reshape(3, 90, 70)
    turned = np.array(a.tolist()).transpose(0, 2, 1)
    for first, second in ((a.transpose(1, 2), b), (b, a.transpose(1, 2))):
        got = first - second + first
        sign = 1 if first is not b else -1
        other = np.array(b.tolist())
        want = 2 * turned - other if sign == 1 else 2 * other - turned
        np.testing.assert_array_equal(got.tolist(), want)
        assert got.stride() == first.stride()
        assert got.sum().item() == pytest.approx(want.sum())
        np.testing.assert_array_equal(got.sum(0).tolist(), want.sum(0))
    images = T.arange(2.0 * 5 * 64 * 64).reshape(2, 5, 64, 64)
    last = T.arange(2.0 * 64 * 64 * 5).reshape(2, 64, 64, 5)
    both = (images.permute(0, 2, 3, 1) + last) * 2
    want = (np.array(images.tolist()).transpose(0, 2, 3, 1) + np.array(last.tolist())) * 2
    np.testing.assert_array_equal(both.tolist(), want)


def test_a_write_comes_after_what_walks_from_across() -> None:
    a, b = T.arange(40_000.0).reshape(200, 200), T.ones(200, 200)
    before = np.array(a.tolist())
    result = (a.t() + b) * 2
    a.zero_()
    np.testing.assert_array_equal(result.tolist(), (before.T + 1) * 2)
    result = a.t() + b
    held = result * 3
    result.add_(1)
    np.testing.assert_array_equal(held.tolist(), np.full((200, 200), 3.0))
    np.testing.assert_array_equal(result.tolist(), np.full((200, 200), 2.0))


@pytest.mark.parametrize("seen", [False, True])
def test_gradients_of_transposed_operands(seen: bool) -> None:
    x = T.linspace(-1, 1, 300 * 200).reshape(300, 200).requires_grad_()
    y = T.linspace(2, 3, 300 * 200).reshape(200, 300).requires_grad_()
    kept: list[Any] = []
    turned = x.t()
    if seen:
        turned.register_hook(kept.append)
    ((turned * y + y).reshape(100, 600) * 2).sum().backward()
    one, two = np.array(x.detach().tolist()), np.array(y.detach().tolist())
    np.testing.assert_array_equal(x.grad.tolist(), two.T * 2)
    np.testing.assert_allclose(y.grad.tolist(), one.T * 2 + 2, rtol=1e-6)
    assert x.grad.is_contiguous()
    assert y.grad.is_contiguous()
    if seen:
        x.grad.zero_()
        np.testing.assert_array_equal(kept[0].tolist(), two * 2)


def test_sums_of_what_was_put_off() -> None:
    m = T.arange(60_000.0, dtype=T.float64).view(200, 300) / 1000
    values = reference(m)
    for dims in (None, 0, 1):
        want = (values * 2 - 1).sum(dims)
        fused = (m * 2 - 1).sum() if dims is None else (m * 2 - 1).sum(dims)
        np.testing.assert_allclose(reference(fused), want, rtol=1e-12)
    y = m * 2
    assert y.sum().item() == y.sum().item() == y.clone().sum().item()
    assert y.mean().item() == pytest.approx((values * 2).mean(), rel=1e-12)


def test_cheap_results_that_are_held_may_be_made_again_and_again() -> None:
    x = ramp()
    values = reference(x)
    y = x * 2  # cheap to make from x, so that sums of it need not write it
    total = y.sum().item()
    assert all(y.sum().item() == total for _ in range(10))
    z = y - 1
    sums = [z.sum().item() for _ in range(3)]
    x.mul_(0)  # writes what y and z are made of
    np.testing.assert_array_equal(reference(y), values * 2)
    np.testing.assert_array_equal(reference(z), values * 2 - 1)
    assert sums == [z.clone().sum().item()] * 3


def test_normalised_rows_whose_parts_are_saved_for_gradients() -> None:
    x = ramp().view(50, 1000).requires_grad_()
    centred = x - x.mean(1, keepdim=True)
    z = centred / x.std(1, keepdim=True)
    (z**3).sum().backward()
    wide = ramp().view(50, 1000).requires_grad_()
    mean, std = wide.mean(1, keepdim=True), wide.std(1, keepdim=True)
    parts = [T.stack([((row - m) / s) ** 3 for row, m, s in zip(wide, mean, std, strict=True)])]
    parts[0].sum().backward()
    np.testing.assert_allclose(reference(x.grad), reference(wide.grad), rtol=1e-9, atol=1e-9)
    values = reference(x)
    np.testing.assert_allclose(reference(centred), values - values.mean(1, keepdims=True), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("held", [False, True])
def test_a_gradient_that_goes_straight_into_layer_norm(held: bool) -> None:
    weight, bias = T.linspace(0.5, 1.5, 500, dtype=T.float64), T.zeros(500, dtype=T.float64)

    def run(put_off: bool) -> list[Any]:
        leaves = [leaf.clone().requires_grad_() for leaf in (ramp().view(100, 500), weight, bias)]
        y = T.nn.functional.layer_norm(leaves[0], (500,), leaves[1], leaves[2])
        seen: list[Any] = []
        if held:
            y.register_hook(seen.append)
        if not put_off:
            y.register_hook(lambda grad: grad.clone().contiguous())
            y.register_hook(lambda grad: T.tensor(grad.tolist(), dtype=T.float64))
        T.nn.functional.gelu(y).sum().backward()
        return [leaf.grad for leaf in leaves] + seen

    for got, want in zip(run(put_off=True), run(put_off=False), strict=True):
        np.testing.assert_array_equal(reference(got), reference(want))


def test_gradients_through_a_chain_and_its_held_parts() -> None:
    x = ramp().requires_grad_()
    a = x * 2 + 1
    b = a.tanh()
    c = b * x
    (c.sigmoid().sum() + (a * b).mean()).backward()
    again = ramp().requires_grad_()
    with T.no_grad():
        values = again.detach()
        t = (values * 2 + 1).tanh()
        s = (t * values).sigmoid()
        slope = s * (1 - s)
        want = slope * t + slope * values * (1 - t * t) * 2 + (2 * t + (values * 2 + 1) * (1 - t * t) * 2) / N
    np.testing.assert_allclose(reference(x.grad), reference(want), rtol=1e-12, atol=1e-15)


def test_a_saved_value_that_is_overwritten_is_still_refused() -> None:
    x = ramp().requires_grad_()
    y = (x * 2).exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_errors_stay_at_their_line() -> None:
    x, y = ramp() * 2, T.ones(3) * 2
    with pytest.raises(RuntimeError, match="size of tensor"):
        x + y


def test_results_that_are_never_asked_for_go_away() -> None:
    x = ramp()
    for _ in range(500):
        x * 2 + 1
    kept = [x + i for i in range(200)]
    assert [k[0].item() for k in kept] == [-2.0 + i for i in range(200)]


def test_a_long_chain() -> None:
    x = ramp()
    y = x
    for _ in range(1000):
        y = y + 1
    np.testing.assert_allclose(reference(y), reference(x) + 1000, rtol=1e-12)


def test_several_threads_ask_for_the_same() -> None:
    for _ in range(20):
        x = ramp()
        before = reference(x)
        y = x * 2
        z = y + 1
        seen: list[Any] = []

        def ask(what: Any, seen: list[Any] = seen) -> None:
            seen.append(reference(what))

        workers = [threading.Thread(target=ask, args=(what,)) for what in (y, z, y, z)]
        for worker in workers:
            worker.start()
        x.zero_()
        for worker in workers:
            worker.join()
        assert len(seen) == 4
        np.testing.assert_array_equal(reference(z), before * 2 + 1)
        np.testing.assert_array_equal(reference(y), before * 2)
        assert sorted(float(s[0]) for s in seen) == [-4.0, -4.0, -3.0, -3.0]


def test_mixed_dtypes_and_masks() -> None:
    x = ramp()
    values = reference(x)
    mask = (x > 0.5) & (x < 1)
    got = T.where(mask, x.float().double() * 0 + 1, x * 2)
    np.testing.assert_array_equal(reference(got), np.where((values > 0.5) & (values < 1), 1, values * 2))
    assert mask.sum().item() == int(((values > 0.5) & (values < 1)).sum())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3000, 20), (1,)),
        ((3000, 20), (0,)),
        ((20_000, 3), (1,)),
        ((20_000, 3), (0,)),
        ((500, 7, 16), (2,)),
        ((500, 7, 16), (1,)),
        ((500, 7, 16), (0,)),
        ((500, 7, 16), (0, 2)),
        ((500, 7, 16), (1, 2)),
        ((70, 1000), (1,)),
        ((9, 5000), (1,)),
        ((40, 1100), (0,)),
        ((2, 3, 40, 5, 50), (1, 3)),
        ((65, 33, 31), (1,)),
    ],
)
def test_sums_over_short_runs_have_the_bits_of_those_of_kept_elements(
    shape: tuple[int, ...], dims: tuple[int, ...], dtype: str
) -> None:
    T.manual_seed(3)
    x, y = T.randn(*shape, dtype=getattr(T, dtype)), T.randn(*shape, dtype=getattr(T, dtype))
    kept = x * y + 1
    first = kept.flatten()[0].item()
    assert first == kept.reshape(-1)[0].item()
    held = x * y + 1
    for operation in (T.sum, T.mean):
        want = operation(kept, dims)
        assert T.equal(operation(x * y + 1, dims), want)
        assert T.equal(operation(held, dims), want)
    assert T.equal(held, kept)
    values = np.array(x.tolist()) * np.array(y.tolist()) + 1
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(reference((x * y + 1).sum(dims)), values.sum(dims), atol=tolerance, rtol=tolerance)
