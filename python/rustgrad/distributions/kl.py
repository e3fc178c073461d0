"""Kullback-Leibler divergences of pairs of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import rustgrad as _rg
from rustgrad import linalg
from rustgrad.distributions.bernoulli import Bernoulli, Binomial, ContinuousBernoulli, Geometric, Poisson
from rustgrad.distributions.categorical import Categorical, OneHotCategorical
from rustgrad.distributions.distribution import Distribution, ExponentialFamily
from rustgrad.distributions.gamma import Beta, Dirichlet, Gamma
from rustgrad.distributions.multivariate_normal import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    _half_log_det,
    _mahalanobis,
)
from rustgrad.distributions.normal import (
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Pareto,
    Uniform,
)
from rustgrad.distributions.transformed_distribution import Independent, TransformedDistribution
from rustgrad.distributions.utils import euler_constant, sum_rightmost
from rustgrad.nn import functional as F

__all__ = ["kl_divergence", "register_kl"]

_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], Any])
_registry: dict[tuple[type[Any], type[Any]], Any] = {}


def register_kl(type_p: type[Any], type_q: type[Any]) -> Callable[[_Rule], _Rule]:
    """Decorate a function of ``p`` and ``q`` that gives their divergence."""
    for kind, name in ((type_p, "type_p"), (type_q, "type_q")):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            message = f"Expected {name} to be a Distribution subclass but got {kind}"
            raise TypeError(message)

    def decorate(function: _Rule) -> _Rule:
        _registry[type_p, type_q] = function
        return function

    return decorate


def _find(type_p: type[Any], type_q: type[Any]) -> Any:
    """Return the function for the classes closest to those given."""
    orders = type_p.__mro__.index, type_q.__mro__.index
    fitting = [pair for pair in _registry if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not fitting:
        return None
    return _registry[min(fitting, key=lambda pair: (orders[0](pair[0]), orders[1](pair[1])))]


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """Return ``E_p[log p - log q]`` of each member of the batch.

    Raises
    ------
    NotImplementedError
        If nobody registered a formula for the two classes.
    """
    function = _find(type(p), type(q))
    if function is None and all(isinstance(each, ExponentialFamily) and not _counts(each) for each in (p, q)):
        if type(p) is type(q):
            return _bregman(p, q)
        # With torch's spaces.
        message = (
            "The cross KL-divergence between different exponential families cannot                             "
            "be computed using Bregman divergences"
        )
        raise NotImplementedError(message)
    if function is None:
        message = f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        raise NotImplementedError(message)
    return function(p, q)


def _counts(p: Any) -> bool:
    """Return whether a distribution shares its code with a family, but is none in torch."""
    return isinstance(p, (Binomial, Geometric))


def _bregman(p: Any, q: Any) -> Any:
    """Return the divergence of two members of one exponential family, by the derivatives of its log normaliser."""
    own = [parameter.detach().requires_grad_() for parameter in p._natural_params]
    normalizer = p._log_normalizer(*own)
    slopes = _rg.autograd.grad(normalizer.sum(), own, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for mine, others, slope in zip(own, q._natural_params, slopes, strict=True):
        term = (others - mine) * slope
        result = result - sum_rightmost(term, len(q.event_shape) if term.dim() > len(q.batch_shape) else 0)
    return result


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Any:
    softplus = F.softplus
    first = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    first = _rg.where(q.probs == 0, math.inf, first).masked_fill(p.probs == 0, 0)
    second = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    second = _rg.where(q.probs == 1, math.inf, second).masked_fill(p.probs == 1, 0)
    return first + second


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Any:
    if (p.total_count < q.total_count).any():
        message = "KL between Binomials where q.total_count > p.total_count is not implemented"
        raise NotImplementedError(message)
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return _rg.where(p.total_count > q.total_count, math.inf, kl)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Any:
    t = p.probs * (p.logits - q.logits)
    t = _rg.where((q.probs == 0).expand_as(t), math.inf, t)
    return t.masked_fill((p.probs == 0).expand_as(t), 0).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Any:
    return _categorical(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Any:
    first = p.mean * (p.logits - q.logits)
    second = p._log_normalizer_of_density() + (-p.probs).log1p()
    return first + second - q._log_normalizer_of_density() - (-q.probs).log1p()


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Any:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _log_normal(p: Any, q: Any) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Any:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Any:
    ratio, off = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + off / q.scale + ratio * (-off / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Any:
    top = ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log()
    return top - (4 * p.scale * q.scale).log()


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    return (
        b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)
    )


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Any:
    ratio, off, own = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    tail = (off + (1 + ratio).lgamma() - own).exp()
    return -ratio.log() - off + own + ratio * euler_constant + tail - (1 + euler_constant)


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Any:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    own, other = a + b, c + d
    return (
        c.lgamma() + d.lgamma() + own.lgamma() - (a.lgamma() + b.lgamma() + other.lgamma())
        + (a - c) * a.digamma() + (b - d) * b.digamma() + (other - own) * own.digamma()
    )  # fmt: skip


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    slopes = (a - b) * (a.digamma() - total.digamma().unsqueeze(-1))
    return total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1) + slopes.sum(-1)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Any:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return _rg.where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Any:
    off = p.loc - q.loc
    ratio = off / p.scale
    spread = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio.pow(2)).exp() + off * (math.sqrt(0.5) * ratio).erf()
    return -p.entropy() + (2 * q.scale).log() + spread / q.scale


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Any:
    scale, alpha = p.scale / q.scale, q.alpha / p.alpha
    result = q.alpha * scale.log() - alpha.log() + alpha - 1
    return _rg.where(p.support.lower_bound < q.support.lower_bound, math.inf, result)


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        message = "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        raise ValueError(message)
    own, other = p.scale_tril, q.scale_tril
    trace = linalg.solve_triangular(other, own, upper=False).pow(2).sum((-2, -1))
    distance = _mahalanobis(other, q.loc - p.loc)
    return _half_log_det(other) - _half_log_det(own) + 0.5 * (trace + distance - p.event_shape[0])


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Any:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


# Pairs of different families: the entropy of p, and what q's density makes of moments of p.


def _mean_log(p: Any) -> Any:
    """Return ``E[log x]``."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Gamma):
        return p.concentration.digamma() - p.rate.log()
    if isinstance(p, Exponential):
        return -euler_constant - p.rate.log()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (_rg.xlogy(p.high, p.high) - _rg.xlogy(p.low, p.low)) / (p.high - p.low) - 1


def _mean_exp(p: Any, rate: Any) -> Any:
    """Return ``E[exp(-rate x)]``."""
    if isinstance(p, Normal):
        return (-rate * p.loc + 0.5 * (rate * p.scale).pow(2)).exp()
    if isinstance(p, Gamma):
        return (1 + rate / p.rate).pow(-p.concentration)
    if isinstance(p, Exponential):
        return (1 + rate / p.rate).reciprocal()
    return ((-rate * p.low).exp() - (-rate * p.high).exp()) / (rate * (p.high - p.low))


def _to_normal(p: Any, q: Any) -> Any:
    moment = p.variance + (p.mean - q.loc).pow(2)
    return -p.entropy() + q.scale.log() + 0.5 * math.log(2 * math.pi) + 0.5 * moment / q.scale.pow(2)


def _to_exponential(p: Any, q: Any) -> Any:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


def _to_gamma(p: Any, q: Any) -> Any:
    a = q.concentration
    return -p.entropy() - a * q.rate.log() + a.lgamma() - (a - 1) * _mean_log(p) + q.rate * p.mean


def _to_gumbel(p: Any, q: Any) -> Any:
    rate = q.scale.reciprocal()
    tail = (q.loc * rate).exp() * _mean_exp(p, rate)
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) * rate + tail


def _to_pareto(p: Any, q: Any) -> Any:
    return -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _mean_log(p)


def _to_continuous_bernoulli(p: Any, q: Any) -> Any:
    return -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._log_normalizer_of_density()


def _to_uniform(p: Any, q: Any) -> Any:
    return -p.entropy() + (q.high - q.low).log()


def _infinite(p: Any, q: Any) -> Any:
    """Return infinity: the first has values where the second has none."""
    return _rg.full(p.batch_shape, math.inf)


_FORMULAS: Any = (
    (_to_normal, Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto)),
    (_to_exponential, Exponential, (Beta, ContinuousBernoulli, Gamma, Pareto)),
    (_to_gamma, Gamma, (Beta, Exponential, Pareto)),
    (_to_gumbel, Gumbel, (Normal, Gamma, Exponential, Uniform)),
    (_to_continuous_bernoulli, ContinuousBernoulli, (Beta,)),
)
_INFINITE: Any = (
    ((Gumbel, Laplace, Normal), (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    ((Exponential, Gamma), (Beta, ContinuousBernoulli, Pareto, Uniform)),
    ((Pareto,), (Beta, ContinuousBernoulli, Uniform)),
    ((Beta, ContinuousBernoulli), (Pareto,)),
    ((Poisson,), (Bernoulli, Binomial)),
)
for _formula, _kind, _others in _FORMULAS:
    for _other in _others:
        register_kl(_other, _kind)(_formula)
for _firsts, _seconds in _INFINITE:
    for _kind in _firsts:
        for _other in _seconds:
            register_kl(_kind, _other)(_infinite)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Any:
    return _rg.where((q.low > 0) | (q.high < 1), math.inf, _to_uniform(p, q))


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: Any, q: Any) -> Any:
    # As in torch, bounds that meet the support count as too narrow.
    return _rg.where((q.low >= 0) | (q.high <= 1), math.inf, _to_uniform(p, q))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Any:
    return _to_normal(p, q)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Any:
    return _rg.where(p.low < 0, math.inf, _to_exponential(p, q))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Any:
    return _rg.where(p.low < 0, math.inf, _to_gamma(p, q))


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Any:
    return _rg.where(p.low < q.scale, math.inf, _to_pareto(p, q))


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Any, q: Any) -> Any:
    # As in torch, bounds that meet those of the support count as too wide.
    return _rg.where((p.low <= 0) | (p.high >= 1), math.inf, _to_continuous_bernoulli(p, q))


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Any:
    a, b = q.concentration1, q.concentration0
    mirrored = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    normaliser = a.lgamma() + b.lgamma() - (a + b).lgamma()
    result = -p.entropy() + normaliser - (a - 1) * _mean_log(p) - (b - 1) * _mean_log(mirrored)
    return _rg.where((p.low < 0) | (p.high > 1), math.inf, result)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Any:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)
