"""Normal distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad import linalg
from rustgrad._composed import cholesky_inverse
from rustgrad.distributions import constraints
from rustgrad.distributions.distribution import Distribution
from rustgrad.distributions.utils import lazy_property, standard_normal


def _times(matrix: Any, vector: Any) -> Any:
    """Return products of matrices and vectors."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _mahalanobis(factor: Any, vector: Any) -> Any:
    """Return the squares of ``factor ** -1 @ vector`` of a Cholesky factor."""
    solved = linalg.solve_triangular(factor, vector.unsqueeze(-1), upper=False)
    return solved.pow(2).sum((-2, -1))


def _half_log_det(factor: Any) -> Any:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _cholesky_of_precision(precision: Any) -> Any:
    """Return the Cholesky factor of the inverse: flip, factor, flip back, invert."""
    flipped = linalg.cholesky(precision.flip((-2, -1)))
    upper = flipped.flip((-2, -1)).mT
    identity = _rg.eye(precision.shape[-1], dtype=precision.dtype)
    return linalg.solve_triangular(upper, identity, upper=False)


def _only(error: type[Exception], **matrices: Any) -> tuple[str, Any]:
    """Return the one matrix that was given, with its name."""
    given = [(name, matrix) for name, matrix in matrices.items() if matrix is not None]
    if len(given) != 1:
        message = "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        raise error(message)
    return given[0]


class _OfCovariance(Distribution):
    """A distribution with a covariance, of which the Cholesky factor is kept."""

    def _keep(self, name: str, matrix: Any) -> None:
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = linalg.cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = _cholesky_of_precision(matrix)

    def _whole(self, matrix: Any) -> Any:
        return matrix.expand(self._batch_shape + matrix.shape[-2:])

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._whole(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        factor = self._unbroadcasted_scale_tril
        return self._whole(factor @ factor.mT)

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        return self._whole(cholesky_inverse(self._unbroadcasted_scale_tril))


class MultivariateNormal(_OfCovariance):
    """Mean ``loc`` and a covariance, its inverse, or its Cholesky factor."""

    arg_constraints: Any = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            message = "loc must be at least one-dimensional."
            raise ValueError(message)
        name, matrix = _only(
            ValueError, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        if matrix.dim() < 2:
            message = f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            if name == "scale_tril":
                message = "scale_tril matrix must be at least two-dimensional, with optional leading batch dimensions"
            raise ValueError(message)
        batch = _rg.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args)
        self._keep(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """See :class:`Distribution`."""
        factor = self._unbroadcasted_scale_tril
        new = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = factor
        return new

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)

    @property
    def variance(self) -> Any:
        """The variance of each element."""
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        eps = standard_normal(self._extended_shape(sample_shape), self.loc.dtype)
        return self.loc + _times(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        factor = self._unbroadcasted_scale_tril
        distance = _mahalanobis(factor, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - _half_log_det(factor)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        half = _half_log_det(self._unbroadcasted_scale_tril)
        result = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + half
        return result.expand(self._batch_shape) if self._batch_shape else result


class LowRankMultivariateNormal(Distribution):
    """Covariance ``W W^T + D`` of a tall matrix and a diagonal, by Woodbury's identity."""

    arg_constraints: Any = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            message = "loc must be at least one-dimensional."
            raise ValueError(message)
        event = loc.shape[-1:]
        if cov_factor.dim() < 2:
            message = "cov_factor must be at least two-dimensional, with optional leading batch dimensions"
            raise ValueError(message)
        if cov_factor.shape[-2:-1] != event:
            message = f"cov_factor must be a batch of matrices with shape {event[0]} x m"
            raise ValueError(message)
        if cov_diag.shape[-1:] != event:
            message = f"cov_diag must be a batch of vectors with shape {event}"
            raise ValueError(message)
        try:
            batch = _rg.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            message = (
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            )
            raise ValueError(message) from error
        self.loc = loc.expand((*batch, -1))
        self.cov_factor = cov_factor.expand((*batch, -1, -1))
        self.cov_diag = cov_diag.expand((*batch, -1))
        super().__init__(batch, event, validate_args)

    @lazy_property
    def _capacitance_tril(self) -> Any:
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        return linalg.cholesky(scaled @ self.cov_factor + _rg.eye(self.cov_factor.shape[-1], dtype=self.loc.dtype))

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        part = linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        return self.cov_diag.reciprocal().diag_embed() - part.mT @ part

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)
    variance = property(lambda self: self.cov_factor.pow(2).sum(-1) + self.cov_diag)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """See :class:`Distribution`."""
        shape = self._extended_shape(sample_shape)
        eps_w = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc.dtype)
        eps_d = standard_normal(shape, self.loc.dtype)
        return self.loc + _times(self.cov_factor, eps_w) + self.cov_diag.sqrt() * eps_d

    def _log_det(self) -> Any:
        return 2 * _half_log_det(self._capacitance_tril) + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        """See :class:`Distribution`."""
        if self._validate_args:
            self._validate_sample(value)
        off = value - self.loc
        inner = _times(self.cov_factor.mT / self.cov_diag.unsqueeze(-2), off)
        distance = (off.pow(2) / self.cov_diag).sum(-1) - _mahalanobis(self._capacitance_tril, inner)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self) -> Any:
        """See :class:`Distribution`."""
        return 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
