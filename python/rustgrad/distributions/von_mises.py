"""Angles around a circle, and tails above a threshold."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad import special
from rustgrad.distributions import constraints
from rustgrad.distributions.distribution import Distribution, new_batch
from rustgrad.distributions.utils import broadcast_all, lazy_property


class VonMises(Distribution):
    """Angles with the density ``exp(concentration * cos(x - loc))``, but for a factor."""

    arg_constraints: Any = {"loc": constraints.real, "concentration": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)

    @lazy_property
    def variance(self) -> Any:
        """The variance around the circle."""
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration
        # cos - 1 and the scaled function, so that nothing overflows where the concentration is large.
        return k * ((value - self.loc).cos() - 1) - math.log(2 * math.pi) - special.i0e(k).log()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw by rejection from a wrapped Cauchy distribution (Best and Fisher, 1979)."""
        shape = self._extended_shape(sample_shape)
        with _rg.no_grad():
            loc, k = self.loc.double(), self.concentration.double()
            tau = 1 + (1 + 4 * k.square()).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = _rg.where(k < 1e-5, 1 / k + k, (1 + rho.square()) / (2 * rho))
            x = _rg.empty(shape, dtype=_rg.float64)
            done = _rg.zeros(shape, dtype=_rg.bool)
            while not bool(done.all()):
                first, second, third = _rg.rand((3, *shape), dtype=_rg.float64).unbind()
                z = (math.pi * first).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                fits = (c * (2 - c) - second > 0) | ((c / second).log() + 1 - c >= 0)
                x = _rg.where(fits, (third - 0.5).sign() * f.acos(), x)
                done = done | fits
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)


class GeneralizedPareto(Distribution):
    """What exceeds a threshold ``loc``: exponential for a concentration of 0, with heavier or shorter tails else."""

    arg_constraints: Any = {  # noqa: RUF012
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(new_batch(self.loc, scalars=(loc, scale, concentration)), (), validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """From the threshold to where the tail ends, if it does."""
        ends = self.concentration < 0
        upper = _rg.where(ends, self.loc - self.scale / self.concentration, math.inf)
        return constraints.interval(self.loc, upper)

    @property
    def _exponential(self) -> Any:
        return _rg.isclose(self.concentration, _rg.zeros_like(self.concentration))

    @property
    def _safe(self) -> Any:
        """The concentration, and 1 where it is zero and another formula holds."""
        return _rg.where(self._exponential, 1.0, self.concentration)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self.icdf(_rg.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def _scaled(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return (value - self.loc) / self.scale

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        z, k = self._scaled(value), self._safe
        power = 1 / k + _rg.ones_like(z)
        tail = _rg.where(power == 0, power, power * (k * z).log1p())
        return -self.scale.log() - _rg.where(self._exponential, z, tail)

    def log_survival_function(self, value: Any) -> Any:
        """Return the logarithm of the probability of more."""
        z, k = self._scaled(value), self._safe
        return _rg.where(self._exponential, -z, -(k * z).log1p() / k)

    def log_cdf(self, value: Any) -> Any:
        """Return the logarithm of :meth:`cdf`."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        k, log = self._safe, (-value).log1p()
        tail = self.loc + self.scale / k * (-k * log).expm1()
        return _rg.where(self._exponential, self.loc - self.scale * log, tail)

    def _finite(self, below: float, moment: Any) -> Any:
        """Return a moment, which exists if the concentration lies below a bound."""
        exists = self.concentration < below
        return _rg.where(exists, moment(_rg.where(exists, self.concentration, below / 2)), math.nan)

    @property
    def mean(self) -> Any:
        """The mean, if there is one."""
        return self._finite(1.0, lambda k: self.loc + self.scale / (1 - k))

    @property
    def variance(self) -> Any:
        """The variance, if there is one."""
        return self._finite(0.5, lambda k: self.scale.square() / ((1 - k).square() * (1 - 2 * k)))

    mode = property(lambda self: self.loc)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)
