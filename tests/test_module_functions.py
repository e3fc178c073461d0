"""Functions of the module itself that are those of ``nn.functional``, windows, and what other devices would need."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional
X = T.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
W = T.linspace(-1, 1, 3)

PAIRS: list[Any] = [
    (lambda: T.conv1d(X[None], T.ones(1, 2, 2)), lambda: F.conv1d(X[None], T.ones(1, 2, 2))),
    (lambda: T.conv2d(X[None], T.ones(1, 1, 2, 2)), lambda: F.conv2d(X[None], T.ones(1, 1, 2, 2))),
    (lambda: T.conv_transpose1d(X, T.ones(2, 1, 2)), lambda: F.conv_transpose1d(X, T.ones(2, 1, 2))),
    (lambda: T.dropout(X, 0.5, False), lambda: X),
    (lambda: T.layer_norm(X, [3], W, W), lambda: F.layer_norm(X, [3], W, W)),
    (lambda: T.group_norm(X, 3, W), lambda: F.group_norm(X, 3, W)),
    (lambda: T.batch_norm(X, W, None, None, None, True, 0.1, 1e-5, False), lambda: F.batch_norm(X, None, None, W, None, True)),
    (lambda: T.embedding(X, T.tensor([1, 0])), lambda: X[[1, 0]]),
    (lambda: T.avg_pool1d(X, 2), lambda: F.avg_pool1d(X, 2)),
    (lambda: T.max_pool1d(X, 2), lambda: F.max_pool1d(X, 2)),
    (lambda: T.max_pool2d(X[None], 2), lambda: F.max_pool2d(X[None], 2)),
    (lambda: T.adaptive_avg_pool1d(X, 2), lambda: F.adaptive_avg_pool1d(X, 2)),
    (lambda: T.adaptive_max_pool1d(X, 2)[1], lambda: F.adaptive_max_pool1d(X, 2, True)[1]),
    (lambda: T.constant_pad_nd(X, [1, 0], 7.0), lambda: F.pad(X, (1, 0), value=7.0)),
    (lambda: T.cosine_similarity(X, X + 1), lambda: F.cosine_similarity(X, X + 1)),
    (lambda: T.pairwise_distance(X, X + 1), lambda: F.pairwise_distance(X, X + 1)),
    (lambda: T.prelu(X, T.tensor([0.1])), lambda: F.prelu(X, T.tensor([0.1]))),
    (
        lambda: T.binary_cross_entropy_with_logits(X, (X > 0).float(), reduction=2),
        lambda: F.binary_cross_entropy_with_logits(X, (X > 0).float(), reduction="sum"),
    ),
    (lambda: T.kl_div(X, X.softmax(1), 0), lambda: F.kl_div(X, X.softmax(1), reduction="none")),
    (lambda: T.compile(lambda a: a + 1, backend="eager")(X), lambda: X + 1),
]  # fmt: skip


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_same_as_in_functional(own: Any, other: Any) -> None:
    """The module's function gives what that of ``nn.functional`` gives."""
    assert T.allclose(own(), other())


WINDOWS = [
    ("hann_window", [0.0, 0.3455, 0.9045, 0.9045, 0.3455]),
    ("hamming_window", [0.08, 0.3979, 0.9121, 0.9121, 0.3979]),
    ("blackman_window", [0.0, 0.2008, 0.8492, 0.8492, 0.2008]),
    ("bartlett_window", [0.0, 0.4, 0.8, 0.8, 0.4]),
    ("kaiser_window", [0.0001, 0.1017, 0.7929, 0.7929, 0.1017]),
]


@pytest.mark.parametrize(("name", "values"), WINDOWS)
def test_windows(name: str, values: Any) -> None:
    """A periodic window is a symmetric one of one element more, without that."""
    window = getattr(T, name)
    assert window(5).tolist() == pytest.approx(values, abs=1e-4)
    assert T.allclose(window(6, periodic=False)[:5], window(5))
    assert window(5, dtype=T.float64).dtype == T.float64
    assert window(5, requires_grad=True).requires_grad
    assert window(1).tolist() == [1]
    assert window(0).shape == (0,)
    with pytest.raises(RuntimeError, match="floating point"):
        window(4, dtype=T.int64)
    with pytest.raises(RuntimeError, match="non-negative"):
        window(-1)


def test_layout_and_device() -> None:
    """A tensor lies dense on the CPU."""
    assert X.layout is T.strided
    assert T.typename(X) == "torch.FloatTensor"
    assert not X.is_pinned()
    assert X.to_dense() is not None
    assert not X.is_shared()


def test_a_function_for_each_element() -> None:
    """``apply_`` and ``map_`` write in place."""
    x = T.tensor([1.0, -2.0])
    assert x.apply_(lambda a: a * 2) is x
    assert x.tolist() == [2, -4]
    assert x.map_(T.tensor([10.0, 20.0]), lambda a, b: a + b).tolist() == [12, 16]
    with pytest.raises(RuntimeError, match="requires grad"):
        X.clone().requires_grad_().apply_(abs)


def test_limits_are_shown() -> None:
    """Limits of dtypes are shown with all their parts."""
    assert repr(T.iinfo(T.int8)) == "iinfo(min=-128, max=127, dtype=int8)"
    assert repr(T.finfo(T.float32)).startswith(
        "finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07"
    )
    assert T.finfo(T.float32) == T.finfo(T.float32)


def test_spread_below_zero() -> None:
    """Normal numbers have no negative spread."""
    with pytest.raises(RuntimeError, match="expects all elements of std"):
        T.normal(T.zeros(2), T.tensor([1.0, -1.0]))


def test_counts() -> None:
    """Poisson and binomial numbers have their means."""
    T.manual_seed(0)
    assert T.poisson(T.full((5000,), 4.0)).mean().item() == pytest.approx(4, abs=0.2)
    draws = T.binomial(T.full((5000,), 10.0), T.full((5000,), 0.3))
    assert draws.mean().item() == pytest.approx(3, abs=0.2)
    assert draws.max() <= 10


def test_incomplete_gamma_functions() -> None:
    """The lower function of shape one is that of the exponential distribution; derivatives are densities."""
    x = T.tensor([0.0, 0.5, 3.0, 40.0], dtype=T.float64)
    one = T.ones((), dtype=T.float64)
    assert T.allclose(T.igamma(one, x), 1 - (-x).exp())
    assert T.allclose(T.igammac(one, x), (-x).exp())
    shapes = T.tensor([0.2, 3.0, 80.0, 900.0], dtype=T.float64)
    places = T.tensor([0.1, 4.0, 70.0, 910.0], dtype=T.float64)
    assert T.allclose(T.special.gammainc(shapes, places) + T.special.gammaincc(shapes, places), one)
    assert T.autograd.gradcheck(lambda at: T.special.gammainc(shapes, at), (places.requires_grad_(),))
    # Of whole shapes, sums over Poisson's distribution; shapes and places far apart and near each other.
    shapes = T.arange(1.0, 30.0, dtype=T.float64)[:, None]
    places = T.linspace(0.1, 60, 40, dtype=T.float64)
    terms = [T.exp(k * places.log() - places - math.lgamma(k + 1)) for k in range(29)]
    expected = T.stack(terms).cumsum(0)
    for dtype, near in ((T.float64, 1e-8), (T.float32, 1e-4)):  # torch has nine digits
        upper = T.special.gammaincc(shapes.to(dtype), places.to(dtype))
        assert T.allclose(upper, expected.to(dtype), rtol=near, atol=near * 1e-3)


def test_modules_by_torchs_places() -> None:
    """Layers are found where torch keeps them, and base classes by their names."""
    modules: Any = T.nn.modules
    assert modules.batchnorm.BatchNorm2d is T.nn.BatchNorm2d
    assert isinstance(T.nn.BatchNorm1d(2), modules.batchnorm._BatchNorm)
    assert isinstance(T.nn.Conv2d(1, 1, 1), modules.conv._ConvNd)
    assert modules.transformer.Transformer is T.nn.Transformer
    assert modules.utils._pair(3) == (3, 3)
    assert modules.utils._triple([1, 2, 3]) == (1, 2, 3)


def test_too_many_views() -> None:
    """Absurd numbers of views or dimensions are refused."""
    with pytest.raises(RuntimeError, match="expects dims <"):
        T.tensordot(X, X, dims=2**62)
    with pytest.raises(RuntimeError, match="expects dims >= 0"):
        T.tensordot(X, X, dims=-1)


@pytest.mark.rustgrad_only
def test_views_of_nothing() -> None:
    """Views of nothing are counted before they are made."""
    with pytest.raises(RuntimeError, match="too many"):
        T.empty(0, 3).chunk(2**40)
    with pytest.raises(RuntimeError, match="too many"):
        T.empty(0, 3).tensor_split(2**40)
