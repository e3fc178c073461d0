"""autograd.functional: Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import pytest

T: Any = oracle.T
F: Any = T.autograd.functional


def exp_reducer(x: Any) -> Any:
    return x.exp().sum(dim=1)


def adder(x: Any, y: Any) -> Any:
    return 2 * x.exp() + 3 * y


def two(x: Any, y: Any) -> Any:
    return (x * y.sum()).sin(), (x * x).sum() * y


def cubes(x: Any) -> Any:
    return x.pow(3).sum()


def mixed(x: Any, y: Any) -> Any:
    return (x * y).sin().sum() + x.pow(3).sum() * y.exp().sum()


def numbers(*shape: int) -> Any:
    count = 1
    for size in shape:
        count *= size
    return (T.arange(count, dtype=T.float64) * 0.37).sin().reshape(shape)


def close(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(close, a, b))
    return bool(a.shape == b.shape and a.dtype == b.dtype and T.allclose(a, b, rtol=1e-10, atol=1e-12))


def by_hand(func: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """Give the Jacobian by one call of ``autograd.grad`` for each element."""
    points = tuple(one.detach().requires_grad_() for one in inputs)
    outputs = func(*points)
    lines = []
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        rows = [T.autograd.grad(one, points, retain_graph=True, materialize_grads=True) for one in output.reshape(-1)]
        lines.append(
            tuple(
                T.stack([row[i] for row in rows]).reshape(tuple(output.shape) + tuple(one.shape))
                for i, one in enumerate(points)
            )
        )
    return tuple(lines) if isinstance(outputs, tuple) else lines[0]


# Jacobians.


def test_jacobian_of_one_input_and_output() -> None:
    x = numbers(2, 3)
    found = F.jacobian(exp_reducer, x)
    assert found.shape == (2, 2, 3)
    assert close(found, by_hand(exp_reducer, (x,))[0])
    assert not found.requires_grad
    assert found.grad_fn is None


def test_jacobian_of_two_inputs_is_a_tuple() -> None:
    x, y = numbers(3), numbers(3) + 1
    found = F.jacobian(adder, (x, y))
    assert isinstance(found, tuple)
    assert close(found, by_hand(adder, (x, y)))


def test_jacobian_of_two_inputs_and_outputs_is_a_tuple_of_tuples() -> None:
    x, y = numbers(3), numbers(2) + 1
    found = F.jacobian(two, (x, y))
    assert [[tuple(block.shape) for block in line] for line in found] == [[(3, 3), (3, 2)], [(2, 3), (2, 2)]]
    assert close(found, by_hand(two, (x, y)))


def test_a_tuple_of_one_stays_a_tuple() -> None:
    x = numbers(2)
    assert isinstance(F.jacobian(lambda x: x * x, (x,)), tuple)
    one = F.jacobian(lambda x: (x * x,), x)
    assert isinstance(one, tuple)
    assert one[0].shape == (2, 2)
    assert isinstance(F.vjp(lambda x: x * x, (x,), x)[1], tuple)
    assert isinstance(F.vjp(lambda x: (x * x,), x, x)[0], tuple)
    assert isinstance(F.hessian(cubes, (x,))[0], tuple)
    assert isinstance(F.hvp(cubes, (x,), (x,))[1], tuple)


@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
def test_scalar_shapes(shape: tuple[int, ...]) -> None:
    x = numbers(*shape) + 1
    assert F.jacobian(lambda x: x * x, x).shape == shape + shape
    assert F.jacobian(lambda x: x.sum(), x).shape == shape
    assert F.hessian(lambda x: (x * x).sum(), x).shape == shape + shape
    assert F.hessian(lambda x: (x * x).sum().reshape(1, 1), x).shape == shape + shape


def test_an_input_without_influence_gives_zeros() -> None:
    x, y = numbers(3), numbers(2)
    found = F.jacobian(lambda x, y: x * 2, (x, y))
    assert close(found[1], T.zeros(3, 2, dtype=T.float64))
    found = F.jacobian(lambda x: T.ones(2), x)
    assert found.shape == (2, 3)
    assert found.dtype == T.float64
    assert not found.any()


def test_rows_of_which_some_are_absent() -> None:
    x = numbers(2)

    def picky(x: Any) -> Any:
        return T.stack([x[0] * 2, T.tensor(1.0, dtype=T.float64), x[1] * 3])

    assert F.jacobian(picky, x).tolist() == [[2, 0], [0, 0], [0, 3]]


def test_dtype_of_a_jacobian_is_that_of_the_input() -> None:
    x = T.ones(2)
    assert F.jacobian(lambda x: x.double() * 2, x).dtype == T.float32
    assert F.jacobian(lambda x: x.double() * 2, x, strategy="forward-mode", vectorize=True).dtype == T.float64
    assert F.jacobian(lambda x: x.double() * 2, x, vectorize=True).dtype == T.float32


def test_no_elements() -> None:
    x = T.ones(0)
    with pytest.raises(RuntimeError, match="stack expects a non-empty TensorList"):
        F.jacobian(lambda x: x * 2, x)
    assert F.jacobian(lambda x: x.sum(), x).shape == (0,)


def test_jacobian_with_create_graph_leads_back_to_the_inputs() -> None:
    x = numbers(2, 3).requires_grad_()
    found = F.jacobian(exp_reducer, x, create_graph=True)
    assert found.requires_grad
    (grad,) = T.autograd.grad(found.sum(), x)
    assert close(grad, x.detach().exp())
    assert T.autograd.gradcheck(lambda x: F.jacobian(exp_reducer, x, create_graph=True), x)
    assert T.autograd.gradgradcheck(lambda x: F.jacobian(exp_reducer, x, create_graph=True), x)


def test_create_graph_of_inputs_that_require_no_gradient() -> None:
    x = numbers(3)
    found = F.jacobian(lambda x: x**3, x, create_graph=True)
    assert found.requires_grad
    assert not x.requires_grad


def test_without_create_graph_inputs_and_their_gradients_are_left_alone() -> None:
    x = numbers(3).requires_grad_()
    F.jacobian(lambda x: x**3, x)
    F.hessian(cubes, x)
    assert x.grad is None


def test_the_function_sees_a_new_leaf() -> None:
    x = numbers(3).requires_grad_()
    seen = []

    def func(y: Any) -> Any:
        seen.append((y is x, y.is_leaf, y.requires_grad, y.data_ptr() == x.data_ptr()))
        return y * x

    assert close(F.jacobian(func, x), T.diag(x.detach()))
    assert seen == [(False, True, True, True)]
    F.jacobian(func, x, create_graph=True)
    assert seen[1] == (False, False, True, True)


def test_it_works_inside_no_grad() -> None:
    x = numbers(3)
    with T.no_grad():
        assert close(F.jacobian(lambda x: x**2, x), T.diag(2 * x))
        assert F.hessian(cubes, x).shape == (3, 3)
        assert close(F.vhp(cubes, x, T.ones(3, dtype=T.float64))[1], 6 * x)
        assert close(F.jvp(lambda x: x**2, x, x)[1], 2 * x * x)
        assert not T.is_grad_enabled()


@pytest.mark.parametrize("func", [exp_reducer, lambda x: (x, x * x), lambda x: (x.sum(), x[0], x[:, 1:])])
@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorize_gives_the_same(func: Callable[..., Any], strategy: str) -> None:
    x = numbers(2, 3)
    assert close(F.jacobian(func, x, vectorize=True, strategy=strategy), F.jacobian(func, x))


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_hessian(strategy: str) -> None:
    x, y = numbers(3), numbers(3) + 1
    plain = F.hessian(mixed, (x, y))
    found = F.hessian(mixed, (x, y), vectorize=True, outer_jacobian_strategy=strategy)
    assert all(close(a, b) for line, other in zip(found, plain, strict=True) for a, b in zip(line, other, strict=True))


def test_vectorize_of_an_output_without_influence() -> None:
    x = numbers(3)
    found = F.jacobian(lambda x: (x * x, T.ones(2, dtype=T.float64)), x, vectorize=True)
    assert close(found[1], T.zeros(2, 3, dtype=T.float64))


def test_custom_functions_and_hooks_run_for_each_row() -> None:
    calls = []

    class Double(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            calls.append(grad.tolist())
            return grad * 2

    assert F.jacobian(lambda x: Double.apply(x), numbers(3)).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert calls == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_errors_of_the_function_pass_through() -> None:
    def failing(x: Any) -> Any:
        raise KeyError("mine")

    for name in ("jacobian", "hessian", "vjp", "jvp", "vhp", "hvp"):
        with pytest.raises(KeyError, match="mine"):
            getattr(F, name)(failing, numbers(1))
    assert T.is_grad_enabled()


# Hessians.


def test_hessian_of_one_input() -> None:
    x = numbers(2, 2)
    found = F.hessian(cubes, x)
    assert close(found.reshape(4, 4), T.diag(6 * x.reshape(-1)))


def test_hessian_of_two_inputs() -> None:
    x, y = numbers(3), numbers(3) + 1
    found = F.hessian(mixed, (x, y))

    def gradient(x: Any, y: Any) -> Any:
        return T.autograd.grad(mixed(x, y), (x, y), create_graph=True)

    assert close(found, by_hand(gradient, (x, y)))


def test_hessian_of_a_linear_function_is_zero() -> None:
    found = F.hessian(lambda x: x.sum(), numbers(3))
    assert close(found, T.zeros(3, 3, dtype=T.float64))


def test_hessian_with_create_graph() -> None:
    x = numbers(3).requires_grad_()
    found = F.hessian(cubes, x, create_graph=True)
    assert found.requires_grad
    (grad,) = T.autograd.grad(found.sum(), x)
    assert close(grad, T.full((3,), 6.0, dtype=T.float64))
    assert T.autograd.gradcheck(lambda x: F.hessian(lambda x: x.exp().prod(), x, create_graph=True), x)
    assert not F.hessian(cubes, x).requires_grad


def test_hessian_records_the_function_once() -> None:
    calls = []

    def func(x: Any) -> Any:
        calls.append(1)
        return cubes(x)

    F.hessian(func, numbers(20))
    F.hvp(func, numbers(20), numbers(20))
    assert len(calls) == 2


# Products with vectors.


@pytest.mark.parametrize("create_graph", [False, True])
def test_vjp(create_graph: bool) -> None:
    x, y = numbers(3).requires_grad_(create_graph), (numbers(2) + 1).requires_grad_(create_graph)
    v = (numbers(3) * 2, numbers(2) - 1)
    outputs, product = F.vjp(two, (x, y), v, create_graph=create_graph)
    jac = by_hand(two, (x, y))
    want = tuple(v[0] @ jac[0][j] + v[1] @ jac[1][j] for j in range(2))
    assert close(product, want)
    assert close(outputs, two(x, y))
    assert all(one.requires_grad is create_graph for one in (*outputs, *product))
    if create_graph:
        assert T.autograd.gradcheck(lambda x, y: F.vjp(two, (x, y), v, create_graph=True)[1], (x, y))
        assert T.autograd.gradcheck(
            lambda a, b: F.vjp(two, (x, y), (a, b), create_graph=True)[1], tuple(one.requires_grad_() for one in v)
        )


@pytest.mark.parametrize("create_graph", [False, True])
def test_jvp(create_graph: bool) -> None:
    x, y = numbers(3).requires_grad_(create_graph), (numbers(2) + 1).requires_grad_(create_graph)
    v = (numbers(3) * 2, numbers(2) - 1)
    outputs, product = F.jvp(two, (x, y), v, create_graph=create_graph)
    jac = by_hand(two, (x, y))
    want = tuple(jac[i][0] @ v[0] + jac[i][1] @ v[1] for i in range(2))
    assert close(product, want)
    assert close(outputs, two(x, y))
    assert all(one.requires_grad is create_graph for one in (*outputs, *product))
    if create_graph:
        assert T.autograd.gradcheck(lambda x, y: F.jvp(two, (x, y), v, create_graph=True)[1], (x, y))


@pytest.mark.parametrize("name", ["vhp", "hvp"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_products_with_a_hessian(name: str, create_graph: bool) -> None:
    x, y = numbers(3).requires_grad_(create_graph), (numbers(3) + 1).requires_grad_(create_graph)
    v = (numbers(3) * 2, numbers(3) - 1)
    output, product = getattr(F, name)(mixed, (x, y), v, create_graph=create_graph)
    hessian = F.hessian(mixed, (x, y))
    want = tuple(v[0] @ hessian[0][j] + v[1] @ hessian[1][j] for j in range(2))
    assert close(product, want)
    assert close(output, mixed(x, y))
    assert all(one.requires_grad is create_graph for one in (output, *product))
    if create_graph:
        assert T.autograd.gradcheck(lambda x, y: getattr(F, name)(mixed, (x, y), v, create_graph=True)[1], (x, y))


@pytest.mark.parametrize("name", ["vjp", "jvp", "vhp", "hvp"])
def test_the_vector_of_a_single_number_may_be_absent(name: str) -> None:
    x = numbers(1) + 0.5
    output, product = getattr(F, name)(lambda x: (x**3).sum(), x)
    assert close(output, (x**3).sum())
    want = {"vjp": 3 * x**2, "jvp": (3 * x**2)[0], "vhp": 6 * x, "hvp": 6 * x}[name]
    assert close(product, want)


def test_products_without_influence_are_zero() -> None:
    x, y = numbers(3), numbers(2)
    assert close(F.vjp(lambda x, y: x * 2, (x, y), x)[1][1], T.zeros(2, dtype=T.float64))
    assert close(F.vjp(lambda x: T.ones(3, dtype=T.float64), x, x)[1], T.zeros(3, dtype=T.float64))
    assert close(F.jvp(lambda x: T.ones(2, dtype=T.float64), x, x)[1], T.zeros(2, dtype=T.float64))
    for name in ("vhp", "hvp"):
        assert close(getattr(F, name)(lambda x: x.sum(), x, x)[1], T.zeros(3, dtype=T.float64))
        assert close(getattr(F, name)(lambda x: T.ones((), dtype=T.float64), x, x)[1], T.zeros(3, dtype=T.float64))
        both = getattr(F, name)(lambda x, y: (x**2).sum(), (x, y), (x, y))[1]
        assert close(both, (2 * x, T.zeros(2, dtype=T.float64)))


# What is refused.


@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "vhp", "hvp"])
def test_inputs_and_outputs_must_be_tensors(name: str) -> None:
    call = getattr(F, name)
    x = T.ones(1)
    with pytest.raises(
        TypeError,
        match=rf"The inputs given to {name} must be either a Tensor or a tuple of Tensors but the given inputs has type <class 'int'>",
    ):
        call(cubes, 3)
    with pytest.raises(
        TypeError, match=rf"The inputs given to {name} must be .* but the value at index 1 has type <class 'float'>"
    ):
        call(cubes, (x, 2.0))
    with pytest.raises(TypeError, match=r"given inputs has type <class 'list'>"):
        call(cubes, [x])
    with pytest.raises(
        TypeError,
        match=rf"The outputs of the user-provided function given to {name} must be .* but the given outputs of the user-provided function has type <class 'str'>",
    ):
        call(lambda x: "no", x)
    with pytest.raises(TypeError, match=r"value at index 1 has type <class 'int'>"):
        call(lambda x: (x, 1), x)


def test_vectors_must_fit() -> None:
    x, y = T.ones(2), T.ones(3)
    for name in ("jvp", "vhp", "hvp"):
        call, func = getattr(F, name), lambda *inputs: sum(one.sum() for one in inputs)
        with pytest.raises(
            RuntimeError,
            match="The vector v can only be None if the input to the user-provided function is a single Tensor with a single element",
        ):
            call(func, x)
        with pytest.raises(
            RuntimeError, match=r"v has invalid size: should be torch.Size\(\[2\]\) but got torch.Size\(\[3\]\)"
        ):
            call(func, x, y)
        with pytest.raises(RuntimeError, match="v is a tuple of invalid length: should be 2 but got 1"):
            call(func, (x, y), x)
        with pytest.raises(
            RuntimeError,
            match=r"Entry 1 in v has invalid size: should be torch.Size\(\[3\]\) but got torch.Size\(\[2\]\)",
        ):
            call(func, (x, y), (x, x))
        with pytest.raises(RuntimeError, match="The given v should contain a single Tensor"):
            call(func, x, (x, x))
        with pytest.raises(TypeError, match=f"The v given to {name} must be"):
            call(func, x, 2.0)
        with pytest.raises(TypeError, match="value at index 0 has type <class 'int'>"):
            call(func, x, (1,))
    with pytest.raises(
        RuntimeError,
        match="The vector v can only be None if the user-provided function returns a single Tensor with a single element",
    ):
        F.vjp(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match="v is a tuple of invalid length: should be 2 but got 1"):
        F.vjp(lambda x: (x, x), x, x)
    with pytest.raises(RuntimeError, match="v has invalid size"):
        F.vjp(lambda x: x * 2, x, y)
    with pytest.raises(TypeError, match="The v given to vjp"):
        F.vjp(lambda x: x * 2, x, 2.0)


@pytest.mark.parametrize("name", ["hessian", "vhp", "hvp"])
def test_second_derivatives_need_a_single_number(name: str) -> None:
    def call(func: Callable[..., Any]) -> Any:
        x = T.ones(2)
        return F.hessian(func, x) if name == "hessian" else getattr(F, name)(func, x, x)

    with pytest.raises(RuntimeError, match=f"The function given to {name} should return a single Tensor"):
        call(lambda x: (x.sum(),))
    with pytest.raises(
        RuntimeError, match=f"The Tensor returned by the function given to {name} should contain a single element"
    ):
        call(lambda x: x)


def test_strategies() -> None:
    x = T.ones(2)
    with pytest.raises(AssertionError, match='Expected strategy to be either "forward-mode" or "reverse-mode"'):
        F.jacobian(cubes, x, strategy="sideways")
    with pytest.raises(AssertionError, match='Expected strategy to be either "forward-mode" or "reverse-mode"'):
        F.hessian(cubes, x, outer_jacobian_strategy="sideways")
    with pytest.raises(
        NotImplementedError, match='`create_graph=True` and `strategy="forward-mode"` are not supported together'
    ):
        F.jacobian(cubes, x, create_graph=True, strategy="forward-mode")
    with pytest.raises(RuntimeError, match='`strict=True` and `strategy="forward-mode"` are not supported together'):
        F.jacobian(cubes, x, strict=True, strategy="forward-mode")
    with pytest.raises(NotImplementedError, match="only implemented for `vectorize=True`"):
        F.jacobian(cubes, x, strategy="forward-mode")
    with pytest.raises(NotImplementedError, match="only implemented for `vectorize=True`"):
        F.hessian(cubes, x, outer_jacobian_strategy="forward-mode")
    with pytest.raises(RuntimeError, match="`strict=True` and `vectorized=True` are not supported together"):
        F.jacobian(cubes, x, strict=True, vectorize=True)


def loose(x: Any) -> Any:
    """Give what requires gradients but has no connection to the input."""
    return x.long().double().requires_grad_().clone()


@pytest.mark.parametrize("name", ["jacobian", "vjp", "jvp"])
def test_strict_first_derivatives(name: str) -> None:
    x = numbers(4)

    def call(func: Callable[..., Any], **options: Any) -> Any:
        arguments = (func, x) if name == "jacobian" else (func, x, x)
        return getattr(F, name)(*arguments, **options)

    for func in (lambda x: x.detach(), loose):
        result = call(func)
        assert not (result if name == "jacobian" else result[1]).any()
    with pytest.raises(RuntimeError, match="Output 0 of the user-provided function does not require gradients"):
        call(lambda x: x.detach(), strict=True)
    with pytest.raises(RuntimeError, match=r"utput .*of the user-provided function is independent of input 0"):
        call(loose, strict=True)
    call(lambda x: x.clone(), strict=True)
    call(lambda x: x * x, strict=True, create_graph=True)
    if name != "jvp":
        with pytest.raises(RuntimeError, match="jacobian of the user-provided function is independent of input 0"):
            call(lambda x: x.clone(), strict=True, create_graph=True)


def test_strict_names_the_output_and_the_input() -> None:
    x = numbers(2)
    with pytest.raises(RuntimeError, match="Output 1 of the user-provided function is independent of input 0"):
        F.jacobian(lambda x, y: (x * y, y * 2), (x, x), strict=True)
    with pytest.raises(RuntimeError, match="Output 0 of the user-provided function is independent of input 1"):
        F.jacobian(lambda x, y: x * x, (x, x), strict=True)
    with pytest.raises(RuntimeError, match="Output 1 of the user-provided function does not require gradients"):
        F.jacobian(lambda x, y: (x, x.detach()), (x, x), strict=True)
    with pytest.raises(RuntimeError, match="independent of input 1"):
        F.vjp(lambda x, y: x * x, (x, x), x, strict=True)


@pytest.mark.parametrize("name", ["hessian", "vhp", "hvp"])
def test_strict_second_derivatives(name: str) -> None:
    x = numbers(4)

    def call(func: Callable[..., Any], **options: Any) -> Any:
        arguments = (func, x) if name == "hessian" else (func, x, x)
        return getattr(F, name)(*arguments, **options)

    for func in (lambda x: x.detach().sum(), lambda x: loose(x).sum(), lambda x: (3 * x).sum()):
        result = call(func)
        assert not (result if name == "hessian" else result[1]).any()
    with pytest.raises(RuntimeError, match="Output 0 of the user-provided function does not require gradients"):
        call(lambda x: x.detach().sum(), strict=True)
    with pytest.raises(RuntimeError, match=r"of the user-provided function .*independent of"):
        call(lambda x: loose(x).sum(), strict=True)
    with pytest.raises(
        RuntimeError, match="jacobian of the user-provided function with respect to input 0 is independent of the input"
    ):
        call(lambda x: (3 * x).sum(), strict=True)
    call(cubes, strict=True, create_graph=True)
    with pytest.raises(
        RuntimeError, match=r"is independent of input 0. This is not allowed in strict mode when create_graph=True"
    ):
        call(lambda x: (x * x).sum(), strict=True, create_graph=True)


def test_integer_inputs_are_refused() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        F.jacobian(lambda x: x, T.arange(3))


@pytest.mark.rustgrad_only
def test_a_hessian_of_many_variables_is_a_pass_for_each() -> None:
    passes = []

    def func(x: Any) -> Any:
        y = x.sin()
        y.register_hook(lambda grad: passes.append(1))
        return (y * y).sum()

    F.hessian(func, numbers(30))
    assert len(passes) == 31
