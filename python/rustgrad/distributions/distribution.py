"""The base class of all distributions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import rustgrad as _rg
from rustgrad._core import Tensor
from rustgrad.distributions import constraints
from rustgrad.distributions.utils import lazy_property

Size = _rg.Size


class Distribution:
    """A distribution, or a batch of them, over events of a shape.

    Parameters
    ----------
    batch_shape, event_shape
        The shapes of the batch and of one event.
    validate_args
        Whether parameters and values are checked; by default what :meth:`set_default_validate_args` says.

    Raises
    ------
    ValueError
        If a parameter does not lie where ``arg_constraints`` says.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: Any = {}  # noqa: RUF012 (torch's name; subclasses replace it)
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Say whether distributions check parameters and values."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if constraints.is_dependent(constraint):
                    continue
                if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                    continue
                value = getattr(self, name)
                if not constraint.check(value).all():
                    message = (
                        f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                        f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
                        f"values:\n{value}"
                    )
                    raise ValueError(message)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """Return the distribution with its parameters expanded to a batch shape."""
        shape = Size(batch_shape)
        new = type(self).__new__(type(self)) if _instance is None else _instance
        first = len(self._batch_shape)
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor) and value.dim() >= first and value.shape[:first] == self._batch_shape:
                value = value.expand(shape + value.shape[first:])
            elif isinstance(value, Distribution):
                value = value.expand(shape)
            new.__dict__[name] = value
        new._batch_shape = shape
        return new

    @property
    def batch_shape(self) -> Any:
        """The shape of the batch."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one event."""
        return self._event_shape

    def _missing(self) -> Any:
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """Where the values lie."""
        return self._missing()

    @property
    def mean(self) -> Any:
        """The mean."""
        return self._missing()

    @property
    def mode(self) -> Any:
        """The mode."""
        message = f"{type(self)} does not implement mode"
        raise NotImplementedError(message)

    @property
    def variance(self) -> Any:
        """The variance."""
        return self._missing()

    @property
    def stddev(self) -> Any:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw values of shape ``sample_shape + batch_shape + event_shape``, without gradients."""
        with _rg.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Draw values that are differentiable functions of the parameters."""
        return self._missing()

    def sample_n(self, n: int) -> Any:
        """Draw ``n`` values."""
        warnings.warn("sample_n(n) will be deprecated. Use .sample((n,)) instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: Any) -> Any:
        """Return the logarithm of the density or probability at ``value``."""
        return self._missing()

    def cdf(self, value: Any) -> Any:
        """Return the probability of values up to ``value``."""
        return self._missing()

    def icdf(self, value: Any) -> Any:
        """Return the inverse of :meth:`cdf`."""
        return self._missing()

    def enumerate_support(self, expand: bool = True) -> Any:
        """Return all values along a new first dimension."""
        return self._missing()

    def entropy(self) -> Any:
        """Return the entropy, in nats."""
        return self._missing()

    def perplexity(self) -> Any:
        """Return the exponential of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Any = ()) -> Any:
        return Size(sample_shape) + self._batch_shape + self._event_shape

    def _validate_sample(self, value: Any) -> None:
        """Check shape and support of a value."""
        if not isinstance(value, Tensor):
            message = "The value argument to log_prob must be a Tensor"
            raise ValueError(message)
        events = value.dim() - len(self._event_shape)
        if value.shape[max(events, 0) :] != self._event_shape or events < 0:
            message = f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            raise ValueError(message)
        expected = self._batch_shape + self._event_shape
        for given, own in zip(reversed(value.shape), reversed(expected), strict=False):
            if given != 1 and own != 1 and given != own:
                message = f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                raise ValueError(message)
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not support.check(value).all():
            message = (
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )
            raise ValueError(message)

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            value = self.__dict__.get(name)
            if value is not None:
                shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution):
    """Distributions of the form ``exp(t(x) . theta - F(theta) + k(x))``."""

    @property
    def _natural_params(self) -> Any:
        return self._missing()

    def _log_normalizer(self, *natural_params: Any) -> Any:
        return self._missing()

    _mean_carrier_measure: Any = 0.0

    def entropy(self) -> Any:
        """Return the entropy by the derivatives of the log normaliser (a Bregman divergence)."""
        natural = [parameter.detach().requires_grad_() for parameter in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        slopes = _rg.autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = -self._mean_carrier_measure + normalizer
        for parameter, slope in zip(natural, slopes, strict=True):
            product = parameter * slope
            result = result - product.reshape((*self._batch_shape, -1)).sum(-1)
        return result


def new_batch(*parameters: Tensor, scalars: tuple[Any, ...] = ()) -> Any:
    """Return the batch shape of broadcast parameters: empty if all were given as numbers."""
    if scalars and not any(isinstance(scalar, Tensor) for scalar in scalars):
        return Size()
    return parameters[0].shape


HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
