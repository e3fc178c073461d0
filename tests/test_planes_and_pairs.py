"""Losses over planes, products of vectors, norms, samples of images: values and derivatives by their definition."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional


def draw(*shape: int, seed: int = 0) -> Any:
    T.manual_seed(seed)
    return T.randn(*shape, dtype=T.float64, requires_grad=True)


def numbers(tensor: Any) -> Any:
    return pytest.approx(tensor.detach().flatten().tolist(), nan_ok=True)


# Bins.


def test_values_on_the_edges_of_bins() -> None:
    assert T.histc(T.arange(101.0), 50, 0, 100)[27:31].tolist() == [2, 2, 2, 2]
    tenths = T.tensor([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert T.histc(tenths, 10, 0, 1).tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    # In double precision 0.3 * 10 / 1 is 3, but 0.7 - 0.1 is less than 0.6.
    assert T.histc(T.tensor([0.7], dtype=T.float64), 6, 0.1, 0.7 + 0.0).tolist() == [0, 0, 0, 0, 0, 1]
    assert T.histc(T.tensor([0.3], dtype=T.float64), 10, 0, 1).argmax().item() == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_multiple_of_the_width_begins_a_bin(dtype: str) -> None:
    # Whole numbers over whole widths: no rounding before the division.
    for bins, width in itertools.product((3, 7, 50, 64), (1, 2, 5)):
        edges = T.arange(bins + 1, dtype=getattr(T, dtype)) * width
        assert T.histc(edges, bins, 0, bins * width).tolist() == [1.0] * (bins - 1) + [2.0]


def test_entropy_of_zero_has_no_sign() -> None:
    x = T.tensor([0.0, -0.0, 0.5, -1.0])
    entropy = T.special.entr(x)
    assert not entropy[:2].signbit().any()
    assert entropy.tolist() == pytest.approx([0, 0, 0.5 * math.log(2), -math.inf])


# Classes.

SHAPES = [(2, 3, 4), (2, 3, 2, 2), (2, 3, 2, 1, 2), (2, 3, 0), (1, 3, 1)]


def classes_of(shape: tuple[int, ...], ignore: int | None) -> Any:
    rng = random.Random(1)
    choices = [0, 1, 2] + ([] if ignore is None else [ignore])
    count = math.prod(shape) // shape[1]
    return T.tensor([rng.choice(choices) for _ in range(count)], dtype=T.int64).reshape(shape[0], *shape[2:])


def rows_of(x: Any) -> Any:
    return x.movedim(1, -1).reshape(-1, x.shape[1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("ignore", "weighted"), [(None, False), (-100, False), (1, False), (-100, True)])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("last", [False, True])
def test_planes_of_classes_are_rows(
    shape: tuple[int, ...], reduction: str, ignore: int | None, weighted: bool, name: str, last: bool
) -> None:
    x, classes = draw(*shape), classes_of(shape, ignore)
    if last:
        x = x.detach().movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
    weight = T.tensor([0.5, 2.0, 1.5], dtype=T.float64) if weighted else None
    loss = getattr(F, name)
    options: dict[str, Any] = {"weight": weight, "reduction": reduction}
    if ignore is not None:
        options["ignore_index"] = ignore
    planes = loss(x, classes, **options)
    rows = loss(rows_of(x), classes.reshape(-1), **options)
    assert planes.shape == (classes.shape if reduction == "none" else ())
    assert planes.flatten().tolist() == numbers(rows)
    # (torch's nll_loss has no gradient for such an input.)
    if planes.numel() and not planes.isnan().any() and not (last and name == "nll_loss"):
        assert type(planes.grad_fn).__name__ in ("NllLoss2DBackward0", "ViewBackward0")
        (first,) = T.autograd.grad(planes.sum() * 2, x)
        (second,) = T.autograd.grad(rows.sum() * 2, x)
        assert first.flatten().tolist() == numbers(second)


def test_gradients_of_planes() -> None:
    x, classes = draw(2, 3, 2, 2), classes_of((2, 3, 2, 2), -100)
    for reduction in ("mean", "none"):
        assert T.autograd.gradcheck(lambda x, r=reduction: F.cross_entropy(x, classes, reduction=r), x)
        assert T.autograd.gradgradcheck(lambda x, r=reduction: F.cross_entropy(x, classes, reduction=r), x)
        assert T.autograd.gradcheck(lambda x, r=reduction: F.nll_loss(x, classes, reduction=r), x)

    def smooth(x: T.Tensor) -> T.Tensor:
        return F.cross_entropy(x, classes, label_smoothing=0.2)

    assert smooth(x).item() == pytest.approx(
        F.cross_entropy(rows_of(x), classes.reshape(-1), label_smoothing=0.2).item()
    )
    assert T.autograd.gradcheck(smooth, x)


def test_classes_of_planes_out_of_range() -> None:
    x = T.zeros(1, 3, 2)
    for function in (F.nll_loss, F.cross_entropy):
        for wrong in (3, -1):
            with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
                function(x, T.tensor([[0, wrong]]))


def test_classes_changed_before_the_way_back() -> None:
    x, classes = T.zeros(1, 3, 2, requires_grad=True), T.tensor([[0, 1]])
    loss = F.nll_loss(x, classes)
    classes.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Sums and norms.


def test_sums_without_what_is_no_number() -> None:
    nan = math.nan
    x = T.tensor([[1.0, nan, 2.0], [nan, nan, nan], [0.5, 1.0, math.inf]], dtype=T.float64, requires_grad=True)
    assert x.nansum().item() == math.inf
    assert x.nansum(1).tolist() == [3.0, 0.0, math.inf]
    assert x.nanmean(1).tolist() == pytest.approx([1.5, nan, math.inf], nan_ok=True)
    assert x.nansum(1).grad_fn.name() == "NansumBackward0"
    (grad,) = T.autograd.grad((x.nansum(1, keepdim=True) * T.tensor([[1.0], [2.0], [3.0]])).sum(), x)
    assert grad.tolist() == [[1, 0, 1], [0, 0, 0], [3, 3, 3]]
    whole = draw(3, 4)
    assert whole.nansum(0).tolist() == numbers(whole.sum(0))
    assert whole.nanmean().item() == pytest.approx(whole.mean().item())
    assert whole.nansum(0, dtype=T.float32).dtype is T.float32
    assert T.autograd.gradcheck(lambda x: x.nansum(0), whole)
    assert T.autograd.gradgradcheck(lambda x: (x * x).nanmean(1), whole)
    opposite = T.tensor([math.inf, -math.inf])
    assert opposite.nansum().isnan()


@pytest.mark.parametrize("p", [0.5, 1.5, 3, 4, -1, -2.5])
def test_norms_of_any_power(p: float) -> None:
    x = draw(3, 4)
    expected = x.detach().abs().pow(p).sum(1).pow(1 / p)
    norm = x.norm(p, 1)
    assert norm.tolist() == numbers(expected)
    assert norm.grad_fn.name() == "LinalgVectorNormBackward0"
    assert x.norm(p).item() == pytest.approx(x.detach().abs().pow(p).sum().pow(1 / p).item())
    assert T.linalg.vector_norm(x, p, (0, 1), keepdim=True).shape == (1, 1)
    assert T.autograd.gradcheck(lambda x: x.norm(p, 1), x)
    assert T.autograd.gradgradcheck(lambda x: x.norm(p, 1), x)
    zeros = T.zeros(2, 3, requires_grad=True)
    assert zeros.norm(p, 1).tolist() == [0, 0]
    if p > 0:
        assert T.zeros(2, 0).norm(p, 1).tolist() == [0, 0]


# Products.


@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((2, 3, 5), (1, 3, 5)), ((3,), (3,)), ((3, 1), (3, 2))])
def test_cross_products(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = draw(*shapes[0]), draw(*shapes[1], seed=1)
    dim = shapes[0].index(3)
    z = T.linalg.cross(x, y, dim=dim)
    a, b = T.broadcast_tensors(x.detach(), y.detach())
    a, b = a.movedim(dim, -1).reshape(-1, 3).tolist(), b.movedim(dim, -1).reshape(-1, 3).tolist()
    expected = [
        [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]]
        for p, q in zip(a, b, strict=True)
    ]
    assert z.movedim(dim, -1).flatten().tolist() == pytest.approx(list(itertools.chain(*expected)))
    assert z.grad_fn.name() == "LinalgCrossBackward0"
    assert T.autograd.gradcheck(lambda x, y: T.linalg.cross(x, y, dim=dim), (x, y))
    assert T.autograd.gradgradcheck(lambda x, y: T.linalg.cross(x, y, dim=dim), (x, y))


def test_what_a_cross_product_does_not_need() -> None:
    x, y = draw(2, 3), draw(2, 3, seed=1).detach()
    z = T.linalg.cross(x * 1, y)
    (expected,) = T.autograd.grad(z.sum(), x)
    inner = x * 1
    z = T.linalg.cross(inner, y)
    inner.detach().zero_()  # only needed for the gradient of y
    (grad,) = T.autograd.grad(z.sum(), x)
    assert grad.tolist() == expected.tolist()
    assert T.linalg.cross(T.tensor([1, 0, 0]), T.tensor([0, 1, 0])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "shapes", [((6, 5), (7, 4)), ((2, 6, 5), (5, 3)), ((8,), (9,)), ((1, 4), (4, 1)), ((0, 2), (3, 2))]
)
def test_kronecker_products(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = draw(*shapes[0]), draw(*shapes[1], seed=1)
    product = T.kron(a, b)
    n = max(a.dim(), b.dim())
    x, y = a.reshape((1,) * (n - a.dim()) + a.shape), b.reshape((1,) * (n - b.dim()) + b.shape)
    assert product.shape == tuple(i * j for i, j in zip(x.shape, y.shape, strict=True))
    for place in itertools.product(*map(range, product.shape)):
        outer = tuple(i // j for i, j in zip(place, y.shape, strict=True))
        inner = tuple(i % j for i, j in zip(place, y.shape, strict=True))
        assert product[place].item() == (x[outer] * y[inner]).item()
    assert T.autograd.gradcheck(T.kron, (a, b))
    assert T.kron(T.ones(6, 2, dtype=T.int64), T.ones(6, 2)).dtype is T.float32


def test_membership() -> None:
    nan = math.nan
    x = T.tensor([[0.0, -0.0, 1.5], [nan, 7.0, 2.0]])
    for tests in ([0.0, 2.0, nan], [float(i) for i in range(20)] + [nan]):
        expected = [any(value == test for test in tests) for value in x.flatten().tolist()]
        assert T.isin(x, T.tensor(tests)).flatten().tolist() == expected
        assert T.isin(x, T.tensor(tests), invert=True).flatten().tolist() == [not one for one in expected]
    whole = T.tensor([-(2**63), -5, 3, 10**6, 2**63 - 1])
    for some in (list(range(-5, 20)), [i * 10**6 for i in range(20)], [-(2**63), 2**63 - 1, *range(9)], []):
        expected = [value in some for value in whole.tolist()]
        assert T.isin(whole, T.tensor(some, dtype=T.int64)).tolist() == expected
    assert T.isin(3, T.tensor([1, 3])).item() is True
    assert T.isin(T.tensor([1, 2]), 2).tolist() == [False, True]
    assert T.isin(T.tensor([1, 2], dtype=T.uint8), T.tensor([1.5, 2.0])).tolist() == [False, True]


# Images.


def test_response_normalised_by_neighbouring_channels() -> None:
    for size in (1, 2, 3, 5):
        x = draw(2, 4, 3)
        expected = x.detach().clone()
        for channel in range(4):
            near = range(max(0, channel - size // 2), min(4, channel + (size - 1) // 2 + 1))
            mean = sum(x.detach()[:, c] ** 2 for c in near) / size
            expected[:, channel] /= (2 + 0.5 * mean) ** 0.75
        result = F.local_response_norm(x, size, 0.5, 0.75, 2.0)
        assert result.flatten().tolist() == numbers(expected)
        assert T.autograd.gradcheck(lambda x, n=size: F.local_response_norm(x, n, 0.5, 0.75, 2.0), x)
        assert T.autograd.gradgradcheck(lambda x, n=size: F.local_response_norm(x, n, 0.5, 0.75, 2.0), x)


def test_patches_again_and_again() -> None:
    for rows in (4, 5, 4):
        x = draw(1, 2, rows, 4)
        patches = F.unfold(x, (2, 3), dilation=(2, 1), padding=(1, 0))
        padded = F.pad(x.detach(), (0, 0, 1, 1))
        expected = [
            padded[0, c, i + 2 * k, j + m].item()
            for c in range(2)
            for k in range(2)
            for m in range(3)
            for i in range(rows)
            for j in range(2)
        ]
        assert patches.flatten().tolist() == pytest.approx(expected)
        assert T.autograd.gradcheck(lambda x: F.unfold(x, (2, 3), dilation=(2, 1), padding=(1, 0)), x)


def bilinear(image: Any, place: tuple[float, float]) -> float:
    """Sample one plane by the definition, zero outside."""
    x, y = place
    total = 0.0
    for row, column in itertools.product(range(image.shape[0]), range(image.shape[1])):
        total += image[row, column].item() * max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
    return total


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_samples_of_images(aligned: bool, padding: str) -> None:
    x = draw(2, 2, 3, 4)
    T.manual_seed(3)
    grid = (T.rand(2, 2, 3, 2, dtype=T.float64) * 2.6 - 1.3).requires_grad_()
    options = {"padding_mode": padding, "align_corners": aligned}
    result = F.grid_sample(x, grid, **options)
    assert result.shape == (2, 2, 2, 3)
    assert result.grad_fn.name() == "GridSampler2DBackward0"
    if padding == "zeros":
        sizes = (4, 3)
        for n, c, i, j in itertools.product(range(2), range(2), range(2), range(3)):
            at = [
                (p + 1) / 2 * (s - 1) if aligned else ((p + 1) * s - 1) / 2
                for p, s in zip(grid[n, i, j].tolist(), sizes, strict=True)
            ]
            assert result[n, c, i, j].item() == pytest.approx(bilinear(x[n, c], (at[0], at[1])))
    assert T.autograd.gradcheck(lambda x, g: F.grid_sample(x, g, **options), (x, grid))
    (grad,) = T.autograd.grad(result.sum(), x)
    (other,) = T.autograd.grad(
        F.grid_sample(x.detach().requires_grad_(), grid.detach(), **options).sum(), [x], allow_unused=True
    )
    assert other is None
    assert grad.shape == x.shape


@pytest.mark.rustgrad_only
def test_samples_twice_differentiated() -> None:
    # torch has no second derivative of this.
    x = draw(2, 2, 3, 4)
    T.manual_seed(3)
    grid = (T.rand(2, 2, 3, 2, dtype=T.float64) * 2.6 - 1.3).requires_grad_()
    assert T.autograd.gradgradcheck(lambda x, g: F.grid_sample(x, g, align_corners=False), (x, grid))


def test_samples_refused() -> None:
    grid = T.zeros(1, 2, 2, 2)
    with pytest.raises(RuntimeError, match=r"non-empty spatial dimensions.*dimension 2 being empty"):
        F.grid_sample(T.zeros(1, 1, 0, 4), grid, align_corners=False)
    with pytest.raises(RuntimeError, match="same batch size"):
        F.grid_sample(T.zeros(2, 1, 3, 4), grid, align_corners=False)
    with pytest.raises(RuntimeError, match="size 2 in last dimension"):
        F.grid_sample(T.zeros(1, 1, 3, 4), T.zeros(1, 2, 2, 3), align_corners=False)
    assert F.grid_sample(T.zeros(1, 0, 3, 4), grid, align_corners=False).shape == (1, 0, 2, 2)
    assert F.grid_sample(T.zeros(0, 1, 3, 4), T.zeros(0, 2, 2, 2), align_corners=False).shape == (0, 1, 2, 2)
    outside = F.grid_sample(T.full((1, 1, 2, 2), math.inf), T.full((1, 1, 1, 2), 9.0), align_corners=False)
    assert outside.item() == 0
