"""torch.func: functions turned into their derivatives, nested, over nests of tensors, and modules as functions."""

from __future__ import annotations

import importlib
from typing import Any

import oracle
import pytest

T: Any = oracle.T
func: Any = importlib.import_module(f"{oracle.MODULE}.func")


def cubes(x: Any) -> Any:
    return (x**3).sum()


def test_gradients_nest() -> None:
    x = T.tensor(2.0, dtype=T.float64)
    assert func.grad(cubes)(x).item() == 12.0
    assert func.grad(func.grad(cubes))(x).item() == 12.0
    assert func.grad(func.grad(func.grad(cubes)))(x).item() == 6.0
    assert not func.grad(cubes)(x).requires_grad


def test_which_arguments_and_what_else() -> None:
    x, y = T.tensor(2.0), T.tensor(3.0)
    function = lambda x, y, k=1.0: x * y * k  # noqa: E731
    assert func.grad(function, argnums=1)(x, y, k=2.0).item() == 4.0
    assert [g.item() for g in func.grad(function, argnums=(0, 1))(x, y)] == [3.0, 2.0]
    slope, aux = func.grad(lambda x: (x * x, {"x": x}), has_aux=True)(x)
    assert slope.item() == 4.0
    assert aux["x"].item() == 2.0
    slope, value = func.grad_and_value(lambda x: x * x)(x)
    assert (slope.item(), value.item()) == (4.0, 4.0)
    assert func.grad(lambda x: T.ones(()) * 2)(x).item() == 0.0


def test_gradients_of_nests() -> None:
    given = {"a": T.tensor(2.0), "b": [T.tensor(3.0), T.tensor(4.0)]}
    found = func.grad(lambda p: p["a"] * p["b"][0] + p["b"][1] ** 2)(given)
    assert found["a"].item() == 3.0
    assert [one.item() for one in found["b"]] == [2.0, 8.0]


def test_what_the_function_must_give() -> None:
    with pytest.raises(RuntimeError, match="scalar Tensor"):
        func.grad(lambda x: x * 2)(T.ones(3))
    with pytest.raises(RuntimeError):
        func.grad(lambda x: 3.0)(T.ones(()))
    with pytest.raises(RuntimeError):
        func.grad(lambda x: x.sum(), argnums=2)(T.ones(()))


def test_recording_is_on_within() -> None:
    with T.no_grad():
        assert func.grad(cubes)(T.tensor(2.0)).item() == 12.0


def test_closures_connect_levels_and_leaves() -> None:
    x = T.tensor(3.0)
    outer = func.grad(lambda x: func.grad(lambda y: x * x * y)(T.tensor(1.0)))
    assert outer(x).item() == 6.0
    weight = T.tensor(5.0, requires_grad=True)
    slope = func.grad(lambda x: weight * x * x)(x)
    slope.backward()
    assert weight.grad.item() == 6.0


def test_products_with_jacobians() -> None:
    x = T.tensor([1.0, 2.0], dtype=T.float64)
    value, pull = func.vjp(lambda x: x * x, x)
    assert value.tolist() == [1.0, 4.0]
    assert pull(T.tensor([1.0, 10.0], dtype=T.float64))[0].tolist() == [2.0, 40.0]
    value, moved = func.jvp(lambda x: x * x, (x,), (T.tensor([1.0, 10.0], dtype=T.float64),))
    assert moved.tolist() == [2.0, 40.0]
    (_, both), (da, db) = func.jvp(lambda x, y: (x * y, x + y), (x, x * 3), (T.ones_like(x), T.zeros_like(x)))
    assert da.tolist() == (x * 3).tolist()
    assert db.tolist() == [1.0, 1.0]
    assert both.tolist() == (x * 4).tolist()
    value, push = func.linearize(lambda x: x.sin(), x)
    assert T.allclose(push(T.ones_like(x)), x.cos())
    with pytest.raises(RuntimeError):
        pull(T.ones(3, dtype=T.float64))


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians(name: str) -> None:
    jacobian = getattr(func, name)
    x = T.tensor([1.0, 2.0, 3.0], dtype=T.float64)
    assert T.allclose(jacobian(lambda x: x.sin())(x), T.diag(x.cos()))
    first, second = jacobian(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x * 2)
    assert T.equal(first, x * 2)
    assert T.equal(second, x)
    table = jacobian(lambda x: {"a": x.sum(), "b": x[:2] * 2})(x)
    assert table["a"].shape == (3,)
    assert table["b"].tolist() == [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    assert jacobian(lambda x: x.reshape(3, 1))(x).shape == (3, 1, 3)


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians_of_many_results(name: str) -> None:
    jacobian = getattr(func, name)
    x, y = T.tensor([[1.0, 2.0]], dtype=T.float64), T.tensor(3.0, dtype=T.float64)
    table = T.sin(T.arange(20.0, dtype=T.float64)).reshape(2, 2, 5)

    def function(x: Any, y: Any) -> Any:
        return T.einsum("ai,ijk->ajk", x * x, table) * y.exp()

    by_x, by_y = jacobian(function, argnums=(0, 1))(x, y)
    assert by_x.shape == (1, 2, 5, 1, 2)
    assert T.allclose(by_x[0, :, :, 0], (2 * x[0] * y.exp())[:, None, None].mul(table).permute(1, 2, 0))
    assert T.allclose(by_y, function(x, y))
    assert not by_x.requires_grad
    second = jacobian(jacobian(function))(x, y)
    assert second.shape == (1, 2, 5, 1, 2, 1, 2)
    assert T.allclose(second[0, 1, 2, 0, 0, 0, 0], 2 * y.exp() * table[0, 1, 2])
    each = func.vmap(jacobian(function), (0, None))(T.stack([x, x + 1]), y)
    assert T.allclose(each[1], jacobian(function)(x + 1, y))


def test_hessian() -> None:
    x = T.tensor([1.0, 2.0], dtype=T.float64)
    assert func.hessian(lambda x: (x**3).sum() + x.prod())(x).tolist() == [[6.0, 1.0], [1.0, 12.0]]


def test_a_module_with_other_parameters() -> None:
    T.manual_seed(0)
    layer = T.nn.Linear(2, 1)
    x = T.tensor([[1.0, 2.0]])
    given = {"weight": T.tensor([[3.0, 4.0]]), "bias": T.tensor([0.5])}
    before = layer.weight
    assert func.functional_call(layer, given, (x,)).item() == 11.5
    assert layer.weight is before
    assert func.functional_call(layer, {"bias": T.zeros(1)}, x).item() == pytest.approx((x @ layer.weight.T).item())
    found = func.grad(lambda p: func.functional_call(layer, p, (x,)).sum())(given)
    assert found["weight"].tolist() == [[1.0, 2.0]]
    assert found["bias"].tolist() == [1.0]
    with pytest.raises(RuntimeError):
        func.functional_call(layer, {"weight": given["weight"]}, (x,), strict=True)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        func.functional_call(layer, [given, {"bias": T.zeros(1)}], (x,))


def test_stacked_modules() -> None:
    models = [T.nn.Linear(2, 3) for _ in range(4)]
    parameters, buffers = func.stack_module_state(models)
    assert parameters["weight"].shape == (4, 3, 2)
    assert parameters["weight"].requires_grad
    assert buffers == {}
    x = T.ones(5, 2)
    out = func.vmap(lambda p: func.functional_call(models[0], p, (x,)))(parameters)
    assert out.shape == (4, 5, 3)
    assert T.allclose(out[2], models[2](x))


def test_mapping_over_slices() -> None:
    x, y = T.arange(6.0).reshape(2, 3), T.arange(3.0)
    assert func.vmap(T.dot, in_dims=(0, None))(x, y).tolist() == [5.0, 14.0]
    assert func.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x).tolist() == (x * 2).tolist()
    a, b = func.vmap(lambda p: (p["x"].sum(), p["x"]), out_dims=(0, 1))({"x": x})
    assert a.tolist() == [3.0, 12.0]
    assert b.shape == (3, 2)
    assert func.vmap(func.grad(cubes))(x).tolist() == (3 * x * x).tolist()
    assert func.vmap(func.vmap(lambda v: v + 1))(x).tolist() == (x + 1).tolist()
    leaf = T.ones(2, 3, requires_grad=True)
    func.vmap(lambda v: v * v)(leaf).sum().backward()
    assert leaf.grad.tolist() == [[2.0] * 3] * 2
    for wrong in ({"in_dims": 5}, {"in_dims": None}):
        with pytest.raises(ValueError, match="vmap"):
            func.vmap(lambda v: v, **wrong)(x)
    with pytest.raises(ValueError, match="vmap"):
        func.vmap(T.add)(x, T.ones(3))
    assert T.vmap(lambda v: v * 2)(y).tolist() == [0.0, 2.0, 4.0]
