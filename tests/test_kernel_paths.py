"""Values where kernels choose a way by shape: in place, a number per row, few columns, short rows, long copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import T

rng = np.random.default_rng(3)
SIZES = (1, 3, 31, 32, 33, 100, 1000, 4099, 40_000)


def reals(*shape: int, dtype: type = np.float32) -> Any:
    """Return an array of numbers on both sides of zero."""
    return rng.standard_normal(shape).astype(dtype)


def wholes(low: int, high: int, shape: int | tuple[int, ...], dtype: type) -> Any:
    """Return an array of whole numbers."""
    return rng.integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8])
def test_in_place_is_as_out_of_place(n: int, dtype: type) -> None:
    x, y = wholes(1, 100, n, dtype), wholes(1, 100, n, dtype)
    cases: dict[str, tuple[Any, Any]] = {
        "add": (lambda a, b: a.add_(b), lambda a, b: a + b),
        "sub": (lambda a, b: a.sub_(b), lambda a, b: a - b),
        "mul": (lambda a, b: a.mul_(b), lambda a, b: a * b),
        "itself": (lambda a, _: a.add_(a), lambda a, _: a + a),
        "number": (lambda a, _: a.mul_(3).add_(2).sub_(1), lambda a, _: a * 3 + 2 - 1),
        "limits": (lambda a, _: a.clamp_(20, 60), lambda a, _: a.clamp(20, 60)),
        "least": (lambda a, _: a.clamp_(min=30), lambda a, _: a.clamp(min=30)),
        "most": (lambda a, _: a.clamp_max_(30), lambda a, _: a.clamp(max=30)),
        "relu": (lambda a, _: a.relu_(), lambda a, _: a.relu()),
    }
    for name, (write, value) in cases.items():
        a, b = T.from_numpy(x.copy()), T.from_numpy(y.copy())
        want = value(T.from_numpy(x.copy()), b).numpy()
        result = write(a, b)
        assert result is a
        assert a.numpy().tobytes() == want.tobytes(), name


@pytest.mark.parametrize("n", SIZES)
def test_float_in_place_keeps_what_is_not_a_number(n: int) -> None:
    x = reals(n)
    x[::3] = np.nan
    x[::5] = -0.0
    cases: list[tuple[Any, Any]] = [
        (lambda a: a.relu_(), lambda a: np.where(np.isnan(a), a, np.maximum(a, 0))),
        (lambda a: a.abs_(), np.abs),
        (lambda a: a.neg_(), np.negative),
        (lambda a: a.div_(2.0), lambda a: a / np.float32(2)),
        (lambda a: a.clamp_(-0.5, 0.5), lambda a: np.clip(a, np.float32(-0.5), np.float32(0.5))),
        (lambda a: T.threshold_(a, 0.1, 7.0), lambda a: np.where(a <= np.float32(0.1), np.float32(7), a)),
    ]
    for write, value in cases:
        a = T.from_numpy(x.copy())
        write(a)
        np.testing.assert_array_equal(a.numpy(), value(x))


def test_an_integer_is_limited_beyond_its_range() -> None:
    x = T.tensor([0, 1, 100, 255], dtype=T.uint8)
    assert x.clamp(-5, 300).tolist() == [0, 1, 100, 255]
    assert x.clamp(2, 300).tolist() == [2, 2, 100, 255]
    assert x.clamp(-5, 50).tolist() == [0, 1, 50, 50]


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("shape", [(1000, 17), (40, 1000), (7, 130, 33), (300, 16), (5, 3), (1, 4096)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_is_as_its_expansion(shape: tuple[int, ...], dtype: type) -> None:
    x = T.from_numpy(reals(*shape, dtype=dtype))
    column = T.from_numpy(reals(*shape[:-1], 1, dtype=dtype))
    strided = T.from_numpy(reals(*shape[:-1], 5, dtype=dtype))[..., 2:3]
    row = T.from_numpy(reals(shape[-1], dtype=dtype))
    for other in (column, strided, row):
        whole = other.expand(shape).contiguous()
        for op in (
            lambda a, b: a + b,
            lambda a, b: a - b,
            lambda a, b: b - a,
            lambda a, b: a * b,
            lambda a, b: a / b,
            lambda a, b: b / a,
            T.maximum,
            T.minimum,
            lambda a, b: T.add(a, b, alpha=0.3),
            lambda a, b: T.sub(b, a, alpha=-2),
        ):
            assert op(x, other).numpy().tobytes() == op(x, whole).numpy().tobytes()
        writes: list[Any] = [lambda a, b: a.mul_(b), lambda a, b: a.add_(b), lambda a, b: a.sub_(b, alpha=0.5)]
        for write in writes:
            assert write(x.clone(), other).numpy().tobytes() == write(x.clone(), whole).numpy().tobytes()
        chain = ((x + other) * other - other).exp()
        assert chain.sum(-1).shape == x.shape[:-1]
        want = ((x + whole) * whole - whole).exp()
        assert chain.numpy().tobytes() == want.numpy().tobytes()
    outer = T.outer(row, column.reshape(-1)).numpy()
    assert outer.tobytes() == (row.numpy()[:, None] * column.numpy().reshape(1, -1)).tobytes()


@pytest.mark.parametrize("shape", [(64, 2), (1000, 8), (333, 15), (5000, 3), (70, 9), (3, 400, 7), (200_000, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
def test_few_columns_and_short_rows(shape: tuple[int, ...], dtype: type) -> None:
    x = reals(*shape) if dtype is np.float32 else wholes(0, 3, shape, dtype)
    t = T.from_numpy(x)
    for dim in (len(shape) - 2, len(shape) - 1):
        wide = x.astype(np.float64) if dtype in (np.float32, np.float64) else x.astype(np.int64)
        np.testing.assert_allclose(t.sum(dim).numpy(), wide.sum(dim), rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal((t != 0).any(dim).numpy(), (x != 0).any(dim))
        np.testing.assert_array_equal((t != 0).all(dim).numpy(), (x != 0).all(dim))
        np.testing.assert_array_equal(T.count_nonzero(t, dim).numpy(), (x != 0).sum(dim))
        if dtype is not np.bool_:
            np.testing.assert_array_equal(t.amax(dim).numpy(), x.max(dim))
            np.testing.assert_array_equal(t.amin(dim).numpy(), x.min(dim))
            best, where = t.max(dim)
            np.testing.assert_array_equal(best.numpy(), x.max(dim))
            taken = np.take_along_axis(x, np.expand_dims(where.numpy(), dim), dim).squeeze(dim)
            np.testing.assert_array_equal(taken, x.max(dim))
        if dtype in (np.float32, np.float64):
            np.testing.assert_allclose(t.mean(dim).numpy(), wide.mean(dim), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(t.norm(dim=dim).numpy(), np.sqrt((wide**2).sum(dim)), rtol=1e-4)
            np.testing.assert_allclose(t.std(dim).numpy(), wide.std(dim, ddof=1), rtol=1e-4)


def test_not_a_number_wins_in_short_rows_and_columns() -> None:
    x = reals(100, 7)
    x[3, 5] = x[50, 0] = np.nan
    t = T.from_numpy(x)
    for dim in (0, 1):
        np.testing.assert_array_equal(t.amax(dim).numpy(), x.max(dim))
        np.testing.assert_array_equal(t.amin(dim).numpy(), x.min(dim))
        best, where = t.max(dim)
        np.testing.assert_array_equal(best.numpy(), x.max(dim))
        np.testing.assert_array_equal(where.numpy(), np.argmax(x, dim))


@pytest.mark.parametrize("n", [5, 1000, 30_000, 100_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_long_copies(n: int, dtype: type) -> None:
    x = wholes(0, 100, n, dtype)
    t = T.from_numpy(x)
    for shift in (0, 1, 3, 4, n - 1):
        np.testing.assert_array_equal(t.roll(shift).numpy(), np.roll(x, shift))
    np.testing.assert_array_equal(T.cat([t, t[1:], t[:7]]).numpy(), np.concatenate([x, x[1:], x[:7]]))
    np.testing.assert_array_equal(T.stack([t, t], 1).numpy(), np.stack([x, x], 1))
    np.testing.assert_array_equal(T.cat([t[:, None], t[:, None], t[:, None]], 1).numpy(), np.stack([x] * 3, 1))
    np.testing.assert_array_equal(t.flip(0).numpy(), x[::-1])
    for times in (1, 2, 3, 4, 5):
        np.testing.assert_array_equal(t.repeat_interleave(times).numpy(), np.repeat(x, times))
    wide = x[: n // 5 * 5].reshape(5, -1)
    rows = T.from_numpy(wide)
    np.testing.assert_array_equal(T.cat([rows, rows], 1).numpy(), np.concatenate([wide, wide], 1))
    np.testing.assert_array_equal(rows.flip(1).numpy(), wide[:, ::-1])
    np.testing.assert_array_equal(rows[:, 1:].contiguous().numpy(), wide[:, 1:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_remainders(dtype: type) -> None:
    a = np.concatenate([reals(2000, dtype=dtype) * 50, reals(50, dtype=dtype) * 1e12, np.arange(-40, 40).astype(dtype)])
    special: Any = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -3.5, 1e30, 1e-30], dtype=dtype)
    a = np.concatenate([a, special])
    for b in (0.7, -2.0, 3.0, 1e-3, 0.0, float("inf")):
        divisor = np.full_like(a, b)
        with np.errstate(all="ignore"):
            want = np.fmod(a, divisor)
        x, y = T.from_numpy(a), T.from_numpy(divisor)
        np.testing.assert_array_equal(T.fmod(x, y).numpy(), want)
        np.testing.assert_array_equal(T.fmod(x, b).numpy(), want)
        np.testing.assert_array_equal((x % y).numpy(), (x % b).numpy())
        np.testing.assert_array_equal((x // y).numpy(), (x // b).numpy())
        finite = np.isfinite(a) & (np.abs(a) < 1e6)
        if b not in (0.0, float("inf")):
            x, divisor = x[T.from_numpy(finite)], divisor[finite]
            np.testing.assert_array_equal((x % b).numpy(), np.remainder(a[finite], divisor))
            np.testing.assert_array_equal((x // b).numpy(), np.floor_divide(a[finite], divisor))


def test_gather_refuses_an_index_beyond() -> None:
    x, index = T.zeros(50, 30), T.zeros(50, 20, dtype=T.int64)
    index[40, 3] = 30
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        x.gather(1, index)
    assert x.gather(1, index.clamp(max=29)).shape == (50, 20)


def test_equal() -> None:
    x = T.from_numpy(reals(1000))
    assert T.equal(x, x)
    assert T.equal(x, x.clone())
    x[7] = float("nan")
    assert not T.equal(x, x)
    whole = T.arange(100_000)
    assert T.equal(whole, whole)
    assert not T.equal(whole, whole + 1)
    assert not T.equal(whole, whole[:-1])
    assert T.equal(T.zeros(0), T.zeros(0))
    assert T.allclose(x[8:], x[8:] + 1e-9)
    assert not T.allclose(x, x)
    assert T.allclose(x, x, equal_nan=True)


def test_a_copy_onto_itself_counts_as_a_write() -> None:
    x = T.from_numpy(reals(100))
    before = x.clone()
    version = x._version
    assert x.copy_(x) is x
    assert T.equal(x, before)
    assert x._version == version + 1


@pytest.mark.parametrize("loss", ["smooth_l1_loss", "huber_loss"])
@pytest.mark.parametrize("limit", [0.3, 1.0, 2.5])
def test_losses_with_a_linear_part(loss: str, limit: float) -> None:
    x = np.concatenate([reals(500, dtype=np.float64) * 3, [limit, -limit, 0.0, np.inf, np.nan]])
    t = T.from_numpy(x).requires_grad_()
    zero = T.zeros(len(x), dtype=T.float64)
    keyword = {"beta" if loss.startswith("smooth") else "delta": limit}
    values = getattr(T.nn.functional, loss)(t, zero, reduction="none", **keyword)
    scale = 1.0 if loss.startswith("smooth") else limit
    with np.errstate(all="ignore"):
        want = np.where(abs(x) < limit, 0.5 * x * x / limit, abs(x) - 0.5 * limit) * scale
    np.testing.assert_allclose(values.detach().numpy(), want, rtol=1e-12)
    values.sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), np.clip(x / limit, -1, 1) * scale, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_])
def test_numpy_and_back(dtype: type) -> None:
    array = wholes(0, 2, (3, 4, 5), dtype)
    for source in (array, array[::2, :, 1:4], array.T, array[0, 0, 0:0], array[1, 1]):
        t = T.from_numpy(source)
        assert t.shape == source.shape
        assert t.stride() == tuple(stride // source.itemsize for stride in source.strides)
        back = t.numpy()
        assert back.dtype == source.dtype
        assert back.strides == source.strides or back.size == 0
        np.testing.assert_array_equal(back, source)
        if source.size:
            assert np.shares_memory(back, array)
            assert back.flags.writeable
    assert T.tensor(array[1]).tolist() == array[1].tolist()
    assert T.from_numpy(np.array(2, dtype=dtype)).shape == ()
    assert T.tensor(3.0).numpy().shape == ()


@pytest.mark.rustgrad_only
def test_what_numpy_may_not_write_we_do_not() -> None:
    array = np.arange(5.0)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        t = T.from_numpy(array)
    with pytest.raises(RuntimeError, match="read-only"):
        t.add_(1.0)
    assert not t.numpy().flags.writeable


def test_bytes_in_another_order_are_refused() -> None:
    with pytest.raises((ValueError, TypeError), match="byte order"):
        T.from_numpy(np.arange(3).astype(">i4"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 3, 7, 8, 9, 15, 31, 33, 63, 64, 65, 72, 100, 127, 128, 4095, 4096, 4100, 9000])
def test_a_matrix_times_a_vector(k: int, dtype: str) -> None:
    T.manual_seed(k)
    a, v = T.randn(7, k, dtype=getattr(T, dtype)), T.randn(k, dtype=getattr(T, dtype))
    want = np.array(a.tolist()) @ np.array(v.tolist())
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for got in (
        a @ v,
        v @ a.t(),
        (a @ v[:, None])[:, 0],
        a.t().contiguous().t() @ v,
        T.stack([row.dot(v) for row in a]),
    ):
        np.testing.assert_allclose(np.array(got.tolist()), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_copies_of_small_pieces(rows: int, dtype: type) -> None:
    for columns in (1, 2, 3, 4, 5, 9, 17):
        x = wholes(0, 100, (rows, columns), dtype)
        t = T.tensor(x)
        cases = {
            "turned": (t.t().contiguous(), x.T),
            "back": (T.tensor(np.ascontiguousarray(x.T)).t().contiguous(), x),
            "backwards": (t.flip(1), x[:, ::-1]),
            "upside down": (t.flip(0), x[::-1]),
            "both": (t.flip(0, 1), x[::-1, ::-1]),
            "rolled": (t.roll(1, 1), np.roll(x, 1, 1)),
            "cut": (t[:, 1:].contiguous(), x[:, 1:]),
            "column": (t[:, columns // 2].clone(), x[:, columns // 2]),
            "every other": (t[:, ::2].contiguous(), x[:, ::2]),
            "stacked": (T.stack([t, t + 1], -1), np.stack([x, x + 1], -1)),
            "of three": (T.stack([t, t + 1, t], 1), np.stack([x, x + 1, x], 1)),
            "of five": (T.stack([t] * 5, -1), np.stack([x] * 5, -1)),
            "beside": (T.cat([t, t[:, :1], t + 1], 1), np.concatenate([x, x[:, :1], x + 1], 1)),
            "beside whole": (T.cat([t, t + 1], 1), np.concatenate([x, x + 1], 1)),
            "less": (t[:, 1:] - t[:, :-1], x[:, 1:] - x[:, :-1]),
        }
        for name, (got, want) in cases.items():
            np.testing.assert_array_equal(got.numpy(), want, err_msg=f"{name}, {columns} columns")
        written = t.clone()
        written[:, ::2] = t[:, ::2] + 1
        x[:, ::2] += 1
        np.testing.assert_array_equal(written.numpy(), x)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_images_with_channels_last(channels: int, dtype: type) -> None:
    for height, width in ((5, 7), (32, 33)):
        x = wholes(0, 100, (3, height, width, channels), dtype)
        first = T.tensor(x).permute(0, 3, 1, 2).contiguous()
        np.testing.assert_array_equal(first.numpy(), np.transpose(x, (0, 3, 1, 2)))
        np.testing.assert_array_equal(first.permute(0, 2, 3, 1).contiguous().numpy(), x)
        np.testing.assert_array_equal((first.permute(0, 2, 3, 1) + 1).numpy(), x + 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9, 10, 16, 17, 31, 33, 64, 65, 100, 130])
def test_a_vector_times_a_tall_matrix(n: int, dtype: str) -> None:
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for k in (4 * n - 1, 4 * n, 4 * n + 3, 1000, 1003):
        T.manual_seed(k)
        a, v = T.randn(k, n, dtype=getattr(T, dtype)), T.randn(k, dtype=getattr(T, dtype))
        want = np.array(v.tolist()) @ np.array(a.tolist())
        wide = T.full((k, n + 3), float("nan"), dtype=a.dtype)
        wide[:, :n] = a
        for got in (v @ a, a.t() @ v, v @ wide[:, :n], (v[None] @ a)[0], T.stack([v, v], 1)[:, 0] @ a):
            np.testing.assert_allclose(np.array(got.tolist()), want, rtol=tolerance, atol=tolerance)
    a[-1] = float("inf")
    a[0, 0] = float("nan")
    found = np.array((v @ a).tolist())
    assert np.isnan(found[0])
    assert np.isinf(found[1:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 100, 1003])
def test_reductions_of_short_rows(rows: int, dtype: type) -> None:
    for columns in (1, 2, 3, 4, 5, 8, 15, 16, 17):
        x = wholes(0, 100, (rows, columns), dtype)
        t = T.tensor(x)
        for dim in (0, 1):
            np.testing.assert_array_equal(t.sum(dim).numpy(), x.sum(dim))
            np.testing.assert_array_equal(t.amax(dim).numpy(), x.max(dim))
            np.testing.assert_array_equal(t.amin(dim).numpy(), x.min(dim))
            np.testing.assert_array_equal((t == 3).any(dim).numpy(), (x == 3).any(dim))
            np.testing.assert_allclose((t / 64).prod(dim).numpy(), np.prod(x / 64.0, dim), rtol=1e-4)
        if np.issubdtype(dtype, np.floating):
            x[rows // 2, columns // 2] = np.nan
            for dim in (0, 1):
                for got, want in ((T.tensor(x).amax(dim), x.max(dim)), (T.tensor(x).amin(dim), x.min(dim))):
                    np.testing.assert_array_equal(got.numpy(), want)
