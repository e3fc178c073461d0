"""Distributions of real numbers with a location and a scale, and what is made of them."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.distributions import constraints
from rustgrad.distributions.distribution import HALF_LOG_2PI, Distribution, ExponentialFamily, new_batch
from rustgrad.distributions.transformed_distribution import TransformedDistribution
from rustgrad.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ExpTransform,
    PowerTransform,
    StickBreakingTransform,
)
from rustgrad.distributions.utils import broadcast_all, euler_constant, standard_normal

_LOCATION_SCALE: Any = {"loc": constraints.real, "scale": constraints.positive}


class _Located(Distribution):
    """A distribution with a location and a scale."""

    arg_constraints = _LOCATION_SCALE
    support = constraints.real
    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(new_batch(self.loc, scalars=(loc, scale)), (), validate_args)

    def _checked(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return value


class Normal(_Located, ExponentialFamily):
    """Mean ``loc`` and standard deviation ``scale``."""

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.scale.pow(2))

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        with _rg.no_grad():
            return _rg.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self.loc + standard_normal(self._extended_shape(sample_shape), self.loc.dtype) * self.scale

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - self.scale.log() - HALF_LOG_2PI

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        return 0.5 * (1 + _rg.erf((value - self.loc) * self.scale.reciprocal() / math.sqrt(2)))

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return self.loc + self.scale * _rg.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return 0.5 + HALF_LOG_2PI + self.scale.log()

    @property
    def _natural_params(self) -> Any:
        return self.loc / self.scale.pow(2), -0.5 * self.scale.pow(2).reciprocal()

    def _log_normalizer(self, x: Any, y: Any) -> Any:
        return -0.25 * x.pow(2) / y + 0.5 * (-math.pi / y).log()


class Laplace(_Located):
    """Density ``exp(-|x - loc| / scale) / (2 scale)``."""

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)
    variance = property(lambda self: 2 * self.scale.pow(2))
    stddev = property(lambda self: 2**0.5 * self.scale)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        u = _rg.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        u = u.uniform_(_rg.finfo(self.loc.dtype).eps - 1, 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        off = value - self.loc
        return 0.5 - 0.5 * off.sign() * (-off.abs() / self.scale).expm1()

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        off = value - 0.5
        return self.loc - self.scale * off.sign() * (-2 * off.abs()).log1p()

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return 1 + (2 * self.scale).log()


class Cauchy(_Located):
    """The ratio of two normal numbers, moved and scaled."""

    mode = property(lambda self: self.loc)
    mean = property(lambda self: _rg.full(self._extended_shape(), math.nan, dtype=self.loc.dtype))
    variance = property(lambda self: _rg.full(self._extended_shape(), math.inf, dtype=self.loc.dtype))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        draws = _rg.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).cauchy_()
        return self.loc + draws * self.scale

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        return -math.log(math.pi) - self.scale.log() - (((value - self.loc) / self.scale) ** 2).log1p()

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        self._checked(value)
        return ((value - self.loc) / self.scale).atan() / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return math.log(4 * math.pi) + self.scale.log()


class Uniform(Distribution):
    """Numbers from ``low`` up to, and without, ``high``."""

    has_rsample = True

    @property
    def arg_constraints(self) -> Any:
        """Each bound is checked against the other."""
        return {"low": constraints.less_than(self.high), "high": constraints.greater_than(self.low)}

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(new_batch(self.low, scalars=(low, high)), (), validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """The interval."""
        return constraints.interval(self.low, self.high)

    mean = property(lambda self: (self.high + self.low) / 2)
    mode = property(lambda self: math.nan * self.high)
    stddev = property(lambda self: (self.high - self.low) / 12**0.5)
    variance = property(lambda self: (self.high - self.low).pow(2) / 12)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self.low + _rg.rand(self._extended_shape(sample_shape), dtype=self.low.dtype) * (self.high - self.low)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        inside = self.low.le(value).type_as(self.low) * self.high.gt(value).type_as(self.low)
        return inside.log() - (self.high - self.low).log()

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return (self.high - self.low).log()


class Exponential(ExponentialFamily):
    """Waiting times of a rate."""

    arg_constraints: Any = {"rate": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size() if isinstance(rate, Tensor) else (), (), validate_args)

    mean = property(lambda self: self.rate.reciprocal())
    mode = property(lambda self: _rg.zeros_like(self.rate))
    stddev = property(lambda self: self.rate.reciprocal())
    variance = property(lambda self: self.rate.pow(-2))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return _rg.empty(self._extended_shape(sample_shape), dtype=self.rate.dtype).exponential_() / self.rate

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return -(-value).log1p() / self.rate

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return 1.0 - self.rate.log()

    @property
    def _natural_params(self) -> Any:
        return (-self.rate,)

    def _log_normalizer(self, x: Any) -> Any:
        return -(-x).log()


class LogNormal(TransformedDistribution):
    """The exponential of a normal number."""

    arg_constraints = _LOCATION_SCALE
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args=validate_args), ExpTransform(), validate_args)

    loc = property(lambda self: self.base_dist.loc)
    scale = property(lambda self: self.base_dist.scale)
    mean = property(lambda self: (self.loc + self.scale.pow(2) / 2).exp())
    mode = property(lambda self: (self.loc - self.scale.square()).exp())

    @property
    def variance(self) -> Any:
        """The variance."""
        square = self.scale.pow(2)
        return square.expm1() * (2 * self.loc + square).exp()

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return self.base_dist.entropy() + self.loc


class LogisticNormal(TransformedDistribution):
    """Probability vectors that normal numbers give by breaking a stick."""

    arg_constraints = _LOCATION_SCALE
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args)

    loc = property(lambda self: self.base_dist.base_dist.loc)
    scale = property(lambda self: self.base_dist.base_dist.scale)


class _Half(TransformedDistribution):
    """The absolute value of a number distributed around zero."""

    arg_constraints: Any = {"scale": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    has_rsample = True
    _base: Any

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(self._base(0, scale, validate_args=False), AbsTransform(), validate_args)

    scale = property(lambda self: self.base_dist.scale)
    mode = property(lambda self: _rg.zeros_like(self.scale))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        result = self.base_dist.log_prob(value) + math.log(2)
        return _rg.where(value >= 0, result, -math.inf)

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return self.base_dist.entropy() - math.log(2)


class HalfNormal(_Half):
    """The absolute value of a normal number."""

    _base = Normal
    mean = property(lambda self: self.scale * math.sqrt(2 / math.pi))
    variance = property(lambda self: self.scale.pow(2) * (1 - 2 / math.pi))


class HalfCauchy(_Half):
    """The absolute value of a Cauchy number."""

    _base = Cauchy
    mean = property(lambda self: _rg.full(self._extended_shape(), math.inf, dtype=self.scale.dtype))
    variance = property(lambda self: self.base_dist.variance)


class Gumbel(TransformedDistribution):
    """Largest values: ``loc - scale * log(-log(u))`` of uniform ``u``."""

    arg_constraints = _LOCATION_SCALE
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        limits = _rg.finfo(self.loc.dtype)
        low = _rg.full_like(self.loc, limits.tiny)
        base = Uniform(low, _rg.full_like(self.loc, 1 - limits.eps), validate_args=False)
        if not isinstance(loc, Tensor) and not isinstance(scale, Tensor):
            base = base.expand(())
        maps = [
            ExpTransform().inv,
            AffineTransform(0, -_rg.ones_like(self.scale)),
            ExpTransform().inv,
            AffineTransform(self.loc, -self.scale),
        ]
        super().__init__(base, maps, validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        return Gumbel(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)

    mean = property(lambda self: self.loc + self.scale * euler_constant)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: (math.pi / math.sqrt(6)) * self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return self.scale.log() + (1 + euler_constant)


class Pareto(TransformedDistribution):
    """Numbers above ``scale`` whose density falls as ``x ** -(alpha + 1)``."""

    arg_constraints: Any = {"alpha": constraints.positive, "scale": constraints.positive}  # noqa: RUF012
    has_rsample = True

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args=validate_args)
        super().__init__(base, [ExpTransform(), AffineTransform(0, self.scale)], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        return Pareto(self.scale.expand(batch_shape), self.alpha.expand(batch_shape), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """What is not below the scale."""
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Any:
        """The mean, infinite up to ``alpha`` of one."""
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    mode = property(lambda self: self.scale)

    @property
    def variance(self) -> Any:
        """The variance, infinite up to ``alpha`` of two."""
        a = self.alpha.clamp(min=2)
        return self.scale.pow(2) * a / ((a - 1).pow(2) * (a - 2))

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(TransformedDistribution):
    """``scale * e ** (1 / concentration)`` of exponential ``e``."""

    arg_constraints: Any = {"scale": constraints.positive, "concentration": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(_rg.ones_like(self.scale), validate_args=validate_args)
        maps = [PowerTransform(self.concentration_reciprocal), AffineTransform(0, self.scale)]
        super().__init__(base, maps, validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        return Weibull(self.scale.expand(batch_shape), self.concentration.expand(batch_shape), validate_args=False)

    mean = property(lambda self: self.scale * (1 + self.concentration_reciprocal).lgamma().exp())

    @property
    def mode(self) -> Any:
        """The mode."""
        k = self.concentration
        return self.scale * ((k - 1) / k) ** k.reciprocal()

    @property
    def variance(self) -> Any:
        """The variance."""
        first = (1 + self.concentration_reciprocal).lgamma()
        return self.scale.pow(2) * ((1 + 2 * self.concentration_reciprocal).lgamma().exp() - (2 * first).exp())

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        inverse = self.concentration_reciprocal
        return euler_constant * (1 - inverse) + (self.scale * inverse).log() + 1


class Kumaraswamy(TransformedDistribution):
    """Numbers between zero and one: ``(1 - (1 - u) ** (1 / b)) ** (1 / a)`` of uniform ``u``."""

    arg_constraints: Any = {  # noqa: RUF012
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(
            _rg.zeros_like(self.concentration0), _rg.ones_like(self.concentration0), validate_args=validate_args
        )
        flip = AffineTransform(1.0, -1.0)
        maps = [
            PowerTransform(self.concentration0.reciprocal()),
            flip,
            PowerTransform(self.concentration1.reciprocal()),
        ]
        super().__init__(base, maps, validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        pair = self.concentration1.expand(batch_shape), self.concentration0.expand(batch_shape)
        return Kumaraswamy(*pair, validate_args=False)

    def _moment(self, n: int) -> Any:
        first = 1 + n / self.concentration1
        b = self.concentration0
        return b * (first.lgamma() + b.lgamma() - (first + b).lgamma()).exp()

    mean = property(lambda self: self._moment(1))
    variance = property(lambda self: self._moment(2) - self.mean.pow(2))

    @property
    def mode(self) -> Any:
        """The mode, if there is one."""
        a, b = self.concentration1, self.concentration0
        log_mode = ((a - 1) / (a * b - 1)).log() / a
        log_mode = log_mode.masked_fill((b < 1) | (a < 1), math.nan)
        return log_mode.exp()

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + euler_constant
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()
