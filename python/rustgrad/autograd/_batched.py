"""Gradients for a batch of vectors at once: ``grad(..., is_grads_batched=True)``."""

from __future__ import annotations

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rustgrad._core import Node

    Place = Tensor | tuple[Node, int]


def _shape(place: Place) -> tuple[int, ...]:
    """Shape of what a root is: a tensor, or an output of a node."""
    return tuple(place.shape if isinstance(place, Tensor) else place[0]._input_metadata[place[1]].shape)


def batched(
    roots: Sequence[Place],
    targets: Sequence[Place],
    gradients: Sequence[Tensor | None],
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
) -> list[Tensor | None]:
    """Run the pass for each entry along the first dimension of ``gradients`` and stack what comes out.

    torch maps one pass over the batch; the numbers are the same, but functions and hooks in the graph see one vector
    at a time here.

    Raises
    ------
    RuntimeError
        If a gradient has no batch dimension before the shape of its output, or the batches differ in size.
    """
    for i, (root, gradient) in enumerate(zip(roots, gradients, strict=True)):
        if gradient is None:
            message = f"If `is_grads_batched=True`, every output needs a grad_output: grad_output[{i}] is None"
            raise ValueError(message)
        if gradient.dim() == 0 or tuple(gradient.shape[1:]) != _shape(root):
            message = (
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                f"dimension; the others must be the shape of its output. A mismatch was detected: grad_output[{i}] has "
                f"a shape of torch.Size({list(gradient.shape)}) and output[{i}] has a shape of "
                f"torch.Size({list(_shape(root))})."
            )
            raise RuntimeError(message)
    sizes = {gradient.shape[0] for gradient in gradients if gradient is not None}
    if len(sizes) > 1:
        message = f"grad_outputs of a batch must have one size in the first dimension, not {sorted(sizes)}"
        raise ValueError(message)
    (size,) = sizes
    if size > 1 and len(roots) == 1 and gradients[0] is not None and all(isinstance(one, Tensor) for one in targets):
        tables = _planned_once(roots[0], targets, gradients[0], retain_graph, create_graph, allow_unused)
        if tables is not None:
            return tables
    rows = []
    # An empty batch still takes one pass, which tells who is reached.
    for row in range(max(size, 1)):
        vectors = [
            None if gradient is None else gradient[row] if size else gradient.new_zeros(gradient.shape[1:])
            for gradient in gradients
        ]
        retain = retain_graph or row + 1 < size
        rows.append(_core._grad(roots, targets, vectors, retain, create_graph, allow_unused))
    columns = zip(*rows, strict=True)
    if not size:
        return [None if column[0] is None else column[0].new_zeros((0, *column[0].shape)) for column in columns]
    return [_stacked(column) for column in columns]


def _planned_once(
    root: Place, targets: Sequence[Any], vectors: Tensor, retain_graph: bool, create_graph: bool, allow_unused: bool
) -> list[Tensor | None] | None:
    """Give the gradients of one tensor from one plan of the graph; None where it is not one with a history."""
    if not isinstance(root, Tensor) or not root.requires_grad or not all(one.requires_grad for one in targets):
        return None
    found = _core._jacobian_rows(root, list(targets), create_graph, vectors[:-1])
    if not allow_unused and any(absent is not None for _, absent, _ in found):
        return None
    # The last pass may let go of what the graph saved.
    last = _core._grad([root], list(targets), [vectors[-1]], retain_graph, create_graph, allow_unused)
    joined: list[Tensor | None] = []
    for target, (table, _, _), row in zip(targets, found, last, strict=True):
        if table is None and row is None:
            joined.append(None)
            continue
        first = vectors.new_zeros((len(vectors) - 1, *target.shape), dtype=target.dtype) if table is None else table
        end = _core.zeros_like(target) if row is None else row
        joined.append(_core.cat([first, end.unsqueeze(0)]))
    return joined


def _stacked(column: tuple[Tensor | None, ...]) -> Tensor | None:
    """Stack the gradients of one input; where a pass gave none, it was zero."""
    some = next((gradient for gradient in column if gradient is not None), None)
    if some is None:
        return None
    return _core.stack([_core.zeros_like(some) if gradient is None else gradient for gradient in column])
