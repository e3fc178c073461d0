"""Distributions of angles, tails and matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from oracle import T

D: Any = T.distributions


def t(values: Any) -> Any:
    """Make a double tensor."""
    return T.tensor(values, dtype=T.float64)


S = [[1.0, 0.3, 0.0], [0.3, 2.0, 0.1], [0.0, 0.1, 0.5]]
V = [[2.0, 0.1, 0.2], [0.1, 1.0, 0.1], [0.2, 0.1, 1.5]]


def test_angles() -> None:
    """The density integrates to one; draws and the circular variance agree with it."""
    for k in (1e-3, 0.7, 40.0):
        p = D.VonMises(t(0.5), t(k))
        x = T.linspace(-math.pi, math.pi, 20_001, dtype=T.float64)
        density = p.log_prob(x).exp()
        # Torch's series of the normaliser has seven digits.
        assert T.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)
        assert p.variance.item() == pytest.approx(1 - T.trapezoid(density * (x - 0.5).cos(), x).item(), abs=1e-6)
        T.manual_seed(1)
        draws = p.sample((20_000,))
        assert draws.abs().max().item() <= math.pi
        assert (1 - (draws - 0.5).cos().mean()).item() == pytest.approx(p.variance.item(), abs=0.02)
    assert p.expand((2, 3)).sample().shape == (2, 3)
    assert repr(D.VonMises(t(0.5), t(1.5))).startswith("VonMises(loc: 0.5, concentration: 1.5")
    T.manual_seed(3)
    # What torch gives.
    want = [[-0.0521008402, 1.24015082536], [-1.83304890526, 1.140447958]]
    assert np.allclose(D.VonMises(t([0.0, 1.0]), t([1.0, 4.0])).sample((2,)).numpy(), want)
    k = t(2.0).requires_grad_()
    (slope,) = T.autograd.grad(D.VonMises(t(0.0), k).log_prob(t(0.3)), k)
    assert slope.item() == pytest.approx(math.cos(0.3) - 0.6977746579640079, abs=1e-6)


@pytest.mark.rustgrad_only  # torch refuses doubles here
@pytest.mark.parametrize("k", [-0.4, 0.0, 0.2])
def test_tails(k: float) -> None:
    p = D.GeneralizedPareto(t(0.5), t(2.0), t(k))
    high = 5.5 if k < 0 else 60.0 if k == 0 else 4000.0
    x = 0.5 + (high - 0.5) * T.linspace(0, 1 - 1e-6, 400_001, dtype=T.float64) ** 3
    density = p.log_prob(x).exp()
    assert T.trapezoid(density, x).item() == pytest.approx(1, abs=1e-4)
    assert p.mean.item() == pytest.approx(T.trapezoid(density * x, x).item(), rel=1e-3)
    assert p.cdf(x[200_000]).item() == pytest.approx(T.trapezoid(density[:200_001], x[:200_001]).item(), abs=1e-5)
    quantiles = t([0.1, 0.5, 0.9])
    assert T.allclose(p.cdf(p.icdf(quantiles)), quantiles)
    assert p.entropy().item() == pytest.approx(-T.trapezoid(T.xlogy(density, density), x).item(), rel=2e-3)
    assert p.expand((2, 3)).rsample().shape == (2, 3)


def test_tails_end_and_moments_fail() -> None:
    assert math.isnan(D.GeneralizedPareto(0.0, 1.0, 1.5).mean.item())
    assert math.isnan(D.GeneralizedPareto(0.0, 1.0, 0.5).variance.item())
    with pytest.raises(ValueError, match="to be within the support"):
        D.GeneralizedPareto(t(0.0), t(1.0), t(-1.0)).log_prob(t(1.5))
    T.manual_seed(3)
    want = [0.5696483338253484, 1.199179007989077, 3.9512389952715914]
    assert np.allclose(D.GeneralizedPareto(t(0.5), t(2.0), t(0.2)).sample((3,)).numpy(), want)


def test_sums_of_outer_products() -> None:
    p = D.Wishart(t(4.5), t(S))
    # What torch gives.
    assert p.log_prob(t(V)).item() == pytest.approx(-8.75002500513005)
    assert p.entropy().item() == pytest.approx(12.306894619908498)
    assert [p.mean[0, 1].item(), p.variance[0, 1].item(), p.mode[1, 1].item()] == pytest.approx([1.35, 9.405, 1.0])
    assert D.Wishart(t(4.5), precision_matrix=t(S)).log_prob(t(V)).item() == pytest.approx(-8.611655078891317)
    assert D.Wishart(t(4.5), scale_tril=T.linalg.cholesky(t(S))).entropy().item() == pytest.approx(12.306894619908498)
    T.manual_seed(1)
    draws = p.rsample((4000,))
    assert T.allclose(draws.mean(0), p.mean, atol=0.3)
    assert p.support.check(draws).all()
    assert p.expand((2,)).sample((3,)).shape == (3, 2, 3, 3)
    assert D.Wishart(t([4.0, 5.0]), t(S)).log_prob(t(V)).shape == (2,)
    factor = T.linalg.cholesky(t(S)).requires_grad_()
    D.Wishart(t(4.5), scale_tril=factor).rsample().sum().backward()
    assert factor.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="expected to be greater than ndim - 1 = 2"):
        D.Wishart(t(2.0), t(S))
    with pytest.raises(AssertionError, match="Exactly one of"):
        D.Wishart(t(4.0))


def test_divergence_of_one_family() -> None:
    """Families without a formula of their own have Bregman's."""
    p = D.Wishart(t(4.5), t(S))
    assert D.kl_divergence(p, p).abs().max().item() == pytest.approx(0, abs=1e-10)
    with pytest.raises(NotImplementedError, match="cross KL-divergence"):
        D.kl_divergence(D.Beta(1.0, 2.0), D.Bernoulli(0.5))


def test_factors_of_correlations() -> None:
    factor = T.linalg.cholesky(t([[1.0, 0.2, 0.1], [0.2, 1.0, 0.3], [0.1, 0.3, 1.0]]))
    # What torch gives.
    assert D.LKJCholesky(3, t(1.5)).log_prob(factor).item() == pytest.approx(-1.115840774989723)
    pair = D.LKJCholesky(3, t([0.5, 2.0]))
    assert pair.log_prob(factor).tolist() == pytest.approx([-2.4829523166928396, -0.7728601904604141])
    T.manual_seed(0)
    draws = pair.sample((2000,))
    assert draws.shape == (2000, 2, 3, 3)
    assert pair.support.check(draws.float()).all()
    # The correlations' variance is 1 / (2 * concentration + dim - 1).
    correlations = (draws @ draws.mT)[..., 0, 1]
    assert correlations.var(0).tolist() == pytest.approx([1 / 3, 1 / 6], rel=0.15)
    assert pair.expand((4, 2)).sample().shape == (4, 2, 3, 3)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        D.LKJCholesky(1)
