"""Other storage in place (`set_`, `resize_`), counts of writes, and types of tensors."""

from __future__ import annotations

import copy
import io
import pathlib
import pickle
from typing import Any

import oracle
import pytest

T = oracle.T


def test_set_looks_into_the_memory_of_another() -> None:
    x, source = T.ones(2), T.zeros(3)
    before = x._version
    assert x.set_(source) is x
    assert x.tolist() == [0.0, 0.0, 0.0]
    assert x._version == before + 1
    x.add_(1)
    assert source.tolist() == [1.0, 1.0, 1.0]
    assert x.data_ptr() == source.data_ptr()
    assert T.ones(2).set_().shape == (0,)


def test_set_gives_a_leaf_a_new_place_in_the_graph() -> None:
    x = T.ones(2, requires_grad=True)
    edge = T.autograd.graph.get_gradient_edge(x)
    y = x.clone()
    with T.no_grad():
        x.set_(T.zeros(2))
    with pytest.raises(RuntimeError, match="at index 0 appears to not have been used in the graph"):
        T.autograd.grad(y.sum(), x)
    assert T.autograd.grad(y.sum(), edge)[0].tolist() == [1.0, 1.0]


def test_a_parameter_may_shrink() -> None:
    p = T.nn.Parameter(T.ones(8))
    for _ in range(2):
        with T.no_grad():
            p.set_(p[1:])
            p.grad = None
        T.cat((p, p)).sum().backward()
    assert p.shape == p.grad.shape == (6,)


def test_set_is_refused_where_it_would_be_recorded_or_cast() -> None:
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        T.ones(2, requires_grad=True).set_(T.zeros(2))
    with pytest.raises(RuntimeError, match="Could not set tensor of type double to a tensor of type float"):
        T.ones(2).set_(T.zeros(2, dtype=T.float64))


def test_resize_keeps_elements_in_memory_order() -> None:
    x = T.arange(6.0)
    assert x.resize_(2, 2) is x
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert x.resize_((3, 2)).tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert x.resize_(4, 2).flatten()[:6].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert T.ones(2, 3).resize_as_(T.ones(3)).shape == (3,)


def test_resize_counts_as_a_write_if_the_sizes_change() -> None:
    x, y = T.rand(1), T.rand(3)
    x.resize_((1, 2))
    x.resize_as_(y)
    assert x._version == 2
    x.resize_((3,))
    x.resize_as_(y)
    assert x._version == 2


def test_resize_is_refused_for_what_requires_a_gradient() -> None:
    x = T.ones(2, requires_grad=True)
    for one in (x, x * 2):
        with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
            one.resize_(3)


def test_versions_may_be_preserved() -> None:
    x, y = T.ones(2), T.ones(2)
    x.add_(1)
    with T.autograd._unsafe_preserve_version_counter(x):
        x.mul_(2).mul_(3)
    assert x._version == 1
    with T.autograd._unsafe_preserve_version_counter((x, y)):
        x.mul_(2)
        y.mul_(2)
    assert (x._version, y._version) == (1, 0)


def test_view_replay_is_a_switch() -> None:
    def written() -> Any:
        y = T.ones(2, 2, requires_grad=True).clone().view(-1)
        y.add_(1)
        return y

    replayed = T.autograd.is_view_replay_enabled
    assert not replayed()
    with T.autograd._force_original_view_tracking(True):
        assert replayed()
        assert written().tolist() == [2.0] * 4
    assert not replayed()
    T.autograd._force_original_view_tracking(True)
    assert replayed()
    T.autograd._force_original_view_tracking(False)

    @T.autograd._force_original_view_tracking(True)
    def inside() -> bool:
        return bool(replayed())

    assert not replayed()
    assert inside()
    assert not replayed()


def test_types_of_tensors() -> None:
    x = T.rand(2)
    assert isinstance(x, T.FloatTensor)
    assert isinstance(x.int(), T.IntTensor)
    assert not isinstance(x.int(), T.FloatTensor)
    assert isinstance(x.type(T.DoubleTensor), T.DoubleTensor)
    assert not isinstance(3, T.FloatTensor)
    assert T.LongTensor([1, 2]).dtype == T.LongTensor.dtype == T.int64
    assert T.FloatTensor(2, 3).shape == (2, 3)
    assert T.BoolTensor(2, 2).bernoulli_().dtype == T.bool
    assert x.double().new([1, 2]).tolist() == [1.0, 2.0]
    assert x.double().new(2, 3).dtype == T.float64
    assert x.new().shape == (0,)


def test_files_of_tensors(tmp_path: pathlib.Path) -> None:
    x = T.tensor([1.0, 2.0], requires_grad=True)
    held = {"x": x, "list": [x.detach(), 3, "text"], "p": T.nn.Parameter(T.ones(1)), "size": x.shape}
    T.save(held, tmp_path / "file")
    for file in (tmp_path / "file", str(tmp_path / "file")):
        got = T.load(file)
        assert got["x"].tolist() == [1.0, 2.0]
        assert got["x"].requires_grad
        assert not got["list"][0].requires_grad
        assert got["list"][1:] == [3, "text"]
        assert isinstance(got["p"], T.nn.Parameter)
        assert got["size"] == (2,)
    buffer = io.BytesIO()
    T.save(T.nn.Linear(2, 1).state_dict(), buffer)
    buffer.seek(0)
    assert list(T.load(buffer, map_location="cpu", weights_only=True)) == ["weight", "bias"]


class Stranger:
    """What a file of weights must not hold."""


def test_files_may_hold_other_things_if_trusted() -> None:
    buffer = io.BytesIO()
    T.save(Stranger(), buffer)
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        T.load(buffer)
    buffer.seek(0)
    assert isinstance(T.load(buffer, weights_only=False), Stranger)


def test_pickling_and_copying_non_leaves() -> None:
    y = T.tensor([1.0, 2.0], requires_grad=True) * 2
    again = pickle.loads(pickle.dumps(y))
    assert again.requires_grad
    assert again.is_leaf
    assert again.tolist() == [2.0, 4.0]
    other = copy.copy(y)
    assert other.requires_grad
    assert other.is_leaf
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(y)
