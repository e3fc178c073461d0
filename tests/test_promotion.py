"""The whole table of result types: tensors, 0-d tensors and Python scalars."""

from __future__ import annotations

import oracle
import programs
import pytest


@pytest.mark.parametrize("dtype", programs.DTYPES)
def test_result_types(dtype: str) -> None:
    """Every pair under every operation gives torch's dtype, or its error."""
    table = oracle.golden("promotion")
    wrong = []
    for program in programs.of_stage("promotion"):
        if f"dtype=T.{dtype})" in program:
            got = programs.answer("promotion", program)
            want = table[program]
            if got != want and not (isinstance(want, dict) and isinstance(got, dict)):
                wrong.append(f"{program}: {got}, torch gives {want}")
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:40])
