"""`backward` and `grad`: roots, gradients given, inputs, what is kept, what is refused."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function
GradientEdge: Any = T.autograd.graph.GradientEdge
edge = T.autograd.graph.get_gradient_edge


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


class Never(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        raise AssertionError("this node must not run")


# ---- roots


def test_several_roots() -> None:
    x, y, q = leaf(), leaf(), leaf()
    q2 = q * 2
    z, c = x + y + q2, x * y + q2
    gz, gc = T.tensor([1.0, 2.0]), T.tensor([10.0, 20.0])
    T.autograd.backward([z, c], [gz, gc])
    assert x.grad.tolist() == [21.0, 62.0]
    assert q.grad.tolist() == [22.0, 44.0]


def test_roots_that_depend_on_each_other() -> None:
    x = leaf()
    y = x**2
    z = y**3
    T.autograd.backward([y, z], [T.ones(2), T.ones(2)])
    assert x.grad.tolist() == [2 * v + 6 * v**5 for v in (2.0, 3.0)]


def test_the_same_root_twice() -> None:
    x = leaf()
    y = x * x
    T.autograd.backward([y, y], [T.ones(2), T.ones(2)])
    assert x.grad.tolist() == [8.0, 12.0]
    (g,) = T.autograd.grad([(x * x).sum()] * 2, x)
    assert g.tolist() == [8.0, 12.0]


def test_a_leaf_as_root() -> None:
    x = leaf()
    x.backward(T.tensor([5.0, 6.0]))
    assert x.grad.tolist() == [5.0, 6.0]
    (g,) = T.autograd.grad(x, x, T.tensor([7.0, 8.0]))
    assert g.tolist() == [7.0, 8.0]
    assert x.grad.tolist() == [5.0, 6.0]


def test_roots_without_a_gradient_are_refused() -> None:
    x, y = leaf(), T.ones(2)
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="element 1 of tensors does not require grad and does not have a grad_fn"):
        T.autograd.backward([x.sum(), y.sum()])
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
        T.autograd.grad(y.sum(), x)


def test_roots_with_several_elements_need_a_gradient() -> None:
    x = leaf()
    y = x * 2
    call: Any
    for call in (
        lambda: y.backward(),
        lambda: T.autograd.backward([y], [None]),
        lambda: T.autograd.grad(y, x),
        lambda: T.autograd.backward(edge(y)),
    ):
        with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
            call()


def test_one_element_of_any_shape_is_scalar_enough() -> None:
    x = T.tensor([[[2.0]]], requires_grad=True)
    (x * x).backward()
    assert x.grad.tolist() == [[[4.0]]]


def test_only_floating_roots() -> None:
    x = T.ones(3)
    with pytest.raises(RuntimeError):
        x.argmax().backward()


def test_empty_roots() -> None:
    T.autograd.backward([])
    x = leaf()
    assert T.autograd.grad([], [x], allow_unused=True) == (None,)


# ---- gradients given


def test_gradients_must_have_the_shape_of_their_root() -> None:
    x = leaf()
    y = x * 2
    message = (
        r"Mismatch in shape: grad_output\[0\] has a shape of torch\.Size\(\[3\]\) and output\[0\] has a shape of "
        r"torch\.Size\(\[2\]\)\."
    )
    call: Any
    for call in (
        lambda: y.backward(T.ones(3)),
        lambda: T.autograd.backward([y], [T.ones(3)]),
        lambda: T.autograd.grad(y, x, T.ones(3)),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()


def test_gradients_are_counted() -> None:
    x = leaf()
    y = x * 2
    T.autograd.backward([y], [T.ones(2), T.ones(2)])  # torch lets surplus gradients pass
    y = x * 2
    with pytest.raises(RuntimeError, match="got 2 tensors and 1 gradients"):
        T.autograd.grad([y, y], x, [T.ones(2)])


def test_gradients_must_be_tensors() -> None:
    x = leaf()
    y = x * 2
    with pytest.raises(TypeError, match="gradients can be either Tensors or None, but got"):
        T.autograd.backward([y], [3])
    with pytest.raises(TypeError):
        y.backward(1.0)


def test_gradients_of_another_dtype_are_cast() -> None:
    x = leaf()
    (x * 2).backward(T.ones(2, dtype=T.float64))
    assert x.grad.dtype == T.float32
    (x * 2).backward(T.ones(2, dtype=T.int64))
    assert x.grad.tolist() == [4.0, 4.0]


def test_given_gradients_are_not_written() -> None:
    x = leaf()
    a, b = x.clone(), x * 1
    ga, gb = T.ones(2), T.ones(2)
    T.autograd.backward((a, b), (ga, gb))
    assert (ga.tolist(), gb.tolist()) == ([1.0, 1.0], [1.0, 1.0])
    x.grad.add_(5)
    assert ga.tolist() == [1.0, 1.0]


@pytest.mark.filterwarnings("ignore:`grad_variables` is deprecated")
def test_grad_variables_is_the_old_name() -> None:
    x = leaf()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        T.autograd.backward([x * 2], grad_variables=[T.ones(2)])
    assert x.grad.tolist() == [2.0, 2.0]
    assert any("deprecated" in str(w.message) and issubclass(w.category, FutureWarning) for w in caught)
    with pytest.raises(RuntimeError, match="Please only use `grad_tensors`"):
        T.autograd.backward([x * 2], [T.ones(2)], grad_variables=[T.ones(2)])


def test_the_gradient_of_a_scalar_may_be_given() -> None:
    x = leaf()
    (x.sum()).backward(T.tensor(3.0))
    assert x.grad.tolist() == [3.0, 3.0]
    x.sum().backward(gradient=None)
    assert x.grad.tolist() == [4.0, 4.0]


# ---- inputs


def test_backward_with_inputs_touches_only_them() -> None:
    x, y = leaf(), leaf()

    def out() -> Any:
        return (x**2 + y * x + y**2).sum()

    T.autograd.backward(out(), inputs=[x, y])
    assert (x.grad.tolist(), y.grad.tolist()) == ([6.0, 9.0], [6.0, 9.0])
    out().backward(inputs=[x])
    assert (x.grad.tolist(), y.grad.tolist()) == ([12.0, 18.0], [6.0, 9.0])
    out().backward(inputs=y)
    assert (x.grad.tolist(), y.grad.tolist()) == ([12.0, 18.0], [12.0, 18.0])
    with pytest.raises(RuntimeError, match="`inputs` argument to `backward\\(\\)` cannot be empty"):
        out().backward(inputs=[])
    with pytest.raises(RuntimeError, match="`inputs` argument to `backward\\(\\)` cannot be empty"):
        T.autograd.backward(out(), inputs=[])


def test_backward_into_non_leaves() -> None:
    x, y, z = leaf(), leaf(), leaf()
    h = x * 1
    out = (h**2 + y * h + y**2).sum()
    out.backward(inputs=[x, y, h], retain_graph=True)
    assert h.grad.tolist() == x.grad.tolist() == [6.0, 9.0]
    out.backward(inputs=[h], retain_graph=True)
    assert h.grad.tolist() == [12.0, 18.0]
    assert x.grad.tolist() == [6.0, 9.0]
    out.backward(inputs=[z])
    assert z.grad is None


def test_the_same_input_twice() -> None:
    x = leaf()
    g, h = T.autograd.grad((x * x).sum(), [x, x])
    assert g.tolist() == h.tolist() == [4.0, 6.0]
    (x * x).sum().backward(inputs=[x, x])
    assert x.grad.tolist() == [4.0, 6.0]


def test_inputs_must_require_a_gradient() -> None:
    x, y = leaf(), T.ones(2)
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        T.autograd.grad((x * y).sum(), y)
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        (x * y).sum().backward(inputs=[y])
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        T.autograd.grad((x * y).sum(), y, allow_unused=True)


def test_no_inputs_are_refused() -> None:
    x = leaf()
    with pytest.raises(RuntimeError, match="`inputs` argument to `grad\\(\\)` cannot be empty"):
        T.autograd.grad((x * x).sum(), [])


def test_inputs_must_be_tensors() -> None:
    x = leaf()
    with pytest.raises(RuntimeError, match="all inputs have to be Tensors or GradientEdges, but got int"):
        T.autograd.grad((x * x).sum(), [3])
    with pytest.raises((TypeError, AssertionError)):
        T.autograd.grad([3], x)


def test_unreachable_inputs() -> None:
    x, y, z = leaf(), leaf(), leaf()
    w = y * 2
    g, h, k = T.autograd.grad((x * 2).sum(), [x, y, z], allow_unused=True)
    assert (g.tolist(), h, k) == ([2.0, 2.0], None, None)
    assert T.autograd.grad((x * 2).sum(), w, allow_unused=True) == (None,)
    for unused in (False, None):
        with pytest.raises(RuntimeError, match="Set allow_unused=True if this is the desired behavior"):
            T.autograd.grad((x * 2).sum(), [x, y], allow_unused=unused)


def test_what_leads_nowhere_is_not_run() -> None:
    x = Never.apply(leaf() * 2)
    y, z = leaf(), leaf()
    assert T.autograd.grad(x.sum(), (y,), allow_unused=True) == (None,)
    g, h = T.autograd.grad((x + z).sum(), (y, z), allow_unused=True)
    assert g is None
    assert h.tolist() == [1.0, 1.0]
    T.autograd.backward(x.sum(), inputs=(y,))
    assert y.grad is None


def test_materialize_grads() -> None:
    x = T.tensor(0.5, requires_grad=True)
    a = T.tensor(1.0, requires_grad=True)
    y = x * a
    dy = T.autograd.grad(y, x, create_graph=True)
    assert T.autograd.grad(dy, x, create_graph=True, allow_unused=True) == (None,)
    d2 = T.autograd.grad(dy, x, create_graph=True, allow_unused=True, materialize_grads=True)
    assert d2[0].item() == 0
    d3 = T.autograd.grad(d2, x, materialize_grads=True)
    assert d3[0].item() == 0
    with pytest.raises(ValueError, match="Expected allow_unused to be True or not passed when"):
        T.autograd.grad(y, x, allow_unused=False, materialize_grads=True)
    x, y = T.ones(3, requires_grad=True), T.ones(2, dtype=T.float64, requires_grad=True)
    g, h = T.autograd.grad((x * x).sum(), (x, y), materialize_grads=True)
    assert not g.requires_grad
    assert not h.requires_grad
    assert (h.shape, h.dtype, h.tolist()) == (y.shape, y.dtype, [0.0, 0.0])


def test_batched_gradients() -> None:
    x = T.ones(2, 2, requires_grad=True)
    y = T.ones(2, requires_grad=True)
    (g,) = T.autograd.grad((x**3).sum(), x, T.arange(3.0), is_grads_batched=True)
    assert g.tolist() == [[[3.0 * k] * 2] * 2 for k in range(3)]
    g, h = T.autograd.grad(x * 3, (x, y), T.ones(4, 2, 2), is_grads_batched=True, allow_unused=True)
    assert (g.shape, g.sum().item(), h) == ((4, 2, 2), 48.0, None)
    (g,) = T.autograd.grad((y * 2, y.sum()), y, (T.ones(3, 2), T.arange(3.0)), is_grads_batched=True)
    assert g.tolist() == [[2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    (g,) = T.autograd.grad((x**3).sum(), x, T.arange(3.0), is_grads_batched=True, create_graph=True)
    assert T.autograd.grad(g.sum(), x)[0].tolist() == [[18.0, 18.0], [18.0, 18.0]]


def test_batched_gradients_need_a_dimension_for_the_batch() -> None:
    x = T.ones(2, 2, requires_grad=True)
    for output, vectors in ((x * 2, T.ones(2, 2)), (x.sum(), T.ones(2, 1))):
        with pytest.raises(RuntimeError, match="If `is_grads_batched=True`, we interpret the first"):
            T.autograd.grad(output, x, vectors, is_grads_batched=True)
    with pytest.raises(ValueError, match=r"in_dim|grad_output"):
        T.autograd.grad(x.sum(), x, is_grads_batched=True)


# ---- inputs by name


def test_inputs_in_a_dictionary() -> None:
    x, y = leaf(), leaf()
    z = (x**2 + y).sum()
    got = T.autograd.grad(z, {"x": x, "y": y}, retain_graph=True)
    assert type(got) is dict
    assert {name: g.tolist() for name, g in got.items()} == {"x": (2 * x).tolist(), "y": [1.0, 1.0]}
    z.backward(inputs={0: x}, retain_graph=True)
    assert x.grad.tolist() == (2 * x).tolist()
    assert y.grad is None
    T.autograd.backward(z, inputs={"y": y})
    assert T.autograd.grad(y.sum(), y)[0].tolist() == y.grad.tolist() == [1.0, 1.0]  # type: ignore[attr-defined]
    got = T.autograd.grad((x * 2).sum(), {"x": x, "y": y}, allow_unused=True)
    assert got["y"] is None
    got = T.autograd.grad((x * 2).sum(), {"x": x, "y": y}, materialize_grads=True)
    assert got["y"].tolist() == [0.0, 0.0]


def test_dictionaries_of_inputs_must_be_plain_and_not_empty() -> None:
    x = leaf()
    with pytest.raises(TypeError, match="must be a dict"):
        T.autograd.grad(x.sum(), OrderedDict(x=x))
    with pytest.raises(RuntimeError, match="cannot be empty"):
        T.autograd.grad(x.sum(), {})
    with pytest.raises(RuntimeError, match="cannot be empty"):
        x.sum().backward(inputs={})


# ---- layouts of gradients


def test_the_layout_of_a_gradient_may_be_left_as_it_comes() -> None:
    class Ones(T.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return T.ones(3, 4)

    x = T.rand(4, 3).t().requires_grad_()

    def strides() -> Any:
        x.grad = None
        Ones.apply(x).backward()
        return x.grad.stride()

    policy = T.autograd.enforce_grad_layout_policy
    assert strides() == (1, 3)
    with policy(False):
        assert strides() == (4, 1)
    assert strides() == (1, 3)
    policy(False)
    assert strides() == (4, 1)
    policy(True)
    assert policy(False)(strides)() == (4, 1)
    assert strides() == (1, 3)


# ---- what is kept


def test_a_second_pass_needs_retain_graph() -> None:
    x = leaf()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0, 12.0]
    call: Any
    for call in (lambda: y.backward(), lambda: T.autograd.grad(y, x)):
        with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
            call()


def test_a_second_pass_over_what_saves_nothing() -> None:
    x = leaf()
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_graph_shared_by_two_roots_is_freed_by_the_first() -> None:
    x = leaf()
    h = x * x
    a, b = h.sum(), (h * 2).sum()
    a.backward()
    with pytest.raises(RuntimeError, match="second time"):
        b.backward()


def test_parts_that_were_not_visited_stay() -> None:
    x, w = leaf(), leaf()
    h = x * w
    k = w * w
    out = (h + k).sum()
    T.autograd.grad(out, x, retain_graph=False)
    (g,) = T.autograd.grad(k.sum(), w)
    assert g.tolist() == [4.0, 6.0]


def test_create_graph_keeps_the_graph() -> None:
    x = leaf()
    y = (x * x * x).sum()
    (g,) = T.autograd.grad(y, x, create_graph=True)
    assert g.requires_grad
    y.backward()
    assert x.grad.tolist() == [12.0, 27.0]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_create_graph_without_retain_graph() -> None:
    x = leaf()
    y = (x * x * x).sum()
    (g,) = T.autograd.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match="second time"):
        T.autograd.grad(y, x)
    assert g.requires_grad


def test_backward_with_create_graph_warns_of_the_cycle() -> None:
    T.set_warn_always(True)
    try:
        call: Any
        for call in (
            lambda y: y.backward(create_graph=True),
            lambda y: T.autograd.backward(y, create_graph=True),
        ):
            x = leaf()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call((x * x).sum())
            assert T.is_warn_always_enabled()
            assert any("Using backward() with create_graph=True" in str(w.message) for w in caught)
            assert x.grad.requires_grad
            x.grad = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            T.autograd.grad((x * x).sum(), x, create_graph=True)
        assert caught == []
    finally:
        T.set_warn_always(False)


def test_create_graph_accumulates_out_of_place() -> None:
    x = leaf()
    y = x + 2
    y.backward(T.ones(2), retain_graph=True)
    first = x.grad
    y.backward(T.ones(2), retain_graph=True)
    assert x.grad is first
    assert first.tolist() == [2.0, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y.backward(T.ones(2), create_graph=True)
    assert x.grad is not first
    assert first.tolist() == [2.0, 2.0]
    assert x.grad.tolist() == [3.0, 3.0]
    x.grad = None


def test_gradients_of_gradients() -> None:
    x, y = leaf(), leaf(5.0, 7.0)
    z = x**2 + y * x + y**2
    gx, gy = T.autograd.grad(z.sum(), (x, y), create_graph=True)
    hx, hy = T.autograd.grad((2 * gx + gy).sum(), (x, y))
    assert (hx.tolist(), hy.tolist()) == ([5.0, 5.0], [4.0, 4.0])


def test_non_leaves_as_variables_of_a_loop() -> None:
    x = start = leaf()
    y = leaf(5.0, 7.0)
    for _ in range(3):
        (g,) = T.autograd.grad((x**2 + y * x).sum(), x, create_graph=True)
        x = x + 0.05 * g
    x.sum().backward()
    assert start.grad is not None
    assert y.grad is not None


def test_shards_of_a_pass() -> None:
    leaves = [T.zeros(2, 2, requires_grad=True) for _ in range(6)]
    middle = [one * i + one * one for i, one in enumerate(leaves)]
    loss = sum(v * i for i, v in enumerate(middle)).sum()
    parts: list[Any] = []
    for start in range(0, 6, 2):
        parts.extend(T.autograd.grad(loss, middle[start : start + 2]))
    T.autograd.backward(middle, parts)
    for i, one in enumerate(leaves):
        assert one.grad.tolist() == (i * i * (1 + one)).tolist()


def test_one_output_of_several() -> None:
    x = T.arange(20.0).reshape(10, 2).requires_grad_()
    x.chunk(5)[2].sum().backward()
    assert x.grad[4:6].sum().item() == 4
    assert x.grad.sum().item() == 4
    a, b = T.rand(4, 2, requires_grad=True).chunk(2)
    g = T.tensor([[1.0, 2.0], [3.0, 4.0]])
    ga, gb = T.autograd.grad(a + 2 * b, [a, b], g)
    assert (ga.tolist(), gb.tolist()) == (g.tolist(), (g * 2).tolist())


def test_gradients_are_not_shared_between_leaves() -> None:
    x, y = leaf(), leaf()
    (x + y).backward(T.ones(2))
    x.grad.add_(1)
    assert y.grad.tolist() == [1.0, 1.0]
    assert x.grad.data_ptr() != y.grad.data_ptr()


def test_one_gradient_in_many_places() -> None:
    x, y = T.ones(2, requires_grad=True), T.ones(2, requires_grad=True)
    a, b, c = x + 2, y + 2, x + 2
    add = a + b + c
    for _ in range(4):
        a, b, c = a * 2, b * 2, c * 2
    (add + (a + b + c)).backward(T.ones(2))
    assert x.grad.tolist() == [34.0, 34.0]
    assert y.grad.tolist() == [17.0, 17.0]


def test_empty_gradients() -> None:
    a, b = T.rand(4, 0, requires_grad=True), T.rand(4, 1, requires_grad=True)
    (a + b).sum().backward()
    assert a.grad.shape == (4, 0)
    assert b.grad.tolist() == [[0.0]] * 4


def test_expanded_gradients() -> None:
    v = T.rand(3).expand(3, 3)
    a = T.rand(3, 3, 3, requires_grad=True)
    (g,) = T.autograd.grad(a[0], a, v)
    assert g[0].tolist() == v.tolist()
    assert g[1:].abs().sum().item() == 0
    (g,) = T.autograd.grad(a[1:, 0].diagonal(), a, T.rand([]).expand(2))
    assert g.count_nonzero().item() == 2


def test_backward_inside_no_grad() -> None:
    x = leaf()
    y = (x * x).sum()
    with T.no_grad():
        y.backward()
    assert x.grad.tolist() == [4.0, 6.0]
    assert not x.grad.requires_grad


def test_grad_modes_after_a_pass() -> None:
    x = leaf()
    with T.no_grad():
        assert not T.is_grad_enabled()
    y = (x * x).sum()
    y.backward()
    assert T.is_grad_enabled()


# ---- edges


def test_edges_as_inputs() -> None:
    x = leaf()
    y = x.clone()
    out = (y * 3).sum()
    assert T.autograd.grad(out, edge(y))[0].tolist() == [3.0, 3.0]
    e = GradientEdge(y.grad_fn, y.output_nr)
    y2 = y * 1
    (g,) = T.autograd.grad((y2 * 2).sum(), [e])
    assert g.tolist() == [2.0, 2.0]
    y = leaf() * 1
    old = edge(y)
    y *= 2
    a, b = T.autograd.grad(y.sum(), (old, y))
    assert (a.tolist(), b.tolist()) == ([2.0, 2.0], [1.0, 1.0])


def test_edges_of_several_outputs() -> None:
    x = T.rand(3, requires_grad=True)
    mean = T.var_mean(x)[1]
    out = mean * 2
    assert T.autograd.grad(out, edge(mean))[0].item() == 2


def test_edges_and_materialize_grads() -> None:
    x, y = leaf().clone(), leaf().clone()
    ex, ey = edge(x), edge(y)
    out = x.clone()
    T.autograd.grad(out.sum(), (ex, y), allow_unused=True, materialize_grads=True)
    T.autograd.grad(out.sum(), (x, ey), allow_unused=True)
    with pytest.raises(RuntimeError, match="materialize_grads cannot be used when the given input is a GradientEdge"):
        T.autograd.grad(out.sum(), (x, ey), allow_unused=True, materialize_grads=True)


def test_edges_as_roots() -> None:
    x = leaf()
    y = x.sin().cos().sum()
    out = y.exp()
    e = edge(y)
    (g,) = T.autograd.grad(out, (e,), retain_graph=True)
    (h,) = T.autograd.grad(e, (x,), grad_outputs=(g,), retain_graph=True)
    (want,) = T.autograd.grad(out, x, retain_graph=True)
    assert h.tolist() == want.tolist()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        T.autograd.grad(e, (x,), grad_outputs=T.ones(4), retain_graph=True)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        T.autograd.backward(e, inputs=(x,), grad_tensors=T.ones(4))
    T.autograd.backward((e, out), retain_graph=True)
    (want,) = T.autograd.grad((e, out), x)
    assert x.grad.tolist() == want.tolist()


def test_backward_into_edges() -> None:
    x, y = leaf().clone(), leaf().clone()
    out = x.clone()
    for inputs in ((edge(x), y), (x, y), (x, edge(y)), (edge(x), edge(y))):  # named once, x retains its gradient
        T.autograd.backward(out.sum(), inputs=inputs)
    assert x.grad.tolist() == [3.0, 3.0]
    assert y.grad is None
