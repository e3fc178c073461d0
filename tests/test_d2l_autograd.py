"""The chapter "Automatic Differentiation": what the example prints is what torch prints, to the letter."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import oracle
import programs
import pytest
from oracle import T

WANT = (oracle.GOLDEN / "autograd_tour.txt").read_text(encoding="utf-8")


def test_the_tour_prints_what_torch_prints() -> None:
    """Play the chapter within this process."""
    assert programs.tour() == WANT


@pytest.mark.rustgrad_only
def test_the_example_runs_as_a_program() -> None:
    """Run the example file as a user would."""
    script = programs.EXAMPLES / "autograd_tour.py"
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout == WANT


def test_chapter_snippets_in_plain_python() -> None:
    """The chapter's claims, asserted."""
    x: Any = T.arange(4.0, requires_grad=True)
    grad = x.grad
    assert grad is None
    y = 2 * T.dot(x, x)
    assert y.item() == 28.0
    y.backward()
    assert (x.grad == 4 * x).all()
    x.grad.zero_()
    x.sum().backward()
    assert x.grad.tolist() == [1.0] * 4
    x.grad.zero_()
    (x * x).backward(T.ones(len(x)))
    assert x.grad.tolist() == [0.0, 2.0, 4.0, 6.0]
    x.grad.zero_()
    y = x * x
    u = y.detach()
    (u * x).sum().backward()
    assert (x.grad == u).all()
    x.grad.zero_()
    y.sum().backward()
    assert (x.grad == 2 * x).all()


@pytest.mark.parametrize("start", [1.5, 0.001, -0.25, -3.0, 700.0])
def test_control_flow(start: float) -> None:
    """The gradient of the piecewise linear function is its slope, whichever branch ran."""

    def f(a: Any) -> Any:
        b = a * 2
        while b.norm() < 1000:
            b = b * 2
        return b if b.sum() > 0 else 100 * b

    a = T.tensor(start, requires_grad=True)
    d = f(a)
    d.backward()
    assert a.grad.item() == pytest.approx((d / a).item(), rel=1e-6)
