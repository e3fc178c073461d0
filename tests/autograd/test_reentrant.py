"""Passes within passes."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


def test_a_pass_in_backward() -> None:
    data = T.rand(2, 2)

    class Reenter(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            with T.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = data.clone().requires_grad_()
                ctx.out = ctx.x * ctx.y
            return ctx.out.detach()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            with T.enable_grad():
                ctx.out.sum().backward()
            return ctx.x.grad * g

    x = T.rand(2, 2, requires_grad=True)
    Reenter.apply(x).sum().backward()
    assert x.grad.tolist() == data.tolist()


def test_errors_of_the_inner_pass() -> None:
    class Mine(Exception):
        pass

    class Fails(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise Mine("inner")

    b = T.rand(3, requires_grad=True)
    inner = Fails.apply(b * b).sum()

    class Outer(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            inner.backward()
            return g

    a: Any = T.rand(3, requires_grad=True)
    with pytest.raises(Mine, match="inner"):
        Outer.apply(a * a).sum().backward()
    grad: Any = a.grad
    assert grad is None
    (a * a).sum().backward()
    assert a.grad.tolist() == (2 * a).tolist()


@pytest.mark.parametrize("depth", [10, 200, 1000])
def test_depth(depth: int) -> None:
    class Deep(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            with T.enable_grad():
                ctx.x = x.detach().requires_grad_() - 1
            return ctx.x.detach()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            if ctx.x < 0:
                return g
            with T.enable_grad():
                Deep.apply(ctx.x).sum().backward()
            return g

    v: Any = T.tensor(float(depth), requires_grad=True)
    Deep.apply(v).sum().backward()
    assert v.grad.item() == 1


def test_inner_passes_come_first() -> None:
    order: list[str] = []

    class Plain(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            order.append("plain")
            return g

    class Nested(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            with T.enable_grad():
                ctx.x = x.detach().requires_grad_() - 1
            return ctx.x.detach()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            order.append("nested")
            if ctx.x < 0:
                return g
            with T.enable_grad():
                Nested.apply(ctx.x).backward()
            return g

    a = Plain.apply(T.tensor(6.0, requires_grad=True))
    b = Nested.apply(T.tensor(9.0, requires_grad=True))
    (a * b).backward()
    assert order == ["nested"] * 10 + ["plain"]


def test_grad_mode_is_put_back() -> None:
    class Mine(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            before = T.is_grad_enabled()
            with T.enable_grad():
                x = T.ones(3, requires_grad=True)
                (inner,) = T.autograd.grad(x**3, x, grad_outputs=g)
                assert T.is_grad_enabled()
            assert T.is_grad_enabled() == before
            return inner

    x = T.rand(3, requires_grad=True)
    for create_graph in (False, True):
        T.autograd.grad(Mine.apply(x).sum(), x, create_graph=create_graph)
    assert T.is_grad_enabled()


def test_a_pass_in_a_hook_of_a_leaf() -> None:
    p = T.rand(4, requires_grad=True)
    handles: list[Any] = []

    def penalty(g: Any) -> Any:
        handles[0].remove()
        p.grad = None
        with T.enable_grad():
            h = g.detach().requires_grad_()
            ((h * 2) + p.detach().requires_grad_()).sum().backward()
        p.grad = g
        return h.grad + g

    handles.append(p.register_hook(penalty))
    (p * p).sum().backward()
    assert T.allclose(p.grad, 4 * p + 2)


def test_the_same_graph_within_itself() -> None:
    x = T.tensor([2.0], requires_grad=True)
    y = x * x
    calls = [0]

    def again(g: Any) -> None:
        calls[0] += 1
        if calls[0] == 1:
            y.backward(T.ones(1), retain_graph=True)

    y.register_hook(again)
    y.sum().backward(retain_graph=True)
    assert calls == [2]
    assert x.grad.tolist() == [8.0]


def test_callbacks_at_the_end_of_a_pass() -> None:
    log: list[str] = []
    engine = T.autograd.Variable._execution_engine

    class Mine(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            engine.queue_callback(lambda: log.append("end"))
            log.append("node")
            return g

    x = T.rand(3, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda t: log.append("leaf"))
    Mine.apply(x).sum().backward()
    assert log == ["node", "leaf", "end"]
    with pytest.raises(RuntimeError, match="Final callbacks can only be installed during backward pass"):
        engine.queue_callback(lambda: None)


def test_callbacks_may_add_callbacks() -> None:
    log: list[str] = []
    engine = T.autograd.Variable._execution_engine

    def first() -> None:
        log.append("first")
        engine.queue_callback(lambda: log.append("second"))

    x = T.rand(3, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: engine.queue_callback(first))
    y.sum().backward()
    assert log == ["first", "second"]


def test_callbacks_of_inner_passes_run_at_their_end() -> None:
    log: list[str] = []
    engine = T.autograd.Variable._execution_engine

    def hook(g: Any) -> None:
        engine.queue_callback(lambda: log.append("outer"))
        x = T.ones(2, requires_grad=True)
        with T.enable_grad():
            y = x * 2
        y.register_hook(lambda g: engine.queue_callback(lambda: log.append("inner")))
        y.backward(T.ones(2))
        log.append("after the inner pass")

    x = T.rand(3, requires_grad=True)
    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    assert log == ["inner", "after the inner pass", "outer"]
