"""Distributions against integrals of their own densities, moments of their draws, and the rules they obey."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from oracle import T

D: Any = T.distributions


def t(values: Any) -> Any:
    """Make a double tensor."""
    return T.tensor(values, dtype=T.float64)


# Name: distribution, and between which numbers nearly all of it lies.
CONTINUOUS: dict[str, Any] = {
    "Normal": (lambda: D.Normal(t(0.5), t(1.5)), -15, 16),
    "LogNormal": (lambda: D.LogNormal(t(0.1), t(0.4)), 1e-9, 12),
    "Laplace": (lambda: D.Laplace(t(0.3), t(0.7)), -19.7, 20.3),
    "Uniform": (lambda: D.Uniform(t(-1.0), t(2.0)), -1, 2 - 1e-9),
    "Exponential": (lambda: D.Exponential(t(1.3)), 0, 25),
    "Gamma": (lambda: D.Gamma(t(2.5), t(1.5)), 0, 25),
    "Chi2": (lambda: D.Chi2(t(5.0)), 0, 70),
    "InverseGamma": (lambda: D.InverseGamma(t(9.0), t(4.0)), 1e-9, 30),
    "Beta": (lambda: D.Beta(t(2.5), t(3.5)), 1e-12, 1 - 1e-12),
    "StudentT": (lambda: D.StudentT(t(30.0), t(0.5), t(0.8)), -15, 16),
    "FisherSnedecor": (lambda: D.FisherSnedecor(t(8.0), t(60.0)), 1e-9, 30),
    "HalfNormal": (lambda: D.HalfNormal(t(1.3)), 0, 15),
    "Gumbel": (lambda: D.Gumbel(t(0.4), t(0.8)), -6, 28),
    "Weibull": (lambda: D.Weibull(t(1.2), t(2.0)), 1e-9, 12),
    "Kumaraswamy": (lambda: D.Kumaraswamy(t(2.5), t(3.5)), 1e-9, 1 - 1e-9),
    "ContinuousBernoulli": (lambda: D.ContinuousBernoulli(t(0.3)), 0, 1),
    "TransformedDistribution": (
        lambda: D.TransformedDistribution(D.Normal(t(0.0), t(0.5)), [D.AffineTransform(1.0, -2.0), D.ExpTransform()]),
        1e-9,
        400,
    ),
    "MixtureSameFamily": (
        lambda: D.MixtureSameFamily(D.Categorical(t([0.3, 0.7])), D.Normal(t([0.0, 1.0]), t([1.0, 0.5]))),
        -9,
        10,
    ),
}
DISCRETE: dict[str, Any] = {
    "Bernoulli": (lambda: D.Bernoulli(t(0.3)), 2),
    "Binomial": (lambda: D.Binomial(9, t(0.3)), 10),
    "Geometric": (lambda: D.Geometric(t(0.3)), 100),
    "NegativeBinomial": (lambda: D.NegativeBinomial(t(3.5), t(0.3)), 100),
    "Poisson": (lambda: D.Poisson(t(4.5)), 60),
    "Categorical": (lambda: D.Categorical(t([0.2, 0.3, 0.5])), 3),
}


def integral(values: Any, x: Any) -> Any:
    """Integrate over sorted samples."""
    return T.trapezoid(values, x)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities(name: str) -> None:
    """The density integrates to one, and gives mean, variance, entropy and distribution function."""
    make, low, high = CONTINUOUS[name]
    p = make()
    x = T.linspace(low, high, 400_001, dtype=T.float64)
    density = p.log_prob(x).exp()
    assert integral(density, x).item() == pytest.approx(1, abs=1e-4)
    if name == "TransformedDistribution":
        assert p.cdf(x[2000]).item() == pytest.approx(integral(density[:2001], x[:2001]).item(), abs=1e-4)
        return
    mean = integral(density * x, x).item()
    assert p.mean.item() == pytest.approx(mean, rel=1e-3, abs=1e-3)
    assert p.variance.item() == pytest.approx(integral(density * (x - mean) ** 2, x).item(), rel=5e-3)
    assert p.stddev.item() == pytest.approx(p.variance.item() ** 0.5, rel=1e-6)
    middle = 200_000
    if name not in {"StudentT", "FisherSnedecor", "Beta"}:
        below = integral(density[: middle + 1], x[: middle + 1]).item()
        assert p.cdf(x[middle]).item() == pytest.approx(below, abs=1e-4)
    if name not in {"StudentT", "FisherSnedecor", "Beta", "Gamma", "Chi2", "InverseGamma", "MixtureSameFamily"}:
        quantiles = t([0.1, 0.5, 0.8])
        assert T.allclose(p.cdf(p.icdf(quantiles)), quantiles, atol=1e-6)
    if name not in {"MixtureSameFamily", "FisherSnedecor"}:
        entropy = -integral(T.xlogy(density, density), x).item()
        assert p.entropy().item() == pytest.approx(entropy, abs=1e-3)


@pytest.mark.parametrize("name", DISCRETE)
def test_masses(name: str) -> None:
    """The probabilities sum to one, and give mean and variance."""
    make, count = DISCRETE[name]
    p = make()
    x = T.arange(count, dtype=T.float64)
    mass = p.log_prob(x).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    if name != "Categorical":
        assert p.mean.item() == pytest.approx((mass * x).sum().item(), abs=1e-6)
        assert p.variance.item() == pytest.approx((mass * x * x).sum().item() - p.mean.item() ** 2, abs=1e-5)
    if name in {"Bernoulli", "Binomial", "Categorical", "Geometric"}:
        assert p.entropy().item() == pytest.approx(-T.xlogy(mass, mass).sum().item(), abs=1e-6)
    if p.has_enumerate_support:
        assert p.enumerate_support().tolist() == list(range(count))


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_draws(name: str) -> None:
    """Draws have shape, dtype and moments of the distribution, and no gradient."""
    make = (CONTINUOUS if name in CONTINUOUS else DISCRETE)[name][0]
    p = make()
    T.manual_seed(1)
    n = 20_000
    draws = p.sample((n, 1))
    assert draws.shape == (n, 1)
    assert draws.dtype == (T.int64 if name == "Categorical" else T.float64)
    assert not draws.requires_grad
    assert p.support.check(draws).all()
    assert p.expand((2, 3)).sample().shape == (2, 3)
    if name == "TransformedDistribution":
        return
    mean = 1.3 if name == "Categorical" else p.mean.item()
    spread = 1 if name == "Categorical" else p.stddev.item()
    assert abs(draws.double().mean().item() - mean) < 6 * spread / n**0.5
    if name != "Categorical":
        assert draws.std().item() == pytest.approx(spread, rel=0.1)


LARGE = [
    lambda: D.Poisson(t([3.0, 30.0, 3000.0])),
    lambda: D.Binomial(t([40.0, 1000.0, 5.0]), t([0.5, 0.9, 0.97])),
    lambda: D.Gamma(t([0.2, 7.0, 900.0]), t([1.0, 2.0, 3.0])),
    lambda: D.NegativeBinomial(t([4.0, 40.0, 400.0]), t([0.2, 0.5, 0.8])),
    lambda: D.Beta(t([0.3, 3.0, 300.0]), t([0.5, 2.0, 100.0])),
]


@pytest.mark.parametrize("make", LARGE)
def test_draws_by_rejection(make: Any) -> None:
    """Draws for small and large parameters have the right mean and variance."""
    p = make()
    T.manual_seed(2)
    draws = p.sample((20_000,))
    assert ((draws.mean(0) - p.mean).abs() < 6 * p.stddev / 20_000**0.5).all()
    assert T.allclose(draws.var(0), p.variance, rtol=0.12)


def test_draws_are_torchs() -> None:
    """With one seed the draws of those that are made of uniform and normal numbers are torch's."""
    T.manual_seed(0)
    assert T.allclose(D.Normal(0.0, 1.0).sample((3,)), T.tensor([1.5410, -0.2934, -2.1788]), atol=1e-4)
    T.manual_seed(0)
    assert T.allclose(D.Uniform(0.0, 2.0).sample((3,)), T.tensor([0.9925, 1.5364, 0.1770]), atol=1e-4)
    T.manual_seed(0)
    first = D.Categorical(T.tensor([0.1, 0.2, 0.7])).sample((6,))
    T.manual_seed(0)
    assert T.equal(first, T.multinomial(T.tensor([0.1, 0.2, 0.7]), 6, True))


REPARAMETRISED: dict[str, Any] = {
    "Normal": (lambda a: D.Normal(a, 1.0), 0.7, lambda a: 1.0),
    "Exponential": (lambda a: D.Exponential(a), 0.7, lambda a: -1 / a**2),
    "Gamma": (lambda a: D.Gamma(a, t(2.0)), 0.7, lambda a: 0.5),
    "Gamma, large": (lambda a: D.Gamma(a, t(2.0)), 60.0, lambda a: 0.5),
    "Chi2": (lambda a: D.Chi2(a), 3.0, lambda a: 1.0),
    "Beta": (lambda a: D.Beta(a, t(2.0)), 1.5, lambda a: 2 / (a + 2) ** 2),
    "LogNormal": (lambda a: D.LogNormal(a, t(0.3)), 0.2, lambda a: math.exp(a + 0.045)),
    "Laplace": (lambda a: D.Laplace(a, t(0.3)), 0.2, lambda a: 1.0),
    "Uniform": (lambda a: D.Uniform(t(0.0), a), 0.2, lambda a: 0.5),
}


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_gradients_of_draws(name: str) -> None:
    """The mean of the draws' derivatives is the derivative of the mean."""
    make, at, slope = REPARAMETRISED[name]
    a = t(at).requires_grad_()
    T.manual_seed(3)
    (grad,) = T.autograd.grad(make(a.expand(20_000)).rsample().mean(), a)
    assert grad.item() == pytest.approx(slope(at), rel=0.05)


def test_gradient_of_a_gamma_draw() -> None:
    """A draw moves with its shape so that its quantile stays."""
    alpha = t([0.3, 1.0, 4.0, 50.0]).requires_grad_()
    T.manual_seed(5)
    draw = D.Gamma(alpha, 1.0).rsample()
    (grad,) = T.autograd.grad(draw.sum(), alpha)
    x, a, step = draw.detach(), alpha.detach(), 1e-5
    moved = T.special.gammainc(a + step, x + grad * step) - T.special.gammainc(a - step, x - grad * step)
    density = D.Gamma(a, 1.0).log_prob(x).exp()
    assert (moved.abs() / (2 * step * density) < 2e-3 * (1 + grad.abs())).all()


PAIRS = [
    (lambda: D.Normal(t(0.5), t(1.5)), lambda: D.Normal(t(0.0), t(1.0)), -15, 16),
    (lambda: D.Normal(t(0.5), t(1.5)), lambda: D.Laplace(t(0.0), t(1.0)), -15, 16),
    (lambda: D.Normal(t(0.5), t(0.5)), lambda: D.Gumbel(t(0.0), t(1.0)), -5, 6),
    (lambda: D.Laplace(t(0.3), t(0.7)), lambda: D.Laplace(t(0.0), t(1.0)), -20, 20),
    (lambda: D.Laplace(t(0.3), t(0.7)), lambda: D.Normal(t(0.0), t(1.0)), -20, 20),
    (lambda: D.Gamma(t(2.5), t(1.5)), lambda: D.Gamma(t(1.5), t(2.5)), 1e-9, 30),
    (lambda: D.Gamma(t(2.5), t(1.5)), lambda: D.Exponential(t(1.0)), 1e-9, 30),
    (lambda: D.Gamma(t(2.5), t(1.5)), lambda: D.Normal(t(1.0), t(1.0)), 1e-9, 30),
    (lambda: D.Gamma(t(2.5), t(1.5)), lambda: D.Gumbel(t(1.0), t(1.0)), 1e-9, 30),
    (lambda: D.Exponential(t(1.5)), lambda: D.Gamma(t(1.7), t(1.2)), 1e-9, 30),
    (lambda: D.Exponential(t(1.5)), lambda: D.Exponential(t(1.2)), 1e-9, 30),
    (lambda: D.Exponential(t(1.5)), lambda: D.Gumbel(t(0.0), t(1.2)), 1e-9, 30),
    (lambda: D.Beta(t(2.5), t(1.5)), lambda: D.Beta(t(1.7), t(2.2)), 1e-9, 1 - 1e-9),
    (lambda: D.Beta(t(2.5), t(1.5)), lambda: D.Normal(t(0.0), t(1.2)), 1e-9, 1 - 1e-9),
    (lambda: D.Beta(t(2.5), t(1.5)), lambda: D.Gamma(t(2.0), t(1.2)), 1e-9, 1 - 1e-9),
    (lambda: D.Beta(t(2.5), t(1.5)), lambda: D.ContinuousBernoulli(t(0.2)), 1e-9, 1 - 1e-9),
    (lambda: D.Uniform(t(0.1), t(0.8)), lambda: D.Beta(t(1.7), t(2.2)), 0.1, 0.8 - 1e-9),
    (lambda: D.Uniform(t(0.1), t(0.8)), lambda: D.Gamma(t(1.7), t(2.2)), 0.1, 0.8 - 1e-9),
    (lambda: D.Uniform(t(0.1), t(0.8)), lambda: D.Gumbel(t(1.7), t(2.2)), 0.1, 0.8 - 1e-9),
    (lambda: D.Uniform(t(0.5), t(0.8)), lambda: D.Pareto(t(0.3), t(2.2)), 0.5, 0.8 - 1e-9),
    (lambda: D.Uniform(t(0.1), t(0.8)), lambda: D.Uniform(t(0.0), t(1.0)), 0.1, 0.8 - 1e-9),
    (lambda: D.ContinuousBernoulli(t(0.3)), lambda: D.ContinuousBernoulli(t(0.8)), 0, 1),
    (lambda: D.Gumbel(t(0.4), t(0.8)), lambda: D.Gumbel(t(0.0), t(1.0)), -6, 28),
    (lambda: D.HalfNormal(t(0.4)), lambda: D.HalfNormal(t(0.8)), 0, 8),
    (lambda: D.LogNormal(t(0.1), t(0.4)), lambda: D.LogNormal(t(0.0), t(1.0)), 1e-9, 12),
]


@pytest.mark.parametrize(("first", "second", "low", "high"), PAIRS)
def test_divergences(first: Any, second: Any, low: float, high: float) -> None:
    """The divergence is the integral of what it stands for."""
    p, q = first(), second()
    x = T.linspace(low, high, 400_001, dtype=T.float64)
    own = p.log_prob(x)
    expected = integral(own.exp() * (own - q.log_prob(x)).nan_to_num(0.0, 0.0, 0.0), x).item()
    assert D.kl_divergence(p, q).item() == pytest.approx(expected, abs=2e-3)


def test_divergences_of_counts() -> None:
    """Sums over all values give the same."""
    pairs = [
        (D.Bernoulli(t(0.3)), D.Bernoulli(t(0.6)), 2),
        (D.Bernoulli(t(0.3)), D.Poisson(t(0.6)), 2),
        (D.Binomial(6, t(0.3)), D.Binomial(6, t(0.6)), 7),
        (D.Categorical(t([0.2, 0.8])), D.Categorical(t([0.4, 0.6])), 2),
        (D.Geometric(t(0.3)), D.Geometric(t(0.6)), 150),
        (D.Poisson(t(3.0)), D.Poisson(t(5.0)), 80),
    ]
    for p, q, count in pairs:
        x = T.arange(count, dtype=T.float64)
        own = p.log_prob(x)
        assert D.kl_divergence(p, q).item() == pytest.approx((own.exp() * (own - q.log_prob(x))).sum().item(), abs=1e-6)


def test_divergences_without_a_formula() -> None:
    """Disjoint supports give infinity, unknown pairs are refused, and formulas can be added."""
    assert D.kl_divergence(D.Normal(0.0, 1.0), D.Gamma(1.0, 1.0)).item() == math.inf
    assert D.kl_divergence(D.Uniform(0.0, 2.0), D.Uniform(0.0, 1.0)).item() == math.inf
    with pytest.raises(NotImplementedError):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Cauchy(0.0, 1.0))

    Own: Any = type("Own", (D.Normal,), {})

    D.register_kl(Own, D.Normal)(lambda p, q: T.tensor(7.0))
    assert D.kl_divergence(Own(0.0, 1.0), D.Normal(0.0, 1.0)).item() == 7
    p = D.Independent(D.Normal(T.zeros(2, 3), T.ones(2, 3)), 1)
    q = D.Independent(D.Normal(T.ones(2, 3), T.ones(2, 3)), 1)
    assert D.kl_divergence(p, q).tolist() == [1.5, 1.5]


def test_normal_vectors() -> None:
    """All ways to give the covariance agree, with densities from the definition."""
    loc = t([0.5, -1.0, 0.2])
    cov = t([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 1.5]])
    x = t([[0.0, 0.0, 0.0], [1.0, 2.0, -1.0]])
    off = x - loc
    expected = -0.5 * ((off @ T.linalg.inv(cov)) * off).sum(-1) - 0.5 * T.logdet(2 * math.pi * cov)
    ways = [
        D.MultivariateNormal(loc, cov),
        D.MultivariateNormal(loc, precision_matrix=T.linalg.inv(cov)),
        D.MultivariateNormal(loc, scale_tril=T.linalg.cholesky(cov)),
    ]
    for p in ways:
        assert T.allclose(p.log_prob(x), expected)
        assert T.allclose(p.covariance_matrix, cov)
        assert T.allclose(p.precision_matrix, T.linalg.inv(cov))
        assert T.allclose(p.variance, cov.diagonal())
        assert T.allclose(p.entropy(), 0.5 * T.logdet(2 * math.pi * math.e * cov))
        T.manual_seed(0)
        draws = p.sample((20_000,))
        assert T.allclose(T.cov(draws.T), cov, atol=0.1)
        assert p.expand((2,)).sample((4,)).shape == (4, 2, 3)
    factor, diagonal = t([[1.0], [0.5], [0.2]]), t([1.0, 2.0, 0.5])
    low = D.LowRankMultivariateNormal(loc, factor, diagonal)
    full = D.MultivariateNormal(loc, factor @ factor.T + diagonal.diag())
    assert T.allclose(low.log_prob(x), full.log_prob(x))
    assert T.allclose(low.entropy(), full.entropy())
    assert T.allclose(low.precision_matrix, full.precision_matrix)
    assert D.kl_divergence(low, full).abs().item() < 1e-9
    assert D.kl_divergence(ways[0], full).item() > 0.1


def test_gradients_of_log_prob() -> None:
    """Densities are differentiable in parameters and values, twice where needed."""
    loc, scale, x = (t(v).requires_grad_() for v in ([0.1, 0.2], [1.0, 2.0], [0.4, -0.3]))
    assert T.autograd.gradcheck(lambda *a: D.Normal(*a[:2]).log_prob(a[2]), (loc, scale, x))
    assert T.autograd.gradgradcheck(lambda *a: D.Normal(*a[:2]).log_prob(a[2]), (loc, scale, x))
    assert T.autograd.gradcheck(lambda s, v: D.Gamma(s, s).log_prob(v.exp()), (scale, x))
    assert T.autograd.gradcheck(lambda s: D.Categorical(logits=s).entropy(), (scale,))
    covariance = t([[2.0, 0.3], [0.3, 1.0]]).requires_grad_()
    assert T.autograd.gradcheck(lambda m, c, v: D.MultivariateNormal(m, c @ c.T).log_prob(v), (loc, covariance, x))


def test_classes() -> None:
    """Categorical, one-hot and multinomial draws."""
    probs = t([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    p = D.Categorical(probs * 4)
    assert T.allclose(p.probs, probs)
    assert T.allclose(D.Categorical(logits=probs.log() + 3).probs, probs)
    assert p.sample((5,)).shape == (5, 2)
    assert T.allclose(p.log_prob(T.tensor([[0, 1], [2, 2]])).exp(), t([[0.2, 0.1], [0.5, 0.8]]))
    assert p.mode.tolist() == [2, 2]
    assert p.enumerate_support().shape == (3, 2)
    assert p.enumerate_support(expand=False).shape == (3, 1)
    one_hot = D.OneHotCategorical(probs).sample((4,))
    assert one_hot.shape == (4, 2, 3)
    assert (one_hot.sum(-1) == 1).all()
    counts = D.Multinomial(6, probs).sample((4,))
    assert (counts.sum(-1) == 6).all()
    total = sum(
        D.Multinomial(2, probs[0]).log_prob(t(c)).exp().item()
        for c in ([2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0], [1, 0, 1], [0, 1, 1])
    )
    assert total == pytest.approx(1)
    straight = t([0.2, 0.8]).requires_grad_()
    value = D.OneHotCategoricalStraightThrough(straight).rsample()
    (grad,) = T.autograd.grad((value * t([1.0, 2.0])).sum(), straight)
    assert grad.shape == (2,)


def test_relaxed_choices() -> None:
    """Draws at a temperature lie in the support and carry gradients."""
    logits = t([[0.2, 0.3, 0.5]]).requires_grad_()
    draw = D.RelaxedOneHotCategorical(t(0.7), logits=logits).rsample((4,))
    assert draw.shape == (4, 1, 3)
    assert T.allclose(draw.sum(-1), t(1.0))
    assert T.autograd.grad(draw.pow(2).sum(), logits)[0].abs().sum() > 0
    x = T.linspace(1e-6, 1 - 1e-6, 200_001, dtype=T.float64)
    density = D.RelaxedBernoulli(t(1.5), t(0.3)).log_prob(x).exp()
    assert integral(density, x).item() == pytest.approx(1, abs=1e-3)


TRANSFORMS: dict[str, Any] = {
    "exp": (lambda: D.ExpTransform(), [0.3, -0.5, 1.2]),
    "sigmoid": (lambda: D.SigmoidTransform(), [0.3, -0.5, 1.2]),
    "tanh": (lambda: D.TanhTransform(), [0.3, -0.5, 1.2]),
    "softplus": (lambda: D.SoftplusTransform(), [0.3, -0.5, 1.2]),
    "affine": (lambda: D.AffineTransform(1.0, t([2.0, -3.0, 0.5])), [0.3, -0.5, 1.2]),
    "power": (lambda: D.PowerTransform(t(2.5)), [0.3, 0.5, 1.2]),
    "composed": (lambda: D.ComposeTransform([D.AffineTransform(1.0, 2.0), D.TanhTransform()]), [0.3, -0.5, 1.2]),
    "stick": (lambda: D.StickBreakingTransform(), [0.3, -0.5, 1.2]),
    "independent": (lambda: D.IndependentTransform(D.ExpTransform(), 1), [0.3, -0.5, 1.2]),
    "cdf": (lambda: D.CumulativeDistributionTransform(D.Normal(t(0.0), t(1.0))), [0.3, -0.5, 1.2]),
    "stack": (lambda: D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.ExpTransform().inv]), [0.3, -0.5, 1.2]),
    "cat": (lambda: D.CatTransform([D.ExpTransform(), D.TanhTransform()], lengths=[1, 2]), [0.3, -0.5, 1.2]),
    "inverse": (lambda: D.ExpTransform().inv, [0.3, 0.5, 1.2]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    """A map's inverse gives back its input, and its log determinant is that of the Jacobian."""
    make, values = TRANSFORMS[name]
    transform, x = make(), t(values)
    y = transform(x)
    assert T.allclose(transform.inv(y), x)
    jacobian = T.autograd.functional.jacobian(transform, x)
    log_det = transform.log_abs_det_jacobian(x, y)
    if name == "stick":
        jacobian = jacobian[:-1]
    assert log_det.sum().item() == pytest.approx(T.linalg.slogdet(jacobian)[1].item(), abs=1e-6)
    assert T.allclose(transform.inv.log_abs_det_jacobian(y, x), -log_det)
    assert tuple(transform.forward_shape(x.shape)) == tuple(y.shape)
    assert tuple(transform.inverse_shape(y.shape)) == tuple(x.shape)


def test_maps_onto_constraints() -> None:
    """The registered maps reach the regions they are for."""
    c = D.constraints
    x = t([[0.3, -0.5, 1.2], [0.1, 2.0, -1.0], [0.0, 0.4, 0.9]])
    regions = [
        c.real, c.positive, c.nonnegative, c.unit_interval, c.interval(-1.0, 3.0), c.less_than(2.0), c.simplex,
        c.greater_than(1.0), c.half_open_interval(0.0, 2.0), c.corr_cholesky, c.independent(c.positive, 1),
    ]  # fmt: skip
    for region in regions:
        for registry in (D.biject_to, D.transform_to):
            transform = registry(region)
            y = transform(x)
            assert region.check(y).all(), region
            if transform.bijective:
                assert T.allclose(transform.inv(y), x, atol=1e-6)
    for region in (c.lower_cholesky, c.positive_definite):
        assert region.check(D.transform_to(region)(x)).all()
    with pytest.raises(NotImplementedError, match="Cannot transform"):
        D.biject_to(c.boolean)


def test_cached_inverse() -> None:
    """With a cache, the inverse of the value just made is the very input."""
    transform = D.TanhTransform(cache_size=1)
    x = t([30.0])
    assert transform.inv(transform(x)) is x
    assert not T.isfinite(D.TanhTransform().inv(D.TanhTransform()(x))).all()


REFUSED: list[Any] = [
    (lambda: D.Normal(0.0, -1.0), ValueError, "Expected parameter scale .* to satisfy the constraint GreaterThan"),
    (lambda: D.Normal(math.nan, 1.0), ValueError, r"to satisfy the constraint Real\(\)"),
    (lambda: D.Uniform(1.0, 0.0), ValueError, "Expected parameter low"),
    (lambda: D.Bernoulli(T.tensor([0.3, 1.2])), ValueError, "Interval"),
    (lambda: D.Bernoulli(), ValueError, "Either `probs` or `logits`"),
    (lambda: D.Bernoulli(0.3, 0.4), ValueError, "Either `probs` or `logits`"),
    (lambda: D.Categorical(T.tensor([-1.0, 2.0])), ValueError, "Simplex"),
    (lambda: D.Categorical(T.tensor(1.0)), ValueError, "at least one-dimensional"),
    (lambda: D.Dirichlet(T.tensor(1.0)), ValueError, "at least one-dimensional"),
    (lambda: D.Normal("a", 1.0), ValueError, "Number"),
    (lambda: D.Normal(T.zeros(2), T.ones(3)), RuntimeError, "size"),
    (lambda: D.Normal(0.0, 1.0).log_prob(0.5), ValueError, "must be a Tensor"),
    (lambda: D.Normal(0.0, 1.0).log_prob(T.tensor(math.nan)), ValueError, "to be within the support"),
    (lambda: D.Exponential(1.0).log_prob(T.tensor(-1.0)), ValueError, "to be within the support"),
    (lambda: D.Normal(T.zeros(2), 1.0).log_prob(T.zeros(3)), ValueError, "not broadcastable"),
    (lambda: D.MultivariateNormal(T.zeros(2), T.eye(2)).log_prob(T.zeros(3)), ValueError, "must match event_shape"),
    (lambda: D.MultivariateNormal(T.zeros(2), -T.eye(2)), ValueError, "PositiveDefinite"),
    (lambda: D.MultivariateNormal(T.zeros(2)), ValueError, "Exactly one"),
    (lambda: D.Independent(D.Normal(0.0, 1.0), 1), ValueError, "reinterpreted_batch_ndims"),
    (lambda: D.Categorical(T.ones(3)).log_prob(T.tensor(3)), ValueError, "IntegerInterval"),
    (lambda: D.Normal(0.0, 1.0).enumerate_support(), NotImplementedError, None),
    (lambda: D.Poisson(1.0).rsample(), NotImplementedError, None),
    (lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), 3), ValueError, "transforms must be"),
]


@pytest.mark.parametrize(("use", "kind", "message"), REFUSED)
def test_what_is_refused(use: Any, kind: Any, message: str | None) -> None:
    """Parameters and values out of range are refused with the parameter's name."""
    with pytest.raises(kind, match=message):
        use()


def test_validation_can_be_switched_off() -> None:
    """Without validation, what is out of range gives what the formula gives."""
    assert D.Normal(0.0, 1.0, validate_args=False).log_prob(T.tensor(math.nan)).isnan()
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Exponential(1.0).log_prob(T.tensor(-1.0)).item() == 1
    finally:
        D.Distribution.set_default_validate_args(True)


def test_shown_copied_and_pickled() -> None:
    """Distributions are shown with their parameters and can be copied."""
    p = D.Normal(T.zeros(2), T.ones(2))
    assert repr(p) == "Normal(loc: torch.Size([2]), scale: torch.Size([2]))"
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Independent(p, 1)) == f"Independent({p!r}, 1)"
    assert repr(D.constraints.interval(0, 1)) == "Interval(lower_bound=0, upper_bound=1)"
    assert repr(D.constraints.real_vector) == "IndependentConstraint(Real(), 1)"
    for again in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert T.equal(again.log_prob(T.ones(2)), p.log_prob(T.ones(2)))
    assert p.batch_shape == (2,)
    assert p.event_shape == ()
    assert D.normal.Normal is D.Normal
    assert D.kl.kl_divergence is D.kl_divergence
