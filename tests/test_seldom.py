"""Functions of the module that few programs use, and nests."""

from __future__ import annotations

import collections
import importlib
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracle import T

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def draw(*shape: int, seed: int = 0) -> Any:
    T.manual_seed(seed)
    return T.randn(*shape, dtype=T.float64)


@pytest.mark.parametrize("bins", [5, 64])
@pytest.mark.parametrize("limits", [None, (-1.0, 0.5)])
@pytest.mark.parametrize("density", [False, True])
def test_histograms(bins: int, limits: Any, density: bool) -> None:
    x, weight = draw(10, 30), draw(10, 30, seed=1).abs()
    for w in (None, weight):
        found = T.histogram(x, bins, range=limits, weight=w, density=density)
        counts, edges = np.histogram(x.numpy(), bins, limits, density=density, weights=None if w is None else w.numpy())
        assert np.allclose(found.hist.numpy(), counts)
        assert np.allclose(found.bin_edges.numpy(), edges)
        found = T.histogram(x, T.from_numpy(edges), weight=w, density=density)
        assert np.allclose(found.hist.numpy(), counts)
    rows = draw(200, 2)
    span = None if limits is None else [*limits, *limits]
    found = T.histogramdd(rows, [bins, 3], range=span, density=density)
    counts, grid = np.histogramdd(rows.numpy(), [bins, 3], None if limits is None else [limits] * 2, density=density)
    assert np.allclose(found.hist.numpy(), counts)
    assert all(np.allclose(a.numpy(), b) for a, b in zip(found.bin_edges, grid, strict=True))


def test_edges_of_histograms() -> None:
    assert T.histogram(T.tensor([0.0, 0.5, 1.0]), 2).hist.tolist() == [1, 2]
    assert T.histogram(T.tensor([1.0, 1.0]), 2).bin_edges.tolist() == [0.5, 1.0, 1.5]
    grid = T.arange(0.0, 1.01, 0.1)
    assert T.histogram(grid, 10, range=(0.0, 1.0)).hist.sum().item() == 11
    with pytest.raises(RuntimeError, match="bins must be > 0, but got 0 for dimension 0"):
        T.histogram(grid, 0)
    with pytest.raises(RuntimeError, match="min should not exceed max, but got min 1 max 0"):
        T.histogram(grid, 3, range=(1.0, 0.0))
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        T.histogram(grid.long(), 3)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "max", "min"])
def test_segments(reduce: str) -> None:
    x = draw(6, 2).requires_grad_()
    lengths = T.tensor([2, 1, 3])
    functions = {"sum": T.sum, "prod": T.prod, "mean": T.mean, "max": T.amax, "min": T.amin}
    want = T.stack([functions[reduce](part, dim=0) for part in x.split([2, 1, 3])])
    for got in (
        T.segment_reduce(x, reduce, lengths=lengths),
        T.segment_reduce(x, reduce, offsets=T.tensor([0, 2, 3, 6])),
    ):
        assert T.allclose(got, want)
        slopes = (T.autograd.grad(each.square().sum(), x, retain_graph=True)[0] for each in (got, want))
        assert T.allclose(next(slopes), next(slopes))
    empty = T.segment_reduce(x.detach(), reduce, lengths=T.tensor([6, 0]))[1, 0].item()
    ends = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}
    assert math.isnan(empty) if reduce == "mean" else empty == ends[reduce]
    with pytest.raises(RuntimeError, match="reduce argument must be either sum, prod, mean, amax or amin, got foo"):
        T.segment_reduce(x, "foo", lengths=lengths)
    with pytest.raises(RuntimeError, match="Expected all rows of lengths along axis to sum"):
        T.segment_reduce(x, reduce, lengths=T.tensor([2, 2]))


def test_places_of_what_is_not_zero() -> None:
    x = T.tensor([[1, 0], [2, 3]])
    assert T.nonzero_static(x, size=2).tolist() == [[0, 0], [1, 0]]
    assert T.nonzero_static(x, size=4, fill_value=-5).tolist() == [[0, 0], [1, 0], [1, 1], [-5, -5]]


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3)])
def test_factors(shape: tuple[int, ...]) -> None:
    A = draw(*shape)
    factors, tau = T.geqrf(A)
    n = min(shape[-2:])
    q = T.orgqr(factors[..., :n], tau)
    assert T.allclose(q @ factors.triu()[..., :n, :], A)
    assert T.allclose(q.mT @ q, T.eye(n, dtype=T.float64).expand_as(q.mT @ q))
    assert T.allclose(factors.triu()[..., :n, :].abs(), T.linalg.qr(A).R.abs())
    assert T.allclose(T.ormqr(factors[..., :n], tau, A, transpose=True), factors.triu(), atol=1e-12)
    P, L, U = T.lu_unpack(*T.linalg.lu_factor(A))
    assert T.allclose(P @ L @ U, A)
    assert T.equal(P, T.linalg.lu(A).P)
    assert T.lu_unpack(*T.linalg.lu_factor(A), unpack_data=False).L.numel() == 0
    assert T.allclose(T.nuclear_norm(A), T.linalg.svdvals(A).sum(-1))


def test_foreign_memory() -> None:
    memory = bytearray(8)
    x = T.frombuffer(memory, dtype=T.int16, offset=2, count=2)
    x[1] = 7
    assert list(memory) == [0, 0, 0, 0, 7, 0, 0, 0]
    assert T.frombuffer(b"12345678", dtype=T.int32).tolist() == [875770417, 943142453]
    for options, message in (
        ({"dtype": T.int32, "offset": 3}, r"buffer length \(5 bytes\) after offset \(3 bytes\) must be a multiple"),
        ({"dtype": T.int32, "count": 3}, r"requested buffer length \(3 \* 4 bytes\) after offset"),
        ({"dtype": T.int32, "offset": 8}, r"offset \(8 bytes\) must be non-negative and no greater than"),
    ):
        with pytest.raises(ValueError, match=message):
            T.frombuffer(memory, **options)


def test_old_names() -> None:
    assert T.range(1, 2.5, 0.5).tolist() == [1.0, 1.5, 2.0, 2.5]
    T.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert T.ones(1).dtype == T.float64
    finally:
        T.set_default_tensor_type(T.FloatTensor)
    assert T.ones(1).dtype == T.float32
    assert T.get_device(T.ones(1)) == -1
    assert importlib.import_module(f"{T.__name__}.version").__version__ == T.__version__
    assert importlib.import_module(f"{T.__name__}.types").Number


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


def test_nests() -> None:
    trees = importlib.import_module(f"{T.__name__}.utils._pytree")
    nest = {"a": [1, 2], "b": (3, Point(4, 5)), "c": collections.OrderedDict(z=6)}
    leaves, spec = trees.tree_flatten(nest)
    assert leaves == [1, 2, 3, 4, 5, 6]
    assert spec.num_leaves == 6
    assert trees.tree_unflatten(leaves, spec) == nest
    doubled = trees.tree_map(lambda leaf: 2 * leaf, nest)
    assert doubled["b"] == (6, Point(8, 10))
    assert isinstance(doubled["b"][1], Point)
    assert trees.tree_map(lambda a, b: a + b, [1, (2, 3)], [4, (5, 6)]) == [5, (7, 9)]
    assert trees.tree_map_only(str, str.upper, [1, "a"]) == [1, "A"]
    assert trees.tree_leaves([1, [2]]) == [1, 2]
    with pytest.raises(ValueError, match="`leaves` has length 1 but the spec refers to a pytree that holds 6"):
        trees.tree_unflatten([1], spec)


def test_arrays_are_compared() -> None:
    x = T.tensor([1.0, 2.0])
    array = np.array([1.0, 3.0])
    for equal in (x == array, array == x):
        assert isinstance(equal, T.Tensor)
        assert equal.tolist() == [True, False]
    assert (x == np.array(2.0)).tolist() == [False, True]
    assert (x == [1.0, 2.0]) is False
    with pytest.raises(TypeError, match="not supported between instances"):
        x < array  # noqa: B015


def test_methods_of_the_module() -> None:
    x = draw(4, 3)
    for found, expected in (
        (x.geqrf(), T.geqrf(x)),
        (x.histogram(4), T.histogram(x, 4)),
        (x[:3].lu(), T.lu(x[:3])),
    ):
        for a, b in zip(found, expected, strict=True):
            assert T.equal(a, b)
    assert x.gt(0).nonzero_static(size=2).shape == (2, 2)
    factors, tau = x.geqrf()
    assert T.equal(factors.orgqr(tau), T.orgqr(factors, tau))
    assert T.equal(factors.ormqr(tau, x), T.ormqr(factors, tau, x))


def test_gates_of_integers() -> None:
    with pytest.raises(NotImplementedError, match='"glu_cpu" not implemented for'):
        T.nn.functional.glu(T.ones(2, dtype=T.int64))
