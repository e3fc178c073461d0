"""`GradientEdge`: a place in the graph in place of a tensor."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
edge = T.autograd.graph.get_gradient_edge


def leaf() -> Any:
    return T.tensor([2.0, 3.0], requires_grad=True)


def test_edges_as_inputs_of_grad() -> None:
    x = leaf()
    y = x * x
    e, a = edge(y), edge(x)
    assert isinstance(e, T.autograd.graph.GradientEdge)
    assert e.node is y.grad_fn
    assert e.output_nr == 0
    g, h = T.autograd.grad(y.sum(), [e, a])
    assert g.tolist() == [1.0, 1.0]
    assert h.tolist() == [4.0, 6.0]


def test_an_edge_keeps_the_graph_and_not_the_tensor() -> None:
    x = leaf()
    z = (x * x).sum()
    e = edge(z)
    del z
    T.autograd.backward(e)
    assert x.grad.tolist() == [4.0, 6.0]


def test_edges_as_roots_need_a_gradient_unless_scalar() -> None:
    x = leaf()
    y = x * x
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        T.autograd.backward(edge(y))
    T.autograd.backward(edge(y), T.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [4.0, 60.0]


def test_backward_into_the_edge_of_a_leaf() -> None:
    x, w = leaf(), leaf()
    T.autograd.backward((x * w).sum(), inputs=(edge(x),))
    assert x.grad.tolist() == [2.0, 3.0]
    assert w.grad is None


def test_the_number_of_the_output() -> None:
    x = leaf()
    a, b = x.unbind()
    assert (edge(a).output_nr, edge(b).output_nr) == (0, 1)
    assert edge(a).node is edge(b).node
    (g,) = T.autograd.grad(edge(b), x)
    assert g.tolist() == [0.0, 1.0]


def test_no_edge_without_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="does not require gradients"):
        edge(T.ones(2))


def test_increment_version() -> None:
    b = leaf() * 1
    c = b * b
    before = b._version
    T.autograd.graph.increment_version(b)
    assert b._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        c.sum().backward()
    u, v = T.ones(1), T.ones(1)
    T.autograd.graph.increment_version((u, v))
    assert (u._version, v._version) == (1, 1)
