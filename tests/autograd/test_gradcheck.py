"""gradcheck and gradgradcheck: right and wrong gradients, each parameter, each message."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import oracle
import pytest

T: Any = oracle.T
gradcheck: Any = T.autograd.gradcheck
gradgradcheck: Any = T.autograd.gradgradcheck
GradcheckError: Any = importlib.import_module(f"{oracle.MODULE}.autograd.gradcheck").GradcheckError
Function: Any = T.autograd.Function

both = pytest.mark.parametrize("fast_mode", [False, True])


def numbers(*shape: int) -> Any:
    count = 1
    for size in shape:
        count *= size
    return (T.arange(count, dtype=T.float64) * 0.37 + 0.1).sin().reshape(shape).requires_grad_()


def wrong(factor: Callable[[], float], forward: float = 2.0) -> Any:
    """Make a function that multiplies, with another factor in its gradient."""

    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * forward

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * factor()

    return Wrong.apply


@both
def test_right_gradients(fast_mode: bool) -> None:
    x, w = numbers(3, 4), numbers(4, 2)
    assert gradcheck(lambda x, w: (x @ w).tanh(), (x, w), fast_mode=fast_mode) is True
    assert gradcheck(lambda x, w: (x @ w, x.sum(0), w.exp()), [x, w], fast_mode=fast_mode)
    assert gradcheck(T.sin, x, fast_mode=fast_mode)
    assert gradgradcheck(lambda x, w: (x @ w).tanh(), (x, w), fast_mode=fast_mode) is True
    assert gradgradcheck(lambda x, w: (x @ w, (x * x).sum(0)), (x, w), fast_mode=fast_mode)


@both
def test_shapes(fast_mode: bool) -> None:
    for shape in ((), (1,), (2, 1, 3)):
        assert gradcheck(lambda x: x.exp() * x, numbers(*shape), fast_mode=fast_mode)
    assert gradcheck(lambda x: (x.sum(), x), numbers(0, 3))


@both
def test_inputs_that_are_not_differentiated(fast_mode: bool) -> None:
    x, c = numbers(3), numbers(3).detach()
    assert gradcheck(lambda x, c, k: x * c * k, (x, c, 3.0), fast_mode=fast_mode)
    assert gradcheck(lambda c, x: x * c, (c, x), fast_mode=fast_mode)
    assert gradgradcheck(lambda c, x: x * x * c, (c, x), fast_mode=fast_mode)
    assert not c.requires_grad


@both
def test_an_input_without_influence(fast_mode: bool) -> None:
    assert gradcheck(lambda x, y: x * 2, (numbers(3), numbers(2)), fast_mode=fast_mode)


@both
def test_inputs_come_back_unchanged(fast_mode: bool) -> None:
    x = numbers(3)
    before, version = x.tolist(), x._version
    gradcheck(T.exp, x, fast_mode=fast_mode)
    gradgradcheck(T.exp, x, fast_mode=fast_mode)
    assert x.tolist() == before
    assert x._version == version
    assert x.grad is None


@both
def test_wrong_gradients(fast_mode: bool) -> None:
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0,") as caught:
        gradcheck(wrong(lambda: 3.0), numbers(2), fast_mode=fast_mode)
    assert "numerical:" in str(caught.value)
    assert "analytical:" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    if fast_mode:
        assert "The max per-element difference (slow mode) is: 1.0" in str(caught.value)
    else:
        assert "numerical:tensor([[2.0000, 0.0000],\n" in str(caught.value)
        assert "analytical:tensor([[3., 0.],\n" in str(caught.value)
    assert gradcheck(wrong(lambda: 3.0), numbers(2), fast_mode=fast_mode, raise_exception=False) is False


@both
def test_the_message_names_output_and_input(fast_mode: bool) -> None:
    bad = wrong(lambda: 3.0)
    with pytest.raises(GradcheckError, match="mismatch for output 1 with respect to input 1,"):
        gradcheck(lambda x, y: (x * y, bad(y)), (numbers(2), numbers(2)), fast_mode=fast_mode)


@both
def test_wrong_second_gradients(fast_mode: bool) -> None:
    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 3 * x.detach() ** 2

    x = numbers(3)
    assert gradcheck(Cube.apply, x, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(Cube.apply, x, fast_mode=fast_mode)
    assert gradgradcheck(Cube.apply, x, fast_mode=fast_mode, raise_exception=False) is False


@both
def test_tolerances(fast_mode: bool) -> None:
    slightly = wrong(lambda: 2.001)
    x = numbers(3)
    assert not gradcheck(slightly, x, atol=1e-8, rtol=1e-5, raise_exception=False, fast_mode=fast_mode)
    assert gradcheck(slightly, x, atol=1e-2, rtol=1e-5, fast_mode=fast_mode)
    assert gradcheck(slightly, x, atol=1e-8, rtol=1e-2, fast_mode=fast_mode)
    assert gradcheck(lambda x: x**3, x, eps=1e-4, fast_mode=fast_mode)


@both
def test_gradients_that_change_from_pass_to_pass(fast_mode: bool) -> None:
    def restless(step: float) -> Any:
        factors = [2.0]

        def factor() -> float:
            factors[0] += step
            return factors[0]

        return wrong(factor)

    x = numbers(3)
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(restless(1e-6), x, fast_mode=fast_mode)
    assert gradcheck(restless(1e-9), x, nondet_tol=1e-4, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="The tolerance for nondeterminism was 1e-12"):
        gradcheck(restless(1e-6), x, nondet_tol=1e-12, fast_mode=fast_mode)


@both
def test_backward_must_be_linear_in_the_gradient(fast_mode: bool) -> None:
    class Offset(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad + 1e-9

    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(Offset.apply, numbers(2), fast_mode=fast_mode)
    assert gradcheck(Offset.apply, numbers(2), fast_mode=fast_mode, masked=True, check_undefined_grad=False)


def test_undefined_gradients() -> None:
    class Delicate(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, y * 1

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            if a is None and b is None:
                raise RuntimeError("no gradient")
            return a, b

    x, y = numbers(2), numbers(2)
    with (
        pytest.warns(UserWarning, match="Backwards compatibility: New undefined gradient support checking feature"),
        pytest.raises(GradcheckError, match="Expected backward function to handle undefined output grads"),
    ):
        gradcheck(Delicate.apply, (x, y))
    assert gradcheck(Delicate.apply, (x, y), check_undefined_grad=False)


def test_undefined_gradients_must_give_zeros() -> None:
    class Inventive(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return T.ones(2, dtype=T.float64) if grad is None else grad

    with (
        pytest.warns(UserWarning, match="Backwards compatibility"),
        pytest.raises(GradcheckError, match="Expected all input grads to be undefined or zero"),
    ):
        gradcheck(Inventive.apply, numbers(2))


@both
def test_one_absent_gradient_of_several(fast_mode: bool) -> None:
    seen = []

    class Pair(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append((a is None, b is None))
            given = [grad * factor for grad, factor in ((a, 2), (b, 3)) if grad is not None]
            return sum(given) if given else None

    assert gradcheck(Pair.apply, numbers(2), fast_mode=fast_mode)
    assert seen[-3:] == [(True, True), (True, False), (False, True)]


def test_inputs_of_low_precision_are_warned_of() -> None:
    x = T.ones(2, requires_grad=True)
    with pytest.warns(
        UserWarning, match="Input #0 requires gradient and is not a double precision floating point or complex"
    ):
        assert gradcheck(lambda x: x * 2, x, eps=1e-1, atol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradcheck(lambda c, x: x * c, (T.ones(2), numbers(2)))


def test_some_input_must_require_a_gradient() -> None:
    with pytest.raises(
        ValueError,
        match="gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True",
    ):
        gradcheck(T.exp, numbers(2).detach())
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(T.exp, numbers(2).detach(), raise_exception=False)


def test_overlapping_inputs_are_refused() -> None:
    x = T.ones(1, dtype=T.float64).expand(3).detach().requires_grad_()
    with pytest.raises(
        RuntimeError,
        match=r"The 0th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping",
    ):
        gradcheck(T.exp, x)


def test_strided_inputs() -> None:
    x = numbers(3, 4).detach().t().requires_grad_()
    assert gradcheck(lambda x: x.exp() @ x.t(), x)
    assert gradcheck(lambda x: x.exp() @ x.t(), x, fast_mode=True)
    base = numbers(3, 4).detach()
    assert gradcheck(T.exp, base[:, ::2].requires_grad_())
    assert gradcheck(T.exp, numbers(3) * 2), "an input that is no leaf"


@both
def test_no_differentiable_output(fast_mode: bool) -> None:
    x = numbers(1)
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: T.tensor([x.item()], dtype=T.float64), x, fast_mode=fast_mode)
    assert not gradcheck(lambda x: x.detach(), x, raise_exception=False, fast_mode=fast_mode)


@both
def test_outputs_of_which_some_are_not_differentiable(fast_mode: bool) -> None:
    x = numbers(3)
    assert gradcheck(lambda x: (x * 2, T.ones(2, dtype=T.float64)), x, fast_mode=fast_mode)


def test_outputs_must_not_change_shape_or_dtype() -> None:
    calls: list[int] = []

    def shrinking(x: Any) -> Any:
        calls.append(1)
        return (x * 2)[: 1 + len(calls) % 2]

    with pytest.raises(AssertionError, match="outputs with the same shape when inputs are perturbed on index"):
        gradcheck(shrinking, numbers(2))


@both
def test_errors_of_the_function_pass_through(fast_mode: bool) -> None:
    def failing(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        gradcheck(failing, numbers(2), fast_mode=fast_mode, raise_exception=False)


@both
def test_random_numbers_of_the_user_stay_the_same(fast_mode: bool) -> None:
    T.manual_seed(3)
    expected = T.rand(2).tolist()
    T.manual_seed(3)
    gradcheck(T.exp, numbers(3), fast_mode=fast_mode)
    assert T.rand(2).tolist() == expected


def test_grad_outputs_of_gradgradcheck() -> None:
    x = numbers(3)
    grad = numbers(3)
    assert gradgradcheck(lambda x: x**3, x, grad)
    assert gradgradcheck(lambda x: (x**3, x.exp()), (x,), [grad, grad.detach().clone()])
    assert gradgradcheck(lambda x: x**3, x, gen_non_contig_grad_outputs=True)
    seen = []

    def func(x: Any) -> Any:
        y = x.exp()
        if y.requires_grad:
            y.register_hook(lambda grad: seen.append(grad.stride()) if grad is not None else None)
        return y

    assert gradgradcheck(func, numbers(2, 3), gen_non_contig_grad_outputs=True)
    assert (6, 2) in seen


def test_combinations_that_exclude_each_other() -> None:
    x = numbers(2)
    with pytest.raises(
        AssertionError, match="Expected at least one of check_forward_ad or check_backward_ad to be True"
    ):
        gradcheck(T.exp, x, check_backward_ad=False)
    with pytest.raises(AssertionError, match="Setting check_batched_grad=True requires check_backward_ad to be True"):
        gradcheck(T.exp, x, check_forward_ad=True, check_backward_ad=False, check_batched_grad=True)
    with pytest.raises(
        AssertionError, match="Setting check_batched_forward_grad=True requires check_forward_ad to be True"
    ):
        gradcheck(T.exp, x, check_batched_forward_grad=True)
    with pytest.raises(
        AssertionError, match="Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    ):
        gradgradcheck(T.exp, x, check_rev_over_rev=False)
    with pytest.raises(
        AssertionError, match="Setting check_undefined_grad=True requires check_rev_over_rev to be True"
    ):
        gradgradcheck(T.exp, x, check_fwd_over_rev=True, check_rev_over_rev=False)


def test_derivatives_carried_forward() -> None:
    x = numbers(2)
    assert gradcheck(T.exp, x, check_forward_ad=True)
    assert gradgradcheck(T.exp, x, check_fwd_over_rev=True)
    assert gradgradcheck(T.exp, x, check_fwd_over_rev=True, check_rev_over_rev=False, check_undefined_grad=False)


def test_batches_of_gradients() -> None:
    assert gradcheck(lambda x, y: (x * y, y.exp()), (numbers(2), numbers(2)), check_batched_grad=True)
    assert gradgradcheck(T.sin, numbers(3), check_batched_grad=True)


def test_dtypes_of_gradients() -> None:
    assert gradcheck(lambda x: x * 2, numbers(2), check_grad_dtypes=True)
    assert gradgradcheck(lambda x: x * x, numbers(2), check_grad_dtypes=True)


def test_in_place_and_views() -> None:
    def func(x: Any) -> Any:
        y = x.clone()
        y[0].mul_(2)
        y[1:] = x[:-1] * x[1:].sin()
        return y.t()

    assert gradcheck(func, numbers(3, 2))
    assert gradcheck(lambda x: x.view(6).sin(), numbers(3, 2))


def test_the_old_interface() -> None:
    module = importlib.import_module(f"{oracle.MODULE}.autograd.gradcheck")
    x = numbers(2)
    with pytest.warns(FutureWarning, match="`get_numerical_jacobian` was part of PyTorch's private API"):
        (jacobian,) = module.get_numerical_jacobian(lambda inputs: inputs[0] * 2, (x,), eps=1e-6)
    assert T.allclose(jacobian, 2 * T.eye(2, dtype=T.float64))
    y = x * 3
    with pytest.warns(FutureWarning, match="`get_analytical_jacobian`"):
        (jacobian,), same, sizes, types = module.get_analytical_jacobian((x,), y)
    assert T.equal(jacobian, 3 * T.eye(2, dtype=T.float64))
    assert (same, sizes, types) == (True, True, True)
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match=r"Expected grad_out to be 1.0"):
        module.get_numerical_jacobian(lambda inputs: inputs[0], (x,), grad_out=2.0)


def test_where_the_names_are() -> None:
    module = importlib.import_module(f"{oracle.MODULE}.autograd.gradcheck")
    assert T.autograd.gradcheck is module.gradcheck
    assert T.autograd.gradgradcheck is module.gradgradcheck
    assert callable(T.autograd.gradcheck)
