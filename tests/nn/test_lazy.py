"""Layers that take their sizes from the first input."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from oracle import T

nn: Any = T.nn


CASES = [
    (lambda: nn.LazyLinear(3), (4, 5), "Linear(in_features=5, out_features=3, bias=True)", nn.Linear),
    (lambda: nn.LazyLinear(3, bias=False), (5,), "Linear(in_features=5, out_features=3, bias=False)", nn.Linear),
    (lambda: nn.LazyConv1d(4, 3), (2, 6, 9), "Conv1d(6, 4, kernel_size=(3,), stride=(1,))", nn.Conv1d),
    (
        lambda: nn.LazyConv2d(4, 3, padding=1, groups=2),
        (2, 6, 9, 9),
        "Conv2d(6, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2)",
        nn.Conv2d,
    ),
    (lambda: nn.LazyConv3d(2, 2), (3, 4, 4, 4), "Conv3d(3, 2, kernel_size=(2, 2, 2), stride=(1, 1, 1))", nn.Conv3d),
    (
        lambda: nn.LazyConvTranspose2d(4, 3, 2, output_padding=1),
        (2, 6, 5, 5),
        "ConvTranspose2d(6, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))",
        nn.ConvTranspose2d,
    ),
    (lambda: nn.LazyConvTranspose1d(4, 3), (2, 6, 5), "ConvTranspose1d(6, 4, kernel_size=(3,), stride=(1,))", None),
    (lambda: nn.LazyBatchNorm1d(), (4, 5), None, nn.BatchNorm1d),
    (lambda: nn.LazyBatchNorm2d(eps=1e-3), (4, 5, 2, 2), None, nn.BatchNorm2d),
    (lambda: nn.LazyBatchNorm3d(affine=False), (4, 5, 2, 2, 2), None, nn.BatchNorm3d),
    (lambda: nn.LazyInstanceNorm2d(), (4, 5, 2, 2), None, nn.InstanceNorm2d),
]


@pytest.mark.parametrize(("make", "shape", "shown", "kind"), CASES)
def test_first_call_makes_an_ordinary_layer(make: Any, shape: Any, shown: Any, kind: Any) -> None:
    """After the first call the layer has the class, the parameters and the results of the ordinary one."""
    layer = make()
    x = T.randn(shape, requires_grad=True)
    result = layer(x)
    if kind is not None:
        assert type(layer) is kind
    if shown is not None:
        assert repr(layer) == shown
    assert all(type(parameter) is nn.Parameter for parameter in layer.parameters())
    assert T.equal(copy.deepcopy(layer).train()(x), result)
    (result * result).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in layer.parameters())


def test_draws_what_the_ordinary_layer_draws() -> None:
    """The parameters come out of the generator as those of the ordinary layer."""
    lazy = nn.LazyLinear(3)
    T.manual_seed(4)
    lazy(T.ones(2, 5))
    T.manual_seed(4)
    ordinary = nn.Linear(5, 3)
    assert T.equal(lazy.weight, ordinary.weight)
    assert T.equal(lazy.bias, ordinary.bias)


def test_network() -> None:
    """A network of lazy layers is shown, made by a dry run, and trained."""
    net = nn.Sequential(nn.LazyConv2d(6, 5), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10), nn.LazyBatchNorm1d())
    assert repr(net[3]) == "LazyLinear(in_features=0, out_features=10, bias=True)"
    assert repr(net[0]) == "LazyConv2d(0, 6, kernel_size=(5, 5), stride=(1, 1))"
    assert net[3].has_uninitialized_params()
    optimizer = T.optim.SGD(net.parameters(), lr=0.1)
    net(T.randn(2, 1, 8, 8)).pow(2).sum().backward()
    before = net[3].weight.detach().clone()
    optimizer.step()
    assert before.shape == (10, 96)
    assert not T.equal(before, net[3].weight)


def test_dtype_is_kept() -> None:
    """Casting a lazy module gives it parameters of that dtype later."""
    layer = nn.LazyLinear(2).double()
    assert layer.weight.dtype == T.float64
    assert layer(T.ones(3, 4, dtype=T.float64)).dtype == T.float64
    assert nn.LazyLinear(2, dtype=T.float64)(T.ones(3, dtype=T.float64)).dtype == T.float64


def test_state_is_saved_and_loaded() -> None:
    """A lazy module takes the state of one that has been called, or of one that has not."""
    full, lazy = nn.LazyLinear(2), nn.LazyLinear(2)
    assert repr(lazy.state_dict()["weight"]) == "<UninitializedParameter>"
    lazy.load_state_dict(full.state_dict())
    assert lazy.has_uninitialized_params()
    full(T.ones(3, 4))
    lazy.load_state_dict(full.state_dict())
    assert not lazy.has_uninitialized_params()
    assert T.equal(lazy(T.ones(4)), full(T.ones(4)))
    assert lazy.in_features == 4
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        full.load_state_dict(nn.LazyLinear(2).state_dict())


def test_copies() -> None:
    """Copies and pickles of what has no shape have none either."""
    layer = copy.deepcopy(nn.LazyLinear(2))
    assert layer(T.ones(3)).shape == (2,)
    again = pickle.loads(pickle.dumps(nn.LazyLinear(2).weight))
    assert isinstance(again, nn.UninitializedParameter)
    assert again.requires_grad


@pytest.mark.parametrize(
    "use",
    [
        lambda p: p + 1,
        lambda p: 2 * p,
        lambda p: p.sum(),
        lambda p: p.numel(),
        lambda p: p[0],
        lambda p: p == p,
        lambda p: p.detach(),
        lambda p: len(p),
        lambda p: bool(p),
        lambda p: nn.init.normal_(p),
        lambda p: nn.init.xavier_uniform_(p),
        lambda p: list(p),
    ],
)
def test_uninitialized_parameters_refuse(use: Any) -> None:
    """What has no elements cannot be computed with."""
    with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter"):
        use(nn.UninitializedParameter())


def test_uninitialized_parameters_have_no_shape() -> None:
    """Only dtype and the like are known."""
    parameter = nn.UninitializedParameter(dtype=T.float64)
    assert repr(parameter) == "<UninitializedParameter>"
    assert parameter.dtype == T.float64
    assert parameter.requires_grad
    assert isinstance(parameter, nn.Parameter)
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized"):
        print(parameter.shape)
    parameter.materialize((2, 3))
    assert type(parameter) is nn.Parameter
    assert parameter.shape == (2, 3)
    assert repr(nn.UninitializedBuffer()) == "<UninitializedBuffer>"


def test_first_input_that_does_not_fit() -> None:
    """The first input is checked."""
    with pytest.raises(RuntimeError, match="LazyConv2d"):
        nn.LazyConv2d(4, 3)(T.ones(3, 3))
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.LazyConv2d(4, 3, groups=2)(T.ones(3, 5, 5))


def test_own_lazy_modules() -> None:
    """A subclass of the mixin says how its parameters come about."""

    class Scale(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.UninitializedParameter()

        def initialize_parameters(self, x: Any, more: float = 1.0) -> None:
            if self.has_uninitialized_params():
                with T.no_grad():
                    self.scale.materialize(x.shape[-1:])
                    self.scale.fill_(more)

        def forward(self, x: Any, more: float = 1.0) -> Any:
            return x * self.scale

    assert Scale()(T.ones(2, 3), more=4.0).tolist() == [[4.0] * 3] * 2

    class Nothing(nn.modules.lazy.LazyModuleMixin, nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="initialize_parameters is not implemented"):
        Nothing()(1)
