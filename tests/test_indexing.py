"""Reading and assigning by index are torch's, errors included."""

from __future__ import annotations

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
