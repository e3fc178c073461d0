"""Distributions of transformed values, of joined dimensions, and mixtures."""

from __future__ import annotations

from typing import Any

import rustgrad as _rg
from rustgrad.distributions import constraints
from rustgrad.distributions.categorical import Categorical
from rustgrad.distributions.distribution import Distribution
from rustgrad.distributions.transforms import ComposeTransform, Transform
from rustgrad.distributions.utils import sum_rightmost


class Independent(Distribution):
    """A distribution of which the last batch dimensions are part of the event."""

    def __init__(
        self, base_distribution: Any, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        batch = base_distribution.batch_shape
        if reinterpreted_batch_ndims > len(batch):
            message = (
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(batch)}"
            )
            raise ValueError(message)
        shape = batch + base_distribution.event_shape
        events = reinterpreted_batch_ndims + len(base_distribution.event_shape)
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, reinterpreted_batch_ndims
        cut = len(shape) - events
        super().__init__(shape[:cut], shape[cut:], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        batch = _rg.Size(batch_shape)
        base = self.base_dist.expand(batch + self.event_shape[: self.reinterpreted_batch_ndims])
        new = Independent(base, self.reinterpreted_batch_ndims, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has it."""
        return bool(self.base_dist.has_rsample)

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """Whether the base has it."""
        return not self.reinterpreted_batch_ndims and bool(self.base_dist.has_enumerate_support)

    @property
    def support(self) -> Any:
        """Where the values lie."""
        support = self.base_dist.support
        if self.reinterpreted_batch_ndims:
            support = constraints.independent(support, self.reinterpreted_batch_ndims)
        return support

    mean = property(lambda self: self.base_dist.mean)
    mode = property(lambda self: self.base_dist.mode)
    variance = property(lambda self: self.base_dist.variance)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Any:
        """See :class:`Distribution`."""
        if self.reinterpreted_batch_ndims:
            message = "Enumeration over cartesian product is not implemented"
            raise NotImplementedError(message)
        return self.base_dist.enumerate_support(expand)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.reinterpreted_batch_ndims})"


class TransformedDistribution(Distribution):
    """The distribution of what maps make of the values of another."""

    def __init__(self, base_distribution: Any, transforms: Any, validate_args: bool | None = None) -> None:
        if isinstance(transforms, Transform):
            self.transforms = [transforms]
        elif isinstance(transforms, list):
            if not all(isinstance(part, Transform) for part in transforms):
                message = "transforms must be a Transform or a list of Transforms"
                raise ValueError(message)
            self.transforms = transforms
        else:
            message = f"transforms must be a Transform or list, but was {transforms}"
            raise ValueError(message)
        shape = base_distribution.batch_shape + base_distribution.event_shape
        whole = ComposeTransform(self.transforms)
        if len(shape) < whole.domain.event_dim:
            message = (
                f"base_distribution needs to have shape with size at least {whole.domain.event_dim}, but got {shape}."
            )
            raise ValueError(message)
        forward = _rg.Size(whole.forward_shape(shape))
        base_shape = whole.inverse_shape(forward)
        batch = _rg.Size(base_shape[: len(base_shape) - len(base_distribution.event_shape)])
        base = base_distribution if batch == base_distribution.batch_shape else base_distribution.expand(batch)
        joined = whole.domain.event_dim - len(base.event_shape)
        self.base_dist = Independent(base, joined) if joined > 0 else base
        events = max(
            len(base.event_shape) + whole.codomain.event_dim - whole.domain.event_dim, whole.codomain.event_dim
        )
        cut = len(forward) - events
        super().__init__(forward[:cut], forward[cut:], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        new = type(self).__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape = _rg.Size(batch_shape)
        shape = new._batch_shape + self._event_shape
        for part in reversed(self.transforms):
            shape = part.inverse_shape(shape)
        base = _rg.Size(shape[: len(shape) - len(self.base_dist.event_shape)])
        new.base_dist = self.base_dist.expand(base)
        return new

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has it."""
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> Any:
        """Where the values lie."""
        if not self.transforms:
            return self.base_dist.support
        support = self.transforms[-1].codomain
        joined = len(self.event_shape) - support.event_dim
        return constraints.independent(support, joined) if joined > 0 else support

    def _forward(self, x: Any) -> Any:
        for part in self.transforms:
            x = part(x)
        return x

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        with _rg.no_grad():
            return self._forward(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        return self._forward(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        """Return the base's at the inverse, less the logarithm of the Jacobian's determinant."""
        if self._validate_args:
            self._validate_sample(value)
        events = len(self.event_shape)
        result: Any = 0.0
        y = value
        for part in reversed(self.transforms):
            x = part.inv(y)
            events += part.domain.event_dim - part.codomain.event_dim
            result = result - sum_rightmost(part.log_abs_det_jacobian(x, y), events - part.domain.event_dim)
            y = x
        return result + sum_rightmost(self.base_dist.log_prob(y), events - len(self.base_dist.event_shape))

    def _monotone(self, value: Any) -> Any:
        """Return ``value`` or ``1 - value``, as the sign of the maps says."""
        sign: Any = 1
        for part in self.transforms:
            sign = sign * part.sign
        if isinstance(sign, int) and sign == 1:
            return value
        return sign * (value - 0.5) + 0.5

    def cdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        for part in reversed(self.transforms):
            value = part.inv(value)
        if self._validate_args:
            self.base_dist._validate_sample(value)
        return self._monotone(self.base_dist.cdf(value))

    def icdf(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        return self._forward(self.base_dist.icdf(self._monotone(value)))


class MixtureSameFamily(Distribution):
    """Mixtures whose components are the last batch dimension of a distribution."""

    def __init__(
        self, mixture_distribution: Any, component_distribution: Any, validate_args: bool | None = None
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            message = "The Mixture distribution needs to be an instance of torch.distributions.Categorical"
            raise ValueError(message)
        if not isinstance(component_distribution, Distribution):
            message = "The Component distribution need to be an instance of torch.distributions.Distribution"
            raise ValueError(message)
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        own, parts = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        for one, other in zip(reversed(own), reversed(parts), strict=False):
            if one != 1 and other != 1 and one != other:
                message = (
                    f"`mixture_distribution.batch_shape` ({own}) is not compatible with "
                    f"`component_distribution.batch_shape`({parts})"
                )
                raise ValueError(message)
        count, components = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if count != components:
            message = (
                f"`mixture_distribution component` ({count}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({components})"
            )
            raise ValueError(message)
        self._num_component = components
        super().__init__(parts, component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        batch = _rg.Size(batch_shape)
        new = MixtureSameFamily(
            self._mixture_distribution.expand(batch),
            self._component_distribution.expand((*batch, self._num_component)),
            validate_args=False,
        )
        new._validate_args = self._validate_args
        return new

    mixture_distribution = property(lambda self: self._mixture_distribution)
    component_distribution = property(lambda self: self._component_distribution)

    @property
    def support(self) -> Any:
        """Where the values lie."""
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    def _average(self, values: Any) -> Any:
        """Return the mean over the components."""
        events = len(self.event_shape)
        probs = self._mixture_distribution.probs
        return (probs.reshape(probs.shape + (1,) * events) * values).sum(-1 - events)

    @property
    def mean(self) -> Any:
        """The mean."""
        return self._average(self._component_distribution.mean)

    @property
    def variance(self) -> Any:
        """The mean of the components' variances, and the variance of their means."""
        spread = self._component_distribution.mean - self.mean.unsqueeze(-1 - len(self.event_shape))
        return self._average(self._component_distribution.variance) + self._average(spread.pow(2.0))

    def cdf(self, x: Any) -> Any:
        """See :class:`Distribution`."""
        parts = self._component_distribution.cdf(x.unsqueeze(-1 - len(self.event_shape)))
        return (parts * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(x)
        parts = self._component_distribution.log_prob(x.unsqueeze(-1 - len(self.event_shape)))
        return (parts + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw a component, then its value."""
        with _rg.no_grad():
            place = len(sample_shape) + len(self.batch_shape)
            chosen = self._mixture_distribution.sample(sample_shape)
            values = self._component_distribution.sample(sample_shape)
            index = chosen.reshape(chosen.shape + (1,) * (len(self.event_shape) + 1))
            shape = (*values.shape[:place], 1, *values.shape[place + 1 :])
            return values.gather(place, index.expand(shape)).squeeze(place)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
