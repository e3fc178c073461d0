"""Printing is torch's to the letter."""

from __future__ import annotations

import programs
import pytest


@pytest.mark.parametrize("program", programs.of_stage("printing"))
def test_program(program: str) -> None:
    """Every program of ``tests/programs/printing.txt`` answers as it does under torch."""
    programs.check("printing", program)
