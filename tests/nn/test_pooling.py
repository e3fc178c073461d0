"""Pooling: values, places and gradients against windows taken one by one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from oracle import T

F = T.nn.functional
Array = np.ndarray[Any, Any]


def numbers(shape: tuple[int, ...], dtype: str, special: bool) -> Array:
    """Return numbers with ties, and with NaN and infinities if they are to be ``special``."""
    rng = np.random.default_rng(5)
    x = rng.integers(-20, 20, shape).astype(dtype) / 4
    if special:
        flat = x.reshape(-1)
        flat[::17] = -math.inf
        flat[3::29] = math.nan
        x[..., : shape[-2] // 2, : shape[-1] // 3] = -math.inf
    return x


def greatest(plane: Array, rows: range, columns: range) -> tuple[float, int]:
    """Return the greatest element of a window and its place: the first of equal ones, the last NaN."""
    inside = [
        (y, x) for y, x in itertools.product(rows, columns) if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]
    ]
    best, place = -math.inf, inside[0][0] * plane.shape[1] + inside[0][1]
    for y, x in inside:
        value = float(plane[y, x])
        if value > best or math.isnan(value):
            best, place = value, y * plane.shape[1] + x
    return best, place


def check_maxima(x: Any, values: Any, places: Any, windows: list[list[range]]) -> None:
    """Compare maxima with those of the windows, and their gradient with one at each place."""
    planes = np.array(x.tolist()).reshape(-1, *x.shape[-2:])
    want = [[[greatest(plane, rows, columns) for columns in windows[1]] for rows in windows[0]] for plane in planes]
    flat = np.array(want).reshape(len(planes), -1, 2)
    np.testing.assert_array_equal(np.array(values.tolist()).reshape(flat.shape[:2]), flat[..., 0])
    np.testing.assert_array_equal(np.array(places.tolist()).reshape(flat.shape[:2]), flat[..., 1])
    (grad,) = T.autograd.grad(values.nan_to_num(0, 0, 0).sum(), x)
    counts = np.zeros_like(planes)
    for plane, found in zip(counts, flat, strict=True):
        for value, place in found:
            plane.reshape(-1)[int(place)] += math.isfinite(value)
    np.testing.assert_array_equal(np.array(grad.tolist()).reshape(counts.shape), counts)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation", "ceil"),
    [
        ((2, 3, 16, 16), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ((2, 9, 21), (3, 3), (1, 1), (1, 1), (1, 1), False),
        ((1, 2, 11, 40), (3, 3), (2, 2), (1, 1), (1, 1), False),
        ((1, 2, 11, 39), (3, 2), (2, 2), (1, 0), (1, 1), True),
        ((1, 2, 12, 41), (2, 3), (3, 3), (1, 1), (2, 2), False),
        ((1, 2, 9, 50), (5, 4), (1, 2), (2, 2), (1, 3), False),
        ((2, 1, 13, 37), (1, 2), (1, 4), (0, 1), (1, 1), True),
        ((2, 2, 7, 5), (2, 2), (2, 2), (1, 1), (1, 1), True),
        ((3, 4, 6, 9), (6, 9), (6, 9), (0, 0), (1, 1), False),
        ((2, 2, 4, 70), (4, 35), (4, 35), (0, 0), (1, 1), False),
        ((2, 2, 4, 33), (2, 12), (1, 9), (1, 4), (1, 1), False),
    ],
)
def test_max_pool(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil: bool,
    special: bool,
    dtype: str,
) -> None:
    x = T.tensor(numbers(shape, dtype, special), requires_grad=True)
    values, places = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
    windows = [
        [
            range(i * stride[d] - padding[d], i * stride[d] - padding[d] + dilation[d] * kernel[d], dilation[d])
            for i in range(values.shape[d - 2])
        ]
        for d in range(2)
    ]
    check_maxima(x, values, places, windows)


def adaptive(size: int, count: int) -> list[range]:
    return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ((2, 3, 7, 5), (3, 2)),
        ((3, 7, 45), (2, 4)),
        ((2, 2, 12, 40), (1, 1)),
        ((1, 2, 12, 40), (4, 8)),
        ((1, 2, 3, 4), (5, 9)),
        ((2, 1, 6, 80), (5, 3)),
    ],
)
def test_adaptive_pools(shape: tuple[int, ...], counts: tuple[int, int], dtype: str) -> None:
    windows = [adaptive(shape[d - 2], counts[d]) for d in range(2)]
    for special in (False, True):
        x = T.tensor(numbers(shape, dtype, special), requires_grad=True)
        values, places = F.adaptive_max_pool2d(x, counts, return_indices=True)
        check_maxima(x, values, places, windows)
    x = T.tensor(numbers(shape, dtype, False), requires_grad=True)
    planes = np.array(x.tolist()).reshape(-1, *shape[-2:])
    want = [
        [
            [plane[rows.start : rows.stop, columns.start : columns.stop].mean() for columns in windows[1]]
            for rows in windows[0]
        ]
        for plane in planes
    ]
    got = F.adaptive_avg_pool2d(x, counts)
    np.testing.assert_allclose(np.array(got.tolist()).reshape(np.shape(want)), want, rtol=1e-6, atol=1e-6)
    if dtype == "float64":
        assert T.autograd.gradcheck(lambda x: F.adaptive_avg_pool2d(x, counts), (x,))
        assert T.autograd.gradgradcheck(lambda x: F.adaptive_avg_pool2d(x, counts), (x,))
    line = x.flatten(0, -3)[0]
    assert T.equal(F.adaptive_avg_pool1d(line, 3), F.adaptive_avg_pool2d(line.unsqueeze(-2), (1, 3)).squeeze(-2))
    volume = x.flatten(0, -3).unsqueeze(0)
    deep = F.adaptive_avg_pool3d(volume, (1, *counts))
    np.testing.assert_allclose(
        np.array(deep.tolist()).reshape(-1), np.array(want).mean(0).reshape(-1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((2, 3, 16, 33), (2, 2), (2, 2), (0, 0)),
        ((2, 9, 21), (3, 3), (1, 1), (1, 1)),
        ((1, 2, 11, 60), (3, 4), (2, 3), (1, 2)),
        ((1, 2, 11, 9), (3, 4), (2, 1), (1, 1)),
    ],
)
def test_avg_pool(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], padded: bool
) -> None:
    x = T.tensor(numbers(shape, "float64", False), requires_grad=True)
    got = F.avg_pool2d(x, kernel, stride, padding, count_include_pad=padded)
    wide = np.pad(np.array(x.tolist()).reshape(-1, *shape[-2:]), [(0, 0), (padding[0],) * 2, (padding[1],) * 2])
    ones = np.pad(np.ones((1, *shape[-2:])), [(0, 0), (padding[0],) * 2, (padding[1],) * 2])
    counted = np.ones_like(ones) if padded else ones
    want = []
    for plane in wide:
        for i, j in itertools.product(range(got.shape[-2]), range(got.shape[-1])):
            at = np.s_[i * stride[0] : i * stride[0] + kernel[0], j * stride[1] : j * stride[1] + kernel[1]]
            want.append(plane[at].sum() / counted[0][at].sum())
    np.testing.assert_allclose(np.array(got.tolist()).reshape(-1), want, rtol=1e-12)
    assert T.autograd.gradcheck(lambda x: F.avg_pool2d(x, kernel, stride, padding, count_include_pad=padded), (x,))


def test_what_adaptive_pools_refuse() -> None:
    with pytest.raises(RuntimeError, match="dimension 2 being empty"):
        F.adaptive_avg_pool2d(T.ones(1, 2, 0, 3), 2)
    with pytest.raises(RuntimeError, match="dimension 1 being empty"):
        F.adaptive_max_pool2d(T.ones(1, 0, 3, 3), 2)
    with pytest.raises(RuntimeError, match="dimension 1 being empty"):
        F.adaptive_max_pool1d(T.ones(2, 0), 2)
    with pytest.raises(RuntimeError, match="2 to 3 dimensions"):
        F.adaptive_avg_pool1d(T.ones(5), 2)
    assert F.adaptive_avg_pool2d(T.ones(1, 0, 3, 3), 2).shape == (1, 0, 2, 2)
    assert F.adaptive_max_pool2d(T.ones(0, 2, 3, 3), 2).shape == (0, 2, 2, 2)
    assert F.adaptive_avg_pool2d(T.ones(2, 1, 3, 3), 0).shape == (2, 1, 0, 0)
    with pytest.raises(NotImplementedError):
        F.adaptive_avg_pool2d(T.ones(1, 1, 3, 3, dtype=T.int64), 2)
