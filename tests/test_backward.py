"""``backward`` and ``autograd.grad``: arguments, accumulation, leaves, modes, in-place safety, higher order."""

from __future__ import annotations

from typing import Any

import pytest
from oracle import T


def leaf(*numbers: float) -> Any:
    """Make a float64 leaf that requires grad."""
    return T.tensor(list(numbers), dtype=T.float64, requires_grad=True)


class TestArguments:
    """What ``backward`` and ``grad`` take and refuse."""

    def test_scalar(self) -> None:
        x = leaf(1.0, 2.0)
        assert (x * x).sum().backward() is None
        assert x.grad.tolist() == [2.0, 4.0]

    def test_one_element_of_any_shape_counts_as_scalar(self) -> None:
        x = T.ones(1, 1, requires_grad=True)
        (x * 3).backward()
        assert x.grad.tolist() == [[3.0]]

    def test_vector_needs_a_gradient(self) -> None:
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="scalar"):
            (x * x).backward()
        (x * x).backward(T.tensor([1.0, 10.0], dtype=T.float64))
        assert x.grad.tolist() == [2.0, 40.0]

    def test_gradient_by_keyword(self) -> None:
        x = leaf(1.0, 2.0)
        (x * 2).backward(gradient=T.ones(2, dtype=T.float64))
        assert x.grad.tolist() == [2.0, 2.0]

    def test_gradient_of_another_shape_is_refused(self) -> None:
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="shape"):
            (x * 2).backward(T.ones(3, dtype=T.float64))

    def test_no_graph(self) -> None:
        with pytest.raises(RuntimeError, match="does not require grad"):
            T.ones(1).backward()
        with T.no_grad():
            y = leaf(1.0) * 2
        with pytest.raises(RuntimeError, match="does not require grad"):
            y.backward()

    def test_backward_on_a_leaf(self) -> None:
        x = leaf(1.0)
        x.backward()
        assert x.grad.tolist() == [1.0]

    def test_inputs_limits_who_gets_a_gradient(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        (x * y).sum().backward(inputs=[x])
        assert x.grad.tolist() == [3.0]
        assert y.grad is None

    def test_inputs_of_an_inner_tensor(self) -> None:
        x = leaf(2.0)
        y = x * 3
        z = (y * y).sum()
        assert T.autograd.grad(z, y)[0].tolist() == [12.0]

    def test_inputs_must_not_be_empty(self) -> None:
        with pytest.raises(RuntimeError, match="empty"):
            leaf(1.0).sum().backward(inputs=[])

    def test_grad_returns_a_tuple_and_leaves_grad_alone(self) -> None:
        x, y = leaf(2.0), leaf(3.0)
        result = T.autograd.grad((x * y).sum(), [x, y])
        assert isinstance(result, tuple)
        assert [entry.tolist() for entry in result] == [[3.0], [2.0]]
        assert x.grad is None

    def test_grad_of_several_outputs(self) -> None:
        x = leaf(2.0)
        (result,) = T.autograd.grad([(x * x).sum(), (3 * x).sum()], x)
        assert result.tolist() == [7.0]
        (result,) = T.autograd.grad([x * x, 3 * x], x, grad_outputs=[T.ones_like(x), 2 * T.ones_like(x)])
        assert result.tolist() == [10.0]

    def test_unused(self) -> None:
        x, y = leaf(1.0), leaf(1.0)
        with pytest.raises(RuntimeError, match="not have been used"):
            T.autograd.grad(x.sum(), [x, y])
        assert T.autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None
        assert T.autograd.grad(x.sum(), [x, y], materialize_grads=True)[1].tolist() == [0.0]

    def test_input_that_does_not_require_grad(self) -> None:
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match="not require grad"):
            T.autograd.grad((x * 2).sum(), T.ones(1))


class TestTwice:
    """Running over one graph again."""

    def test_second_time_is_refused(self) -> None:
        x = leaf(1.0)
        y = (x * x).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()

    def test_retain_graph(self) -> None:
        x = leaf(1.0)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.tolist() == [4.0]
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()

    def test_graph_without_saved_tensors_may_run_again(self) -> None:
        x = leaf(1.0)
        y = (x + 1).sum()
        y.backward()
        y.backward()
        assert x.grad.tolist() == [2.0]

    def test_shared_part(self) -> None:
        x = leaf(2.0)
        shared = x * x
        shared.sum().backward()
        with pytest.raises(RuntimeError, match="second time"):
            (shared * 3).sum().backward()


class TestAccumulation:
    """How gradients meet."""

    def test_into_grad(self) -> None:
        x = leaf(1.0, 2.0)
        for _ in range(3):
            (x * x).sum().backward()
        assert x.grad.tolist() == [6.0, 12.0]

    def test_into_the_same_grad_tensor(self) -> None:
        x = leaf(1.0)
        (2 * x).sum().backward()
        first = x.grad
        (2 * x).sum().backward()
        assert x.grad is first or x.grad.data_ptr() == first.data_ptr()
        assert first.tolist() == [4.0]

    def test_grad_is_one_object(self) -> None:
        x = leaf(1.0)
        x.sum().backward()
        assert x.grad is x.grad

    def test_user_gradient_is_not_kept_by_reference(self) -> None:
        x = leaf(1.0, 1.0)
        given = T.ones(2, dtype=T.float64)
        (x * 1).backward(given)
        (x * 1).backward(given)
        assert given.tolist() == [1.0, 1.0]

    def test_many_uses(self) -> None:
        x = leaf(3.0)
        y = x
        for _ in range(10):
            y = y + x
        y.sum().backward()
        assert x.grad.tolist() == [11.0]

    def test_diamond(self) -> None:
        x = leaf(3.0)
        a = x * 2
        (a * a + a * x + x).sum().backward()
        assert x.grad.tolist() == [24.0 + 12.0 + 1.0]

    def test_broadcast_sums_out(self) -> None:
        x, y = T.ones(3, 1, requires_grad=True), T.ones(4, requires_grad=True)
        (x * y * T.ones(2, 3, 4)).sum().backward()
        assert x.grad.shape == (3, 1)
        assert y.grad.shape == (4,)
        assert (x.grad == 8.0).all()
        assert y.grad.tolist() == [6.0] * 4

    def test_grad_has_the_dtype_of_the_leaf(self) -> None:
        x = T.ones(2, requires_grad=True)
        (x.double() * 2).sum().backward()
        assert x.grad.dtype is T.float32
        y = T.ones(2, requires_grad=True)
        (y + T.ones(2, dtype=T.float64)).sum().backward()
        assert y.grad.dtype is T.float32

    def test_set_grad(self) -> None:
        x = leaf(1.0)
        x.grad = T.tensor([5.0], dtype=T.float64)
        x.sum().backward()
        assert x.grad.tolist() == [6.0]
        x.grad = None
        assert x.grad is None
        with pytest.raises(RuntimeError):
            x.grad = T.ones(3, dtype=T.float64)
        with pytest.raises(TypeError):
            x.grad = 1.0

    def test_zero_grad_in_place(self) -> None:
        x = leaf(1.0)
        x.sum().backward()
        x.grad.zero_()
        (3 * x).sum().backward()
        assert x.grad.tolist() == [3.0]


class TestLeaves:
    """is_leaf, grad_fn, requires_grad, retain_grad, detach."""

    def test_leaf_flags(self) -> None:
        x = leaf(1.0)
        y = x * 2
        assert (x.is_leaf, y.is_leaf, x.detach().is_leaf, T.ones(1).is_leaf) == (True, False, True, True)
        assert x.grad_fn is None
        assert y.requires_grad
        assert not (T.ones(1) * 2).requires_grad

    def test_integers_never_require_grad(self) -> None:
        with pytest.raises(RuntimeError):
            T.tensor([1]).requires_grad_()
        x = leaf(1.0)
        assert not (x > 0).requires_grad
        assert not x.long().requires_grad
        assert not x.argmax().requires_grad

    def test_requires_grad_(self) -> None:
        x = T.ones(2)
        assert x.requires_grad_() is x
        assert x.requires_grad
        x.requires_grad_(False)
        assert not x.requires_grad
        x.requires_grad = True
        assert (x * 2).requires_grad
        y = x * 2
        with pytest.raises(RuntimeError):
            y.requires_grad_(False)

    def test_retain_grad(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        assert y.retains_grad
        (y * y).sum().backward()
        assert y.grad.tolist() == [12.0]
        assert x.grad.tolist() == [36.0]

    def test_detach(self) -> None:
        x = leaf(2.0)
        y = (x * x).detach()
        assert not y.requires_grad
        assert y.grad_fn is None
        z = x.detach()
        z[0] = 5.0
        assert x.tolist() == [5.0]

    def test_detach_in_place(self) -> None:
        x = leaf(2.0)
        y = x * x
        assert y.detach_() is y
        assert not y.requires_grad
        assert y.is_leaf

    def test_clone_passes_gradients(self) -> None:
        x = leaf(2.0)
        (x.clone() * 3).sum().backward()
        assert x.grad.tolist() == [3.0]

    def test_next_functions(self) -> None:
        x = leaf(2.0)
        y = (x * 2).exp()
        assert y.grad_fn.name() == "ExpBackward0"
        assert y.grad_fn.next_functions[0][0].name() == "MulBackward0"
        assert "AccumulateGrad" in y.grad_fn.next_functions[0][0].next_functions[0][0].name()


NAMES = {
    "x + 1": "Add", "x - 1": "Sub", "2 - x": "Rsub", "x * 2": "Mul", "x / 2": "Div", "-x": "Neg", "x ** 2": "Pow",
    "x.exp()": "Exp", "x.log()": "Log", "x.sin()": "Sin", "x.cos()": "Cos", "x.tanh()": "Tanh", "x.sigmoid()": "Sigmoid", "x.relu()": "Relu",
    "x.abs()": "Abs", "x.sqrt()": "Sqrt", "x.clamp(0, 1)": "Clamp", "x.sum()": "Sum", "x.sum(0)": "Sum1", "x.mean()": "Mean", "x.mean(0)": "Mean1",
    "x.prod()": "Prod", "x.max()": "Max", "x.min()": "Min", "x.max(0).values": "Max0", "x.amax(0)": "Amax", "x.var()": "Var", "x.std()": "Std",
    "x.norm()": "LinalgVectorNorm", "x.logsumexp(0)": "Logsumexp", "x.softmax(0)": "Softmax", "x.log_softmax(0)": "LogSoftmax", "x.cumsum(0)": "Cumsum",
    "x @ x": "Mm", "x.mm(x)": "Mm", "x.mv(x[0])": "Mv", "x[0].dot(x[1])": "Dot", "T.maximum(x, x)": "Maximum", "T.where(x > 0, x, 0)": "Where",
    "x.reshape(4)": "View", "x.view(4)": "View", "x.t()": "T", "x.permute(1, 0)": "Permute", "x.transpose(0, 1)": "Transpose", "x.expand(3, 2, 2)": "Expand",
    "x.squeeze()": "Squeeze", "x.unsqueeze(0)": "Unsqueeze", "x[0]": "Select", "x[0:1]": "Slice", "x[[0]]": "Index", "T.cat([x, x])": "Cat",
    "T.stack([x, x])": "Stack", "x.flip(0)": "Flip", "x.gather(0, T.zeros(1, 2, dtype=T.int64))": "Gather", "x.clone()": "Clone", "x.double()": "ToCopy",
    "x.masked_fill(x > 0, 1)": "MaskedFill", "x.index_select(0, T.tensor([0]))": "IndexSelect", "x.sort().values": "Sort", "x.topk(1).values": "Topk",
    "x.unbind()[0]": "Unbind", "x.split(1)[0]": "Split",
}  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_grad_fn_names(text: str) -> None:
    """``grad_fn`` shows the name that torch shows."""
    x = T.rand(2, 2, requires_grad=True)
    stem = NAMES[text]
    ends_in_one = stem in ("Max", "Min", "Sum1", "Mean1", "Rsub", "Clamp")
    name = eval(text, {"T": T, "x": x}).grad_fn.name()
    assert name == f"{stem.rstrip('01')}Backward{int(ends_in_one)}"


class TestModes:
    """no_grad, enable_grad, set_grad_enabled."""

    def test_no_grad(self) -> None:
        x = leaf(1.0)
        with T.no_grad():
            assert not T.is_grad_enabled()
            assert not (x * 2).requires_grad
            with T.enable_grad():
                assert (x * 2).requires_grad
            assert not T.is_grad_enabled()
        assert (x * 2).requires_grad

    def test_decorators(self) -> None:
        x = leaf(1.0)

        @T.no_grad()  # type: ignore[untyped-decorator]
        def quiet(value: Any) -> Any:
            return value * 2

        assert not quiet(x).requires_grad
        assert T.is_grad_enabled()

    def test_set_grad_enabled(self) -> None:
        x = leaf(1.0)
        with T.set_grad_enabled(False):
            assert not (x * 2).requires_grad
        T.set_grad_enabled(False)
        assert not (x * 2).requires_grad
        T.set_grad_enabled(True)
        assert (x * 2).requires_grad

    def test_restored_after_an_exception(self) -> None:
        with pytest.raises(KeyError), T.no_grad():
            raise KeyError
        assert T.is_grad_enabled()

    def test_leaf_may_be_updated_without_grad(self) -> None:
        x = leaf(1.0)
        x.sum().backward()
        with T.no_grad():
            x -= 0.5 * x.grad
        assert x.tolist() == [0.5]
        assert x.is_leaf
        assert x.requires_grad


class TestInPlace:
    """In-place operations, versions and views."""

    def test_leaf_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="leaf"):
            leaf(1.0).add_(1)
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="leaf"):
            x[0:1].mul_(2)

    def test_recorded(self) -> None:
        x = leaf(2.0)
        y = x * 3
        y.mul_(2)
        y += x
        y.sum().backward()
        assert x.grad.tolist() == [7.0]

    def test_saved_input_overwritten(self) -> None:
        x = leaf(2.0)
        y = x * 3
        z = y * y
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()

    def test_saved_output_overwritten(self) -> None:
        x = leaf(2.0)
        y = x.exp()
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_unsaved_may_be_overwritten(self) -> None:
        x = leaf(2.0)
        y = x + 3
        z = y + 1
        y.mul_(5)
        (z + y).sum().backward()
        assert x.grad.tolist() == [6.0]

    def test_detached_alias_counts(self) -> None:
        x = leaf(2.0)
        y = x * 3
        z = y * y
        y.detach().zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()

    def test_view_overwritten_counts_for_the_base(self) -> None:
        x = leaf(2.0, 3.0)
        y = x * 1
        z = y * y
        y[0].zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()

    def test_no_grad_overwrite_counts(self) -> None:
        x = leaf(2.0)
        y = x * x
        with T.no_grad():
            x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_versions(self) -> None:
        x = T.ones(2)
        before = x._version
        x.add_(1)
        x[0] = 3
        x.view(2, 1).mul_(2)
        assert x._version - before == 3

    def test_write_through_view(self) -> None:
        x = leaf(1.0, 2.0, 3.0)
        y = x * 1
        v = y[1:]
        v.mul_(10)
        (y * T.tensor([1.0, 2.0, 3.0], dtype=T.float64)).sum().backward()
        assert x.grad.tolist() == [1.0, 20.0, 30.0]

    def test_write_to_base_seen_by_view(self) -> None:
        x = leaf(1.0, 2.0)
        y = x * 1
        v = y[0]
        y.mul_(3)
        assert v.item() == 3.0
        v.backward()
        assert x.grad.tolist() == [3.0, 0.0]

    def test_view_of_view(self) -> None:
        x = T.arange(6.0, requires_grad=True)
        y = (x * 1).reshape(2, 3)
        y.t()[0].zero_()
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]

    def test_leaf_written_into_plain_memory(self) -> None:
        x = leaf(2.0)
        buffer = T.zeros(3, dtype=T.float64)
        buffer[1] = x[0] * 5
        assert buffer.requires_grad
        buffer.sum().backward()
        assert x.grad.tolist() == [5.0]

    def test_multi_view_outputs_refuse(self) -> None:
        x = leaf(1.0, 2.0)
        part = (x * 1).unbind()[0]
        with pytest.raises(RuntimeError):
            part.mul_(2)


class TestHigherOrder:
    """Derivatives of derivatives."""

    def test_powers(self) -> None:
        x = leaf(2.0)
        value = (x**5).sum()
        for want in (80.0, 160.0, 240.0, 240.0, 120.0, 0.0):
            (value,) = T.autograd.grad(value.sum(), x, create_graph=True)
            assert value.item() == pytest.approx(want)

    def test_sine(self) -> None:
        x = leaf(0.3, 1.1)
        value = x.sin()
        for _ in range(8):
            (value,) = T.autograd.grad(value.sum(), x, create_graph=True)
        assert T.allclose(value, x.sin())

    def test_backward_create_graph(self) -> None:
        x = leaf(3.0)
        grad = T.autograd.grad((x**3).sum(), x, create_graph=True)[0]
        assert grad.requires_grad
        grad.sum().backward()
        assert x.grad.tolist() == [18.0]

    def test_without_create_graph(self) -> None:
        x = leaf(3.0)
        grad = T.autograd.grad((x**3).sum(), x)[0]
        assert not grad.requires_grad

    def test_gradient_penalty(self) -> None:
        w = T.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=T.float64, requires_grad=True)
        x = leaf(0.5, -0.5)
        out = (w @ x).tanh().sum()
        (gx,) = T.autograd.grad(out, x, create_graph=True)
        (gx**2).sum().backward()
        step = 1e-6
        moved = w.detach().clone()
        moved[0, 1] += step

        def penalty(weight: Any) -> float:
            (g,) = T.autograd.grad((weight @ x).tanh().sum(), x)
            return float((g**2).sum())

        assert w.grad[0, 1].item() == pytest.approx((penalty(moved) - penalty(w.detach())) / step, rel=1e-4)

    def test_hessian_vector_product(self) -> None:
        x = leaf(1.0, 2.0, 3.0)
        v = T.tensor([1.0, 0.0, -1.0], dtype=T.float64)
        (g,) = T.autograd.grad((x**3).sum() + x.prod(), x, create_graph=True)
        (hv,) = T.autograd.grad((g * v).sum(), x)
        assert hv.tolist() == pytest.approx([6 - 2, 3 - 1, 2 - 18])


def test_memory_is_released_without_backward() -> None:
    """A graph dropped without backward, and one in a cycle-free chain, leaves the leaf usable."""
    x = leaf(1.0)
    for _ in range(100):
        y = x * 2
        del y
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0]


def test_zero_size_graph() -> None:
    """Empty tensors go through backward."""
    x = T.zeros(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.shape == (0, 3)
