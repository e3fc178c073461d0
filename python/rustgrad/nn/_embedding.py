"""Embeddings and one-hot rows, for ``rustgrad.nn.functional``."""

from __future__ import annotations

import rustgrad
from rustgrad import Tensor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of ``weight`` that ``input`` names; those at ``padding_idx`` get no gradient."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        message = "embedding: max_norm, scale_grad_by_freq and sparse are not supported"
        raise NotImplementedError(message)
    del norm_type
    if weight.dim() != 2:
        message = "'weight' must be 2-D"
        raise RuntimeError(message)
    rows = weight.index_select(0, input.reshape(-1))
    if padding_idx is not None:
        count = weight.size(0)
        if not -count <= padding_idx < count:
            message = "Padding_idx must be within num_embeddings"
            raise AssertionError(message)
        if padding_idx < 0:
            padding_idx += count
        padded = (input == padding_idx).reshape(-1, 1)
        rows = rustgrad.where(padded, rows.detach(), rows)
    return rows.reshape(*input.shape, weight.size(1))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return rows of zeros with a one at each index."""
    return rustgrad._core._one_hot(tensor, num_classes)
