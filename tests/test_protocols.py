"""Tensors behave in Python's protocols, and fail, as torch's do."""

from __future__ import annotations

import programs
import pytest


@pytest.mark.parametrize("program", programs.of_stage("protocols"))
def test_program(program: str) -> None:
    """Every program of ``tests/programs/protocols.txt`` answers as it does under torch."""
    programs.check("protocols", program)
