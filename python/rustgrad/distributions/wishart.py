"""Distributions of matrices: Wishart's, and Cholesky factors of correlations."""

from __future__ import annotations

import math
import warnings
from typing import Any

import rustgrad as _rg
from rustgrad import linalg
from rustgrad._composed import cholesky_solve, mvlgamma
from rustgrad._core import Tensor
from rustgrad.distributions import constraints
from rustgrad.distributions.distribution import Distribution, ExponentialFamily
from rustgrad.distributions.gamma import Beta, Chi2
from rustgrad.distributions.multivariate_normal import _half_log_det, _OfCovariance, _only
from rustgrad.distributions.utils import broadcast_all

_TRIES = 10


class Wishart(_OfCovariance, ExponentialFamily):
    """Sums of ``df`` outer products of normal vectors of one covariance."""

    support = constraints.positive_definite
    has_rsample = True

    @property
    def arg_constraints(self) -> Any:
        """What each parameter must be."""
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = _only(
            AssertionError,
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        if matrix.dim() < 2:
            message = "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            raise ValueError(message)
        if isinstance(df, Tensor):
            batch = _rg.broadcast_shapes(matrix.shape[:-2], df.shape)
            self.df: Any = df.expand(batch)
        else:
            batch = matrix.shape[:-2]
            self.df = _rg.tensor(df, dtype=matrix.dtype)
        p = matrix.shape[-1]
        if bool((self.df <= p - 1).any()):
            message = f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}."
            raise ValueError(message)
        if bool((self.df < p).any()):
            message = "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim."
            warnings.warn(message, stacklevel=2)
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        super().__init__(batch, matrix.shape[-2:], validate_args)
        self._keep(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        factor = self._unbroadcasted_scale_tril.expand((*batch_shape, *self._event_shape))
        return Wishart(self.df.expand(batch_shape), scale_tril=factor, validate_args=False)

    @property
    def _degrees(self) -> Any:
        return self.df.expand(self._batch_shape)[..., None, None]

    mean = property(lambda self: self._degrees * self.covariance_matrix)

    @property
    def mode(self) -> Any:
        """The mode, if there is one."""
        factor = self._degrees - self._event_shape[-1] - 1
        return _rg.where(factor > 0, factor, math.nan) * self.covariance_matrix

    @property
    def variance(self) -> Any:
        """The variance of each element."""
        covariance = self.covariance_matrix
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        return self._degrees * (covariance.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _draw(self, sample_shape: Any) -> Any:
        """Draw by Bartlett's decomposition."""
        p = self._event_shape[-1]
        degrees = self.df.expand(self._batch_shape).unsqueeze(-1) - _rg.arange(p, dtype=self.df.dtype)
        roots = Chi2(degrees).rsample(sample_shape).sqrt()
        factor = roots.clamp(min=_rg.finfo(roots.dtype).eps).diag_embed()
        i, j = _rg.tril_indices(p, p, offset=-1)
        below = _rg.randn((*sample_shape, *self._batch_shape, p * (p - 1) // 2), dtype=roots.dtype)
        factor[..., i, j] = below
        factor = self._unbroadcasted_scale_tril @ factor
        return factor @ factor.mT

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Any:
        """See :class:`Distribution`; draws that are singular are drawn again a few times."""
        sample_shape = tuple(sample_shape)
        sample = self._draw(sample_shape)
        for _ in range(_TRIES if max_try_correction is None else max_try_correction):
            singular = ~self.support.check(sample.detach())
            if not bool(singular.any()):
                return sample
            sample = _rg.where(singular[..., None, None], self._draw(sample_shape), sample)
        if bool((~self.support.check(sample.detach())).any()):
            warnings.warn("Singular sample detected.", stacklevel=2)
        return sample

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        factor = self._unbroadcasted_scale_tril
        trace = cholesky_solve(value, factor.expand(value.shape)).diagonal(dim1=-2, dim2=-1).sum(-1)
        size = (nu - p - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2
        return size - nu * (p * math.log(2) / 2 + _half_log_det(factor)) - mvlgamma(nu / 2, p)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        nu, p = self.df, self._event_shape[-1]
        slope = (nu.unsqueeze(-1) / 2 - _rg.arange(p, dtype=nu.dtype) / 2).digamma().sum(-1)
        scale = (p + 1) * (p * math.log(2) / 2 + _half_log_det(self._unbroadcasted_scale_tril))
        return scale + mvlgamma(nu / 2, p) - (nu - p - 1) / 2 * slope + nu * p / 2

    @property
    def _natural_params(self) -> Any:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Any, y: Any) -> Any:
        p = self._event_shape[-1]
        return (y + (p + 1) / 2) * (p * math.log(2) - linalg.slogdet(-2 * x).logabsdet) + mvlgamma(y + (p + 1) / 2, p)


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices whose density goes with a power of the determinant."""

    arg_constraints: Any = {"concentration": constraints.positive}  # noqa: RUF012
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            message = f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            raise ValueError(message)
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # The lengths of the rows left of the diagonal, by the onion method.
        steps = _rg.arange(dim - 1, dtype=self.concentration.dtype)
        steps = _rg.cat([steps.new_zeros(1), steps])
        marginal = self.concentration + 0.5 * (dim - 2)
        self._beta = Beta(steps + 0.5, marginal.unsqueeze(-1) - 0.5 * steps)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        return LKJCholesky(self.dim, self.concentration.expand(batch_shape), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        with _rg.no_grad():
            square = self._beta.sample(sample_shape).unsqueeze(-1)
            normal = _rg.randn(self._extended_shape(sample_shape), dtype=square.dtype).tril(-1)
            direction = normal / normal.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            rows = square.sqrt() * direction
            rest = (1 - rows.square().sum(-1)).clamp(min=_rg.finfo(rows.dtype).tiny)
            return rows + rest.sqrt().diag_embed()

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        rest = self.dim - 1
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - _rg.arange(2, self.dim + 1)
        density = (powers * value.diagonal(dim1=-2, dim2=-1)[..., 1:].log()).sum(-1)
        alpha = self.concentration + 0.5 * rest
        return density - (0.5 * rest * math.log(math.pi) + mvlgamma(alpha - 0.5, rest) - alpha.lgamma() * rest)
