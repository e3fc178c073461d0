"""Hooks on nodes: order, replaced gradients, removal, accumulators."""

from __future__ import annotations

from typing import Any

import pytest
from hook_parts import Double, Pair, T, leaf

# ---- on nodes


@pytest.mark.parametrize("custom", [True, False])
def test_node_hooks(custom: bool) -> None:
    x = leaf(1.0)
    y = Double.apply(x) if custom else x * 2
    before: list[Any] = []
    after: list[Any] = []

    def prehook(outputs: Any) -> Any:
        before.append(outputs[0].tolist())
        return (outputs[0] * 2,)

    def posthook(inputs: Any, outputs: Any) -> Any:
        after.append((len(inputs), inputs[0].tolist(), outputs[0].tolist()))
        return inputs

    y.grad_fn.register_hook(posthook)
    y.grad_fn.register_hook(posthook)
    y.grad_fn.register_prehook(prehook)
    y.grad_fn.register_prehook(lambda g: None)
    y.grad_fn.register_prehook(prehook)
    y.grad_fn.register_prehook(lambda g: g)
    y.sum().backward()
    assert before == [[1.0], [2.0]]
    assert after == [(1 if custom else 2, [8.0], [4.0])] * 2
    assert x.grad.tolist() == [8.0]


def test_a_posthook_replaces_the_gradients_of_the_inputs() -> None:
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_hook(lambda i, o: (i[0] * 10, *i[1:]))
    y.sum().backward()
    assert x.grad.tolist() == [20.0]


def test_node_hooks_of_several_outputs() -> None:
    x = T.rand(3, 3, requires_grad=True)
    T.add(*T.var_mean(x, dim=0)).sum().backward()
    plain = x.grad.clone()
    x.grad = None
    var, mean = T.var_mean(x, dim=0)
    mean.grad_fn.register_prehook(lambda g: (g[0] * 2, g[1] * 2))
    (var + mean).sum().backward()
    assert T.allclose(x.grad, plain * 2)


def test_absent_gradients_are_none_for_node_hooks() -> None:
    x = leaf()
    a, _ = Pair.apply(x)
    seen: list[Any] = []
    a.grad_fn.register_prehook(lambda g: seen.append([one is None for one in g]))
    a.sum().backward()
    assert seen == [[False, True]]


@pytest.mark.parametrize("custom", [True, False])
def test_node_hooks_can_be_removed(custom: bool) -> None:
    x = leaf(1.0)
    y = Double.apply(x) if custom else x * 2
    calls = [0]
    handles: list[Any] = []

    def count(g: Any) -> None:
        calls[0] += 1

    def removing(g: Any) -> None:
        handles[0].remove()
        handles[1].remove()

    y.grad_fn.register_prehook(removing)
    handles.append(y.grad_fn.register_prehook(count))
    handles.append(y.grad_fn.register_prehook(count))
    handles[1].remove()
    y.sum().backward(retain_graph=True)
    first = calls[0]
    y.sum().backward()
    assert first <= 1
    assert calls[0] == first


def test_a_wrong_number_of_gradients_is_refused() -> None:
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: (g[0], g[0]))
    with pytest.raises(RuntimeError, match="has returned an incorrect number of values"):
        y.sum().backward()
    y = x * 2
    y.grad_fn.register_hook(lambda i, o: ())
    with pytest.raises(RuntimeError, match="has returned an incorrect number of values"):
        y.sum().backward()


def test_order_of_tensor_and_node_hooks() -> None:
    log: list[int] = []

    def on_tensor(g: Any) -> Any:
        log.append(1)
        return g * 3

    def on_node(gs: Any) -> Any:
        log.append(2)
        return tuple(g * 2 for g in gs)

    a = T.tensor(1.0, requires_grad=True)
    b = a.clone()
    b.grad_fn.register_prehook(on_node)
    b.register_hook(on_tensor)
    b.grad_fn.register_prehook(on_node)
    node = b.grad_fn.next_functions[0][0]
    a.register_hook(on_tensor)
    node.register_prehook(on_node)
    a.register_hook(on_tensor)
    b.sum().backward(retain_graph=True)
    assert log == [1, 2, 2, 1, 1, 2]
    log.clear()
    T.autograd.grad(b.sum(), inputs=(a,), retain_graph=True)
    assert log == [1, 2, 2, 1, 1]
    log.clear()
    b.sum().backward(inputs=(b,))
    assert log == [1, 2, 2]
    assert b.grad.item() == 3


def test_which_hooks_run_for_captured_gradients() -> None:
    a = T.tensor(1.0, requires_grad=True)
    b = a * 2
    c = b * 2
    counts = {"tensor": 0, "pre": 0, "post": 0}

    def bump(which: str) -> Any:
        def hook(*args: Any) -> None:
            counts[which] += 1

        return hook

    a.register_hook(bump("tensor"))
    b.register_hook(bump("tensor"))
    node = b.grad_fn.next_functions[0][0]
    node.register_hook(bump("post"))
    node.register_prehook(bump("pre"))
    b.grad_fn.register_hook(bump("post"))
    b.grad_fn.register_prehook(bump("pre"))

    def after(run: Any) -> tuple[int, ...]:
        counts.update(tensor=0, pre=0, post=0)
        run()
        return tuple(counts.values())

    assert after(lambda: T.autograd.grad(c, inputs=(b,), retain_graph=True)) == (1, 0, 0)
    assert after(lambda: T.autograd.grad(c, inputs=(a, b), retain_graph=True)) == (2, 1, 1)
    assert after(lambda: c.backward(retain_graph=True)) == (2, 2, 2)
    assert after(lambda: c.backward(inputs=(a, b), retain_graph=True)) == (2, 2, 2)


def test_hooks_of_accumulators_see_the_replaced_gradient() -> None:
    a = T.tensor(1.0, requires_grad=True)
    b = a.clone()
    node = b.grad_fn.next_functions[0][0]
    seen: list[Any] = []
    node.register_hook(lambda i, o: seen.append((len(i), o[0].item())))
    node.register_prehook(lambda o: seen.append((len(o), o[0].item())))
    a.register_hook(lambda g: g * 2)
    b.backward()
    assert seen == [(1, 2.0), (0, 2.0)]


def test_hooks_of_what_is_not_run_are_not_called() -> None:
    def fail(*args: Any) -> None:
        raise AssertionError

    a = T.tensor(1.0, requires_grad=True)
    b = T.tensor(1.0, requires_grad=True)
    a.register_hook(fail)
    c = a.clone()
    c.grad_fn.next_functions[0][0].register_hook(fail)
    (a + b + c).sum().backward(inputs=[b])
    assert a.grad is None
    assert b.grad.item() == 1
