"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustgrad.nn import functional as F
from rustgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            message = f"dropout probability has to be between 0 and 1, but got {p}"
            raise ValueError(message)
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Sets elements to zero with probability ``p`` while training, and scales up the others."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Sets whole channels of ``(N, C, L)`` to zero."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Sets whole channels of ``(N, C, H, W)`` to zero."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Sets whole channels of ``(N, C, D, H, W)`` to zero."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Drops to the negative limit of SELU, keeping mean and variance (Klambauer et al., 2017)."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)
