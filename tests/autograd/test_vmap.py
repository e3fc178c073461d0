"""torch.func.vmap as a whole: per-sample gradients, ensembles, nests, randomness, what may not be done."""

from __future__ import annotations

import importlib
from typing import Any

import oracle
import pytest

T: Any = oracle.T
F: Any = T.nn.functional
func: Any = importlib.import_module(f"{oracle.MODULE}.func")

rustgrad_only = pytest.mark.skipif(oracle.MODULE == "torch", reason="torch refuses what is called slice by slice here")


def per_sample(model: Any, loss: Any, x: Any, y: Any) -> None:
    """Compare the gradients of each sample with those of a loop; the loss is called once."""
    parameters = {name: one.detach() for name, one in model.named_parameters()}
    calls = []

    def of_one(parameters: Any, x: Any, y: Any) -> Any:
        calls.append(1)
        return loss(func.functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))

    found = func.vmap(func.grad(of_one), in_dims=(None, 0, 0))(parameters, x, y)
    assert len(calls) == 1
    for i in range(len(x)):
        model.zero_grad()
        loss(model(x[i : i + 1]), y[i : i + 1]).backward()
        for name, one in model.named_parameters():
            assert found[name].shape == (len(x), *one.shape)
            assert T.allclose(found[name][i], one.grad, atol=1e-5), name


def test_gradients_of_samples_of_a_perceptron() -> None:
    T.manual_seed(0)
    model = T.nn.Sequential(T.nn.Linear(4, 8), T.nn.ReLU(), T.nn.LayerNorm(8), T.nn.Linear(8, 3))
    per_sample(model, F.cross_entropy, T.randn(6, 4), T.randint(3, (6,)))
    per_sample(model, F.mse_loss, T.randn(6, 4), T.randn(6, 3))


def test_gradients_of_samples_of_a_network_of_convolutions() -> None:
    T.manual_seed(0)
    model = T.nn.Sequential(
        T.nn.Conv2d(1, 4, 3, padding=1), T.nn.GroupNorm(2, 4), T.nn.ReLU(), T.nn.MaxPool2d(2), T.nn.Conv2d(4, 6, 3),
        T.nn.Tanh(), T.nn.AvgPool2d(2), T.nn.Flatten(), T.nn.Linear(24, 3),
    )  # fmt: skip
    per_sample(model, F.cross_entropy, T.randn(5, 1, 12, 12), T.randint(3, (5,)))


def test_gradients_of_samples_of_words() -> None:
    T.manual_seed(0)
    model = T.nn.Sequential(T.nn.Embedding(7, 4), T.nn.Flatten(), T.nn.Linear(12, 3))
    per_sample(model, F.cross_entropy, T.randint(7, (5, 3)), T.randint(3, (5,)))


def test_gradients_of_samples_by_attention() -> None:
    T.manual_seed(0)
    model = T.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    per_sample(model, F.mse_loss, T.randn(4, 3, 8), T.randn(4, 3, 8))


def test_ensembles() -> None:
    T.manual_seed(0)
    models = [T.nn.Sequential(T.nn.Linear(3, 5), T.nn.Tanh(), T.nn.Linear(5, 2)) for _ in range(4)]
    parameters, buffers = func.stack_module_state(models)
    calls = []

    def call(parameters: Any, buffers: Any, x: Any) -> Any:
        calls.append(1)
        return func.functional_call(models[0], (parameters, buffers), (x,))

    x = T.randn(6, 3)
    shared = func.vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)
    assert len(calls) == 1
    for i, model in enumerate(models):
        assert T.allclose(shared[i], model(x), atol=1e-6)
    own = func.vmap(call)(parameters, buffers, T.stack([x, x + 1, x + 2, x + 3]))
    assert T.allclose(own[2], models[2](x + 2), atol=1e-6)
    own.square().sum().backward()
    models[3](x + 3).square().sum().backward()
    assert T.allclose(parameters["0.weight"].grad[3], models[3][0].weight.grad, atol=1e-5)


def cubic(x: Any) -> Any:
    return (x**3).sum() + x.prod()


def test_derivatives_of_slices() -> None:
    x = T.tensor([[1.0, 2.0, 3.0], [2.0, -1.0, 0.5]], dtype=T.float64)
    for make in (
        lambda f: func.grad(f), lambda f: func.hessian(f), lambda f: func.jacrev(f), lambda f: func.jacfwd(f),
        lambda f: func.grad_and_value(f), lambda f: lambda v: func.vjp(f, v)[1](T.tensor(2.0, dtype=T.float64))[0],
        lambda f: lambda v: func.jvp(f, (v,), (v,)), lambda f: func.grad(lambda v: func.grad(f)(v).sin().sum()),
        lambda f: func.jacrev(func.grad(f)), lambda f: func.jacrev(lambda v: (v * f(v), v[:2])),
    ):  # fmt: skip
        found = func.vmap(make(cubic))(x)
        for i in range(2):
            wanted = make(cubic)(x[i])
            pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
            for one, other in pairs:
                assert T.allclose(one[i], other)
                assert not one.requires_grad


def test_derivatives_around_a_map() -> None:
    x = T.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=T.float64)
    assert T.allclose(func.grad(lambda x: func.vmap(cubic)(x).sum())(x), func.vmap(func.grad(cubic))(x))
    weight = T.tensor([1.0, -2.0], dtype=T.float64)

    def loss(weight: Any, x: Any) -> Any:
        return ((weight * x).sum() ** 2).sin()

    each = func.vmap(func.grad(loss), in_dims=(None, 0))
    around = func.jacrev(lambda weight: each(weight, x))(weight)
    assert around.shape == (2, 2, 2)
    for i in range(2):
        assert T.allclose(around[i], func.hessian(loss)(weight, x[i]))
    leaf = weight.clone().requires_grad_()
    each(leaf, x).sum().backward()
    assert T.allclose(leaf.grad, around.sum((0, 1)))


def test_each_slice_differentiates_by_what_all_share() -> None:
    x, y = T.tensor([1.0, 2.0, 3.0]), T.tensor([5.0, 7.0])
    nested = func.vmap(func.vmap(func.grad(lambda w, a, b: w * w * a * b), (None, 0, None)), (None, None, 0))
    assert nested(T.tensor(1.0), x, y).tolist() == (2 * y[:, None] * x).tolist()


def test_a_vector_of_each_slice() -> None:
    x = T.tensor([1.0, 2.0, 3.0])
    _, pull = func.vjp(lambda x: x * x, x)
    assert T.equal(func.vmap(pull)(T.eye(3))[0], T.diag(2 * x))
    leaf = x.clone().requires_grad_()
    out = leaf * leaf
    rows = func.vmap(lambda v: T.autograd.grad(out, leaf, v, retain_graph=True)[0])(T.eye(3))
    assert T.equal(rows, T.diag(2 * x))


def test_where_the_dimension_is() -> None:
    x = T.arange(24.0).reshape(2, 3, 4)
    assert func.vmap(lambda v: v.sum(0), in_dims=1, out_dims=-1)(x).tolist() == x.sum(0).T.tolist()
    assert func.vmap(lambda v: v, in_dims=-1, out_dims=2)(x).tolist() == x.tolist()
    a, b = func.vmap(lambda v, k: (v["x"] + k["y"], T.ones(2)), in_dims=({"x": 0}, {"y": None}), out_dims=(1, 0))(
        {"x": x}, {"y": x[0]}
    )
    assert a.tolist() == (x + x[0]).transpose(0, 1).tolist()
    assert b.tolist() == [[1.0, 1.0]] * 2
    assert func.vmap(lambda v, *, k: v * k)(x, k=3).tolist() == (x * 3).tolist()
    _, plain = func.vmap(lambda v: (v, T.ones(2)), out_dims=(0, None))(x)
    assert plain.shape == (2,)
    with pytest.raises(ValueError, match="out_dim is None"):
        func.vmap(lambda v: v, out_dims=None)(x)
    with pytest.raises(ValueError, match="must only return Tensors"):
        func.vmap(lambda v: 3.0)(x)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7])
def test_pieces(chunk_size: int) -> None:
    x = T.arange(15.0).reshape(3, 5)
    sizes = []

    def function(v: Any) -> Any:
        sizes.append(1)
        return v * 2, v.sum()

    both = func.vmap(function, in_dims=1, out_dims=(1, 0), chunk_size=chunk_size)(x)
    assert len(sizes) == -(-5 // chunk_size)
    assert both[0].tolist() == (x * 2).tolist()
    assert both[1].tolist() == x.sum(0).tolist()


def test_drawn_numbers() -> None:
    x = T.zeros(4, 3)
    with pytest.raises(RuntimeError, match="randomness"):
        func.vmap(lambda v: v + T.randn(3))(x)
    same = func.vmap(lambda v: v + T.rand(3), randomness="same")(x)
    assert T.equal(same[0], same[3])
    different = func.vmap(lambda v: v + T.rand(3), randomness="different")(x)
    assert not T.equal(different[0], different[3])
    with pytest.raises(RuntimeError, match="randomness"):
        func.vmap(lambda v: F.dropout(v, 0.5))(x)
    x = T.ones(4, 64)
    for function in (
        lambda v: F.dropout(v, 0.5), lambda v: v * T.rand_like(v), lambda v: v.clone().uniform_(),
        lambda v: T.nn.Dropout(0.5)(v), lambda v: T.randn_like(v) + T.rand(64),
    ):  # fmt: skip
        same = func.vmap(function, randomness="same")(x)
        assert T.equal(same[0], same[3])
        assert same[0].unique().numel() > 1
        different = func.vmap(function, randomness="different")(x)
        assert not T.equal(different[0], different[3])


@rustgrad_only
def test_numbers_of_each_slice_are_drawn_at_once() -> None:
    calls = []

    def function(v: Any) -> Any:
        calls.append(1)
        return F.dropout(v, 0.5).sum()

    T.manual_seed(0)
    found = func.vmap(function, randomness="different")(T.ones(50, 64))
    assert len(calls) == 1
    T.manual_seed(0)
    assert T.equal(found, F.dropout(T.ones(50, 64), 0.5).sum(1))


def test_what_all_share_is_not_overwritten_by_a_slice() -> None:
    shared = T.zeros(3)
    with pytest.raises(RuntimeError):
        func.vmap(lambda v: shared.add_(v))(T.ones(2, 3))
    assert shared.tolist() == [0.0] * 3
    norm = T.nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError):
        func.vmap(norm)(T.ones(2, 4, 3))
    assert norm.running_mean.tolist() == [0.0] * 3
    assert func.vmap(T.nn.BatchNorm1d(3, track_running_stats=False))(T.ones(2, 4, 3)).shape == (2, 4, 3)


def test_writing_to_slices() -> None:
    x = T.zeros(2, 3)
    func.vmap(lambda v, w: v.add_(w).mul_(2))(x, T.tensor([1.0, 2.0]))
    assert x.tolist() == [[2.0] * 3, [4.0] * 3]


def test_dtypes_and_kinds_of_results() -> None:
    x = T.arange(6.0).reshape(2, 3)
    assert func.vmap(lambda v: v.mean() * T.tensor(2.0, dtype=T.float64))(x).dtype == T.float64
    assert func.vmap(lambda v: v * T.tensor(2.0, dtype=T.float64))(x).dtype == T.float32
    found = func.vmap(lambda v: v.max(dim=0))(x)
    assert found[0].tolist() == [2.0, 5.0]
    assert found[1].tolist() == [2, 2]


def test_a_batch_of_nothing() -> None:
    assert func.vmap(lambda v: v.sum())(T.ones(0, 3)).shape == (0,)


def test_errors_come_as_they_are() -> None:
    with pytest.raises(KeyError, match="lost"):
        func.vmap(lambda v: {"found": v}["lost"])(T.ones(2))
    with pytest.raises(RuntimeError):
        func.vmap(lambda v: v @ T.ones(5))(T.ones(2, 3))
    with pytest.raises(IndexError):
        func.vmap(lambda v: v.sum(3))(T.ones(2, 3))
    with pytest.raises(ValueError, match="same size"):
        func.vmap(lambda v, w: v)(T.ones(2), T.ones(3))


def test_a_slice_is_a_tensor() -> None:
    seen = []

    def look(v: Any) -> Any:
        seen.append((isinstance(v, T.Tensor), T.is_tensor(v), v.shape, v.dim(), v.dtype, v.device.type, len(v)))
        assert v.requires_grad is False
        assert isinstance(v.shape, T.Size)
        assert T.numel(v) == v.numel() == 6
        assert T.is_floating_point(v)
        return v.sum()

    func.vmap(look)(T.ones(4, 2, 3))
    assert seen == [(True, True, T.Size([2, 3]), 2, T.float32, "cpu", 2)]


class Doubled(T.autograd.Function):
    @staticmethod
    def forward(x: Any) -> Any:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Any) -> Any:
        assert info.batch_size == 3
        return Doubled.apply(x), in_dims[0]


def test_custom_functions() -> None:
    assert func.vmap(Doubled.apply)(T.ones(3, 2)).tolist() == [[2.0, 2.0]] * 3


@rustgrad_only
def test_what_depends_on_numbers_is_called_slice_by_slice() -> None:
    x = T.tensor([[1.0, -2.0], [3.0, 4.0]])
    assert func.vmap(lambda v: v.sum() if v[1].item() < 0 else v.prod())(x).tolist() == [-1.0, 12.0]
    assert func.vmap(lambda v: v * 2 if v[0] > 2 else v)(x).tolist() == [[1.0, -2.0], [6.0, 8.0]]
    assert func.vmap(lambda v: T.tensor(v.tolist()).sum())(x).tolist() == [-1.0, 7.0]
    assert func.vmap(lambda v: T.from_numpy(v.numpy() + 1))(x).tolist() == (x + 1).tolist()
    assert func.vmap(lambda v: T.tensor(float(v.sum())))(x).tolist() == [-1.0, 7.0]

    written = x.clone()
    assert func.vmap(lambda v: v.add_(1) if v.mul_(2).sum() > 0 else v)(written).tolist() == [[2.0, -4.0], [7.0, 9.0]]
    assert written.tolist() == [[2.0, -4.0], [7.0, 9.0]]
    assert func.vmap(lambda v: v.requires_grad_().detach())(x).tolist() == x.tolist()
    assert not x.requires_grad

    class Halved(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x / 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 10

    assert func.vmap(func.grad(lambda v: Halved.apply(v).sum()))(x).tolist() == [[10.0, 10.0]] * 2
