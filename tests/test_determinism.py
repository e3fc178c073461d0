"""The same graph gives the same bits however many threads ran it, every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import T

THREADS = (1, 2, 3, 8)
RUNS = 100


def wide_graph() -> Any:
    """Build a wide graph with shared leaves, gathers and repeated indices; return (loss, leaves)."""
    shared = T.from_numpy(np.linspace(-1, 1, 64 * 32, dtype=np.float32).reshape(64, 32).copy()).requires_grad_()
    table = T.from_numpy(np.sin(np.arange(50 * 32, dtype=np.float32)).reshape(50, 32).copy()).requires_grad_()
    weight = T.from_numpy(np.cos(np.arange(32 * 32, dtype=np.float32)).reshape(32, 32).copy()).requires_grad_()
    total = None
    for branch in range(24):
        index = T.from_numpy((np.arange(64) * (branch + 3) % 7).astype(np.int64))
        column = T.from_numpy((np.arange(64 * 5).reshape(64, 5) * (branch + 1) % 32).astype(np.int64))
        hidden = ((shared * (0.1 + branch) + table[index]) @ weight).tanh()
        spread = T.zeros(64, 32).scatter_add(1, column, hidden[:, :5] * 0.3)
        rows = table.index_select(0, index) * spread
        if branch % 8 == 0:  # enough repeated rows for the work to be split
            many = T.from_numpy((np.arange(6000) * (branch + 5) % 50).astype(np.int64))
            rows = rows + (table[many] * 0.01).tanh().sum(0)
        part = hidden.gather(1, column).sum() + rows.mean() + (hidden + spread).softmax(1).max()
        total = part if total is None else total + part
    return total, (shared, table, weight)


def bits() -> bytes:
    """Return the bits of the loss and of all gradients."""
    loss, leaves = wide_graph()
    loss.backward()
    return b"".join([loss.detach().numpy().tobytes(), *(leaf.grad.numpy().tobytes() for leaf in leaves)])


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("threads", THREADS)
def test_wide_graph(threads: int) -> None:
    """100 runs under each number of threads agree to the bit with one run on one thread."""
    T.set_num_threads(1)
    want = bits()
    T.set_num_threads(threads)
    assert all(bits() == want for _ in range(RUNS))


@pytest.mark.rustgrad_only
def test_large_operations() -> None:
    """Operations large enough to be split among threads give the same bits."""

    def work() -> bytes:
        x = T.from_numpy(np.sin(np.arange(600 * 700, dtype=np.float32)).reshape(600, 700).copy()).requires_grad_()
        index = T.from_numpy((np.arange(90_000) * 31 % 600).astype(np.int64))
        y = (x.t() @ x[:, :300]).tanh().sum(0) @ T.ones(300)
        z = (x[index] * 0.5).exp().sum() + x.std(0).sum() + x.logsumexp(1).sum() + x.cumsum(1).mean()
        (y + z).backward()
        return bytes(x.grad.numpy().tobytes()) + bytes((y + z).detach().numpy().tobytes())

    answers: set[bytes] = set()
    for threads in THREADS:
        T.set_num_threads(threads)
        answers.update(work() for _ in range(3))
    assert len(answers) == 1


def test_same_thread_count_twice() -> None:
    """The smallest promise, which torch keeps too for this graph on one thread."""
    T.set_num_threads(1)
    assert bits() == bits()
