"""Distributions over a number of classes."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg
from rustgrad.distributions import constraints
from rustgrad.distributions.distribution import Distribution
from rustgrad.distributions.utils import clamp_probs, lazy_property, logits_to_probs, probs_to_logits
from rustgrad.nn import functional as F


class Categorical(Distribution):
    """Class numbers, by probabilities or unnormalised log probabilities over the last dimension."""

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            message = "Either `probs` or `logits` must be specified, but not both."
            raise ValueError(message)
        given = logits if probs is None else probs
        if given.dim() < 1:
            message = f"`{'probs' if logits is None else 'logits'}` parameter must be at least one-dimensional."
            raise ValueError(message)
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)
        self._num_events = given.size(-1)
        super().__init__(given.size()[:-1], (), validate_args)

    @property
    def _param(self) -> Any:
        given = self.__dict__.get("probs")
        return self.logits if given is None else given

    @lazy_property
    def logits(self) -> Any:
        """The log probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Any:
        """The probabilities."""
        return logits_to_probs(self.logits)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """The class numbers."""
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._param.size()

    @property
    def mean(self) -> Any:
        """Not a number: classes have no mean."""
        return _rg.full(self.batch_shape, _rg.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Any:
        """The most probable class."""
        return self.probs.argmax(dim=-1)

    @property
    def variance(self) -> Any:
        """Not a number: classes have no variance."""
        return _rg.full(self.batch_shape, _rg.nan, dtype=self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = _rg.Size(sample_shape)
        flat = self.probs.detach().reshape(-1, self._num_events)
        return _rg.multinomial(flat, shape.numel(), True).T.reshape(shape + self._batch_shape)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        value, log_probs = _rg.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return log_probs.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        logits = self.logits.clamp(min=_rg.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        """See :class:`Distribution`."""
        values = _rg.arange(self._num_events, dtype=_rg.long).view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class _OverClasses(Distribution):
    """What hands its parameters to a :class:`Categorical`."""

    _categorical: Categorical
    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    param_shape = property(lambda self: self._categorical.param_shape)
    _param = property(lambda self: self._categorical._param)


class OneHotCategorical(_OverClasses):
    """Classes as vectors with a single one."""

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        super().__init__(self._categorical.batch_shape, shape[-1:], validate_args)

    mean = property(lambda self: self._categorical.probs)

    @property
    def mode(self) -> Any:
        """The most probable vector."""
        return F.one_hot(self.probs.argmax(-1), self._event_shape[0]).to(self.probs.dtype)

    @property
    def variance(self) -> Any:
        """The variance of each element."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        chosen = self._categorical.sample(_rg.Size(sample_shape))
        return F.one_hot(chosen, self._event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Any:
        """See :class:`Distribution`."""
        n = self._event_shape[0]
        values = _rg.eye(n, dtype=self._param.dtype).view((n,) + (1,) * len(self._batch_shape) + (n,))
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """As above; the gradient of a draw is that of the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        probs = self._categorical.probs
        return self.sample(sample_shape) + (probs - probs.detach())


class Multinomial(_OverClasses):
    """How often each class comes up in ``total_count`` draws."""

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, int):
            message = "inhomogeneous total_count is not supported"
            raise NotImplementedError(message)
        self.total_count = total_count
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        """Counts up to the total."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Any:
        """The mean."""
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        """The variance."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = _rg.Size(sample_shape)
        chosen = self._categorical.sample(_rg.Size((self.total_count,)) + shape)
        chosen = chosen.permute(*range(1, chosen.dim()), 0)
        counts = chosen.new_zeros(self._extended_shape(shape))
        counts.scatter_add_(-1, chosen, _rg.ones_like(chosen))
        return counts.to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = _rg.broadcast_tensors(self.logits, value)
        logits = logits.masked_fill((value == 0) & (logits == -_rg.inf), 0)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + (logits * value).sum(-1)

    def entropy(self) -> Any:
        """Return the entropy by sums over the binomial distributions of the counts."""
        n = _rg.tensor(self.total_count)
        counts = _rg.arange(1.0, self.total_count + 1, dtype=self.probs.dtype)
        counts = counts.view((-1,) + (1,) * self.probs.dim())
        p = clamp_probs(self.probs)
        ways = (n + 1.0).lgamma() - (counts + 1).lgamma() - (n - counts + 1.0).lgamma()
        masses = (ways + counts * p.log() + (n - counts) * (-p).log1p()).exp()
        inner = (masses * (counts + 1).lgamma()).sum((0, -1))
        return n * self._categorical.entropy() - (n + 1.0).lgamma() + inner
