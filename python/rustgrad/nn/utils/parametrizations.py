"""Weights given by a length and a direction, scaled to a spectral norm of one, or orthogonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rustgrad as _rg
from rustgrad import _composed, linalg
from rustgrad.nn import functional as F
from rustgrad.nn.modules.module import Module
from rustgrad.nn.utils import parametrize

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def norm_except(value: Tensor, dim: int | None) -> Tensor:
    """Return the norms of the slices along a dimension, or that of all; dimensions are kept."""
    if dim is None or dim == -1:
        return value.norm()
    place = dim % value.dim()
    others = tuple(other for other in range(value.dim()) if other != place)
    return value.norm(2, others, True) if others else value.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Give a weight as ``g * v / |v|``, with the norm of each slice along ``dim`` (Salimans and Kingma 2016)."""
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if dim >= weight.dim() or dim < -weight.dim():
            message = (
                f"Dimension out of range (expected to be in range of [-{weight.dim()}, {weight.dim() - 1}] but got "
                f"{dim})"
            )
            raise IndexError(message)
        if n_power_iterations <= 0:
            message = f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            raise ValueError(message)
        self.dim, self.eps = dim if dim >= 0 else dim + weight.dim(), eps
        if weight.dim() > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight)
            rows, columns = matrix.size()
            u = matrix.new_empty(rows).normal_(0, 1)
            v = matrix.new_empty(columns).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        if self.dim:
            weight = weight.permute(self.dim, *(d for d in range(weight.dim()) if d != self.dim))
        return weight.flatten(1)

    def _iterate(self, matrix: Tensor, times: int) -> None:
        """Bring the vectors closer to those of the largest singular value, by power iteration."""
        with _rg.no_grad():
            for _ in range(times):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.T.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / _rg.vdot(u, matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by an estimate of its largest singular value (Miyato et al. 2018)."""
    weight = getattr(module, name, None)
    if not isinstance(weight, _rg.Tensor):
        message = f"Module '{module}' has no parameter or buffer with name '{name}'"
        raise ValueError(message)
    if dim is None:
        transposed = type(module).__name__.startswith("ConvTranspose")
        dim = 1 if transposed else 0
    parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


class _Orthogonal(Module):
    """An orthogonal matrix as exponential or Cayley transform of a skew one, times that it began with."""

    base: Tensor

    def __init__(self, weight: Tensor, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("base", weight.new_zeros(0))

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        tall = X.mT if wide else X
        n, k = tall.size(-2), tall.size(-1)
        lower = tall.tril(-1)
        if n != k:
            lower = _rg.cat([lower, lower.new_zeros((*lower.shape[:-2], n, n - k))], -1)
        skew = lower - lower.mT
        identity = _rg.eye(n, dtype=X.dtype)
        if self.kind == "matrix_exp":
            q = _composed.matrix_exp(skew)
        else:
            q = linalg.solve(identity + 0.5 * skew, identity - 0.5 * skew).mT
        if self.base.numel():
            q = self.base @ q
        q = q[..., :k]
        return q.mT if wide else q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """Keep the orthogonal matrix closest to the weight in ``base``, and start at zero from there."""
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        q, r = linalg.qr(tall, mode="complete")
        signs = r.diagonal(dim1=-2, dim2=-1).sign()
        k = tall.size(-1)
        self.base = _rg.cat([q[..., :k] * signs.unsqueeze(-2), q[..., k:]], -1)
        return _rg.zeros_like(Q)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Give matrices orthonormal rows or columns, by ``matrix_exp`` or ``cayley`` of a skew matrix.

    The value at first is the Q of the weight, as in torch with ``use_trivialization``.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, _rg.Tensor):
        message = f"Module '{module}' has no parameter or buffer with name '{name}'"
        raise ValueError(message)
    if weight.dim() < 2:
        message = f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        raise ValueError(message)
    kind = orthogonal_map or "matrix_exp"
    if kind not in ("matrix_exp", "cayley", "householder"):
        message = f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        raise ValueError(message)
    if kind == "householder" or not use_trivialization:
        message = "orthogonal: only matrix_exp and cayley are there, with use_trivialization"
        raise NotImplementedError(message)
    parametrize.register_parametrization(module, name, _Orthogonal(weight, kind), unsafe=True)
    return module
