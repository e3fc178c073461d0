"""Hooks on tensors, on leaves after accumulation, and on several gradients at once."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import Any

import pytest
from hook_parts import Double, Function, Pair, T, accumulator, graph, leaf

# ---- on tensors


def test_hooks_run_in_order_and_see_what_the_last_one_gave() -> None:
    x = leaf()
    y = x * 1
    seen: list[Any] = []
    y.register_hook(lambda g: (seen.append(g.tolist()), g * 2)[1])
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: (seen.append(g.tolist()), g + 1)[1])
    y.sum().backward()
    assert seen == [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]
    assert x.grad.tolist() == [3.0, 3.0]


def test_hooks_on_a_leaf_run_once_with_the_whole_gradient() -> None:
    x = leaf()
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 3 + x * 4).sum().backward()
    assert seen == [[7.0, 7.0]]


def test_a_hook_on_a_leaf_replaces_what_is_accumulated() -> None:
    x = leaf()
    handle = x.register_hook(lambda g: g * 10)
    x.sum().backward()
    assert x.grad.tolist() == [10.0, 10.0]
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [11.0, 11.0]


def test_hooks_can_be_removed_by_a_block_and_from_within() -> None:
    x = leaf()
    calls = [0]

    def count(g: Any) -> None:
        calls[0] += 1

    with x.register_hook(count) as handle:
        x.sum().backward()
    x.sum().backward()
    assert calls == [1]
    handles: list[Any] = []

    def once(g: Any) -> None:
        calls[0] += 1
        handles[0].remove()

    handles.append(x.register_hook(once))
    x.sum().backward()
    x.sum().backward()
    assert calls == [2]
    assert handle is not None


def test_a_handle_outlives_its_tensor() -> None:
    x = leaf()
    y = x * 2
    handle = y.register_hook(lambda g: g)
    del x, y
    gc.collect()
    handle.remove()


def test_hooks_run_with_grad_as_well() -> None:
    x = leaf()
    y = x * 2
    calls: list[str] = []
    x.register_hook(lambda g: calls.append("x"))
    y.register_hook(lambda g: calls.append("y"))
    T.autograd.grad(y.sum(), x)
    assert calls == ["y", "x"]
    T.autograd.grad((x * 2).sum(), y, allow_unused=True)
    assert calls == ["y", "x"]


def test_what_grad_gives_of_a_tensor_with_a_hook() -> None:
    x = leaf()
    y = x * 2
    y.register_hook(lambda g: g * 5)
    (g,) = T.autograd.grad(y.sum(), [y], retain_graph=True)
    assert g.tolist() == [5.0, 5.0]
    g, h = T.autograd.grad(y.sum(), [y, x])
    assert g.tolist() == [1.0, 1.0]  # taken before the hooks where the pass goes on
    assert h.tolist() == [10.0, 10.0]


def test_hooks_get_none_where_no_gradient_arrives() -> None:
    x = leaf()
    a, b = x.unbind()
    seen: list[Any] = []
    a.register_hook(lambda g: seen.append(("a", g.item())))
    b.register_hook(lambda g: seen.append(("b", g)))
    a.backward()
    assert seen == [("a", 1.0), ("b", None)]
    c, d = x.unbind()
    d.register_hook(lambda g: T.tensor(1.0))
    with pytest.raises(RuntimeError, match="can't replace a None gradient with a non-None value"):
        c.backward()


def test_hooks_need_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        T.ones(2).register_hook(lambda g: g)


def test_hooks_without_a_name_are_called() -> None:
    class Twice:
        def __call__(self, grad: Any) -> Any:
            return grad * 2

    x = leaf()
    y = x.clone()
    y.register_hook(Twice())
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_hook_must_give_a_tensor_or_none() -> None:
    x = leaf()
    y = x * 2
    y.register_hook(lambda g: 3)
    with pytest.raises(TypeError):
        y.sum().backward()


def test_a_hook_may_not_change_the_shape() -> None:
    x = leaf()
    y = x * 2
    y.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        y.sum().backward()


def test_a_hook_may_not_change_the_dtype() -> None:
    x = leaf()
    y = x * 2
    y.register_hook(lambda g: g.double())
    with pytest.raises(RuntimeError, match="has changed the type of value"):
        y.sum().backward()


def test_a_hook_may_write_the_gradient_it_is_given() -> None:
    x = leaf()
    y = x * 2

    def clear(g: Any) -> None:
        g.zero_()

    y.register_hook(clear)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_errors_in_hooks_reach_the_caller_with_their_traceback() -> None:
    class Mine(Exception):
        pass

    def broken(g: Any) -> None:
        raise Mine("in the hook")

    for place in ("leaf", "inner", "post", "node", "pre"):
        x = leaf()
        y = x * 2
        if place == "leaf":
            x.register_hook(broken)
        elif place == "inner":
            y.register_hook(broken)
        elif place == "post":
            x.register_post_accumulate_grad_hook(broken)
        elif place == "pre":
            y.grad_fn.register_prehook(broken)
        else:
            y.grad_fn.register_hook(lambda i, o: broken(i))
        with pytest.raises(Mine, match="in the hook") as caught:
            y.sum().backward()
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert "broken" in names


def test_hooks_and_writes_in_place() -> None:
    first: list[Any] = []
    second: list[Any] = []
    x = leaf(1.0)
    y = x.clone()
    y.register_hook(lambda g: (first.append(g.tolist()), g * 2)[1])
    y.mul_(2)
    y.register_hook(lambda g: (second.append(g.tolist()), g * 2)[1])
    y.sum().backward()
    assert (first, second) == ([[4.0]], [[1.0]])
    assert x.grad.tolist() == [8.0]


@pytest.mark.parametrize("which", ["function", "operation"])
def test_hooks_on_one_of_several_outputs_written_in_place(which: str) -> None:
    counts = [0, 0, 0]

    def counter(i: int, value: float) -> Any:
        def hook(g: Any) -> None:
            counts[i] += 1
            assert g.tolist() == [value] * 3

        return hook

    x = T.rand(3, 3, requires_grad=True)
    a, b = Pair.apply(x) if which == "function" else T.var_mean(x, dim=0)
    a.register_hook(lambda g: counter(0, 2.0)(g.reshape(-1)[:3]))
    b.register_hook(lambda g: counter(1, 3.0)(g.reshape(-1)[:3]))
    a.mul_(2)
    a.register_hook(lambda g: counter(2, 1.0)(g.reshape(-1)[:3]))
    (a + b * 3).sum().backward()
    assert counts == [1, 1, 1]


def test_hooks_on_views_whose_base_was_written() -> None:
    base = leaf(1.0).clone()
    view, other = base[:], base[:]
    calls: list[str] = []
    view.register_hook(lambda g: calls.append("old view"))
    other.register_hook(lambda g: calls.append("old other"))
    view.mul_(2)
    assert other.grad_fn is not None
    other.register_hook(lambda g: calls.append("new other"))
    (view + other).sum().backward()
    assert calls == ["new other"]


def test_backward_hooks_show_what_is_registered() -> None:
    x: Any = leaf()
    hooks: Any = x._backward_hooks
    assert hooks is None
    handle = x.register_hook(print)
    hooks = x._backward_hooks
    assert list(hooks.values()) == [print]
    assert list(hooks) == [handle.id]
    handle.remove()
    assert not x._backward_hooks


def test_hooks_that_start_a_pass_of_their_own() -> None:
    x = leaf()
    y = x * x
    inner: list[Any] = []

    def penalty(g: Any) -> Any:
        with T.enable_grad():
            h = g.detach().requires_grad_()
            (h * 2 + 5).sum().backward()
        inner.append(h.grad.tolist())
        return h.grad + g

    handle = y.register_hook(penalty)
    y.sum().backward()
    handle.remove()
    assert inner == [[2.0, 2.0]]
    assert x.grad.tolist() == [12.0, 18.0]


def test_hooks_are_recorded_when_the_pass_is() -> None:
    x = leaf()
    y = x * 1
    y.register_hook(lambda g: g * x)
    (g,) = T.autograd.grad((y * y).sum(), x, create_graph=True)
    assert g.tolist() == [8.0, 18.0]
    (h,) = T.autograd.grad(g.sum(), x)
    assert h.tolist() == [12.0, 24.0]  # the hook multiplies in the second pass too


# ---- retain_grad


def test_retain_grad_accumulates_and_repeats() -> None:
    x = leaf()
    y = x * 3
    assert y.retains_grad is False
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad is True
    out = (y * y).sum()
    out.backward(retain_graph=True)
    assert y.grad.tolist() == (y * 2).tolist()
    out.backward()
    assert y.grad.tolist() == (y * 4).tolist()


def test_retain_grad_of_a_leaf_does_nothing() -> None:
    x = leaf()
    x.retain_grad()
    assert x.retains_grad is False
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        T.ones(2).retain_grad()


@pytest.mark.parametrize("hooks_first", [True, False])
def test_retain_grad_sees_all_hooks_on_the_tensor(hooks_first: bool) -> None:
    x = leaf(1.0)
    y = x.clone()
    if hooks_first:
        y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.clone().backward()
    assert y.grad.tolist() == [4.0 if hooks_first else 2.0]


def test_retain_grad_follows_writes_in_place() -> None:
    x = leaf(1.0).clone()
    x.retain_grad()
    x.mul_(2)
    x.mul_(2)
    x.sum().backward()
    assert x.grad.tolist() == [1.0]
    x = leaf(1.0).clone()
    x.retain_grad()
    view = x[:]
    view *= 2
    x *= 2
    x.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_retain_grad_of_views_written_in_place() -> None:
    base = leaf(1.0).clone()
    view, other = base[:], base[:]
    view.retain_grad()
    other.retain_grad()
    view.mul_(2)
    (view + other).sum().backward()
    assert view.grad.tolist() == other.grad.tolist() == [1.0]


def test_retain_grad_of_one_of_several_outputs() -> None:
    x = T.rand(3, 3, requires_grad=True)
    for make in (Pair.apply, lambda t: T.var_mean(t, dim=0)):
        a, b = make(x)
        a.retain_grad()
        b.retain_grad()
        a.mul_(2)
        (a + b).sum().backward()
        assert set(a.grad.reshape(-1).tolist()) == set(b.grad.reshape(-1).tolist()) == {1.0}


def test_retain_grad_keeps_nothing_alive() -> None:
    x = T.ones(5, requires_grad=True)

    def run() -> Any:
        y = x * 2
        y.retain_grad()
        return y / 2, weakref.ref(y)

    z, ref = run()
    assert ref() is None
    z.sum().backward()


# ---- after accumulation


def test_post_accumulate_hooks_get_the_tensor_with_its_gradient() -> None:
    x = leaf()
    seen: list[Any] = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.tolist())))
    (x * 3).sum().backward()
    (x * 3).sum().backward()
    assert seen == [(True, [3.0, 3.0]), (True, [6.0, 6.0])]


def test_post_accumulate_hooks_may_write_and_run_in_order() -> None:
    x = leaf()

    def step(t: Any) -> None:
        t.sub_(t.grad)

    def scale(t: Any) -> None:
        t.mul_(4.0)

    x.register_post_accumulate_grad_hook(step)
    handle = x.register_post_accumulate_grad_hook(scale)
    x.sum().backward()
    assert x.tolist() == [4.0, 8.0]
    handle.remove()
    x.sum().backward()
    assert x.tolist() == [2.0, 6.0]


def test_post_accumulate_hooks_are_for_leaves() -> None:
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (leaf() * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        T.ones(2).register_post_accumulate_grad_hook(print)


def test_post_accumulate_hooks_give_nothing_back() -> None:
    x = leaf()
    x.register_post_accumulate_grad_hook(lambda t: t.grad)
    with pytest.raises(RuntimeError, match="hooks should return None"):
        x.sum().backward()


def test_post_accumulate_hooks_are_not_run_by_grad() -> None:
    x = leaf()
    calls: list[Any] = []
    x.register_post_accumulate_grad_hook(calls.append)
    T.autograd.grad(x.sum(), x)
    assert calls == []


def test_post_accumulate_hooks_go_with_their_tensor() -> None:
    class Thing:
        pass

    def make() -> Any:
        thing = Thing()
        x = leaf()

        def hook(t: Any) -> None:
            assert thing is not None

        x.register_post_accumulate_grad_hook(hook)
        x.sum().backward()
        return x, weakref.ref(thing)

    x, ref = make()
    gc.collect()
    assert ref() is not None
    del x
    gc.collect()
    assert ref() is None


def test_order_of_all_hooks_of_a_leaf() -> None:
    x = T.rand(3, requires_grad=True)
    node = accumulator(x)

    def after_node(inputs: Any, outputs: Any) -> None:
        x.grad = outputs[0].mul(10)

    def after(t: Any) -> None:
        t.grad.add_(0.5)

    x.register_hook(lambda g: g.sub(2.0))
    node.register_prehook(lambda g: (g[0].div(5.0),))
    x.register_post_accumulate_grad_hook(after)
    node.register_hook(after_node)
    x.sum().backward()
    assert x.grad.tolist() == pytest.approx([3.0] * 3)  # ((1 - 2) / 5 + 0.5) * 10


# ---- several gradients


def test_multi_grad_hook_all() -> None:
    t1, t2, t3, t4 = (T.rand(2, requires_grad=True) for _ in range(4))
    t1 = t1.mul(2)
    t2 = Double.apply(t2)
    t3 = t3 * 1
    calls: list[Any] = []
    handle = graph.register_multi_grad_hook((t1, t2, t3, t4), lambda gs: calls.append([g is not None for g in gs]))
    out = t2 * t3
    out.sum().backward(inputs=(t2, t3), retain_graph=True)
    assert calls == [[False, True, True, False]]
    out.sum().backward(inputs=(t1, t4), retain_graph=True)
    assert len(calls) == 1
    out.sum().backward(inputs=(t1, t3), retain_graph=True)
    assert calls[1:] == [[False, False, True, False]]
    handle.remove()
    out.sum().backward(inputs=(t1, t3), retain_graph=True)
    assert len(calls) == 2


def test_multi_grad_hook_all_runs_when_the_last_gradient_is_there() -> None:
    x = leaf()
    a = x * 2
    b = x * 3
    log: list[Any] = []
    a.register_hook(lambda g: log.append("a"))
    b.register_hook(lambda g: log.append("b"))
    graph.register_multi_grad_hook([a, b], lambda gs: log.append([g.tolist() for g in gs]))
    out = (a * 1 + b * 5).sum()
    out.backward(retain_graph=True)
    assert sorted(map(str, log[:2])) == ["a", "b"]
    assert log[2] == [[1.0, 1.0], [5.0, 5.0]]
    log.clear()
    out.backward()
    assert len(log) == 3


def test_multi_grad_hook_any() -> None:
    x = leaf()
    z = x * 1
    outs = T.sin(z), T.cos(z)
    log: list[Any] = []
    z.register_hook(lambda g: log.append("z"))
    handle = graph.register_multi_grad_hook(outs, lambda g: log.append(("any", g.tolist())), mode="any")
    (outs[0] + outs[1]).sum().backward(retain_graph=True)
    assert log == [("any", [1.0, 1.0]), "z"]
    (outs[0] + outs[1]).sum().backward(retain_graph=True)
    assert log == [("any", [1.0, 1.0]), "z"] * 2
    handle.remove()
    (outs[0] + outs[1]).sum().backward()
    assert log[4:] == ["z"]


def test_multi_grad_hook_of_one_leaf_and_in_a_block() -> None:
    x = leaf()
    calls: list[Any] = []
    with graph.register_multi_grad_hook([x], lambda gs: calls.append(gs[0].tolist())):
        (x * 2).sum().backward()
    (x * 2).sum().backward()
    assert calls == [[2.0, 2.0]]


def test_multi_grad_hook_is_not_run_when_the_pass_fails() -> None:
    class Fails(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise RuntimeError("mine")

    a, b = leaf(), leaf()
    c, d = a * 1, b * 1
    calls: list[Any] = []
    graph.register_multi_grad_hook((c, d), calls.append)
    with pytest.raises(RuntimeError, match="mine"):
        (Fails.apply(c) * d).sum().backward()
    assert calls == []


def test_multi_grad_hook_arguments() -> None:
    x = leaf()
    with pytest.raises(ValueError, match=r"Expects mode to be one of \('all', 'any'\) but got foo"):
        graph.register_multi_grad_hook((x,), print, mode="foo")
    with pytest.raises(AssertionError, match="Expected gradient function to be set"):
        graph.register_multi_grad_hook((x, T.ones(2)), print)


# ---- cycles


@pytest.mark.parametrize("custom", [True, False])
@pytest.mark.parametrize("on_tensor", [True, False])
def test_hooks_that_hold_their_node_are_collected(custom: bool, on_tensor: bool) -> None:
    class Thing:
        pass

    count = [0]

    def scope() -> Any:
        a = T.tensor(1.0, requires_grad=True)
        b = Double.apply(a) if custom else a.clone()
        node, thing = b.grad_fn, Thing()

        def hook(*args: Any) -> None:
            assert node is not None
            assert thing is not None
            count[0] += 1

        if on_tensor:
            b.register_hook(hook)
        else:
            b.grad_fn.register_hook(hook)
        return b.clone(), weakref.ref(thing)

    gc.disable()
    try:
        out, ref = scope()
        out.backward(retain_graph=True)
        gc.collect()
        out.backward(retain_graph=True)
        assert count == [2]
        assert ref() is not None
        del out
        gc.collect()
        assert ref() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "where", ["leaf", *(pytest.param(where, marks=pytest.mark.rustgrad_only) for where in ("inner", "post"))]
)
def test_hooks_that_hold_their_tensor_are_collected(where: str) -> None:
    class Thing:
        pass

    def scope() -> Any:
        x = leaf()
        y = x * 2 if where == "inner" else x
        thing = Thing()

        def hook(g: Any) -> None:
            assert y is not None
            assert thing is not None

        if where == "post":
            y.register_post_accumulate_grad_hook(hook)
        else:
            y.register_hook(hook)
        y.sum().backward()
        return weakref.ref(thing)

    ref = scope()
    gc.collect()
    assert ref() is None


def test_hooks_go_when_the_graph_goes() -> None:
    deleted = [0]

    class Counts:
        def __call__(self, *args: Any) -> None:
            pass

        def __del__(self) -> None:
            deleted[0] += 1

    def run() -> None:
        root = T.rand(3, 3, requires_grad=True)
        copy = root.clone()
        copy.grad_fn.register_hook(Counts())
        view = copy.view(9)
        view.relu_()

    run()
    gc.collect()
    assert deleted == [1]


def test_hooks_that_register_hooks_on_the_running_node() -> None:
    x = leaf()
    nodes: list[Any] = []

    def unpack(t: Any) -> Any:
        nodes[0].register_hook(lambda i, o: tuple(one / 2 if one is not None else None for one in i))
        return t

    with graph.saved_tensors_hooks(lambda t: t, unpack):
        y = x.exp()
    nodes.append(y.grad_fn)
    y.sum().backward()
    assert T.allclose(x.grad, x.exp() / 2)
