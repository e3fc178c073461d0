"""Numeric work after ``fork`` just works, though the parent's threads are gone in the child."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
from oracle import T

pytestmark = [
    pytest.mark.rustgrad_only,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]
SECONDS = 20


def in_child(work: Callable[[], bool]) -> bool:
    """Run ``work`` in a forked child; a child that hangs is ended by its alarm and counts as failed."""
    import signal

    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def train() -> float:
    """Do work large enough for the pool, with a backward."""
    T.manual_seed(0)
    x, w = T.randn(400, 300), T.randn(300, 200, requires_grad=True)
    ((x @ w).tanh() ** 2).mean().backward()
    return float(w.grad.abs().sum())


def test_child_computes_what_the_parent_computes() -> None:
    """The pool was used before the fork; the child makes its own."""
    T.set_num_threads(2)
    want = train()
    assert in_child(lambda: train() == want)
    assert train() == want


def test_child_of_a_parent_that_did_nothing_yet() -> None:
    """A fork before any parallel work."""
    assert in_child(lambda: train() > 0)


def test_child_of_a_child() -> None:
    """Forking twice."""
    want = train()
    assert in_child(lambda: train() == want and in_child(lambda: train() == want))


def test_graph_made_before_the_fork() -> None:
    """A graph recorded by the parent runs backward in the child, and still in the parent."""
    x = T.arange(1000.0, requires_grad=True)
    y = (x * x).sum()

    def work() -> bool:
        y.backward()
        return bool((x.grad == 2 * x).all())

    assert in_child(work)
    assert x.grad is None
    assert work()
