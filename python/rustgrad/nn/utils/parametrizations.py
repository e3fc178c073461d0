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
    """An orthogonal matrix made of another one, times that it began with.

    It is the exponential or Cayley transform of a skew matrix, or a product of reflections.
    """

    base: Tensor | None

    def __init__(self, kind: str, use_trivialization: bool) -> None:
        super().__init__()
        self.kind = kind
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        tall = X.mT if wide else X
        n, k = tall.size(-2), tall.size(-1)
        if self.kind == "householder":
            # Reflections by the columns below the diagonal; on it are signs, which have no gradient.
            below = tall.tril(-1)
            q = linalg.householder_product(below, 2.0 / (1.0 + (below * below).sum(-2)))
            q = q * tall.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
            q = q if getattr(self, "base", None) is None else self.base @ q
            return q.mT if wide else q
        lower = tall.tril(-1)
        if n != k:
            lower = _rg.cat([lower, lower.new_zeros((*lower.shape[:-2], n, n - k))], -1)
        skew = lower - lower.mT
        identity = _rg.eye(n, dtype=X.dtype)
        if self.kind == "matrix_exp":
            q = _composed.matrix_exp(skew)
        else:
            q = linalg.solve(identity + 0.5 * skew, identity - 0.5 * skew).mT
        if getattr(self, "base", None) is not None:
            q = self.base @ q
        q = q[..., :k]
        return q.mT if wide else q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """Return what gives a matrix: that is kept in ``base``, the closest orthogonal one if it is none."""
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        n, k = tall.size(-2), tall.size(-1)
        if not hasattr(self, "base"):
            if self.kind != "householder":
                message = (
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
                raise NotImplementedError(message)
            factors, tau = linalg._reflections(tall)
            signs = factors.diagonal(dim1=-2, dim2=-1)
            signs.sign_()
            signs[tau == 0.0] *= -1
            return factors.mT if wide else factors
        if n != k:
            tall = _rg.cat([tall, _rg.randn((*tall.shape[:-2], n, n - k), dtype=tall.dtype)], -1)
            self.base = _made_orthogonal(tall)
        else:
            self.base = tall.clone() if _is_orthogonal(tall) else _made_orthogonal(tall)
        start = _rg.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _is_orthogonal(matrix: Tensor) -> bool:
    k = matrix.size(-1)
    identity = _rg.eye(k, dtype=matrix.dtype)
    return bool(_rg.allclose(matrix.mT @ matrix, identity, atol=10.0 * matrix.size(-2) * _rg.finfo(matrix.dtype).eps))


def _made_orthogonal(matrix: Tensor) -> Tensor:
    """Return the Q of a matrix whose R has a positive diagonal."""
    q, r = linalg.qr(matrix)
    result: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return result


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Give matrices orthonormal rows or columns, by ``matrix_exp``, ``cayley`` or ``householder``.

    The first two are of a skew matrix. With ``use_trivialization`` this is times the Q of the weight, which is then
    the value at first but for signs.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, _rg.Tensor):
        message = f"Module '{module}' has no parameter or buffer with name '{name}'"
        raise ValueError(message)
    if weight.dim() < 2:
        message = f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        raise ValueError(message)
    kind = orthogonal_map or ("matrix_exp" if weight.size(-2) == weight.size(-1) else "householder")
    if kind not in ("matrix_exp", "cayley", "householder"):
        message = f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        raise ValueError(message)
    made = _Orthogonal(kind, use_trivialization)
    parametrize.register_parametrization(module, name, made, unsafe=True)
    return module
