"""Two hundred random programs, with what torch made of each: values, gradients, versions, hooks, errors."""

from __future__ import annotations

import warnings
from typing import Any

import fuzz
import oracle
import program_runner
import pytest
import random_programs

COUNT = 200
FIRST = 1_000_000
"""The numbers of the recorded programs; ``make fuzz`` starts at 0."""


def record() -> dict[str, Any]:
    """Run the programs on torch; called by ``record_golden.py``."""
    answers = {}
    for number in range(FIRST, FIRST + COUNT):
        lines = random_programs.write(number)
        report = program_runner.run(oracle.T, lines, fuzz.describe)
        report.pop("message", None)
        answers[str(number)] = {"lines": lines, "report": report}
    return answers


@pytest.mark.parametrize("number", range(FIRST, FIRST + COUNT))
def test_recorded_program(number: int) -> None:
    recorded = oracle.golden("random_programs")[str(number)]
    lines = recorded["lines"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = program_runner.run(oracle.T, lines, fuzz.describe)
    loose = any("float32" in line for line in lines)
    assert list(fuzz.differences(report, recorded["report"], loose)) == [], "\n".join(lines)


def test_programs_depend_on_their_number_alone() -> None:
    assert random_programs.write(7) == random_programs.write(7)
    assert random_programs.write(7) != random_programs.write(8)


def test_recorded_programs_are_a_fair_sample() -> None:
    golden = oracle.golden("random_programs")
    assert len(golden) == COUNT
    texts = ["\n".join(entry["lines"]) for entry in golden.values()]
    raised = sum(entry["report"]["error"] is not None for entry in golden.values())
    assert COUNT // 10 < raised < COUNT // 2
    for feature in (
        "no_grad",
        ".add_(",
        "[...] =",
        "create_graph=True",
        "inputs=",
        "retain_grad",
        "unbind",
        "autograd.backward([",
    ):
        assert sum(feature in text for text in texts) >= 3, feature
