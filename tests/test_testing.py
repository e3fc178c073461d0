"""`testing.assert_close`."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
close = T.testing.assert_close
CASES: list[tuple[Any, Any, str]] = [
    (
        T.ones(2),
        T.tensor([1.0, 2.0]),
        r"Mismatched elements: 1 / 2 \(50.0%\)\nGreatest absolute difference: 1.0 at index \(1,\)",
    ),
    (T.tensor(1.0), T.tensor(2.0), "Scalars are not close!\n\nExpected 2.0 but got 1.0"),
    (
        T.ones(2),
        T.ones(3),
        r"The values for attribute 'shape' do not match: torch.Size\(\[2\]\) != torch.Size\(\[3\]\)",
    ),
    (
        T.ones(2),
        T.ones(2, dtype=T.float64),
        "The values for attribute 'dtype' do not match: torch.float32 != torch.float64",
    ),
    (T.ones(2, dtype=T.int64), T.zeros(2, dtype=T.int64), "Tensor-likes are not equal!\n\nMismatched elements: 2 / 2"),
    ([T.ones(1)], [T.zeros(1)], r"The failure occurred for item \[0\]"),
    ({"a": T.ones(1)}, {"a": T.zeros(1)}, r"The failure occurred for item \['a'\]"),
    (1.0, 2.0, "Absolute difference: 1.0"),
    ([1], [1, 2], "The length of the sequences mismatch: 1 != 2"),
    (T.tensor([float("nan")]), T.tensor([float("nan")]), "Tensor-likes are not close!"),
    (T.tensor([True]), T.tensor([False]), "Tensor-likes are not equal!"),
]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_differences(case: tuple[Any, Any, str]) -> None:
    with pytest.raises(AssertionError, match=case[2]):
        close(case[0], case[1])


def test_agreement() -> None:
    close(T.ones(2), T.ones(2) + 1e-7)
    close([1, 2.0, T.ones(2, requires_grad=True)], [1, 2.0, T.ones(2)])
    close(T.ones(2), T.tensor([1.0, 1.5]), rtol=0.5, atol=0.0)
    close(T.ones(2), T.ones(2, dtype=T.float64), check_dtype=False)
    close(T.tensor([float("nan")]), T.tensor([float("nan")]), equal_nan=True)
    close(T.zeros(0), T.zeros(0))


def test_what_cannot_be_compared() -> None:
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        close(T.ones(2), "a")
    with pytest.raises(ValueError, match="Both 'rtol' and 'atol' must be either specified or omitted, but got no atol"):
        close(T.ones(2), T.ones(2), rtol=0.1)


def test_messages_of_ones_own() -> None:
    with pytest.raises(AssertionError, match=r"^mine$"):
        close(T.ones(2), T.zeros(2), msg="mine")
    with pytest.raises(AssertionError, match=r"^mine: Tensor-likes"):
        close(T.ones(2), T.zeros(2), msg=lambda text: f"mine: {text}")
