"""What all transforms have in common, their inverses and their compositions."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import rustgrad as _rg
from rustgrad.distributions import constraints
from rustgrad.distributions.utils import sum_rightmost


class Transform:
    """A map from ``domain`` to ``codomain``; with ``cache_size=1`` it remembers its last pair of values."""

    bijective = False
    domain: Any = constraints.real
    codomain: Any = constraints.real
    _fixed_sign: int | None = None

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            message = "cache_size must be 0 or 1"
            raise ValueError(message)
        self._cache_size = cache_size
        self._last: tuple[Any, Any] = (None, None)

    @property
    def event_dim(self) -> int:
        """The dimensions of an event, where domain and codomain agree."""
        if self.domain.event_dim == self.codomain.event_dim:
            return int(self.domain.event_dim)
        message = "Please use either .domain.event_dim or .codomain.event_dim"
        raise ValueError(message)

    @property
    def sign(self) -> Any:
        """The sign of the derivative, of a monotone map of numbers."""
        if self._fixed_sign is None:
            raise NotImplementedError
        return self._fixed_sign

    @property
    def inv(self) -> Any:
        """The inverse map."""
        return _InverseTransform(self)

    def with_cache(self, cache_size: int = 1) -> Any:
        """Return the same map with another size of cache."""
        if self._cache_size == cache_size:
            return self
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._cache_size, copy._last = cache_size, (None, None)
        return copy

    def __call__(self, x: Any) -> Any:
        """Apply the map."""
        if self._cache_size and x is self._last[0]:
            return self._last[1]
        y = self._call(x)
        if self._cache_size:
            self._last = (x, y)
        return y

    def _inv_call(self, y: Any) -> Any:
        if self._cache_size and y is self._last[1]:
            return self._last[0]
        x = self._inverse(y)
        if self._cache_size:
            self._last = (x, y)
        return x

    def _call(self, x: Any) -> Any:
        raise NotImplementedError

    def _inverse(self, y: Any) -> Any:
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """Return ``log |dy/dx|`` of each event."""
        raise NotImplementedError

    def forward_shape(self, shape: Any) -> Any:
        """Return the shape of what a value of a shape is mapped to."""
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        """Return the shape of what is mapped to a value of a shape."""
        return shape

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._same(other)

    __hash__ = object.__hash__

    def _same(self, other: Any) -> bool:
        return self is other or not self._parts()

    def _parts(self) -> Any:
        return [name for name in self.__dict__ if not name.startswith("_")]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _InverseTransform(Transform):
    def __init__(self, transform: Transform) -> None:
        super().__init__(transform._cache_size)
        self._inv = transform

    @property
    def domain(self) -> Any:
        """What the map reaches, and so what this one takes."""
        return self._inv.codomain

    @property
    def codomain(self) -> Any:
        """What the map takes."""
        return self._inv.domain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether the map is one to one."""
        return self._inv.bijective

    @property
    def sign(self) -> Any:
        """The sign of the derivative."""
        return self._inv.sign

    @property
    def inv(self) -> Any:
        """The map itself."""
        return self._inv

    def with_cache(self, cache_size: int = 1) -> Any:
        """See :class:`Transform`."""
        return self._inv.with_cache(cache_size).inv

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InverseTransform) and self._inv == other._inv

    __hash__ = object.__hash__

    def __call__(self, x: Any) -> Any:
        """Apply the inverse."""
        return self._inv._inv_call(x)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inv!r})"


class ComposeTransform(Transform):
    """Several maps, one after the other."""

    def __init__(self, parts: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = [part.with_cache(cache_size) for part in parts] if cache_size else list(parts)

    @property
    def domain(self) -> Any:
        """What the first takes."""
        if not self.parts:
            return constraints.real
        result = self.parts[0].domain
        dims = self.parts[-1].codomain.event_dim
        for part in reversed(self.parts):
            dims = max(dims + part.domain.event_dim - part.codomain.event_dim, part.domain.event_dim)
        return result if dims <= result.event_dim else constraints.independent(result, dims - result.event_dim)

    @property
    def codomain(self) -> Any:
        """What the last reaches."""
        if not self.parts:
            return constraints.real
        result = self.parts[-1].codomain
        dims = self.parts[0].domain.event_dim
        for part in self.parts:
            dims = max(dims + part.codomain.event_dim - part.domain.event_dim, part.codomain.event_dim)
        return result if dims <= result.event_dim else constraints.independent(result, dims - result.event_dim)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all are one to one."""
        return all(part.bijective for part in self.parts)

    @property
    def sign(self) -> Any:
        """The sign of the derivative."""
        return reduce(operator.mul, (part.sign for part in self.parts), 1)

    @property
    def inv(self) -> Any:
        """The inverses, the other way round."""
        return ComposeTransform([part.inv for part in reversed(self.parts)])

    def with_cache(self, cache_size: int = 1) -> Any:
        """See :class:`Transform`."""
        return self if self._cache_size == cache_size else ComposeTransform(self.parts, cache_size)

    def __call__(self, x: Any) -> Any:
        """Apply all maps."""
        for part in self.parts:
            x = part(x)
        return x

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        if not self.parts:
            return _rg.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        dims = self.domain.event_dim
        terms = []
        for part, before, after in zip(self.parts, values, values[1:], strict=False):
            terms.append(sum_rightmost(part.log_abs_det_jacobian(before, after), dims - part.domain.event_dim))
            dims += part.codomain.event_dim - part.domain.event_dim
        return reduce(operator.add, terms)

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def _same(self, other: Any) -> bool:
        return bool(self.parts == other.parts)

    def __repr__(self) -> str:
        return "ComposeTransform(\n    " + ",\n    ".join(map(repr, self.parts)) + "\n)"


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """A map of which some batch dimensions are part of the event."""

    def __init__(self, base_transform: Any, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def domain(self) -> Any:
        """What the map takes."""
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @property
    def codomain(self) -> Any:
        """What the map reaches."""
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether the map is one to one."""
        return bool(self.base_transform.bijective)

    @property
    def sign(self) -> Any:
        """The sign of the derivative."""
        return self.base_transform.sign

    def _call(self, x: Any) -> Any:
        if x.dim() < self.domain.event_dim:
            message = "Too few dimensions on input"
            raise ValueError(message)
        return self.base_transform(x)

    def _inverse(self, y: Any) -> Any:
        if y.dim() < self.codomain.event_dim:
            message = "Too few dimensions on input"
            raise ValueError(message)
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self.base_transform.inverse_shape(shape)

    def _same(self, other: Any) -> bool:
        return (self.base_transform, self.reinterpreted_batch_ndims) == (
            other.base_transform,
            other.reinterpreted_batch_ndims,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """Gives events another shape of as many elements."""

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0) -> None:
        self.in_shape, self.out_shape = _rg.Size(in_shape), _rg.Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            message = "in_shape, out_shape have different numbers of elements"
            raise ValueError(message)
        super().__init__(cache_size)

    @property
    def domain(self) -> Any:
        """What the map takes."""
        return constraints.independent(constraints.real, len(self.in_shape))

    @property
    def codomain(self) -> Any:
        """What the map reaches."""
        return constraints.independent(constraints.real, len(self.out_shape))

    def _batch(self, shape: Any, event: Any) -> Any:
        cut = len(shape) - len(event)
        if cut < 0:
            message = "Too few dimensions on input"
            raise ValueError(message)
        if _rg.Size(shape[cut:]) != event:
            message = f"Shape mismatch: expected {event} but got {shape[cut:]}"
            raise ValueError(message)
        return _rg.Size(shape[:cut])

    def _call(self, x: Any) -> Any:
        return x.reshape(x.shape[: x.dim() - len(self.in_shape)] + self.out_shape)

    def _inverse(self, y: Any) -> Any:
        return y.reshape(y.shape[: y.dim() - len(self.out_shape)] + self.in_shape)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return x.new_zeros(x.shape[: x.dim() - len(self.in_shape)])

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self._batch(shape, self.in_shape) + self.out_shape

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return self._batch(shape, self.out_shape) + self.in_shape
