"""Derivatives carried forward: levels, values that move, and what custom functions say about them."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
forward = T.autograd.forward_ad
double = T.float64


def tangent(value: Any) -> Any:
    found = forward.unpack_dual(value).tangent
    return None if found is None else found.tolist()


def test_there_is_one_level() -> None:
    assert forward.enter_dual_level() == 0
    with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
        forward.enter_dual_level()
    with pytest.raises(RuntimeError, match="not the last one that was created"):
        forward.exit_dual_level(level=3)
    forward.exit_dual_level()
    with pytest.raises(RuntimeError):
        forward.exit_dual_level()
    with forward.dual_level() as level:
        assert level == 0
        with pytest.raises(RuntimeError, match="Nested"):
            forward.dual_level().__enter__()
    with pytest.raises(RuntimeError, match="no level exists"):
        forward.make_dual(T.ones(2), T.ones(2))


def test_a_value_and_its_direction() -> None:
    x, t = T.tensor([1.0, 2.0]), T.tensor([3.0, 4.0])
    with forward.dual_level():
        dual = forward.make_dual(x, t)
        assert dual is not x
        assert dual.tolist() == [1.0, 2.0]
        primal, direction = forward.unpack_dual(dual)
        assert primal.tolist() == [1.0, 2.0]
        assert direction is t
        assert forward.unpack_dual(x).tangent is None
        assert forward.unpack_dual(dual.detach()).tangent is None
    assert forward.unpack_dual(dual).tangent is None


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda x: x.sin(), lambda x, t: x.cos() * t),
        (lambda x: (x * x).sum(), lambda x, t: (2 * x * t).sum()),
        (lambda x: x.view(2, 2) @ x.view(2, 2), lambda x, t: t.view(2, 2) @ x.view(2, 2) + x.view(2, 2) @ t.view(2, 2)),
        (lambda x: x[1:3] * 2, lambda x, t: t[1:3] * 2),
        (lambda x: x.clone().mul_(3).exp(), lambda x, t: (3 * x).exp() * 3 * t),
        (lambda x: T.cat([x, x.flip(0)]), lambda x, t: T.cat([t, t.flip(0)])),
        (lambda x: x.max(0).values, lambda x, t: t[x.argmax()]),
        (lambda x: T.zeros(4, dtype=double).copy_(x), lambda x, t: t),
        (lambda x: x.round(), lambda x, t: 0 * t),
    ],
)
def test_derivatives_of_operations(function: Any, derivative: Any) -> None:
    x, t = T.randn(4, dtype=double), T.randn(4, dtype=double)
    with forward.dual_level():
        result = forward.unpack_dual(function(forward.make_dual(x.clone(), t)))
    assert T.allclose(result.primal, function(x))
    assert T.allclose(result.tangent, derivative(x, t))
    assert not result.tangent.requires_grad


def test_several_values_move() -> None:
    x, y = T.tensor([2.0]), T.tensor([5.0])
    with forward.dual_level():
        a, b = forward.make_dual(x, T.tensor([1.0])), forward.make_dual(y, T.tensor([10.0]))
        assert tangent(a * b) == [25.0]
        assert tangent(a * y) == [5.0]
        assert tangent(x * y) is None


def test_results_require_no_gradient_for_it() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.ones(2), T.ones(2))
        result = dual * 2
        assert not dual.requires_grad
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.is_leaf


def test_text_shows_directions() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.tensor([1.0]), T.tensor([2.0]))
        assert repr(dual) == "tensor([1.], tangent=tensor([2.]))"
        assert str(dual * 2) == "tensor([2.], tangent=tensor([4.]))"
        assert repr(T.ones(1) * 2) == "tensor([2.])"


def test_no_grad_does_not_stop_directions() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.ones(2), T.tensor([1.0, 2.0]))
        with T.no_grad():
            assert not T.is_grad_enabled()
            result = dual * 3
        assert tangent(result) == [3.0, 6.0]


def test_directions_are_differentiable() -> None:
    x = T.tensor([1.0, 2.0], requires_grad=True)
    t = T.tensor([3.0, 4.0], requires_grad=True)
    with forward.dual_level():
        dual = forward.make_dual(x, t)
        assert dual.requires_grad
        result = forward.unpack_dual((dual**3).sum())
        assert result.primal.requires_grad
        assert result.tangent.item() == 57.0
        of_x, of_t = T.autograd.grad(result.tangent, (x, t))
    assert of_x.tolist() == [18.0, 48.0]
    assert of_t.tolist() == [3.0, 12.0]


def test_gradients_through_a_value_that_moves() -> None:
    x = T.tensor([1.0, 2.0], requires_grad=True)
    with forward.dual_level():
        dual = forward.make_dual(x, T.ones(2))
        (dual * dual).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_value_moves_in_one_direction() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.ones(2), T.full((2,), 5.0))
        with pytest.raises(RuntimeError, match="already has a forward gradient at the same level"):
            forward.make_dual(dual, T.ones(2))
        with pytest.raises(RuntimeError, match="itself has a forward gradient at the same level"):
            forward.make_dual(T.ones(2), dual)
        again = forward.make_dual(forward.unpack_dual(dual).primal, T.full((2,), 7.0))
        assert tangent(dual + again) == [12.0, 12.0]


def test_what_can_move() -> None:
    with forward.dual_level():
        with pytest.raises(RuntimeError, match="different size"):
            forward.make_dual(T.ones(2), T.ones(3))
        with pytest.raises(ValueError, match="Expected tangent to be floating point"):
            forward.make_dual(T.ones(2), T.ones(2, dtype=T.int64))
        with pytest.raises(ValueError, match="Expected primal to be floating point"):
            forward.make_dual(T.ones(2, dtype=T.int64), T.ones(2))
        with pytest.raises(RuntimeError, match="Invalid level"):
            forward.make_dual(T.ones(2), T.ones(2), level=2)


def test_writes_in_place() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.tensor([1.0, 2.0]), T.tensor([3.0, 4.0]))
        dual.mul_(2)
        assert tangent(dual) == [6.0, 8.0]
        target = T.zeros(4)
        target[1:3] = dual
        assert tangent(target) == [0.0, 6.0, 8.0, 0.0]
        other = T.ones(2)
        other.add_(dual)
        assert tangent(other) == [6.0, 8.0]


class Product(T.autograd.Function):  # type: ignore[name-defined]
    """Ten times the true derivative, forward."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad * y, grad * x

    @staticmethod
    def jvp(ctx: Any, of_x: Any, of_y: Any) -> Any:
        x, y = ctx.saved_tensors
        return 10 * (of_x * y + x * of_y)


def test_custom_functions_say_how_they_move() -> None:
    with forward.dual_level():
        dual = forward.make_dual(T.tensor([2.0]), T.tensor([1.0]))
        result = Product.apply(dual, T.tensor([3.0]))
        assert result.tolist() == [6.0]
        assert tangent(result) == [30.0]
        assert tangent(result * 2) == [60.0]
        assert tangent(Product.apply(T.ones(1), T.ones(1))) is None


def test_custom_functions_without_jvp_are_refused() -> None:
    class Double(T.autograd.Function):  # type: ignore[name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2

    with forward.dual_level():
        assert Double.apply(T.ones(1)).tolist() == [2.0]
        with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
            Double.apply(forward.make_dual(T.ones(1), T.ones(1)))


def test_gradcheck_forward() -> None:
    x = T.tensor([0.5, 1.0], dtype=double, requires_grad=True)
    y = T.tensor([2.0, 3.0], dtype=double, requires_grad=True)
    assert T.autograd.gradcheck(lambda a, b: (a.sin() * b, a.sum()), (x, y), check_forward_ad=True)
    assert T.autograd.gradcheck(T.sin, (x,), check_forward_ad=True, check_backward_ad=False)
    with pytest.raises(RuntimeError, match="Jacobian computed with forward mode mismatch"):
        T.autograd.gradcheck(Product.apply, (x, y), check_forward_ad=True)
