"""Nodes: classes, names, edges, what they saved, identity and lifetime."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import oracle
import programs
import pytest

T = oracle.T
Node: Any = T.autograd.graph.Node
Function: Any = T.autograd.Function


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


@pytest.mark.parametrize("program", programs.of_stage("graphs"))
def test_graphs_look_like_torchs(program: str) -> None:
    """Every result of ``tests/programs/graphs.txt`` has torch's nodes behind it."""
    programs.check("graphs", program)


def test_next_functions() -> None:
    x, y = leaf(), leaf()
    a = x + y
    (n0, o0), (n1, o1) = a.grad_fn.next_functions
    assert (type(n0).__name__, o0, o1) == ("AccumulateGrad", 0, 0)
    assert n0.variable is x
    assert n1.variable is y
    b = a + 5
    assert b.grad_fn.next_functions == ((a.grad_fn, 0), (None, 0))
    assert n0.next_functions == ()


def test_nodes_are_one_object_while_alive() -> None:
    x = leaf()
    y = x * 2
    assert y.grad_fn is y.grad_fn
    z = y.exp()
    assert z.grad_fn.next_functions[0][0] is y.grad_fn
    first, second = x.exp().grad_fn, x.exp().grad_fn
    assert first is not second
    node = y.grad_fn
    del y
    gc.collect()
    assert z.grad_fn.next_functions[0][0] is node
    acc = z.grad_fn.next_functions[0][0].next_functions[0][0]
    assert x.view_as(x).grad_fn.next_functions[0][0] is acc


def test_nodes_can_be_keys() -> None:
    x = leaf()
    y = x * 2
    assert {y.grad_fn: 1}[y.grad_fn] == 1


@pytest.mark.rustgrad_only  # torch has weak references to custom functions only
def test_nodes_can_be_weakly_referenced() -> None:
    y = leaf() * 2
    node = y.grad_fn
    ref = weakref.ref(node)
    assert ref() is node
    del y, node
    gc.collect()
    assert ref() is None


def test_leaves_have_no_node() -> None:
    assert leaf().grad_fn is None
    assert T.ones(2).grad_fn is None
    assert (T.ones(2) * 2).grad_fn is None
    with T.no_grad():
        assert (leaf() * 2).grad_fn is None


def test_names() -> None:
    x = leaf()
    assert (x * 2).grad_fn.name() == "MulBackward0"
    assert x.clone().grad_fn.next_functions[0][0].name() == "torch::autograd::AccumulateGrad"
    y = x.clone()
    y[0] = 1.0
    assert y.grad_fn.name() in ("torch::autograd::CopySlices", "CopySlices")
    assert repr((x * 2).grad_fn).startswith("<MulBackward0 object at 0x")


def test_the_class_of_all_nodes() -> None:
    x = leaf()
    y = x.exp()
    assert isinstance(y.grad_fn, Node)
    assert issubclass(type(y.grad_fn), Node)
    assert isinstance(y.grad_fn.next_functions[0][0], Node)
    assert not isinstance(None, Node)
    assert not isinstance(1, Node)
    assert not isinstance(Node, Node)
    assert issubclass(Node, Node)
    assert issubclass(T.autograd.function.BackwardCFunction, Node)

    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            assert isinstance(ctx, Node)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert isinstance(ctx, Node)
            return g

    out = Same.apply(x)
    assert isinstance(out.grad_fn, Node)
    out.sum().backward()


def test_metadata_stays_with_its_node() -> None:
    class Thing:
        pass

    x = leaf()
    y = x.exp()
    z = y * 2
    thing = Thing()
    ref = weakref.ref(thing)
    y.grad_fn.metadata["key"] = thing
    del thing, y
    gc.collect()
    assert z.grad_fn.next_functions[0][0].metadata["key"] is ref()
    del z
    gc.collect()
    assert ref() is None


def test_input_metadata() -> None:
    x = T.rand(3, 3, requires_grad=True)
    (one,) = (x * 2).grad_fn._input_metadata
    assert (tuple(one.shape), one.dtype) == ((3, 3), T.float32)
    var, _ = T.var_mean(x, dim=0)
    assert [tuple(m.shape) for m in var.grad_fn._input_metadata] == [(3,), (3,)]


def test_output_nr() -> None:
    x = T.rand(3, 3, requires_grad=True)
    assert x.output_nr == 0
    assert [one.output_nr for one in x.unbind()] == [0, 1, 2]
    assert T.var_mean(x)[1].output_nr == 1
    assert T.ones(2).output_nr == 0


def test_nodes_can_be_called() -> None:
    x = leaf()
    y = x**2
    assert y.grad_fn(T.ones(2)).tolist() == [4.0, 6.0]
    z = x * y
    a, b = z.grad_fn(T.ones(2))
    assert (a.tolist(), b.tolist()) == ([4.0, 9.0], [2.0, 3.0])
    with pytest.raises(TypeError, match="expected 1 arguments, got 2 instead"):
        y.grad_fn(T.ones(2), T.ones(2))
    with pytest.raises(TypeError, match="expected 1 arguments, got 0 instead"):
        y.grad_fn()


def test_saved_values() -> None:
    a, b = leaf(), leaf(5.0, 7.0)
    c = a * b
    assert c.grad_fn._saved_self is a
    assert c.grad_fn._saved_other is b
    d = c.exp()
    assert d.grad_fn._saved_result.tolist() == d.tolist()
    assert d.grad_fn._saved_result is not d
    assert (d * c).grad_fn._saved_other.tolist() == c.tolist()
    assert (a**3).grad_fn._saved_exponent == 3
    assert T.stack([a, b], dim=0).grad_fn._saved_dim == 0
    assert a.mean().grad_fn._saved_self_sym_sizes == (2,)
    assert a.sum().grad_fn._saved_self_sym_sizes == (2,)
    assert T.tanh(a).grad_fn._saved_result.tolist() == T.tanh(a).tolist()
    m = T.ones(2, 2, requires_grad=True)
    index = T.tensor([0, 1])
    saved = m[:, index].grad_fn._saved_indices
    assert saved[0] is None
    assert saved[1].tolist() == [0, 1]
    assert (a + b).grad_fn._saved_alpha == 1
    with pytest.raises(AttributeError):
        c.grad_fn._saved_nothing
    with pytest.raises(AttributeError):
        c.grad_fn.nothing


def test_saved_values_are_gone_after_backward() -> None:
    a = leaf()
    b = a.exp()
    c = T.stack([a, a], dim=0)
    (b * a).sum().backward()
    with pytest.raises(RuntimeError, match="after they have already been freed"):
        b.grad_fn._saved_result
    c.sum().backward()
    assert c.grad_fn._saved_dim == 0


def test_saved_tensors_share_the_version() -> None:
    a = leaf()
    b = a.exp()
    saved = b.grad_fn._saved_result
    with T.no_grad():
        b += 1
    assert saved.tolist() == b.tolist()
    assert saved._version == b._version


def test_sequence_numbers_grow() -> None:
    x = leaf()
    a = x * 2
    b = a * 2
    assert b.grad_fn._sequence_nr() > a.grad_fn._sequence_nr()


def test_accumulators() -> None:
    x = leaf()
    acc = x.clone().grad_fn.next_functions[0][0]
    assert acc.variable is x
    assert type(acc).__name__ == "AccumulateGrad"
    with pytest.raises(AttributeError):
        (x * 2).grad_fn.variable


def test_nodes_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        type((leaf() * 2).grad_fn)()


def test_a_node_keeps_its_graph() -> None:
    x = leaf()
    node = (x * x).grad_fn
    gc.collect()
    assert node(T.ones(2))[0].tolist() == [2.0, 3.0]
    assert node._saved_self is x
