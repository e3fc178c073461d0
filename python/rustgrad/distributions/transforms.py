"""Invertible maps with the logarithms of their Jacobians' determinants."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad import linalg
from rustgrad._core import Tensor
from rustgrad.distributions import constraints
from rustgrad.distributions._transform import (
    ComposeTransform,
    IndependentTransform,
    ReshapeTransform,
    Transform,
    identity_transform,
)
from rustgrad.distributions.utils import broadcast_all, tril_matrix_to_vec, vec_to_tril_matrix
from rustgrad.nn import functional as F

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform",
    "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform",
    "identity_transform",
]  # fmt: skip


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
