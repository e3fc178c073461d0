"""Reading and assigning by index are torch's, errors included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import programs
import pytest
from oracle import T


@pytest.mark.parametrize("program", programs.of_stage("indexing"))
def test_program(program: str) -> None:
    """Every program of ``tests/programs/indexing.txt`` answers as it does under torch."""
    programs.check("indexing", program)


BASIC = [0, -1, slice(None), slice(1, None), slice(None, None, 2), slice(-2, None), None, ...]
ADVANCED: list[Any] = [[0, 1], [[0], [1]], [True, False, True]]


def keys() -> list[tuple[Any, ...]]:
    """Return all pairs and some triples of basic and advanced indices for a (3, 3, 3) tensor."""
    entries = [*BASIC, *ADVANCED]
    pairs = [(one, two) for one in entries for two in entries if not (one is ... and two is ...)]
    triples = [(one, two, three) for one in ADVANCED[:2] for two in BASIC[:4] for three in ADVANCED[:2]]
    return [(entry,) for entry in entries] + pairs + triples


def fits(key: tuple[Any, ...]) -> bool:
    """Say whether NumPy takes the key (booleans beside index lists may not broadcast)."""
    try:
        np.zeros((3, 3, 3))[as_arrays(key)]
    except IndexError:
        return False
    return True


def as_arrays(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn the lists of a key into arrays, as NumPy wants them."""
    return tuple(np.array(entry) if isinstance(entry, list) else entry for entry in key)


KEYS = [key for key in keys() if fits(key)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_read_as_numpy(key: tuple[Any, ...]) -> None:
    """Basic and advanced reading give what NumPy gives."""
    array = np.arange(27).reshape(3, 3, 3)
    want = array[as_arrays(key)]
    got = T.from_numpy(array)[key]
    assert tuple(got.shape) == want.shape
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_write_as_numpy(key: tuple[Any, ...]) -> None:
    """Assigning a number, and a tensor of the right shape, gives what NumPy gives."""
    array = np.arange(27.0).reshape(3, 3, 3)
    tensor = T.from_numpy(array.copy())
    array[as_arrays(key)] = -1
    tensor[key] = -1
    np.testing.assert_array_equal(tensor.numpy(), array)
    shape = array[as_arrays(key)].shape
    values = np.arange(float(np.prod(shape))).reshape(shape)
    array[as_arrays(key)] = values
    tensor[key] = T.from_numpy(values)
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("strided", [False, True])
def test_an_expanded_index_names_whole_slices(dim: int, strided: bool) -> None:
    shape = [4, 5, 6]
    places = T.tensor([3, 0, 3, 1])
    shape[dim] = 4
    sizes = [1, 1, 1]
    sizes[dim] = 4
    index = places.reshape(sizes).expand(shape)
    table = T.arange(120.0, dtype=T.float64).reshape(4, 5, 6).requires_grad_()
    source = (T.arange(float(index.numel()), dtype=T.float64).reshape(shape) + 0.5).requires_grad_()
    x = table.transpose(0, 2).contiguous().transpose(0, 2) if strided else table
    flat = index.clone()  # not expanded: element by element
    operations: list[Callable[[Any], Any]] = [
        lambda i: x.gather(dim, i),
        lambda i: x.scatter_add(dim, i, source),
        lambda i: x.scatter(dim, i, source),
        lambda i: x.scatter_reduce(dim, i, source, "amax"),
        lambda i: x.scatter_reduce(dim, i, source, "amin", include_self=False),
        lambda i: x.scatter_reduce(dim, i, source, "sum", include_self=False),
        lambda i: x.scatter_reduce(dim, i, source, "mean"),
        lambda i: x.scatter_reduce(dim, i, source, "mean", include_self=False),
        lambda i: x.scatter_reduce(dim, i, source, "prod"),
        lambda i: x.scatter(dim, i, 2.5),
    ]
    for operation in operations:
        results = []
        for i in (index, flat):
            out = operation(i)
            grads = T.autograd.grad((out * out.detach().cos()).sum(), (table, source), allow_unused=True)
            results.append((out, *(g for g in grads if g is not None)))
        assert len(results[0]) == len(results[1])
        for a, b in zip(*results, strict=True):
            assert T.equal(a, b)
    # An index that leaves part of the table alone reaches less than whole slices.
    part = index.narrow((dim + 1) % 3, 0, 2)
    assert T.equal(x.gather(dim, part), x.gather(dim, part.clone()))
    few = source.detach().narrow((dim + 1) % 3, 0, 2)
    assert T.equal(x.scatter_add(dim, part, few), x.scatter_add(dim, part.clone(), few))
    with pytest.raises((IndexError, RuntimeError)):
        x.gather(dim, index + 9)
    with pytest.raises((IndexError, RuntimeError)):
        x.gather(dim, T.tensor([9]).reshape(1, 1, 1).expand(shape))
    with pytest.raises((IndexError, RuntimeError)):
        x.scatter_add(dim, T.tensor([9]).reshape(1, 1, 1).expand(shape), source)


@pytest.mark.parametrize("width", [2, 64])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_gradient_of_one_slice_by_a_number(kind: str, width: int) -> None:
    x = T.ones(4, width, requires_grad=True)
    picked = x.index_select(0, T.tensor(2, dtype=getattr(T, kind)))
    assert picked.shape == (1, width)
    picked.sum().backward()
    assert x.grad.sum(1).tolist() == [0, 0, width, 0]


def test_what_was_put_off_reads_what_was_there_before_a_write_at_indices() -> None:
    first, rows = T.tensor([0]), T.ones(1, 400)
    places, column = T.zeros(1000, 1).long(), T.ones(1000, 1)
    writes: tuple[Callable[[Any], Any], ...] = (
        lambda x: x.index_add_(0, first, rows),
        lambda x: x.index_copy_(0, first, rows),
        lambda x: x.index_fill_(0, first, 7.0),
        lambda x: x.scatter_(1, places, 5.0),
        lambda x: x.scatter_add_(1, places, column),
        lambda x: x.index_put_((first,), rows, accumulate=True),
    )
    for write in writes:
        x = T.full((1000, 400), 3.0)
        twice = x * 2
        write(x)
        assert twice.unique().tolist() == [6]
        assert x.unique().tolist() != [3]
