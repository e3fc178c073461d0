"""Convolutions large enough to be computed by tiles: values, gradients, and what is not finite."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import T

F: Any = T.nn.functional


def _slow(x: Any, w: Any, bias: Any, padding: tuple[int, int], groups: int) -> Any:
    """Sum shifted images over the kernel's elements."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = x.shape[2] - 2, x.shape[3] - 2
    parts = []
    for part, weight in zip(x.chunk(groups, 1), w.chunk(groups, 0), strict=True):
        total: Any = 0
        for i in range(3):
            for j in range(3):
                total = total + T.einsum("nchw,kc->nkhw", part[:, :, i : i + height, j : j + width], weight[:, :, i, j])
        parts.append(total)
    return T.cat(parts, 1) + bias[:, None, None]


@pytest.mark.parametrize(
    ("batch", "channels", "outputs", "size", "padding", "groups"),
    [
        (2, 16, 20, (16, 16), (1, 1), 1),
        (3, 24, 16, (9, 31), (0, 2), 1),
        (9, 32, 48, (14, 14), (2, 1), 2),
        (1, 17, 33, (28, 12), (1, 0), 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(
    batch: int, channels: int, outputs: int, size: tuple[int, int], padding: tuple[int, int], groups: int, dtype: str
) -> None:
    T.manual_seed(0)
    kind = getattr(T, dtype)
    x = T.randn(batch, channels, *size, dtype=kind, requires_grad=True)
    w = T.randn(outputs, channels // groups, 3, 3, dtype=kind, requires_grad=True)
    bias = T.randn(outputs, dtype=kind, requires_grad=True)
    made = F.conv2d(x, w, bias, padding=padding, groups=groups)
    want = _slow(x, w, bias, padding, groups)
    seed = T.randn(*want.shape, dtype=kind)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    pairs = zip(
        (made, *T.autograd.grad(made, (x, w, bias), seed)),
        (want, *T.autograd.grad(want, (x, w, bias), seed)),
        strict=True,
    )
    for a, b in pairs:
        assert a.shape == b.shape
        assert float((a - b).detach().abs().max() / b.detach().abs().max()) < tolerance


def test_second_derivative() -> None:
    T.manual_seed(0)
    x = T.randn(1, 16, 6, 14, dtype=T.float64, requires_grad=True)
    w = T.randn(16, 16, 3, 3, dtype=T.float64, requires_grad=True)
    g = T.randn(1, 16, 6, 14, dtype=T.float64, requires_grad=True)
    u, v = T.randn_like(x).detach(), T.randn_like(w).detach()
    answers = []
    none = T.zeros(16, dtype=T.float64)
    ways: list[Callable[[], Any]] = [lambda: F.conv2d(x, w, padding=1), lambda: _slow(x, w, none, (1, 1), 1)]
    for f in ways:
        gx, gw = T.autograd.grad(f(), (x, w), g, create_graph=True)
        answers.append(T.autograd.grad((gx * u).sum() + (gw * v).sum(), (x, w, g)))
    for a, b in zip(*answers, strict=True):
        assert T.allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 3e38])
def test_what_is_not_finite_stays_in_its_windows(value: float) -> None:
    T.manual_seed(0)
    x = T.rand(2, 16, 16, 16)
    w = T.rand(16, 16, 3, 3)
    whole = F.conv2d(x, w, padding=1)
    x[1, 3, 5, 7] = value
    w[2] = -w[2]
    made = F.conv2d(x, w, padding=1)
    touched = np.zeros((2, 16, 16, 16), dtype=bool)
    touched[1, :, 4:7, 6:9] = True
    touched = T.tensor(touched)
    assert T.isfinite(made[~touched]).all()
    assert T.allclose(made.abs()[~touched], whole[~touched], rtol=1e-4)
    if not np.isnan(value):
        assert (made[1, 2, 4:7, 6:9] < -1e30).all()
        assert (made[1, 3, 4:7, 6:9] > 1e30).all()
    else:
        assert T.isnan(made[touched]).all()


def test_gradients_of_what_is_not_finite() -> None:
    T.manual_seed(0)
    x = T.rand(2, 16, 16, 16, requires_grad=True)
    w = T.rand(16, 16, 3, 3, requires_grad=True)
    g = T.ones(2, 16, 16, 16)
    g[0, 4, 8, 8] = float("inf")
    gx, gw = T.autograd.grad(F.conv2d(x, w, padding=1), (x, w), g)
    assert T.isinf(gx[0, :, 7:10, 7:10]).all()
    assert int(T.isfinite(gx).logical_not().sum()) == 16 * 9
    assert T.isinf(gw[4]).all()
    assert int(T.isfinite(gw).logical_not().sum()) == 16 * 9


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 0, 1), (1, 2, 2), ((2, 3), (1, 0), (1, 2))])
def test_one_channel_for_each_group(each: int, stride: Any, padding: Any, dilation: Any) -> None:
    T.manual_seed(0)
    x = T.randn(3, 5, 19, 23, dtype=T.float64, requires_grad=True)
    w = T.randn(5 * each, 1, 3, 4, dtype=T.float64, requires_grad=True)
    bias = T.randn(5 * each, dtype=T.float64, requires_grad=True)
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    made = F.conv2d(x, w, bias, groups=5, **steps)
    parts = zip(x.chunk(5, 1), w.chunk(5, 0), bias.chunk(5), strict=True)
    want = T.cat([F.conv2d(part, weight, shift, **steps) for part, weight, shift in parts], 1)
    seed = T.randn_like(want)
    grads = T.autograd.grad(made, (x, w, bias), seed)
    wanted = T.autograd.grad(want, (x, w, bias), seed)
    for a, b in zip((made, *grads), (want, *wanted), strict=True):
        assert T.allclose(a, b, rtol=1e-11, atol=1e-11)
