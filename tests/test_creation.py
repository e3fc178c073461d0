"""Making tensors, random ones included, gives torch's numbers, dtypes and errors."""

from __future__ import annotations

import programs
import pytest
from oracle import T


@pytest.mark.parametrize("program", programs.of_stage("creation"))
def test_program(program: str) -> None:
    """Every program of ``tests/programs/creation.txt`` answers as it does under torch."""
    programs.check("creation", program)


def test_random_numbers_do_not_depend_on_threads() -> None:
    """The generator's stream is one, however many threads fill the memory."""
    draws = []
    for threads in (1, 2, 4):
        T.set_num_threads(threads)
        T.manual_seed(3)
        draws.append(T.randn(5000))
    assert T.equal(draws[0], draws[1])
    assert T.equal(draws[0], draws[2])


def test_moments() -> None:
    """Many draws have the mean and the spread they should."""
    T.manual_seed(0)
    normal, uniform = T.randn(100_000), T.rand(100_000)
    assert abs(normal.mean().item()) < 0.02
    assert abs(normal.std().item() - 1) < 0.02
    assert abs(uniform.mean().item() - 0.5) < 0.01
    assert uniform.min().item() >= 0
    assert uniform.max().item() < 1
    assert sorted(T.randperm(1000).tolist()) == list(range(1000))
