"""Continuous relaxations of discrete choices (Maddison et al. 2017, Jang et al. 2017)."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg
from rustgrad.distributions import constraints
from rustgrad.distributions.bernoulli import _Binary
from rustgrad.distributions.categorical import Categorical, _OverClasses
from rustgrad.distributions.transformed_distribution import TransformedDistribution
from rustgrad.distributions.transforms import ExpTransform, SigmoidTransform
from rustgrad.distributions.utils import broadcast_all, clamp_probs


class LogitRelaxedBernoulli(_Binary):
    """Log odds of relaxed yes or no at a temperature."""

    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        self._odds(probs, logits, validate_args)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(_rg.rand(shape, dtype=probs.dtype))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        off = logits - value.mul(self.temperature)
        temperature = _rg.as_tensor(self.temperature, dtype=value.dtype)
        return temperature.log() + off - 2 * off.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """Relaxed yes or no: numbers between zero and one."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    logits = property(lambda self: self.base_dist.logits)
    probs = property(lambda self: self.base_dist.probs)


class ExpRelaxedCategorical(_OverClasses):
    """Logarithms of relaxed one-hot vectors at a temperature."""

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        u = clamp_probs(_rg.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, True)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        count = self._categorical._num_events
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        temperature = _rg.as_tensor(self.temperature, dtype=value.dtype)
        scale = temperature.log().mul(count - 1) + _rg.tensor(float(count)).lgamma().to(value.dtype)
        score = logits - value.mul(self.temperature)
        return (score - score.logsumexp(-1, True)).sum(-1) + scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """Relaxed one-hot vectors: probability vectors close to the corners."""

    arg_constraints: Any = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012
    support = constraints.simplex
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    logits = property(lambda self: self.base_dist.logits)
    probs = property(lambda self: self.base_dist.probs)
