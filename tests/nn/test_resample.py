"""Padding, interpolation, patches and shuffles: values against NumPy, gradients of both orders, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import T

F: Any = T.nn.functional
np_pad: Any = np.pad

NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "constant": "constant"}
PADS = [(1, 2), (2, 0, 0, 1), (1, 1, 2, 1, 0, 2)]
MODES = [
    ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2), ("nearest-exact", 3),
    ("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2), ("area", 2),
]  # fmt: skip
SMOOTH = ["bilinear", "bicubic", "lanczos"]


def draw(*shape: Any, dtype: Any = T.float64) -> Any:
    return T.sin(T.arange(int(np.prod(shape)), dtype=dtype) * 1.7 + 0.3).reshape(shape)


def widths(shape: Any, pads: Any) -> Any:
    found = [(0, 0)] * len(shape)
    for place, pair in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        found[len(shape) - 1 - place] = pair
    return found


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("dtype", [T.float32, T.float64, T.int64, T.uint8, T.int16])
def test_pads_as_numpy(mode: Any, pads: Any, dtype: Any) -> None:
    shape = (2, 3, 4, 3, 5)[-len(pads) // 2 - 2 :]
    x = (draw(*shape) * 50 + 60).to(dtype)
    got = F.pad(x, pads, mode=mode)
    expected = np_pad(x.numpy(), widths(shape, pads), mode=NUMPY[mode])
    assert got.dtype == dtype
    assert np.array_equal(got.numpy(), expected)
    # Whatever lies how: the same.
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    assert np.array_equal(F.pad(turned, pads, mode=mode).numpy(), expected)


def test_values_and_negative_numbers() -> None:
    x = T.arange(12.0).reshape(1, 3, 4)
    assert F.pad(x, (1, -2), value=7.5)[0, 0].tolist() == [7.5, 0.0, 1.0]
    assert F.pad(x, (-1, 1, -1, 0), value=3.0)[0].tolist() == [[5.0, 6.0, 7.0, 3.0], [9.0, 10.0, 11.0, 3.0]]
    assert F.pad(x[0], (-2, 1), mode="reflect")[0].tolist() == [2.0, 3.0, 2.0]
    assert F.pad(x[0], (2, -3), mode="replicate")[0].tolist() == [0.0, 0.0, 0.0]
    assert F.pad(x > 3, (1, 0), value=1.0)[0, 0].tolist() == [True, False, False, False, False]
    assert F.pad(T.ones(3, 0), (1, 1, 1, 1)).shape == (5, 2)


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("pads", [*PADS, (-1, 2), (1, -1, -1, 2)])
def test_gradients_of_pads(mode: Any, pads: Any) -> None:
    if mode == "circular" and min(pads) < 0:
        pads = tuple(max(n, 0) for n in pads)
    x = draw(*(2, 3, 3, 3)[-len(pads) // 2 - 1 :]).requires_grad_()

    def function(x: Any) -> Any:
        return F.pad(x, pads, mode=mode)

    assert T.autograd.gradcheck(function, x)
    assert T.autograd.gradgradcheck(function, x)
    assert T.autograd.gradcheck(lambda x: F.pad(x.transpose(-1, -2), pads, mode=mode), x)


def test_long_rows_and_many_planes() -> None:
    x = draw(3, 5, 7, 300, dtype=T.float32).requires_grad_()
    for mode in NUMPY:
        y = F.pad(x, (3, 2, 1, 2), mode=mode)
        assert np.array_equal(
            y.detach().numpy(), np_pad(x.detach().numpy(), widths(x.shape, (3, 2, 1, 2)), NUMPY[mode])
        )
        # Each element counts as often as it stands there.
        (grad,) = T.autograd.grad(y.sum(), x)
        order = T.arange(float(x.numel())).reshape(x.shape).to(T.int64)
        padded = F.pad(order.float(), (3, 2, 1, 2), mode=mode, value=-1.0 if mode == "constant" else None)
        counts = np.bincount(padded.numpy().astype(np.int64).ravel() + 1, minlength=x.numel() + 1)[1:]
        assert np.array_equal(grad.numpy().ravel(), counts)


def test_errors_of_pads() -> None:
    x = T.ones(1, 2, 4, 4)
    cases: list[tuple[Any, str, Any]] = [
        (RuntimeError, "divisible by 2", lambda: F.pad(x, (1,))),
        (RuntimeError, "less than or equal to two times the input dimension", lambda: F.pad(x, (1, 1) * 5)),
        (RuntimeError, "less than the corresponding input dimension", lambda: F.pad(x, (4, 0, 0, 0), mode="reflect")),
        (RuntimeError, "wrapping around more than once", lambda: F.pad(x, (5, 0, 0, 0), mode="circular")),
        (RuntimeError, "must be >= 1 in every dimension", lambda: F.pad(x, (-3, -1, 0, 0), mode="replicate")),
        (RuntimeError, "too small", lambda: F.pad(x[0], (-3, -1), mode="reflect")),
        (RuntimeError, "non-negative", lambda: F.pad(x, (-3, -3))),
        (RuntimeError, "non-zero dimensions", lambda: F.pad(x[:, :0], (1, 1, 1, 1), mode="reflect")),
        (RuntimeError, "doesn't take in value", lambda: F.pad(x, (1, 1, 1, 1), mode="reflect", value=1)),
        (RuntimeError, "without overflow", lambda: F.pad(x.to(T.uint8), (1, 1), value=300)),
        (NotImplementedError, "not supported for 4D", lambda: F.pad(x, (1, 1), mode="reflect")),
        (NotImplementedError, "not implemented for 'Bool'", lambda: F.pad(x > 0, (1, 1, 1, 1), mode="reflect")),
        (NotImplementedError, "Unrecognised padding mode", lambda: F.pad(x, (1, 1), mode="mirror")),
        (TypeError, "must be tuple of ints, not int", lambda: F.pad(x, 1)),
        (TypeError, "found element of type float", lambda: F.pad(x, (1.5, 1))),
        (TypeError, "must be float, not str", lambda: F.pad(x, (1, 1), value="a")),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()


def test_a_reflected_input_is_kept() -> None:
    x = T.ones(1, 2, 4, 4).requires_grad_()
    y = F.pad(x, (1, 1, 1, 1), mode="reflect")
    assert y.grad_fn._saved_padding == (1, 1, 1, 1)
    assert y.grad_fn._saved_self.shape == x.shape
    with T.no_grad():
        x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def weights(n: Any, m: Any, factor: Any, align: Any, cubic: Any) -> Any:
    """Return interpolation of a dimension as a matrix."""
    if align:
        places = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0)
    else:
        places = (np.arange(m) + 0.5) * (1 / factor if factor else n / m) - 0.5
    if not cubic:
        places = places.clip(0)
    matrix = np.zeros((m, n))
    for row, place in zip(matrix, places, strict=True):
        below = int(min(np.floor(place), n - 1))
        share = min(max(place - below, 0), 1)
        taps = {0: 1 - share, 1: share}
        if cubic:
            near = [(1.25 * x - 2.25) * x * x + 1 for x in (share, 1 - share)]
            far = [((-0.75 * x + 3.75) * x - 6) * x + 3 for x in (share + 1, 2 - share)]
            taps = {-1: far[0], 0: near[0], 1: near[1], 2: far[1]}
        for shift, weight in taps.items():
            row[min(max(below + shift, 0), n - 1)] += weight
    return matrix


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    ("mode", "given"),
    [
        ("bilinear", {"size": (7, 3)}),
        ("bilinear", {"size": (40, 33)}),
        ("bilinear", {"scale_factor": 2}),
        ("bilinear", {"scale_factor": (0.5, 1.7)}),
        ("bilinear", {"scale_factor": 4.0}),
        ("bicubic", {"size": (9, 4)}),
        ("bicubic", {"scale_factor": (2, 2.3)}),
        ("bicubic", {"scale_factor": 0.5}),
    ],
)
def test_interpolation_is_two_products(mode: Any, given: Any, align: Any) -> None:
    x = draw(2, 3, 20, 18)
    got = F.interpolate(x, mode=mode, align_corners=align, **given)
    factors = given.get("scale_factor", (None, None))
    factors = factors if isinstance(factors, tuple) else (factors, factors)
    down, across = (
        weights(n, m, factor, align, mode == "bicubic")
        for n, m, factor in zip(x.shape[2:], got.shape[2:], factors, strict=True)
    )
    np.testing.assert_allclose(got.numpy(), down @ x.numpy() @ across.T, atol=1e-12)
    # And its gradient the transposed ones.
    leaf = x.clone().requires_grad_()
    seed = draw(*got.shape) + 2
    (grad,) = T.autograd.grad(F.interpolate(leaf, mode=mode, align_corners=align, **given), leaf, seed)
    np.testing.assert_allclose(grad.numpy(), down.T @ seed.numpy() @ across, atol=1e-12)


@pytest.mark.parametrize(("mode", "dims"), MODES)
@pytest.mark.parametrize("given", [{"size": 5}, {"size": 2}, {"scale_factor": 2}, {"scale_factor": 1.4}])
def test_gradients_of_interpolation(mode: Any, dims: Any, given: Any) -> None:
    x = draw(2, 1, *(3, 4, 3)[:dims]).requires_grad_()

    def function(x: Any) -> Any:
        return F.interpolate(x, mode=mode, **given)

    assert T.autograd.gradcheck(function, x)
    assert T.autograd.gradgradcheck(function, x)
    assert T.equal(function(x.transpose(0, -1).contiguous().transpose(0, -1)), function(x))


@pytest.mark.parametrize("factor", [2, 3, 4, 0.5, 0.25])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_gradients_of_wide_rows(mode: Any, factor: Any) -> None:
    x = draw(1, 1, 4, 48).requires_grad_()
    assert T.autograd.gradcheck(lambda x: F.interpolate(x, scale_factor=(1, factor), mode=mode), x)


@pytest.mark.parametrize("mode", SMOOTH)
@pytest.mark.parametrize("size", [(2, 3), (5, 2), (9, 4), (4, 6)])
def test_gradients_against_aliasing(mode: Any, size: Any) -> None:
    x = draw(2, 1, 4, 6).requires_grad_()

    def function(x: Any) -> Any:
        return F.interpolate(x, size, mode=mode, antialias=True)

    assert T.autograd.gradcheck(function, x)
    assert T.autograd.gradgradcheck(function, x)
    flat = function(T.full_like(x, 3.0))
    assert T.allclose(flat, T.full_like(flat, 3.0))


def test_filters_against_aliasing() -> None:
    x = draw(1, 1, 1, 16)
    got = F.interpolate(x, (1, 8), mode="bilinear", antialias=True)[0, 0, 0]
    inner = x[0, 0, 0].numpy()
    expected = [inner[2 * i - 1 : 2 * i + 3] @ [0.125, 0.375, 0.375, 0.125] for i in range(1, 7)]
    np.testing.assert_allclose(got[1:7].numpy(), expected, atol=1e-12)
    # Nothing is taken together where an image grows, so that the filter is the plain one.
    up = F.interpolate(x, (3, 40), mode="bilinear", antialias=True)
    np.testing.assert_allclose(up.numpy(), F.interpolate(x, (3, 40), mode="bilinear").numpy(), atol=1e-12)
    # Of the same size it is the same image.
    assert T.equal(F.interpolate(x, (1, 16), mode="bicubic", antialias=True), x)


def test_nearest_places() -> None:
    x = T.arange(5.0).reshape(1, 1, 5)
    assert F.interpolate(x, 8).flatten().tolist() == [0, 0, 1, 1, 2, 3, 3, 4]
    assert F.interpolate(x, 8, mode="nearest-exact").flatten().tolist() == [0, 0, 1, 2, 2, 3, 4, 4]
    assert F.interpolate(x, 2).flatten().tolist() == [0, 2]
    assert F.interpolate(x, 2, mode="nearest-exact").flatten().tolist() == [1, 3]
    assert F.interpolate(x, scale_factor=1.7).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert F.interpolate(x.to(T.uint8), scale_factor=2).dtype == T.uint8


def test_bytes_are_rounded() -> None:
    x = (draw(1, 3, 12, 9) * 127 + 128).to(T.uint8)
    for mode in ("bilinear", "bicubic"):
        for size in ((12, 20), (30, 9), (5, 4)):
            for antialias in (False, True):
                got = F.interpolate(x, size, mode=mode, antialias=antialias)
                near = F.interpolate(x.double(), size, mode=mode, antialias=antialias).clamp(0, 255)
                assert got.dtype == T.uint8
                # Rounded once for each dimension.
                assert (got.double() - near).abs().max() < 2
    assert T.equal(F.interpolate(x, (12, 9), mode="bilinear"), x)


def test_names_and_kept_values() -> None:
    x = T.ones(1, 2, 4, 4).requires_grad_()
    node = F.interpolate(x, scale_factor=2, mode="bilinear").grad_fn
    assert node.name() == "UpsampleBilinear2DBackward0"
    assert (node._saved_output_size, node._saved_align_corners) == ((8, 8), False)
    assert (node._saved_scales_h, node._saved_self_sym_sizes) == (2.0, (1, 2, 4, 4))
    assert F.interpolate(x, 3).grad_fn._saved_scales_w is None
    cases: list[tuple[Any, str]] = [
        (lambda: F.pad(x, (1, 1, 1, 1), mode="reflect"), "ReflectionPad2D"),
        (lambda: F.pad(x[0, 0], (1, 1), mode="replicate"), "ReplicationPad1D"),
        (lambda: F.interpolate(x[0], 3, mode="linear"), "UpsampleLinear1D"),
        (lambda: F.interpolate(x[None], 3, mode="nearest-exact"), "UpsampleNearestExact3D"),
        (lambda: F.interpolate(x, 3, mode="bicubic", antialias=True), "UpsampleBicubic2DAa"),
        (lambda: F.unfold(x, 2), "Im2Col"),
        (lambda: F.pixel_unshuffle(x, 2), "PixelUnshuffle"),
        (lambda: F.channel_shuffle(x, 2), "ChannelShuffle"),
    ]
    for call, name in cases:
        y = call()
        assert y.grad_fn.name() == f"{name}Backward0"
        y.sum().backward()
    y = F.interpolate(x, 3, mode="bilinear")
    (grad,) = T.autograd.grad(y.pow(2).sum(), x, create_graph=True)
    assert grad.grad_fn.name() == "UpsampleBilinear2DBackwardBackward0"


def test_empty_batches() -> None:
    x = T.ones(0, 2, 4, 4, requires_grad=True)
    for y, shape in [
        (F.pad(x, (1, 1, 1, 1), mode="reflect"), (0, 2, 6, 6)),
        (F.interpolate(x, scale_factor=2, mode="bilinear"), (0, 2, 8, 8)),
        (F.interpolate(x, 3, mode="bicubic", antialias=True), (0, 2, 3, 3)),
        (F.unfold(x, 2), (0, 8, 9)),
        (F.channel_shuffle(x, 2), (0, 2, 4, 4)),
    ]:
        assert y.shape == shape
        (grad,) = T.autograd.grad(y.sum(), x)
        assert grad.shape == x.shape


def test_errors_of_interpolation() -> None:
    x = T.ones(1, 2, 4, 4)
    cases: list[tuple[Any, str, Any]] = [
        (ValueError, "only one of size or scale_factor", lambda: F.interpolate(x, 2, 2)),
        (ValueError, "either size or scale_factor", lambda: F.interpolate(x)),
        (ValueError, "same number of spatial dimensions", lambda: F.interpolate(x, (2,))),
        (ValueError, "same number of spatial dimensions", lambda: F.interpolate(x, scale_factor=(2, 2, 2))),
        (ValueError, "align_corners option can only be set", lambda: F.interpolate(x, 2, align_corners=True)),
        (ValueError, "not meaningful", lambda: F.interpolate(x, 2, recompute_scale_factor=True)),
        (ValueError, "Anti-alias option is restricted", lambda: F.interpolate(x, 2, antialias=True)),
        (ValueError, "Lanczos mode requires", lambda: F.interpolate(x, 2, mode="lanczos")),
        (TypeError, "expected size to be one of int", lambda: F.interpolate(x, (2.5, 2))),
        (RuntimeError, "greater than 0", lambda: F.interpolate(x, 0)),
        (RuntimeError, "greater than 0", lambda: F.interpolate(x, scale_factor=0.1)),
        (RuntimeError, "Non-empty 4D data tensor", lambda: F.interpolate(x[:, :0], 2)),
        (RuntimeError, "without overflow", lambda: F.interpolate(x, scale_factor=float("nan"))),
        (NotImplementedError, "Got 4D input, but linear mode needs 3D", lambda: F.interpolate(x, 2, mode="linear")),
        (NotImplementedError, "Only 3D, 4D and 5D", lambda: F.interpolate(x[0, 0], 2)),
        (NotImplementedError, "got cubic", lambda: F.interpolate(x, 2, mode="cubic")),
        (NotImplementedError, "not implemented for 'Int'", lambda: F.interpolate(x.int(), 2, mode="bilinear")),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("given", [{}, {"padding": 1}, {"stride": 2}, {"dilation": (2, 1), "padding": (2, 0), "stride": (1, 3)}])  # fmt: skip
def test_patches(given: Any) -> None:
    x = draw(2, 3, 5, 6).requires_grad_()

    def function(x: Any) -> Any:
        return F.unfold(x, (2, 3), **given)

    columns = function(x)
    kernel = draw(4, 3, 2, 3)
    product = (kernel.reshape(4, -1) @ columns).reshape(-1)
    assert T.allclose(product, F.conv2d(x, kernel, **given).reshape(-1))
    assert T.allclose(function(x.transpose(2, 3).contiguous().transpose(2, 3)), columns)
    assert T.equal(function(x[0]), columns[0])
    # The way back is the transposed one.
    seed = draw(*columns.shape)
    (grad,) = T.autograd.grad((columns * seed).sum(), x)
    folded = F.fold(seed, (5, 6), (2, 3), **given)
    assert T.allclose(folded, grad)
    assert T.equal(F.fold(seed[0], (5, 6), (2, 3), **given), folded[0])
    assert T.autograd.gradcheck(function, x)
    assert T.autograd.gradgradcheck(function, x)
    assert T.autograd.gradcheck(lambda y: F.fold(y, (5, 6), (2, 3), **given), seed.requires_grad_())


def test_errors_of_patches() -> None:
    x, y = T.ones(1, 2, 4, 4), T.ones(1, 8, 9)
    cases: list[tuple[Any, str, Any]] = [
        (RuntimeError, "must be at least one|at least one", lambda: F.unfold(x, 5)),
        (RuntimeError, "kernel size should be greater than zero", lambda: F.unfold(x, 0)),
        (RuntimeError, "stride should be greater than zero", lambda: F.fold(y, 4, 2, stride=0)),
        (RuntimeError, "padding should be non-negative", lambda: F.unfold(x, 2, padding=-1)),
        (RuntimeError, "expected kernel_size equals to 2", lambda: F.unfold(x, (2, 2, 2))),
        (RuntimeError, "non-zero dimensions", lambda: F.unfold(x[:, :0], 2)),
        (RuntimeError, "divisible by the product of kernel_size", lambda: F.fold(y[:, :7], 4, 2)),
        (RuntimeError, "calculated number of sliding blocks 3 \\* 3 = 9", lambda: F.fold(y[:, :, :8], 4, 2)),
        (RuntimeError, "Expected 2D or 3D", lambda: F.fold(y[None], 4, 2)),
        (NotImplementedError, "im2col_out_cpu", lambda: F.unfold(x.int(), 2)),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_shuffles(n: Any) -> None:
    x = draw(2, 2 * n * n, 3, 9).requires_grad_()
    wide = F.pixel_shuffle(x, n)
    parts = x.detach().numpy().reshape(2, 2, n, n, 3, 9).transpose(0, 1, 4, 2, 5, 3)
    assert np.array_equal(wide.detach().numpy(), parts.reshape(2, 2, 3 * n, 9 * n))
    assert T.equal(F.pixel_unshuffle(wide, n), x)
    assert T.equal(F.pixel_shuffle(x[0].int(), n), wide[0].int())
    turned = F.channel_shuffle(x, n)
    assert T.equal(turned, x.reshape(2, n, 2 * n, 3, 9).transpose(1, 2).reshape(x.shape))
    small = draw(1, n * n, 1, 2).requires_grad_()
    for function in (F.pixel_shuffle, F.channel_shuffle):
        assert T.autograd.gradcheck(lambda x, f=function: f(x, n), small)
        assert T.autograd.gradgradcheck(lambda x, f=function: f(x, n), small)


def test_errors_of_shuffles() -> None:
    x = T.ones(1, 4, 2, 3)
    cases: list[tuple[str, Any]] = [
        ("at least 3 dimensions", lambda: F.pixel_shuffle(x[0, 0], 2)),
        ("divisible by the square of upscale_factor", lambda: F.pixel_shuffle(x, 3)),
        ("positive upscale_factor", lambda: F.pixel_shuffle(x, 0)),
        ("expects width to be divisible", lambda: F.pixel_unshuffle(x, 2)),
        ("divisible by groups", lambda: F.channel_shuffle(x, 3)),
        ("> 2 dims", lambda: F.channel_shuffle(x[0, 0], 1)),
    ]
    for words, call in cases:
        with pytest.raises(RuntimeError, match=words):
            call()
    with pytest.raises(TypeError, match="must be int, not float"):
        F.pixel_shuffle(x, 2.0)
