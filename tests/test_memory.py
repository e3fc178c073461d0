"""Buffers are reused: a loop that repeats itself asks the system for nothing."""

from __future__ import annotations

import resource

import pytest
from oracle import T

pytestmark = pytest.mark.rustgrad_only


def step(x: T.Tensor, w: T.Tensor, table: T.Tensor, index: T.Tensor) -> None:
    """Run forward and backward through small and large buffers of many sizes."""
    w.grad = table.grad = None
    h = (x @ w).tanh()
    loss = (h * h).mean() + table[index].sum() + x[x > 0].sum() + h.t().contiguous().std()
    loss.backward()


def test_steady_loop_allocates_nothing() -> None:
    """After some rounds no buffer is asked of the system and no page is touched for the first time."""
    # A program before it that left other sizes behind: what it used must not crowd out the loop's.
    for n in range(20):
        T.ones(300_000 + 70_000 * n)
    x = T.randn(700, 900)
    w = T.randn(900, 800).requires_grad_()
    table = T.randn(3000, 100).requires_grad_()
    index = T.arange(500) * 3
    for _ in range(5):
        step(x, w, table, index)
    before = T.memory_stats()["allocations"]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step(x, w, table, index)
    assert T.memory_stats()["allocations"] == before
    # One large buffer that is not reused would be hundreds of faults a round.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults < 400


def test_stats_follow_buffers() -> None:
    """What lives is counted while it lives, and kept afterwards within the limit."""
    before = T.memory_stats()
    x = T.ones(5_000_000)
    during = T.memory_stats()
    assert during["live_bytes"] >= before["live_bytes"] + 20_000_000
    assert during["peak_bytes"] >= during["live_bytes"]
    del x
    after = T.memory_stats()
    assert after["live_bytes"] == before["live_bytes"]
    assert after["cached_bytes"] >= 20_000_000
