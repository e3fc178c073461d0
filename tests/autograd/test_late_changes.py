"""Writes in place, modes and leaves after the fact: what a random program found to differ once."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T: Any = oracle.T
F: Any = T.nn.functional


def test_gradient_of_a_narrow_tensor_to_which_a_wide_one_was_added() -> None:
    wide = T.ones(3, dtype=T.float64, requires_grad=True)
    narrow = T.ones(3, requires_grad=True).clone()
    narrow.add_(wide)
    (grad,) = T.autograd.grad(narrow.sum(), narrow, retain_graph=True)
    assert grad.dtype == T.float32
    seen = []
    narrow.register_hook(lambda g: seen.append(g.dtype))
    (narrow * 2).sum().backward()
    assert seen == [T.float32]
    assert wide.grad.dtype == T.float64
    assert wide.grad.tolist() == [2.0] * 3


@pytest.mark.parametrize("name", ["sigmoid_", "tanh_", "exp_", "sqrt_", "reciprocal_"])
def test_second_derivative_through_a_view_that_saved_its_result(name: str) -> None:
    x = T.tensor([0.3, 0.7, 1.1], dtype=T.float64, requires_grad=True)

    def through_view(x: Any) -> Any:
        base = x.clone()
        getattr(base[:2], name)()
        return base

    def plain(x: Any) -> Any:
        return T.cat([getattr(x[:2].clone(), name[:-1])(), x[2:]])

    (g,) = T.autograd.grad(through_view(x).square().sum(), x, create_graph=True)
    (want,) = T.autograd.grad(plain(x).square().sum(), x, create_graph=True)
    assert T.allclose(g, want)
    assert T.allclose(T.autograd.grad(g.square().sum(), x)[0], T.autograd.grad(want.square().sum(), x)[0])
    assert T.autograd.gradgradcheck(through_view, (x,))


def test_hooks_on_a_view_that_has_no_history_any_more() -> None:
    base = T.ones(2, requires_grad=True).clone()
    part, _ = base.unbind(0)
    base.mul_(2)
    with pytest.raises(RuntimeError, match="returns multiple views"):
        part.register_hook(lambda g: g)
    with pytest.raises(RuntimeError, match="returns multiple views"):
        part.retain_grad()


@pytest.mark.parametrize("how", ["fill", "item", "tensor"])
def test_gradient_of_a_write_into_an_expanded_view_is_refused(how: str) -> None:
    x = T.ones(1, 2, requires_grad=True)
    base = x.clone()
    wide = base.expand(2, 2)
    if how == "fill":
        wide.fill_(3)
    elif how == "item":
        wide[:, 1] = 0.5
    else:
        wide.masked_fill_(wide.detach() > 0, 1.0)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        base.sum().backward()


def test_a_leaf_that_wants_no_gradient_any_more_gets_none() -> None:
    x, y = T.ones(2, requires_grad=True), T.ones(2, requires_grad=True)
    loss = (x * y).sum()
    x.requires_grad_(False)
    loss.backward()
    assert x.grad is None
    assert y.grad.tolist() == [1.0, 1.0]


def test_rows_of_iteration_are_views_of_one_operation() -> None:
    x = T.ones(2, 2, requires_grad=True).clone()
    first, second = x
    assert first.grad_fn.name() == "UnbindBackward0"
    assert first.grad_fn is second.grad_fn
    with pytest.raises(RuntimeError, match="returns multiple views"):
        first.mul_(2)


@pytest.mark.parametrize("name", ["unsafe_split", "unsafe_chunk"])
def test_unsafe_parts_are_no_views(name: str) -> None:
    x = T.ones(4, requires_grad=True)
    base = x.clone()
    first, second = getattr(T, name)(base, 2)
    assert first.grad_fn.name() == "UnsafeSplitBackward0"
    assert not first._is_view()
    first.mul_(3)
    assert (first._version, second._version, base._version) == (1, 0, 0)
    (first.sum() + second.sum()).backward()
    assert x.grad.tolist() == [3.0, 3.0, 1.0, 1.0]


def test_marking_dirty_counts_as_a_write() -> None:
    class Same(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    for x in (T.ones(2), T.ones(2)[:1], T.ones(2, requires_grad=True).clone()):
        Same.apply(x)
        assert x._version == 1


@pytest.mark.parametrize("name", ["relu_", "elu_", "selu_", "celu_", "leaky_relu_", "hardtanh_"])
def test_activations_in_place(name: str) -> None:
    x = T.tensor([-2.0, -0.5, 0.5, 2.0], dtype=T.float64, requires_grad=True)
    y = x.clone()
    assert getattr(F, name)(y) is y
    want = getattr(F, name[:-1])(x)
    assert T.equal(y, want)
    assert T.allclose(T.autograd.grad(y.sum(), x)[0], T.autograd.grad(want.sum(), x)[0])


def test_threshold_in_place() -> None:
    y = T.tensor([-1.0, 2.0])
    F.threshold_(y, 0.0, 7.0)
    assert y.tolist() == [7.0, 2.0]


def test_numbers_keep_their_digits_beside_float64() -> None:
    for x in (T.tensor(1.0, dtype=T.float64), T.ones(1, dtype=T.float64)):
        assert x.add(0.04, alpha=0.5).item() == 1.02
        assert x.clone().sub_(0.04, alpha=0.5).item() == 0.98
        assert T.rsub(x, 0.04, alpha=0.5).item() == pytest.approx(-0.46, abs=1e-15)
        assert x.xlogy(0.04).item() == pytest.approx(-3.2188758248682006, abs=1e-15)


def test_out_may_require_a_gradient_where_nothing_is_recorded() -> None:
    out = T.zeros(2, requires_grad=True)
    with T.no_grad():
        T.mul(T.ones(2), T.ones(2), out=out)
    assert out.tolist() == [1.0, 1.0]
    assert out.requires_grad
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        T.mul(T.ones(2), T.ones(2), out=out)


def test_second_derivative_of_elu_where_its_branches_meet() -> None:
    for function in (F.elu, F.selu, F.celu):
        x = T.zeros(1, dtype=T.float64, requires_grad=True)
        (g,) = T.autograd.grad(function(x), x, create_graph=True)
        assert T.autograd.grad(g, x)[0].item() == 0.0


@pytest.mark.parametrize("name", ["tanhshrink", "softsign"])
def test_shrinking_functions_keep_what_torchs_keep(name: str) -> None:
    x = T.ones(3, requires_grad=True).clone()
    y = getattr(F, name)(x)
    if name == "tanhshrink":
        assert y.grad_fn.next_functions[1][0].name() == "TanhBackward0"
        x.mul_(2)  # not what was saved
        y.sum().backward()
    else:
        assert y.grad_fn.next_functions[1][0].name() == "AddBackward0"


def test_small_misuses() -> None:
    x = T.ones(2, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda _: "text")
    with pytest.raises(TypeError, match="expected Variable, but hook returned 'str'"):
        (x * 2).sum().backward()
    with pytest.raises(RuntimeError, match=r"Iterable\[Tensor\]"):
        T.autograd.graph.increment_version(3)
    with pytest.raises(TypeError, match="repeats"):
        x.repeat()

    class Mark(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(1)
            return x * 2

    with pytest.raises(TypeError):
        Mark.apply(x)


def test_modes_can_be_copied() -> None:
    mode = T.set_grad_enabled(True)
    assert mode.clone().mode is True
    assert T.inference_mode(False).clone().mode is False
    with T.no_grad().clone():
        assert not T.is_grad_enabled()


def test_a_constant_that_became_a_leaf_after_it_was_saved() -> None:
    x = T.tensor([2.0, 3.0], dtype=T.float64, requires_grad=True)
    constant = T.tensor([5.0, 7.0], dtype=T.float64)
    y = x * constant
    constant.requires_grad_()
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    assert g.requires_grad
    g.sum().backward()
    assert constant.grad.tolist() == [1.0, 1.0]


def test_what_shares_memory_with_a_saved_constant_is_not_that_constant() -> None:
    x = T.ones(2, requires_grad=True)
    constant = T.tensor([5.0, 7.0])
    y = x * constant
    other = constant.detach().requires_grad_()
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    assert not g.requires_grad
    assert other.grad is None


def test_a_saved_constant_of_a_custom_function_that_became_a_leaf() -> None:
    class Product(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, c: Any) -> Any:
            ctx.save_for_backward(c)
            return x * c

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (c,) = ctx.saved_tensors
            return grad * c, None

    x, constant = T.ones(2, requires_grad=True), T.tensor([5.0, 7.0])
    y = Product.apply(x, constant)
    constant.requires_grad_()
    assert y.grad_fn.saved_tensors[0] is constant
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    assert constant.grad.tolist() == [1.0, 1.0]


def test_warnings_that_torch_gives() -> None:
    x = T.ones((), requires_grad=True)
    with pytest.warns(UserWarning, match="Converting a tensor with requires_grad=True to a scalar"):
        float(x)
    for text, name in (("std", "std"), ("var", "var"), ("var_mean", "var_mean")):
        with pytest.warns(UserWarning, match=rf"{text}\(\): degrees of freedom is <= 0"):
            getattr(T, name)(T.ones(1))
    with pytest.warns(UserWarning, match="degrees of freedom"):
        T.ones(2, 3).std(0, correction=2)


@pytest.mark.rustgrad_only  # torch gives these once in the life of a process
def test_warnings_that_torch_gives_once() -> None:
    with pytest.warns(UserWarning, match=r"The use of `x\.T` on tensors of dimension other than 2"):
        _ = T.ones(2, 2, 2).T
    with pytest.warns(UserWarning, match="required to pass the indexing argument"):
        T.meshgrid(T.ones(2), T.ones(2))
    with pytest.warns(UserWarning, match="deprecated on 0-D tensors"):
        _ = T.ones(()).T
