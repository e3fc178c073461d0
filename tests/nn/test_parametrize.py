"""Weights that are computed from other parameters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from oracle import T

nn: Any = T.nn
parametrize: Any = T.nn.utils.parametrize
parametrizations: Any = T.nn.utils.parametrizations


class Symmetric(nn.Module):
    """The upper triangle twice."""

    def forward(self, X: Any) -> Any:
        return X.triu() + X.triu(1).transpose(-1, -2)

    def right_inverse(self, A: Any) -> Any:
        return A.triu()


class Exponential(nn.Module):
    """Positive numbers."""

    def forward(self, X: Any) -> Any:
        return X.exp()


def test_registered_and_removed() -> None:
    """The parameter becomes computed, can be assigned, and becomes ordinary again."""
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert T.equal(layer.weight, layer.weight.T)
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]
    layer.weight = T.eye(3) * 2
    assert T.equal(layer.weight, T.eye(3) * 2)
    layer(T.ones(2, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad.shape == (3, 3)
    again = copy.deepcopy(layer)
    assert T.equal(again.weight, layer.weight)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert isinstance(layer.weight, nn.Parameter)
    assert T.equal(layer.weight, T.eye(3) * 2)
    assert list(layer.state_dict()) == ["bias", "weight"] or list(layer.state_dict()) == ["weight", "bias"]


def test_several_of_one_tensor() -> None:
    """Parametrizations are applied in the order they came."""
    layer = nn.Linear(2, 2)
    original = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Exponential())
    assert T.allclose(layer.weight, Symmetric()(original).exp())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert T.allclose(layer.weight, original.triu())


def test_cached() -> None:
    """Within the block a value is computed once."""
    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight


def test_what_is_refused() -> None:
    """Unknown names, other shapes, and pickles of the module itself are refused."""

    class Wider(nn.Module):
        def forward(self, X: Any) -> Any:
            return T.cat([X, X])

    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="does not have a parameter, a buffer, or a parametrized element"):
        parametrize.register_parametrization(layer, "other", Symmetric())
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", Wider())
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(layer, "weight")
    parametrize.register_parametrization(layer, "weight", Symmetric())
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim: Any) -> None:
    """Length and direction give the weight, and the older form gives the same."""
    layer = nn.Conv2d(2, 3, 3)
    weight = layer.weight.detach().clone()
    older = copy.deepcopy(layer)
    parametrizations.weight_norm(layer, dim=dim)
    assert T.allclose(layer.weight, weight, atol=1e-6)
    assert [n for n, _ in layer.named_parameters()] == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip
    with pytest.warns(FutureWarning):
        T.nn.utils.weight_norm(older, dim=dim)
    x = T.randn(1, 2, 5, 5)
    assert T.allclose(older(x), layer(x), atol=1e-5)
    with T.no_grad():
        layer.parametrizations.weight.original0.mul_(2)
    assert T.allclose(layer.weight, 2 * weight, atol=1e-6)
    layer(x).sum().backward()
    direction = layer.parametrizations.weight.original1
    assert direction.grad.shape == weight.shape
    # The length of the direction does not matter.
    assert abs((direction.grad * direction.detach()).sum().item()) < 1e-4
    T.nn.utils.remove_weight_norm(older)
    assert T.allclose(older.weight, weight, atol=1e-6)
    assert sorted(older.state_dict()) == ["bias", "weight"]


def test_spectral_norm() -> None:
    """The largest singular value becomes one, in both forms."""
    layer = nn.Linear(4, 5)
    older = copy.deepcopy(layer)
    parametrizations.spectral_norm(layer, n_power_iterations=50)
    assert T.linalg.svdvals(layer.weight)[0].item() == pytest.approx(1, abs=1e-4)
    layer.eval()
    assert T.equal(layer.weight, layer.weight)
    T.nn.utils.spectral_norm(older, n_power_iterations=50)
    older(T.ones(4)).sum().backward()
    assert T.linalg.svdvals(older.weight)[0].item() == pytest.approx(1, abs=1e-4)
    assert sorted(older.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    assert older.weight_orig.grad is not None
    T.nn.utils.remove_spectral_norm(older)
    assert isinstance(older.weight, nn.Parameter)


@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley"])
def test_orthogonal(sizes: Any, kind: str) -> None:
    """The weight stays orthogonal under training."""
    layer = parametrizations.orthogonal(nn.Linear(*sizes), orthogonal_map=kind)
    optimizer = T.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(T.ones(2, sizes[0])) ** 2).sum().backward()
        optimizer.step()
    weight = layer.weight if sizes[1] < sizes[0] else layer.weight.T
    assert T.allclose(weight @ weight.T, T.eye(min(sizes)), atol=1e-5)


def test_orthogonal_start() -> None:
    """The initial matrix is torch's for the seed, and orthogonal."""
    T.manual_seed(0)
    x = nn.init.orthogonal_(T.empty(3, 5), 2.0)
    assert x[0].tolist() == pytest.approx([1.0445, -0.1989, -1.4767, 0.3853, -0.7351], abs=1e-4)
    assert T.allclose(x @ x.T, 4 * T.eye(3), atol=1e-5)
    tall = nn.init.orthogonal_(T.empty(6, 2, 2)).reshape(6, 4)
    assert T.allclose(tall.T @ tall, T.eye(4), atol=1e-5)
    with pytest.raises(ValueError, match="Only tensors with 2 or more dimensions"):
        nn.init.orthogonal_(T.empty(3))
