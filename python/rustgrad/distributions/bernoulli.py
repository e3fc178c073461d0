"""Distributions of counts and of what is between yes and no."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.distributions import _sampling, constraints
from rustgrad.distributions.distribution import Distribution, ExponentialFamily
from rustgrad.distributions.utils import (
    broadcast_all,
    clamp_probs,
    lazy_property,
    logits_to_probs,
    probs_to_logits,
)
from rustgrad.nn import functional as F


class _Binary(ExponentialFamily):
    """What has a probability of success, or its log odds."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}  # noqa: RUF012

    def _odds(self, probs: Any, logits: Any, validate_args: bool | None) -> None:
        if (probs is None) == (logits is None):
            message = "Either `probs` or `logits` must be specified, but not both."
            raise ValueError(message)
        given = logits if probs is None else probs
        (value,) = broadcast_all(given)
        setattr(self, "logits" if probs is None else "probs", value)
        shape = value.shape if isinstance(given, Tensor) else ()
        super().__init__(shape, (), validate_args)

    @lazy_property
    def logits(self) -> Any:
        """The log odds."""
        return probs_to_logits(self.probs, True)

    @lazy_property
    def probs(self) -> Any:
        """The probabilities."""
        return logits_to_probs(self.logits, True)

    @property
    def _param(self) -> Any:
        given = self.__dict__.get("probs")
        return self.logits if given is None else given

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._param.size()


class Bernoulli(_Binary):
    """One with the probability given, else zero."""

    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._odds(probs, logits, validate_args)

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    @property
    def mode(self) -> Any:
        """The more probable value; not a number if both are."""
        mode = (self.probs >= 0.5).to(self.probs)
        return mode.masked_fill(self.probs == 0.5, math.nan)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        with _rg.no_grad():
            return _rg.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Any:
        """See :class:`Distribution`."""
        values = _rg.arange(2, dtype=self._param.dtype).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class ContinuousBernoulli(_Binary):
    """Numbers between zero and one with a density proportional to ``p ** x (1 - p) ** (1 - x)``.

    From Loaiza-Ganem and Cunningham (2019). Within ``lims`` around one half the normaliser is a Taylor polynomial.
    """

    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: Any = (0.499, 0.501), validate_args: bool | None = None
    ) -> None:
        self._lims = lims
        self._odds(probs, logits, validate_args)
        if "probs" in self.__dict__:
            self.probs = clamp_probs(self.probs)

    def _outside(self) -> Any:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Any:
        """Return the probabilities with those close to one half put to the side."""
        return _rg.where(self._outside(), self.probs, self._lims[0])

    def _log_normalizer_of_density(self) -> Any:
        p = self._cut()
        low, high = p.clamp(max=0.5), p.clamp(min=0.5)
        log_norm = ((-p).log1p() - p.log()).abs().log() - _rg.where(
            p <= 0.5, (-2.0 * low).log1p(), (2.0 * high - 1.0).log()
        )
        x = (self.probs - 0.5).pow(2)
        return _rg.where(self._outside(), log_norm, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Any:
        """The mean."""
        p = self._cut()
        x = self.probs - 0.5
        far = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        return _rg.where(self._outside(), far, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x * x) * x)

    @property
    def variance(self) -> Any:
        """The variance."""
        p = self._cut()
        x = (self.probs - 0.5).pow(2)
        far = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + 1.0 / ((-p).log1p() - p.log()).pow(2)
        return _rg.where(self._outside(), far, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        return self.icdf(_rg.rand(shape, dtype=self.probs.dtype))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        fit = -F.binary_cross_entropy_with_logits(logits, value, reduction="none")
        return fit + self._log_normalizer_of_density()

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut()
        far = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        result = _rg.where(self._outside(), far, value)
        return _rg.where(value <= 0, 0.0, _rg.where(value >= 1, 1.0, result))

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        p = self._cut()
        far = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return _rg.where(self._outside(), far, value)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        low, high = (-self.probs).log1p(), self.probs.log()
        return self.mean * (low - high) - self._log_normalizer_of_density() - low


class Geometric(_Binary):
    """The number of failures before the first success."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._odds(probs, logits, validate_args)
        if self._validate_args and probs is not None:
            inside = self.probs > 0
            if not inside.all():
                bad = self.probs[~inside] if self.probs.dim() else self.probs
                message = (
                    f"Expected parameter probs ({type(self.probs).__name__} of shape {tuple(self.probs.shape)}) of "
                    f"distribution {self!r} to be positive but found invalid values:\n{bad}"
                )
                raise ValueError(message)

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: _rg.zeros_like(self.probs))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        with _rg.no_grad():
            probs = self.probs
            u = _rg.empty(self._extended_shape(sample_shape), dtype=probs.dtype).uniform_(
                _rg.finfo(probs.dtype).tiny, 1
            )
            return (u.log() / (-probs).log1p()).floor()

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        probs = probs.masked_fill((probs == 1) & (value == 0), 0)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


def _counts(name: str, total_count: Any, probs: Any, logits: Any) -> Any:
    """Return a broadcast number of trials, and probabilities or log odds."""
    if (probs is None) == (logits is None):
        message = "Either `probs` or `logits` must be specified, but not both."
        raise ValueError(message)
    count, given = broadcast_all(total_count, logits if probs is None else probs)
    return count.to(given.dtype), given, "logits" if probs is None else "probs"


class Binomial(_Binary):
    """The number of successes in ``total_count`` trials."""

    arg_constraints: Any = {  # noqa: RUF012
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.total_count, given, kind = _counts("Binomial", total_count, probs, logits)
        setattr(self, kind, given)
        Distribution.__init__(self, given.size(), (), validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """Counts up to the number of trials."""
        return constraints.integer_interval(0, self.total_count)

    mean = property(lambda self: self.total_count * self.probs)
    mode = property(lambda self: ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count))
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        with _rg.no_grad():
            return _sampling.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        ways = (self.total_count + 1).lgamma() - (value + 1).lgamma() - (self.total_count - value + 1).lgamma()
        logits = self.logits
        at_zero = self.total_count * (logits.clamp(min=0) + (-logits.abs()).exp().log1p())
        return value * logits + ways - at_zero

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        total = int(self.total_count.max())
        if self.total_count.min() != total:
            message = "Inhomogeneous total count not supported by `entropy`."
            raise NotImplementedError(message)
        log_probs = self.log_prob(self.enumerate_support(False))
        return -(log_probs.exp() * log_probs).sum(0)

    def enumerate_support(self, expand: bool = True) -> Any:
        """See :class:`Distribution`."""
        total = int(self.total_count.max())
        if self.total_count.min() != total:
            message = "Inhomogeneous total count not supported by `enumerate_support`."
            raise NotImplementedError(message)
        values = _rg.arange(1 + total, dtype=self._param.dtype).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class NegativeBinomial(_Binary):
    """The number of successes before ``total_count`` failures."""

    arg_constraints: Any = {  # noqa: RUF012
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.total_count, given, kind = _counts("NegativeBinomial", total_count, probs, logits)
        setattr(self, kind, given)
        Distribution.__init__(self, given.size(), (), validate_args)

    mean = property(lambda self: self.total_count * self.logits.exp())
    mode = property(lambda self: ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0))
    variance = property(lambda self: self.mean / (-self.logits).sigmoid())

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw a Poisson number of gamma distributed rate."""
        shape = self._extended_shape(sample_shape)
        with _rg.no_grad():
            rate = _sampling.standard_gamma(self.total_count.expand(shape)) * self.logits.exp()
            return _sampling.poisson(rate)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        count = self.total_count
        likelihood = count * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        ways = -(count + value).lgamma() + (1.0 + value).lgamma() + count.lgamma()
        return likelihood - ways.masked_fill(count + value == 0.0, 0.0)


class Poisson(ExponentialFamily):
    """Counts of events of a mean rate."""

    arg_constraints: Any = {"rate": constraints.nonnegative}  # noqa: RUF012
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size() if isinstance(rate, Tensor) else (), (), validate_args)

    mean = property(lambda self: self.rate)
    mode = property(lambda self: self.rate.floor())
    variance = property(lambda self: self.rate)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        with _rg.no_grad():
            return _sampling.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return _rg.xlogy(value, rate) - rate - (value + 1).lgamma()
