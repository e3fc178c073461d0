"""Invertible maps with the logarithms of their Jacobians' determinants."""

from __future__ import annotations

import math
import operator
from functools import reduce
from typing import Any

import rustgrad as _rg
from rustgrad import linalg
from rustgrad._core import Tensor
from rustgrad.distributions import constraints
from rustgrad.distributions.utils import broadcast_all, sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix
from rustgrad.nn import functional as F

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform",
    "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform",
    "identity_transform",
]  # fmt: skip


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


class ExpTransform(Transform):
    """``exp(x)``."""

    codomain = constraints.positive
    bijective = True
    _fixed_sign = 1

    def _call(self, x: Any) -> Any:
        return x.exp()

    def _inverse(self, y: Any) -> Any:
        return y.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return x


class PowerTransform(Transform):
    """``x ** exponent`` of positive numbers."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        (self.exponent,) = broadcast_all(exponent)

    @property
    def sign(self) -> Any:
        """The sign of the derivative."""
        return self.exponent.sign()

    def _call(self, x: Any) -> Any:
        return x.pow(self.exponent)

    def _inverse(self, y: Any) -> Any:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return (self.exponent * y / x).abs().log()

    def _same(self, other: Any) -> bool:
        return bool(self.exponent.eq(other.exponent).all())

    def _shape(self, shape: Any) -> Any:
        return _rg.broadcast_shapes(shape, self.exponent.shape)

    forward_shape = inverse_shape = _shape


class SigmoidTransform(Transform):
    """``1 / (1 + exp(-x))``."""

    codomain = constraints.unit_interval
    bijective = True
    _fixed_sign = 1

    def _call(self, x: Any) -> Any:
        limits = _rg.finfo(x.dtype)
        return x.sigmoid().clamp(min=limits.tiny, max=1.0 - limits.eps)

    def _inverse(self, y: Any) -> Any:
        limits = _rg.finfo(y.dtype)
        y = y.clamp(min=limits.tiny, max=1.0 - limits.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return -F.softplus(-x) - F.softplus(x)


class SoftplusTransform(Transform):
    """``log(1 + exp(x))``."""

    codomain = constraints.positive
    bijective = True
    _fixed_sign = 1

    def _call(self, x: Any) -> Any:
        return F.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return -F.softplus(-x)


class TanhTransform(Transform):
    """``tanh(x)``."""

    codomain = constraints.interval(-1.0, 1.0)
    bijective = True
    _fixed_sign = 1

    def _call(self, x: Any) -> Any:
        return x.tanh()

    def _inverse(self, y: Any) -> Any:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))


class AbsTransform(Transform):
    """``|x|``, whose inverse gives what is positive."""

    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return x.abs()

    def _inverse(self, y: Any) -> Any:
        return y


def _equal(one: Any, other: Any) -> bool:
    same = one == other
    return bool(same.all()) if isinstance(same, Tensor) else bool(same)


class AffineTransform(Transform):
    """``loc + scale * x``."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        """The dimensions of an event."""
        return self._event_dim

    @property
    def domain(self) -> Any:
        """What the map takes."""
        return constraints.independent(constraints.real, self._event_dim) if self._event_dim else constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        """The sign of the derivative."""
        scale = self.scale
        return scale.sign() if isinstance(scale, Tensor) else (scale > 0) - (scale < 0)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        scale = self.scale
        result = scale.abs().log() if isinstance(scale, Tensor) else _rg.full_like(x, math.log(abs(scale)))
        shape = x.shape
        if self._event_dim:
            result = result.reshape((*result.shape[: result.dim() - self._event_dim], -1)).sum(-1)
            shape = shape[: len(shape) - self._event_dim]
        return result.expand(shape)

    def _same(self, other: Any) -> bool:
        return _equal(self.loc, other.loc) and _equal(self.scale, other.scale)

    def _shape(self, shape: Any) -> Any:
        return _rg.broadcast_shapes(shape, getattr(self.loc, "shape", ()), getattr(self.scale, "shape", ()))

    forward_shape = inverse_shape = _shape


class SoftmaxTransform(Transform):
    """``softmax(x)``, whose inverse is the logarithm; it is not one to one."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Any) -> Any:
        unnormalised = (x - x.max(-1, True)[0]).exp()
        return unnormalised / unnormalised.sum(-1, True)

    def _inverse(self, y: Any) -> Any:
        return y.log()


class StickBreakingTransform(Transform):
    """Maps ``n - 1`` numbers to ``n`` probabilities by breaking pieces off a stick."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _call(self, x: Any) -> Any:
        left = x.shape[-1] + 1 - x.new_ones(x.shape[-1]).cumsum(-1)
        share = (x - left.log()).sigmoid()
        rest = (1 - share).cumprod(-1)
        return F.pad(share, [0, 1], value=1) * F.pad(rest, [1, 0], value=1)

    def _inverse(self, y: Any) -> Any:
        pieces = y[..., :-1]
        left = y.shape[-1] - y.new_ones(pieces.shape[-1]).cumsum(-1)
        rest = (1 - pieces.cumsum(-1)).clamp(min=_rg.finfo(y.dtype).tiny)
        return pieces.log() - rest.log() + left.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        left = x.shape[-1] + 1 - x.new_ones(x.shape[-1]).cumsum(-1)
        x = x - left.log()
        return (-x + F.logsigmoid(x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        return (*shape[:-1], shape[-1] - 1)


class LowerCholeskyTransform(Transform):
    """Maps square matrices to lower triangular ones with a positive diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Any) -> Any:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Any) -> Any:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(Transform):
    """Maps square matrices to positive definite ones."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Any) -> Any:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: Any) -> Any:
        return LowerCholeskyTransform().inv(linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """Maps ``n (n - 1) / 2`` numbers to Cholesky factors of correlation matrices, by tanh and canonical vines."""

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Any) -> Any:
        eps = _rg.finfo(x.dtype).eps
        partial = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), -1)
        rest = (1 - partial**2).sqrt().cumprod(-1)
        partial = partial + _rg.eye(partial.shape[-1], dtype=x.dtype)
        return partial * F.pad(rest[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Any) -> Any:
        left = F.pad((1 - (y * y).cumsum(-1))[..., :-1], [1, 0], value=1)
        partial = tril_matrix_to_vec(y, -1) / tril_matrix_to_vec(left, -1).sqrt()
        return 0.5 * (partial.log1p() - (-partial).log1p())

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        left = 1 - (y * y).cumsum(-1)
        scales = 0.5 * tril_matrix_to_vec(left, -2).log().sum(-1) if y.shape[-1] > 2 else 0.0
        slopes = -2 * (x + F.softplus(-2 * x) - math.log(2.0)).sum(-1)
        return scales + slopes

    def forward_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        count = shape[-1]
        size = round((0.25 + 2 * count) ** 0.5 + 0.5)
        if size * (size - 1) // 2 != count:
            message = "Input is not a flattened lower-diagonal number"
            raise ValueError(message)
        return (*shape[:-1], size, size)

    def inverse_shape(self, shape: Any) -> Any:
        """See :class:`Transform`."""
        size = shape[-1]
        return (*shape[:-2], size * (size - 1) // 2)


class CumulativeDistributionTransform(Transform):
    """The distribution function of a distribution of numbers."""

    codomain = constraints.unit_interval
    bijective = True
    _fixed_sign = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        """Where the distribution's values lie."""
        return self.distribution.support

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        return self.distribution.log_prob(x)


class _Several(Transform):
    """Maps applied to parts of a tensor along a dimension."""

    def __init__(self, tseq: Any, dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.transforms = [part.with_cache(cache_size) for part in tseq]
        self.dim = dim

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all maps are one to one."""
        return all(part.bijective for part in self.transforms)

    def _split(self, value: Any) -> Any:
        return value.unbind(self.dim)

    def _join(self, parts: Any) -> Any:
        return _rg.stack(parts, self.dim)

    def _call(self, x: Any) -> Any:
        return self._join([part(piece) for part, piece in zip(self.transforms, self._split(x), strict=True)])

    def _inverse(self, y: Any) -> Any:
        return self._join([part.inv(piece) for part, piece in zip(self.transforms, self._split(y), strict=True)])

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """See :class:`Transform`."""
        triples = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return self._join([part.log_abs_det_jacobian(before, after) for part, before, after in triples])

    @property
    def domain(self) -> Any:
        """What the maps take."""
        return constraints.stack([part.domain for part in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        """What the maps reach."""
        return constraints.stack([part.codomain for part in self.transforms], self.dim)


class StackTransform(_Several):
    """One map for each slice along a dimension."""


class CatTransform(_Several):
    """One map for each piece along a dimension, of the lengths given."""

    def __init__(self, tseq: Any, dim: int = 0, lengths: Any = None, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    @property
    def length(self) -> int:
        """The length of all pieces."""
        return sum(self.lengths)

    def _split(self, value: Any) -> Any:
        return value.split(self.lengths, self.dim)

    def _join(self, parts: Any) -> Any:
        return _rg.cat(parts, self.dim)

    @property
    def domain(self) -> Any:
        """What the maps take."""
        return constraints.cat([part.domain for part in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        """What the maps reach."""
        return constraints.cat([part.codomain for part in self.transforms], self.dim, self.lengths)
