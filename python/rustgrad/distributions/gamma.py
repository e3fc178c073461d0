"""The gamma distribution and its relatives."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad import special
from rustgrad.distributions import constraints
from rustgrad.distributions._sampling import standard_gamma
from rustgrad.distributions.distribution import Distribution, ExponentialFamily, new_batch
from rustgrad.distributions.transformed_distribution import TransformedDistribution
from rustgrad.distributions.transforms import PowerTransform
from rustgrad.distributions.utils import broadcast_all, standard_normal
from rustgrad.nn import functional as F


def _lbeta(a: Any, b: Any) -> Any:
    """Return the logarithm of the beta function."""
    return a.lgamma() + b.lgamma() - (a + b).lgamma()


class Gamma(ExponentialFamily):
    """Positive numbers of shape ``concentration``, scaled by ``1 / rate``."""

    arg_constraints: Any = {"concentration": constraints.positive, "rate": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(new_batch(self.concentration, scalars=(concentration, rate)), (), validate_args)

    mean = property(lambda self: self.concentration / self.rate)
    mode = property(lambda self: ((self.concentration - 1) / self.rate).clamp(min=0))
    variance = property(lambda self: self.concentration / self.rate.pow(2))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        return value.clamp(min=_rg.finfo(value.dtype).tiny)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        value = _rg.as_tensor(value, dtype=self.rate.dtype)
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration, self.rate
        return _rg.xlogy(a, b) + _rg.xlogy(a - 1, value) - b * value - a.lgamma()

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()

    @property
    def _natural_params(self) -> Any:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Any, y: Any) -> Any:
        return (x + 1).lgamma() + (x + 1) * (-y.reciprocal()).log()


class Chi2(Gamma):
    """The sum of ``df`` squared normal numbers."""

    arg_constraints: Any = {"df": constraints.positive}  # noqa: RUF012

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        super().__init__(0.5 * df, 0.5, validate_args)

    df = property(lambda self: self.concentration * 2)


class InverseGamma(TransformedDistribution):
    """The reciprocal of a gamma distributed number."""

    arg_constraints: Any = {"concentration": constraints.positive, "rate": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args)

    concentration = property(lambda self: self.base_dist.concentration)
    rate = property(lambda self: self.base_dist.rate)

    @property
    def mean(self) -> Any:
        """The mean, infinite up to a concentration of one."""
        return _rg.where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    mode = property(lambda self: self.rate / (self.concentration + 1))

    @property
    def variance(self) -> Any:
        """The variance, infinite up to a concentration of two."""
        a = self.concentration
        return _rg.where(a > 2, self.rate.square() / ((a - 1).square() * (a - 2)), math.inf)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()


class Dirichlet(ExponentialFamily):
    """Probability vectors. Draws are normalised gamma numbers, and differentiable as such."""

    arg_constraints: Any = {"concentration": constraints.independent(constraints.positive, 1)}  # noqa: RUF012
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            message = "`concentration` parameter must be at least one-dimensional."
            raise ValueError(message)
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Any:
        """The mean."""
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Any:
        """The mode; where all concentrations are below one, the corner of the largest."""
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, True)
        mask = (self.concentration < 1).all(-1)
        corner = F.one_hot(mode[mask].argmax(-1), mode.shape[-1])
        mode[mask] = corner.to(mode.dtype)
        return mode

    @property
    def variance(self) -> Any:
        """The variance of each element."""
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        draws = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return draws / draws.sum(-1, True)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return _rg.xlogy(a - 1.0, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma() - ((a - 1.0) * a.digamma()).sum(-1)


class Beta(ExponentialFamily):
    """Numbers between zero and one."""

    arg_constraints: Any = {  # noqa: RUF012
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        pair = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(_rg.stack(pair, -1), validate_args=validate_args)
        super().__init__(self._dirichlet.batch_shape, (), validate_args)

    concentration1 = property(lambda self: self._dirichlet.concentration[..., 0])
    concentration0 = property(lambda self: self._dirichlet.concentration[..., 1])
    mean = property(lambda self: self.concentration1 / (self.concentration1 + self.concentration0))
    mode = property(lambda self: self._dirichlet.mode[..., 0])

    @property
    def variance(self) -> Any:
        """The variance."""
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(_rg.stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """A normal number over the root of a gamma distributed one."""

    arg_constraints: Any = {  # noqa: RUF012
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), (), validate_args)

    @property
    def mean(self) -> Any:
        """The mean, if there is one."""
        return _rg.where(self.df <= 1, math.nan, self.loc)

    mode = property(lambda self: self.loc)

    @property
    def variance(self) -> Any:
        """The variance: infinite up to two degrees of freedom, not a number up to one."""
        df = self.df
        finite = self.scale.pow(2) * df / (df - 2)
        return _rg.where(df > 2, finite, _rg.where(df > 1, math.inf, _rg.full_like(df, math.nan)))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        x = standard_normal(self._extended_shape(sample_shape), self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        y, df = (value - self.loc) / self.scale, self.df
        z = self.scale.log() + 0.5 * (df.log() + math.log(math.pi)) + (0.5 * df).lgamma() - (0.5 * (df + 1.0)).lgamma()
        return -0.5 * (df + 1.0) * (y**2.0 / df).log1p() - z

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        df = self.df
        lbeta = (0.5 * df).lgamma() + math.lgamma(0.5) - (0.5 * (df + 1)).lgamma()
        slope = (0.5 * (df + 1)).digamma() - (0.5 * df).digamma()
        return self.scale.log() + 0.5 * (df + 1) * slope + 0.5 * df.log() + lbeta


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared numbers, each over its degrees of freedom."""

    arg_constraints: Any = {"df1": constraints.positive, "df2": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2)
        super().__init__(new_batch(self.df1, scalars=(df1, df2)), (), validate_args)

    @property
    def mean(self) -> Any:
        """The mean, if there is one."""
        return _rg.where(self.df2 <= 2, math.nan, self.df2 / (self.df2 - 2))

    @property
    def mode(self) -> Any:
        """The mode, if there is one."""
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return _rg.where(self.df1 <= 2, math.nan, mode)

    @property
    def variance(self) -> Any:
        """The variance, if there is one."""
        a, b = self.df1, self.df2
        value = 2 * b.pow(2) * (a + b - 2) / (a * (b - 2).pow(2) * (b - 4))
        return _rg.where(b <= 4, math.nan, value)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        tiny = _rg.finfo(self.df2.dtype).tiny
        above, below = self._gamma1.rsample(sample_shape), self._gamma2.rsample(sample_shape)
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.df1 * 0.5, self.df2 * 0.5
        ratio = self.df1 / self.df2
        return -_lbeta(a, b) + a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p()


__all__ = ["Beta", "Chi2", "Dirichlet", "FisherSnedecor", "Gamma", "InverseGamma", "StudentT"]
