"""`autograd.Function`: both styles, everything a context offers, and each misuse."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from importlib import import_module
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function
once_differentiable = import_module(f"{oracle.MODULE}.autograd.function").once_differentiable


def leaf(*values: float) -> Any:
    return T.tensor(values or (1.0, 2.0), requires_grad=True)


class Exp(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y, x)
        ctx.note = 3
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        y, _ = ctx.saved_tensors
        return grad * y


class Scale(Function):
    @staticmethod
    def forward(x: Any, k: float = 2.0) -> Any:
        return x * k

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.k = inputs[1]
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * ctx.k, None


def test_value_and_gradient() -> None:
    x = leaf()
    y = Exp.apply(x)
    assert y.requires_grad
    assert not y.is_leaf
    y.sum().backward()
    assert T.equal(x.grad, x.detach().exp())


def test_the_context_is_the_node() -> None:
    x = leaf()
    y = Exp.apply(x)
    node = y.grad_fn
    assert node is y.grad_fn
    assert type(node).__name__ == node.name() == "ExpBackward"
    assert node.note == 3
    assert node.needs_input_grad == (True,)
    assert node.saved_tensors[1] is x
    assert T.equal(node.saved_tensors[0], y)
    assert isinstance(node, T.autograd.graph.Node)
    assert type(node.next_functions[0][0]).__name__ == "AccumulateGrad"
    assert node.next_functions[0][0].variable is x


def test_printing_names_the_function() -> None:
    assert "grad_fn=<ExpBackward>" in repr(Exp.apply(leaf()))


def test_saved_tensors_are_freed_by_backward() -> None:
    y = Exp.apply(leaf())
    y.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        _ = y.grad_fn.saved_tensors


def test_retain_graph_keeps_saved_tensors() -> None:
    x = leaf()
    y = Exp.apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert T.equal(x.grad, 2 * x.detach().exp())


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_any_order(order: int) -> None:
    x = T.tensor([0.3, -1.0], dtype=T.float64, requires_grad=True)
    y = Exp.apply(x).sum()
    for _ in range(order):
        (g,) = T.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    assert T.allclose(g, x.detach().exp())


def test_setup_context_style_with_defaults_and_keywords() -> None:
    x = leaf()
    Scale.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    Scale.apply(x, k=5.0).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]
    with pytest.raises(TypeError):
        Scale.apply(x, bogus=1)


def test_setup_context_is_not_differentiated() -> None:
    seen = []

    class F(Scale):
        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            seen.append((T.is_grad_enabled(), output.requires_grad))
            ctx.k = inputs[1]

    F.apply(leaf())
    assert seen == [(False, False)]


def test_forward_runs_without_recording_and_backward_as_asked() -> None:
    seen = []

    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            seen.append(T.is_grad_enabled())
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            seen.append(T.is_grad_enabled())
            return grad * 2

    x = leaf()
    y = F.apply(x).sum()
    T.autograd.grad(y, x, retain_graph=True)
    T.autograd.grad(y, x, create_graph=True)
    assert seen == [False, False, True]


def test_arguments_and_outputs_that_are_no_tensors() -> None:
    seen = []

    class F(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, text: str, b: Any, scale: int = 2) -> Any:
            ctx.scale = scale
            return a * b, "text", None, a + b

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            seen.append([g is None for g in grads])
            seen.append(ctx.needs_input_grad)
            return grads[0] * ctx.scale, None, None, None

    a, b = leaf(), T.ones(2)
    out = F.apply(a, "x", b, 3)
    assert out[1] == "text"
    assert out[2] is None
    out[0].sum().backward()
    assert a.grad.tolist() == [3.0, 3.0]
    assert seen == [[False, True, True, False], (True, False, False, False)]


def test_absent_gradients_are_zeros_unless_told() -> None:
    seen: list[Any] = []

    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, materialize: bool) -> Any:
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append(b)
            return a * 2, None

    for materialize in (True, False):
        F.apply(leaf(), materialize)[0].sum().backward()
    assert seen[0].tolist() == [0.0, 0.0]
    assert seen[1] is None


def test_gradients_may_be_none() -> None:
    class F(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            return a * 2, b * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            return None, h

    a, b = leaf(), leaf()
    u, v = F.apply(a, b)
    (u.sum() + v.sum()).backward()
    assert a.grad is None
    assert b.grad.tolist() == [1.0, 1.0]


def returning(make: Any) -> Any:
    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, n: int) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return make(grad)

    return F


MISUSES = {
    "too few": (lambda g: g, "returned an incorrect number of gradients \\(expected 2, got 1\\)"),
    "too many": (lambda g: (g, None, g), "returned an incorrect number of gradients \\(expected 2, got 3\\)"),
    "for a number": (lambda g: (g, g), "returned a gradient different than None at position 2"),
    "a number": (lambda g: (3, None), "expected Variable or None \\(got int\\)"),
    "a list": (lambda g: [g, None], "incorrect number of gradients"),
    "wrong shape": (lambda g: (T.ones(2, 3), None), "returned an invalid gradient at index 0"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_wrong_gradients_are_refused(name: str) -> None:
    make, message = MISUSES[name]
    with pytest.raises(RuntimeError, match=message):
        returning(make).apply(leaf(), 5).sum().backward()


def test_surplus_nones_are_allowed() -> None:
    x = leaf()
    returning(lambda g: (g, None, None, None)).apply(x, 5).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_gradients_are_summed_and_cast_to_their_input() -> None:
    x = leaf()
    returning(lambda g: (g.expand(3, 2), None)).apply(x, 5).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    x = leaf()
    returning(lambda g: (g.double(), None)).apply(x, 5).sum().backward()
    assert x.grad.dtype == T.float32


def test_missing_methods() -> None:
    class NoForward(Function):
        pass

    class NoBackward(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    with pytest.raises(NotImplementedError, match="must implement the forward function"):
        NoForward.apply(leaf())
    with pytest.raises(NotImplementedError, match="either the backward or vjp method"):
        NoBackward.apply(leaf()).sum().backward()
    assert NoBackward.apply(T.ones(2)).tolist() == [2.0, 2.0]


def test_vjp_is_another_name_of_backward() -> None:
    class V(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def vjp(ctx: Any, grad: Any) -> Any:
            return grad * 7

    class Both(V):
        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    x = leaf()
    V.apply(x).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]
    with pytest.raises(RuntimeError, match="Implementing both 'backward' and 'vjp'"):
        Both.apply(leaf()).sum().backward()


def test_functions_are_not_instantiated() -> None:
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        f = Exp()
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        f(leaf())


def test_exceptions_pass_with_their_type() -> None:
    class Boom(Exception):
        pass

    def fail(_: Any) -> Any:
        raise Boom("here")

    with pytest.raises(Boom, match="here"):
        returning(fail).apply(leaf(), 1).sum().backward()

    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            raise Boom("there")

    with pytest.raises(Boom, match="there"):
        F.apply(leaf())
    assert T.is_grad_enabled()


# ---- writing in place


class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, mode: str) -> Any:
        x.mul_(2)
        if mode != "unmarked":
            ctx.mark_dirty(x)
        if mode == "not returned":
            return x * 1
        return (x, x + 1) if mode == "several" else x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * 2, None


def test_a_dirty_input_is_the_output() -> None:
    a = leaf()
    b = a * 1
    before = b._version
    y = Double.apply(b, "")
    assert y is b
    assert b._version == before + 2
    assert b.grad_fn.name() == "DoubleBackward"
    y.sum().backward()
    assert a.grad.tolist() == [2.0, 2.0]


def test_a_dirty_view_rebases_its_base() -> None:
    a = T.ones(4, requires_grad=True)
    b = a * 1
    y = Double.apply(b[:2], "")
    assert b.grad_fn.name() == "torch::autograd::CopySlices"
    b.sum().backward()
    assert a.grad.tolist() == [2.0, 2.0, 1.0, 1.0]
    assert y.tolist() == [2.0, 2.0]


def test_dirty_inputs_must_be_returned() -> None:
    with pytest.raises(RuntimeError, match="marked as dirty during the forward method were not returned"):
        Double.apply(leaf() * 1, "not returned")


def test_a_dirty_leaf_is_refused() -> None:
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        Double.apply(leaf(), "")


def test_a_dirty_view_with_several_outputs_is_refused() -> None:
    with pytest.raises(RuntimeError, match="your Function cannot return more than one Tensor"):
        Double.apply((T.ones(4, requires_grad=True) * 1)[:2], "several")


def test_marking_what_is_no_input_warns() -> None:
    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x + 1
            ctx.mark_dirty(y)
            return y

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    with pytest.warns(UserWarning, match="that was not an input"):
        F.apply(leaf())


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ("mark_dirty", RuntimeError, "mark_dirty can only accept variables, but argument 0 is of type int"),
        ("mark_non_differentiable", RuntimeError, "only accepts variable arguments, but got int"),
        ("save_for_backward", TypeError, "can only save variables, but argument 0 is of type int"),
    ],
)
def test_marking_what_is_no_tensor(method: str, error: type[Exception], message: str) -> None:
    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            getattr(ctx, method)(3)
            return x + 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    with pytest.raises(error, match=message):
        F.apply(leaf())


def test_saved_tensors_notice_writes_in_place() -> None:
    b = leaf() * 2
    y = Exp.apply(b)
    b.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# ---- outputs


def test_outputs_marked_without_gradient() -> None:
    seen: list[Any] = []

    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y, z = x * 2, x * 3
            ctx.mark_non_differentiable(z)
            return y, z, x.argmax()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            seen.extend(grads)
            return grads[0] * 2

    x = leaf()
    y, z, i = F.apply(x)
    assert (y.requires_grad, z.requires_grad, i.requires_grad) == (True, False, False)
    assert z.grad_fn is None
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert len(seen) == 3


class Same(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 5


def test_an_input_returned_becomes_a_view_of_it() -> None:
    x = leaf()
    y = Same.apply(x)
    assert y is not x
    assert y._is_view()
    assert y._base is x
    assert y.grad_fn.name() == "SameBackward"
    assert y.data_ptr() == x.data_ptr()
    y.sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_an_input_returned_without_recording() -> None:
    x = leaf()
    with T.no_grad():
        y = Same.apply(x)
    assert y is not x
    assert not y.requires_grad
    b = T.ones(2)
    assert not Same.apply(b).requires_grad


def test_an_input_returned_may_not_be_overwritten() -> None:
    y = Same.apply(leaf() * 1)
    with pytest.raises(RuntimeError, match="Output 0 of Same is a view and is being modified inplace"):
        y.add_(1)


class Flat(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, several: bool) -> Any:
        ctx.shape = x.shape
        return (x.view(-1), x.view(-1, 1)) if several else x.view(-1)

    @staticmethod
    def backward(ctx: Any, grad: Any, *rest: Any) -> Any:
        return grad.view(ctx.shape) * 3, None


def test_views_of_inputs() -> None:
    x = T.ones(2, 2, requires_grad=True)
    y = Flat.apply(x * 1, False)
    assert y._is_view()
    y.sum().backward()
    assert x.grad.tolist() == [[3.0, 3.0], [3.0, 3.0]]


@pytest.mark.parametrize(
    ("several", "message"), [(False, "created inside a custom Function"), (True, "multiple views")]
)
def test_views_of_inputs_may_not_be_overwritten(several: bool, message: str) -> None:
    y = Flat.apply(T.ones(2, 2, requires_grad=True) * 1, several)
    with pytest.raises(RuntimeError, match=message):
        (y[0] if several else y).add_(1)


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 2 * x

    x = leaf()
    (g,) = T.autograd.grad(Square.apply(x).sum(), x)
    assert g.tolist() == [2.0, 4.0]
    (g,) = T.autograd.grad((Square.apply(x) * x).sum(), x, create_graph=True)
    assert g.requires_grad
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        g.sum().backward()


def test_none_can_be_saved() -> None:
    class F(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, None)
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, nothing = ctx.saved_tensors
            assert nothing is None
            return grad * x

    x = leaf()
    F.apply(x).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_hooks_see_the_gradient() -> None:
    x = leaf()
    y = Exp.apply(x)
    seen: list[str] = []
    y.register_hook(lambda g: seen.append("tensor"))
    y.grad_fn.register_prehook(lambda g: seen.append("pre"))
    y.grad_fn.register_hook(lambda gi, go: seen.append("post"))
    y.sum().backward()
    assert seen == ["tensor", "pre", "post"]


def test_metadata_stays_with_the_node() -> None:
    y = Exp.apply(leaf())
    y.grad_fn.metadata["key"] = 1
    assert y.grad_fn.metadata == {"key": 1}


# ---- cycles


class Token:
    pass


def collected(make: Any) -> bool:
    token = Token()
    alive = weakref.ref(token)
    make(token)
    del token
    gc.collect()
    return alive() is None


def test_cycles_through_the_context_are_collected() -> None:
    def make(token: Token) -> None:
        class F(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.token, ctx.me = token, ctx
                y = x * 2
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                return grad

        y = F.apply(leaf())
        y.grad_fn.result = y

    assert collected(make)


@pytest.mark.rustgrad_only
def test_cycles_through_the_graph_are_collected() -> None:
    def make(token: Token) -> None:
        y = Exp.apply(leaf() * 2)
        z = (y * y).exp()
        y.grad_fn.token = token
        y.grad_fn.end = z

    assert collected(make)


def test_a_context_may_outlive_its_result() -> None:
    y = Exp.apply(leaf())
    ctx = y.grad_fn
    del y
    gc.collect()
    assert ctx.note == 3


def test_forward_alone_leaves_nothing_behind() -> None:
    gc.collect()
    kept = weakref.ref(Exp.apply(leaf()))
    assert kept() is None


def test_pickled_results_are_leaves_only() -> None:
    x = leaf()
    assert pickle.loads(pickle.dumps(x)).requires_grad


def test_no_warning_in_the_normal_case() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Exp.apply(leaf()).sum().backward()


def test_deep_nesting_of_backward_in_backward() -> None:
    class R(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.depth = x.item()
            return x * 1.0

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            if ctx.depth > 0:
                with T.enable_grad():
                    x = T.tensor(ctx.depth - 1, requires_grad=True)
                    R.apply(x).backward()
                return x.grad
            return grad * 3

    x = T.tensor(1000.0, requires_grad=True)
    R.apply(x).backward()
    assert x.grad.item() == 3.0


def test_errors_of_a_nested_pass_reach_the_outer_one() -> None:
    class R(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.depth = x.item()
            return x * 1.0

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            if ctx.depth == 0:
                raise ValueError("at the bottom")
            with T.enable_grad():
                x = T.tensor(ctx.depth - 1, requires_grad=True)
                R.apply(x).backward()
            return x.grad

    with pytest.raises(ValueError, match="at the bottom"):
        R.apply(T.tensor(100.0, requires_grad=True)).backward()
    assert T.is_grad_enabled()
