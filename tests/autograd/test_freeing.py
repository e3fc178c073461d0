"""Freeing graphs: by reference counts, by the collector, deep ones, within passes, and over many steps."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


class Thing:
    """Something whose end can be watched."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave freeing to reference counts."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf() -> Any:
    return T.tensor([2.0, 3.0], requires_grad=True)


class Clone(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def watched(tensor: Any) -> weakref.ref[Thing]:
    """Hang a thing on a tensor's node."""
    thing = Thing()
    tensor.grad_fn.metadata["thing"] = thing
    return weakref.ref(thing)


@pytest.mark.usefixtures("no_collector")
def test_graphs_go_with_their_result() -> None:
    x = leaf()
    y = x * 2
    ref = watched(y)
    z = y.exp().sum()
    del y
    assert ref() is not None
    del z
    assert ref() is None


@pytest.mark.usefixtures("no_collector")
def test_graphs_go_when_a_pass_failed() -> None:
    x = leaf()

    def broken(g: Any) -> None:
        raise ValueError("mine")

    y = x * 2
    ref = watched(y)
    y.register_hook(broken)
    with pytest.raises(ValueError, match="mine"):
        y.sum().backward()
    del y, broken
    gc.collect()
    assert ref() is None


@pytest.mark.usefixtures("no_collector")
def test_saved_tensors_go_with_the_pass() -> None:
    x = leaf()
    h = x.exp()
    h.note = Thing()
    ref = weakref.ref(h.note)
    z = (h * h).sum()
    del h
    z.backward()
    assert ref() is None
    assert z.grad_fn is not None


@pytest.mark.usefixtures("no_collector")
def test_detached_results_keep_no_graph() -> None:
    x = leaf()
    y = x * 2
    ref = watched(y)
    d, number = y.detach(), y.sum().item()
    del y
    assert ref() is None
    assert (d.tolist(), number) == ([4.0, 6.0], 10.0)


@pytest.mark.usefixtures("no_collector")
def test_views_written_in_place_are_no_cycle() -> None:
    x = leaf()
    y = x.clone()
    ref = watched(y)
    v = y[:1]
    v.mul_(2)
    w = y.view(2)
    w.exp_()
    del y, v, w
    assert ref() is None


@pytest.mark.usefixtures("no_collector")
def test_retained_gradients_are_no_cycle() -> None:
    x = leaf()
    y = x * 2
    y.retain_grad()
    ref = watched(y)
    y.sum().backward()
    del y
    assert ref() is None


@pytest.mark.usefixtures("no_collector")
def test_functions_that_save_their_output_are_no_cycle() -> None:
    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return g * y

    y = Exp.apply(leaf())
    ref = weakref.ref(y)
    y.sum().backward()
    del y
    assert ref() is None


@pytest.mark.usefixtures("no_collector")
def test_functions_that_save_a_dirty_view_are_no_cycle() -> None:
    class Dirty(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    def scope() -> Any:
        x = T.tensor(1.0, requires_grad=True).clone()
        x = x.view_as(x)
        Dirty.apply(x)
        return weakref.ref(x)

    assert scope()() is None


def test_create_graph_cycles_are_broken_by_hand() -> None:
    x = leaf()
    y = (x * x * x).sum()
    ref = watched(y)
    y.backward(create_graph=True)
    del y
    x.grad = None
    gc.collect()
    assert ref() is None


def test_cycles_through_a_context_are_collected() -> None:
    class Keeps(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, notes: Any) -> Any:
            y = x.clone()
            ctx.notes = notes
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return g * y, None

    for run in (False, True):
        notes: dict[str, Any] = {}
        y = Keeps.apply(leaf(), notes)
        notes["y"] = y
        if run:
            y.sum().backward()
        ref = weakref.ref(y)
        del y, notes
        gc.collect()
        assert ref() is None


def test_the_collector_takes_nothing_that_is_needed() -> None:
    def scope() -> Any:
        x = T.ones(10, requires_grad=True)
        middle = x.view(10, 1)
        out = middle.view(10)
        loop: list[Any] = [middle]
        loop.append(loop)
        return out, x

    out, x = scope()
    gc.collect()
    out.backward(T.ones(10))
    assert x.grad.tolist() == [1.0] * 10


@pytest.mark.parametrize("kind", ["operations", "functions", "in place", "views"])
def test_deep_graphs_are_freed_without_recursion(kind: str) -> None:
    x = T.ones(1, requires_grad=True)
    y = x.clone()
    for _ in range(30_000 if kind == "operations" else 10_000):
        if kind == "operations":
            y = y + y * 0.000001
        elif kind == "functions":
            y = Clone.apply(y)
        elif kind == "in place":
            y.mul_(1.0)
        else:
            y = y.view(1)
    ref = watched(y)
    del y
    gc.collect()
    assert ref() is None


def test_deep_graphs_with_functions_run() -> None:
    x = T.ones(1, requires_grad=True)
    y = x
    for _ in range(5_000):
        y = Clone.apply(y) * 1.0
    y.backward()
    assert x.grad.item() == 1


def test_destructors_may_collect_and_compute() -> None:
    log: list[float] = []

    class Collects:
        def __del__(self) -> None:
            gc.collect()
            x = T.ones(2, requires_grad=True)
            with T.enable_grad():
                (x * x).sum().backward()
            log.append(x.grad.sum().item())

    class Holds(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.thing = Collects()
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            del ctx.thing
            return g

    for _ in range(5):
        Holds.apply(leaf()).sum().backward()
    y = Holds.apply(leaf())
    del y
    gc.collect()
    assert log == [4.0] * 6


def test_a_failed_pass_that_frees_functions_does_not_deadlock() -> None:
    script = f"""
import {oracle.MODULE} as torch
class Foo(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, g):
        return g.clone()
def make():
    x = torch.rand(2, requires_grad=True)
    right = Foo.apply(x)
    left = x.clone()
    square = left ** 2
    left += 1
    return square + right
make().sum().backward()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "RuntimeError: one of the variables needed for gradient computation" in done.stderr


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def _steps(count: int) -> None:
    w = T.ones(8, requires_grad=True)
    b = T.zeros(1, requires_grad=True)
    data = T.arange(8.0)
    for _ in range(count):
        loss = ((w * data).sum() + b - 1.0).square().sum()
        loss.backward()
        with T.no_grad():
            w -= 1e-4 * w.grad
            b -= 1e-4 * b.grad
        w.grad = None
        b.grad.zero_()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_thousand_steps_need_constant_memory() -> None:
    count = 5_000 if oracle.IS_TORCH else 100_000
    _steps(2_000)
    before = _resident()
    _steps(count)
    assert _resident() - before < 4 << 20


@pytest.mark.rustgrad_only
def test_no_node_is_left_behind() -> None:
    gc.collect()
    before = T.autograd.graph.memory().nodes
    _steps(100)

    def hook(g: Any) -> None:
        pass

    for _ in range(20):
        x = leaf()
        y = Clone.apply(x * 2)
        y.register_hook(hook)
        y.retain_grad()
        v = y.clone()
        v[:1].mul_(2)
        v.sum().backward(create_graph=True)
        x.grad = y.grad = None
        del x, y, v
    gc.collect()
    assert T.autograd.graph.memory().nodes == before
