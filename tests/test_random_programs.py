"""Four hundred random programs, with what torch made of each: values, gradients, versions, hooks, errors."""

from __future__ import annotations

import os
import warnings
from typing import Any

import fuzz
import oracle
import program_runner
import pytest
import random_programs

COUNT = 200
FIRST = 1_000_000
"""The numbers of the recorded programs of the first generator; ``make fuzz`` starts at 0."""
WIDE = random_programs.WIDE + 500_000
"""Where those of the second generator start: the first ones that torch defines."""


def report_on(lines: list[str]) -> dict[str, Any]:
    """Run a program on the module under test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program_runner.run(oracle.T, lines, fuzz.describe)


def record() -> dict[str, Any]:
    """Run the programs on torch; called by ``record_golden.py``. What was recorded keeps its text."""
    known = oracle.golden("random_programs")
    answers: dict[str, Any] = {}
    for number in range(FIRST, FIRST + COUNT):
        known_lines = known.get(str(number), {}).get("lines")
        lines = known_lines or random_programs.write(number)
        answers[str(number)] = {"lines": lines, "report": report_on(lines)}
    number = WIDE
    while len(answers) < 2 * COUNT:
        lines = random_programs.write(number)
        report = report_on(lines)
        if fuzz.is_defined(report):
            answers[str(number)] = {"lines": lines, "report": report}
        number += 1
    for answer in answers.values():
        answer["report"].pop("message", None)
        answer["report"].pop("undefined", None)
    return answers


@pytest.mark.parametrize("number", sorted(map(int, oracle.golden("random_programs"))))
def test_recorded_program(number: int) -> None:
    recorded = oracle.golden("random_programs")[str(number)]
    lines = recorded["lines"]
    report = report_on(lines)
    loose = any("float32" in line or "float()" in line for line in lines)
    found = list(fuzz.differences(report, recorded["report"], loose))
    if report["error"] and "RUSTGRAD_PARALLEL_THRESHOLD" in os.environ:
        # What leaves got before a pass of several threads failed depends on which node came first.
        found = [text for text in found if not text.startswith("grad of")]
    assert found == [], "\n".join(lines)


def test_programs_depend_on_their_number_alone() -> None:
    assert random_programs.write(7) == random_programs.write(7)
    assert random_programs.write(7) != random_programs.write(8)


def test_recorded_programs_are_a_fair_sample() -> None:
    golden = oracle.golden("random_programs")
    assert len(golden) == 2 * COUNT
    texts = ["\n".join(entry["lines"]) for entry in golden.values()]
    raised = sum(entry["report"]["error"] is not None for entry in golden.values())
    assert COUNT // 5 < raised < COUNT
    for feature in (
        "no_grad",
        ".add_(",
        "[...] =",
        "create_graph=True",
        "inputs=",
        "retain_grad",
        "unbind",
        "autograd.backward([",
        "saved_tensors_hooks",
        "Two.apply",
        "Dirty.apply",
        "grad_fn.register_hook",
        "is_grads_batched",
        "get_gradient_edge",
        "checkpoint(",
        "scatter",
        "as_strided",
    ):
        assert sum(feature in text for text in texts) >= 2, feature
