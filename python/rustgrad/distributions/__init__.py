"""Probability distributions: draws, densities, entropies, divergences, and maps between their domains.

>>> import rustgrad as torch
>>> p = torch.distributions.Normal(torch.tensor([0.0, 1.0]), 2.0)
>>> p.log_prob(torch.tensor([0.0, 1.0]))
tensor([-1.6121, -1.6121])
"""

from __future__ import annotations

import sys

from rustgrad.distributions import constraint_registry as constraint_registry
from rustgrad.distributions import constraints as constraints
from rustgrad.distributions import kl as kl
from rustgrad.distributions import transforms as transforms
from rustgrad.distributions import utils as utils
from rustgrad.distributions.bernoulli import Bernoulli as Bernoulli
from rustgrad.distributions.bernoulli import Binomial as Binomial
from rustgrad.distributions.bernoulli import ContinuousBernoulli as ContinuousBernoulli
from rustgrad.distributions.bernoulli import Geometric as Geometric
from rustgrad.distributions.bernoulli import NegativeBinomial as NegativeBinomial
from rustgrad.distributions.bernoulli import Poisson as Poisson
from rustgrad.distributions.categorical import Categorical as Categorical
from rustgrad.distributions.categorical import Multinomial as Multinomial
from rustgrad.distributions.categorical import OneHotCategorical as OneHotCategorical
from rustgrad.distributions.categorical import OneHotCategoricalStraightThrough as OneHotCategoricalStraightThrough
from rustgrad.distributions.constraint_registry import biject_to as biject_to
from rustgrad.distributions.constraint_registry import transform_to as transform_to
from rustgrad.distributions.distribution import Distribution as Distribution
from rustgrad.distributions.distribution import ExponentialFamily as ExponentialFamily
from rustgrad.distributions.gamma import Beta as Beta
from rustgrad.distributions.gamma import Chi2 as Chi2
from rustgrad.distributions.gamma import Dirichlet as Dirichlet
from rustgrad.distributions.gamma import FisherSnedecor as FisherSnedecor
from rustgrad.distributions.gamma import Gamma as Gamma
from rustgrad.distributions.gamma import InverseGamma as InverseGamma
from rustgrad.distributions.gamma import StudentT as StudentT
from rustgrad.distributions.kl import kl_divergence as kl_divergence
from rustgrad.distributions.kl import register_kl as register_kl
from rustgrad.distributions.multivariate_normal import LowRankMultivariateNormal as LowRankMultivariateNormal
from rustgrad.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from rustgrad.distributions.normal import Cauchy as Cauchy
from rustgrad.distributions.normal import Exponential as Exponential
from rustgrad.distributions.normal import Gumbel as Gumbel
from rustgrad.distributions.normal import HalfCauchy as HalfCauchy
from rustgrad.distributions.normal import HalfNormal as HalfNormal
from rustgrad.distributions.normal import Kumaraswamy as Kumaraswamy
from rustgrad.distributions.normal import Laplace as Laplace
from rustgrad.distributions.normal import LogisticNormal as LogisticNormal
from rustgrad.distributions.normal import LogNormal as LogNormal
from rustgrad.distributions.normal import Normal as Normal
from rustgrad.distributions.normal import Pareto as Pareto
from rustgrad.distributions.normal import Uniform as Uniform
from rustgrad.distributions.normal import Weibull as Weibull
from rustgrad.distributions.relaxed import LogitRelaxedBernoulli as LogitRelaxedBernoulli
from rustgrad.distributions.relaxed import RelaxedBernoulli as RelaxedBernoulli
from rustgrad.distributions.relaxed import RelaxedOneHotCategorical as RelaxedOneHotCategorical
from rustgrad.distributions.transformed_distribution import Independent as Independent
from rustgrad.distributions.transformed_distribution import MixtureSameFamily as MixtureSameFamily
from rustgrad.distributions.transformed_distribution import TransformedDistribution as TransformedDistribution
from rustgrad.distributions.transforms import *
from rustgrad.distributions.von_mises import GeneralizedPareto as GeneralizedPareto
from rustgrad.distributions.von_mises import VonMises as VonMises
from rustgrad.distributions.wishart import LKJCholesky as LKJCholesky
from rustgrad.distributions.wishart import Wishart as Wishart

# Torch has a module for each of these, here several share one.
_MODULES = {
    "beta": "gamma", "binomial": "bernoulli", "cauchy": "normal", "chi2": "gamma", "dirichlet": "gamma",
    "exp_family": "distribution", "exponential": "normal", "geometric": "bernoulli", "gumbel": "normal",
    "half_cauchy": "normal", "half_normal": "normal", "independent": "transformed_distribution", "laplace": "normal",
    "log_normal": "normal", "mixture_same_family": "transformed_distribution", "multinomial": "categorical",
    "negative_binomial": "bernoulli", "one_hot_categorical": "categorical", "pareto": "normal",
    "poisson": "bernoulli", "relaxed_bernoulli": "relaxed", "relaxed_categorical": "relaxed", "studentT": "gamma",
    "uniform": "normal", "weibull": "normal", "inverse_gamma": "gamma", "kumaraswamy": "normal",
    "logistic_normal": "normal", "continuous_bernoulli": "bernoulli", "fishersnedecor": "gamma",
    "generalized_pareto": "von_mises", "lkj_cholesky": "wishart", "lowrank_multivariate_normal": "multivariate_normal",
}  # fmt: skip

# For ``import`` statements, which ask nobody else.
for _name, _module in _MODULES.items():
    sys.modules[f"{__name__}.{_name}"] = sys.modules[f"{__name__}.{_module}"]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return globals()[_MODULES[name]]
    message = f"module 'rustgrad.distributions' has no attribute {name!r}"
    raise AttributeError(message)
