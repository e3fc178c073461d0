"""Ask real torch every question of the tests and write its answers to ``tests/golden``.

Run ``make golden``, or ``RUSTGRAD_TEST_MODULE=torch python tests/record_golden.py [family ...]``.
"""

from __future__ import annotations

import os
import sys
import warnings

os.environ["RUSTGRAD_TEST_MODULE"] = "torch"
warnings.simplefilter("ignore")

import op_answers  # noqa: E402
import oracle  # noqa: E402
import programs  # noqa: E402
import test_autograd_table  # noqa: E402
import test_random_programs  # noqa: E402


def main(wanted: list[str]) -> None:
    """Write the golden files of the named families, or all of them."""
    assert oracle.IS_TORCH
    oracle.T.set_num_threads(1)
    if not wanted or "ops" in wanted:
        for family, answers in op_answers.record():
            path = oracle.save_golden(f"ops_{family}", answers)
            print(f"{path.name}: {len(answers)} operations, {path.stat().st_size} bytes")
    for family in programs.families():
        if not wanted or family in wanted:
            path = oracle.save_golden(family, programs.record(family))
            print(f"{path.name}: {path.stat().st_size} bytes")
    if not wanted or "random" in wanted:
        path = oracle.save_golden("random_programs", test_random_programs.record())
        print(f"{path.name}: {path.stat().st_size} bytes")
    if not wanted or "autograd_names" in wanted:
        path = oracle.save_golden("autograd_names", test_autograd_table.record())
        print(f"{path.name}: {path.stat().st_size} bytes")
    if not wanted or "tour" in wanted:
        (oracle.GOLDEN / "autograd_tour.txt").write_text(programs.tour(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
