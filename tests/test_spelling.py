"""Keywords by other names, `out=` of functions, and the buffer protocol."""

from __future__ import annotations

import warnings
from typing import Any

import oracle
import pytest

T = oracle.T


@pytest.fixture
def x() -> Any:
    return T.arange(6.0).view(2, 3)


def test_numpy_names_of_keywords(x: Any) -> None:
    assert x.sum(axis=0).tolist() == [3.0, 5.0, 7.0]
    assert x.sum(axis=1, keepdims=True).tolist() == [[3.0], [12.0]]
    assert T.softmax(x, axis=0).shape == (2, 3)
    assert x.argmax(axis=0, keepdims=True).tolist() == [[1, 1, 1]]
    assert x.unsqueeze(axis=0).shape == (1, 2, 3)
    assert T.cat([x], axis=0).shape == (2, 3)
    assert T.sum(a=x).item() == 15.0


def test_input_by_keyword(x: Any) -> None:
    assert T.sum(input=x, dim=0).tolist() == [3.0, 5.0, 7.0]
    assert T.reshape(input=x, shape=(3, 2)).shape == (3, 2)
    with pytest.raises(TypeError):
        T.sum(dim=0)


def test_one_argument_by_two_names(x: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        T.sum(x, dim=0, axis=0)


@pytest.mark.parametrize("name", ["sum", "softmax", "cumsum", "std", "logsumexp", "sort", "max"])
def test_results_written_to_out(x: Any, name: str) -> None:
    function = getattr(T, name)
    expected = function(x, 0)
    if isinstance(expected, tuple):
        out = (T.empty(0), T.empty(0, dtype=T.int64))
        got = function(x, 0, out=out)
        assert got[0] is out[0]
        assert T.equal(out[0], expected[0])
        assert T.equal(out[1], expected[1])
    else:
        target = T.empty(0)
        assert function(x, 0, out=target) is target
        assert T.equal(target, expected)


def test_creation_into_out() -> None:
    target = T.empty(3)
    assert T.zeros(3, out=target) is target
    assert target.tolist() == [0.0, 0.0, 0.0]
    assert T.arange(3, out=target) is target
    assert target.tolist() == [0.0, 1.0, 2.0]


def test_out_of_another_shape_is_resized_with_a_warning(x: Any) -> None:
    target = T.empty(5)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        T.sum(x, dim=0, out=target)
    assert target.tolist() == [3.0, 5.0, 7.0]


def test_out_takes_no_part_in_differentiation(x: Any) -> None:
    message = "functions with out=... arguments don't support automatic differentiation"
    with pytest.raises(RuntimeError, match=message):
        T.sum(x.clone().requires_grad_(), dim=0, out=T.empty(3))
    with pytest.raises(RuntimeError, match=message):
        T.sum(x, dim=0, out=T.empty(3, requires_grad=True))
    with pytest.raises(RuntimeError, match=message):
        T.cat([x.clone().requires_grad_()], out=T.empty(2, 3))
    with T.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        T.sum(x, dim=0, out=T.empty(3))


def test_views_have_no_out(x: Any) -> None:
    with pytest.raises(TypeError):
        T.reshape(x, (3, 2), out=T.empty(0))


@pytest.mark.rustgrad_only
def test_memoryview_shares_memory(x: Any) -> None:
    view: Any = memoryview(x)
    assert (view.shape, view.strides, view.format, view.readonly) == ((2, 3), (12, 4), "f", False)
    view[0, 0] = 9.0
    assert x[0, 0].item() == 9.0
    assert memoryview(x.t()).tolist() == x.t().tolist()
    assert bytes(T.tensor([1, 2], dtype=T.uint8)) == b"\x01\x02"


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("name", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"])
def test_memoryview_of_every_dtype(name: str) -> None:
    tensor = T.tensor([1, 0, 1]).to(getattr(T, name))
    assert memoryview(tensor).tolist() == tensor.tolist()


@pytest.mark.rustgrad_only
def test_memoryview_outlives_the_data_of_its_tensor() -> None:
    x = T.ones(2)
    view: Any = memoryview(x)
    x.data = T.zeros(5)
    del x
    assert view.tolist() == [1.0, 1.0]


@pytest.mark.rustgrad_only
def test_memoryview_of_what_is_differentiated_is_refused() -> None:
    with pytest.raises(BufferError, match="requires grad"):
        memoryview(T.ones(2, requires_grad=True))
