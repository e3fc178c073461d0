"""A chain of a million operations: built, differentiated and dropped on a 2 MiB stack; its memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from oracle import IS_TORCH, T

LENGTH = 50_000 if IS_TORCH else 1_000_000
BYTES_PER_OPERATION = 128


def on_small_stack(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread whose stack has 2 MiB."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    before = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=guarded)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if errors:
        raise errors[0]


def test_differentiated() -> None:
    """Build and differentiate."""

    def work() -> None:
        x = T.tensor(1.0, requires_grad=True)
        z = x
        for _ in range(LENGTH):
            z = z + 1.0
        z.backward()
        assert x.grad.item() == 1.0

    on_small_stack(work)


def test_dropped_without_backward() -> None:
    """Build and drop."""

    def work() -> None:
        z = T.tensor(1.0, requires_grad=True)
        for _ in range(LENGTH):
            z = z * 1.0
        del z

    on_small_stack(work)


def test_products_with_saved_tensors() -> None:
    """Nodes that save tensors which hold further nodes are no deeper on the stack."""

    def work() -> None:
        x = T.tensor(1.0, requires_grad=True)
        z = x
        for _ in range(LENGTH // 4):
            z = z * z
        z.backward(retain_graph=True)
        z.backward()
        del z

    on_small_stack(work)


def test_chain_of_views() -> None:
    """A long chain of views drops as flat as any other."""

    def work() -> None:
        x = T.ones(2, requires_grad=True)
        z = x
        for _ in range(LENGTH // 10):
            z = z.view(2)
        z.sum().backward()
        assert x.grad.tolist() == [1.0, 1.0]

    on_small_stack(work)


def test_deep_second_order() -> None:
    """The graph of a gradient of a long chain is differentiated and dropped, too."""

    def work() -> None:
        x = T.tensor(1.0, requires_grad=True)
        z = x
        for _ in range(LENGTH // 20):
            z = z * 1.00001
        (g,) = T.autograd.grad(z * z, x, create_graph=True)
        g.backward()
        assert x.grad.item() > 0

    on_small_stack(work)


PROGRAM = """
import rustgrad as T

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

x = T.tensor(1.0, requires_grad=True)
z = x
for _ in range(50_000):
    z = z + 1.0
before = resident()
for _ in range(1_000_000):
    z = z + 1.0
print((resident() - before) / 1_000_000)
"""


@pytest.mark.rustgrad_only
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_bytes_per_operation() -> None:
    """``z = z + 1.0`` costs at most 128 bytes of resident memory an operation."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(result.stdout) <= BYTES_PER_OPERATION
