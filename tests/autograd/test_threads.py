"""Backward passes on several Python threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


def together(work: Callable[[int], object], count: int = 4) -> None:
    """Run ``work`` on several threads at once; the first exception is raised here."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(i: int) -> None:
        try:
            barrier.wait(timeout=60)
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_graphs_of_their_own() -> None:
    results: dict[int, Any] = {}

    def work(i: int) -> None:
        for _ in range(50):
            x = T.full((100,), float(i), requires_grad=True)
            ((x + 3) * (x + 4) * 0.5).sum().backward()
            results[i] = x.grad

    together(work)
    for i, grad in results.items():
        assert grad.tolist() == [i + 3.5] * 100


def test_a_shared_leaf_loses_no_gradient() -> None:
    x = T.zeros(1000, requires_grad=True)

    def work(_: int) -> None:
        for _ in range(100):
            (x * 2).sum().backward()

    together(work)
    assert x.grad.unique().tolist() == [800.0]


def test_a_shared_graph() -> None:
    x = T.ones(50, requires_grad=True)
    y = (x * x).sin().sum()
    want = T.autograd.grad(y, x, retain_graph=True)[0].tolist()
    got: dict[int, Any] = {}

    def work(i: int) -> None:
        for _ in range(50):
            (got[i],) = T.autograd.grad(y, x, retain_graph=True)

    together(work)
    assert all(grad.tolist() == want for grad in got.values())


def test_a_shared_graph_with_a_custom_function() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * g * x

    x = T.full((10,), 3.0, requires_grad=True)
    y = Square.apply(x).sum()

    def work(_: int) -> None:
        for _ in range(100):
            y.backward(retain_graph=True)

    together(work)
    assert x.grad.tolist() == [4 * 100 * 6.0] * 10


def test_a_forward_shared_by_several_roots() -> None:
    x = T.ones(20, requires_grad=True)
    shared = x * 2

    def work(i: int) -> None:
        for _ in range(20):
            (shared * float(i + 1)).sum().backward(retain_graph=True)

    together(work)
    assert x.grad.tolist() == [2.0 * (1 + 2 + 3 + 4) * 20] * 20


def test_hooks_run_on_the_thread_that_runs_the_pass() -> None:
    names: set[Any] = set()
    x = T.ones(10, requires_grad=True)
    x.register_hook(lambda g: names.add(threading.get_ident()))
    here: set[Any] = set()

    def work(_: int) -> None:
        here.add(threading.get_ident())
        (x * 2).sum().backward()

    together(work)
    assert names == here
    assert threading.get_ident() not in names


def test_hooks_registered_on_another_thread() -> None:
    x = T.ones(3, requires_grad=True)
    y = x * 2
    calls: list[Any] = []
    thread = threading.Thread(target=lambda: y.register_hook(lambda g: calls.append(g.tolist())))
    thread.start()
    thread.join()
    y.sum().backward()
    assert calls == [[1.0] * 3]


def test_errors_stay_on_their_thread() -> None:
    class Mine(Exception):
        pass

    def broken(g: Any) -> None:
        raise Mine

    x = T.ones(3, requires_grad=True)
    bad = x * 2
    bad.register_hook(broken)
    outcomes: dict[int, str] = {}

    def work(i: int) -> None:
        try:
            (bad if i % 2 else x * 3).sum().backward(retain_graph=True)
            outcomes[i] = "fine"
        except Mine:
            outcomes[i] = "error"

    together(work)
    assert outcomes == {0: "fine", 1: "error", 2: "fine", 3: "error"}
    assert x.grad.tolist() == [6.0] * 3


def test_graphs_made_on_one_thread_and_freed_on_another() -> None:
    def work(_: int) -> None:
        kept: list[Any] = []
        for _ in range(20):
            x = T.ones(10, requires_grad=True)
            y = x
            for _ in range(50):
                y = y * 1.01
            kept.append(y)
        handed.append(kept)

    handed: list[Any] = []
    together(work)
    handed[0][0].sum().backward()
    handed.clear()


def test_a_leaf_written_while_others_read() -> None:
    x = T.ones(100, requires_grad=True)

    def work(i: int) -> None:
        for _ in range(50):
            if i == 0:
                with T.no_grad():
                    x.copy_(T.ones(100))
            else:
                x.detach().sum()

    together(work)
    assert x.tolist() == [1.0] * 100


def test_passes_on_one_thread_may_be_forced() -> None:
    assert T.autograd.is_multithreading_enabled()
    x = T.ones(300, 300, requires_grad=True)

    def grad() -> Any:
        a, b = x @ x, x.exp()
        (g,) = T.autograd.grad((a * b).sum(), x)
        return g

    many = grad()
    with T.autograd.set_multithreading_enabled(False):
        assert not T.autograd.is_multithreading_enabled()
        one = grad()
    assert T.autograd.is_multithreading_enabled()
    assert T.equal(one, many) or oracle.IS_TORCH


def test_many_threads_with_reentrant_passes() -> None:
    class Again(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            with T.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = ctx.x * ctx.x
            return ctx.y.detach()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            with T.enable_grad():
                ctx.y.sum().backward(retain_graph=True)
            return ctx.x.grad * 0 + 2 * g

    x = T.ones(5, requires_grad=True)

    def work(_: int) -> None:
        for _ in range(20):
            Again.apply(x).sum().backward()

    together(work)
    assert x.grad.tolist() == [160.0] * 5


@pytest.mark.parametrize("size", [1, 200_000])
def test_operations_and_passes_at_once(size: int) -> None:
    x = T.ones(size, requires_grad=True)

    def work(i: int) -> None:
        for _ in range(5):
            if i % 2:
                (x * 2 + 1).exp()
            else:
                (x * 2).sum().backward()

    together(work)
    assert x.grad[0].item() == 20.0
