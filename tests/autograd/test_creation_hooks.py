"""`node_creation_hook`: being told of nodes as they are recorded."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
told_by = T.autograd.graph.node_creation_hook


def leaf() -> Any:
    return T.tensor([2.0, 3.0, 4.0, 5.0], requires_grad=True)


def names(f: Any) -> list[str]:
    """Names of the nodes that are told while a function runs."""
    told: list[str] = []
    with told_by(lambda node: told.append(node.name().rpartition("::")[2])):
        f()
    return told


def test_each_operation_tells_of_its_node() -> None:
    x = leaf()
    nodes: list[Any] = []
    y = x * 2
    with told_by(nodes.append):
        z = y.exp()
        total = z + z
    total.sum()
    assert [node.name() for node in nodes] == ["ExpBackward0", "AddBackward0"]
    assert nodes[0] is z.grad_fn
    assert nodes[1] is total.grad_fn


def test_accumulators_are_told_of_when_they_are_made() -> None:
    x = leaf()
    assert names(lambda: x * 2) == ["AccumulateGrad", "MulBackward0"]
    y = x * 2
    assert names(lambda: x * 2) == ["MulBackward0"]
    del y
    assert names(lambda: x * 2) == ["AccumulateGrad", "MulBackward0"]


def test_several_outputs_are_one_node() -> None:
    x = leaf() * 1
    assert names(lambda: x.split(2)) == ["SplitBackward0"]


def test_nothing_is_told_without_recording_or_outside() -> None:
    x = leaf() * 1
    with T.no_grad():
        assert names(lambda: x * 2) == []
    nodes: list[Any] = []
    with told_by(nodes.append):
        pass
    (x * 2).sum().backward()
    assert nodes == []


def test_writes_in_place() -> None:
    x = leaf() * 1
    nodes: list[Any] = []
    with told_by(nodes.append):
        x.mul_(2)
    assert nodes == [x.grad_fn]


def test_writes_into_views_tell_of_what_stands_for_them() -> None:
    x = leaf() * 1
    view = x[:2]
    nodes: list[Any] = []
    with told_by(nodes.append):
        view.mul_(2)
    assert len(nodes) == 2
    assert nodes[0] is view.grad_fn
    assert nodes[1] is x.grad_fn
    assert names(lambda: x.__setitem__(0, 1.0)) == ["SelectBackward0", "AsStridedBackward0", "CopySlices"]


def test_views_renewed_after_a_write_to_their_base() -> None:
    x = leaf() * 1
    view = x[:2]
    x.mul_(2)
    nodes: list[Any] = []
    with told_by(nodes.append):
        node = view.grad_fn
    assert nodes == [node]


def test_what_was_saved_is_there() -> None:
    class Doubled(T.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2

    a, b = leaf(), leaf()
    found: list[Any] = []

    def look(node: Any) -> None:
        if node.name() == "MulBackward0":
            found.append((node._saved_self, node._saved_other))
        elif node.name() == "DoubledBackward":
            found.append(node.saved_tensors)

    with told_by(look):
        a * b
        y = Doubled.apply(a)
    assert y.requires_grad
    assert found[0][0] is a
    assert found[0][1] is b
    assert found[1][0] is a


def test_passes_that_are_recorded() -> None:
    x = leaf() * 1
    assert "MulBackward0" in names(lambda: T.autograd.grad((x * x).sum(), x, create_graph=True))
    y = (x * x).sum()
    assert names(lambda: T.autograd.grad(y, x)) == []


def test_hooks_registered_on_new_nodes() -> None:
    order: list[str] = []

    def watch(node: Any) -> None:
        name = node.name()
        node.register_prehook(lambda _: order.append("before " + name))
        node.register_hook(lambda _, __: order.append("after " + name))

    x = leaf()
    with told_by(watch):
        y = (x * x).exp()
    y.sum().backward()
    for name in ("ExpBackward0", "MulBackward0"):
        assert order.index("before " + name) + 1 == order.index("after " + name)


def test_contexts_nest() -> None:
    x = leaf() * 1
    order: list[int] = []
    with told_by(lambda _: order.append(1)):
        with told_by(lambda _: order.append(2)):
            x.exp()
        x.sin()
    assert order == [1, 2, 1]


def test_errors_of_hooks() -> None:
    class Mine(Exception):
        pass

    def fails(_: Any) -> None:
        raise Mine("no")

    x = leaf() * 1
    with told_by(fails), pytest.raises(Mine, match="no"):
        x * 2
    with told_by(lambda node: node), pytest.raises(RuntimeError, match="must return None"):
        x * 2
    leaf_of_the_hook = leaf()

    def records(_: Any) -> None:
        leaf_of_the_hook * 2

    with told_by(records), pytest.raises(RuntimeError, match="from inside a node creation hook"):
        x * 2
    # The machinery is as before.
    assert names(lambda: x * 2) == ["MulBackward0"]
