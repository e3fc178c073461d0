"""Gradients of batches: one pass for all slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rustgrad import _core
from rustgrad._batching._core import Batched, Level, base, like, opened, refuse, rewrapped, rule, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence


def _levels(value: Any) -> list[Level]:
    found = []
    while type(value) is Batched:
        found.append(value.level)
        value = value.value
    return found


def gradients(
    outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], retain: bool, create: bool, unused: bool
) -> tuple[Any, ...]:
    """Give the gradients of outputs by inputs, for all slices of what stands for a batch; None where there is none."""
    own = {level for output in outputs for level in _levels(output)}
    if any(not own.issubset(_levels(one)) for one in inputs):
        refuse("the gradient of a batch by what all slices share")
    others = {level for vector in vectors for level in _levels(vector)} - own
    if others:
        return _by_vectors(outputs, inputs, vectors, retain, create, unused, max(others, key=lambda one: one.depth))
    given = []
    for output, vector in zip(outputs, vectors, strict=True):
        if vector is None:
            if own and output.numel() != 1:
                message = "grad can be implicitly created only for scalar outputs"
                raise RuntimeError(message)
            given.append(_core.ones_like(base(output).detach()) if own else None)
        else:
            if vector.shape != output.shape:
                refuse("a gradient of another shape")
            given.append(like(vector, output))
    found = _core._grad([base(one) for one in outputs], [base(one) for one in inputs], given, retain, create, unused)
    return tuple(None if one is None else rewrapped(one, place) for one, place in zip(found, inputs, strict=True))


def _by_vectors(
    outputs: Sequence[Any], inputs: Sequence[Any], vectors: Sequence[Any], retain: bool, create: bool, unused: bool,
    level: Level,
) -> tuple[Any, ...]:  # fmt: skip
    """Give the gradients for a batch of vectors, of a graph that is no batch: a pass for each."""
    if any(one.depth > level.depth for value in (*outputs, *inputs) for one in _levels(value)) or not level.size:
        refuse("a batch of vectors around another batch")
    if len(outputs) == 1 and not any(_levels(one) for one in (*outputs, *inputs)) and outputs[0].requires_grad:
        (output,), (vector,) = outputs, vectors
        if type(vector.value) is not Batched and vector.shape == output.shape:
            found = _core._jacobian_rows(output, list(inputs), create, vector.value)
            if unused or all(table is not None for table, _, _ in found):
                return tuple(None if table is None else Batched(table, level) for table, _, _ in found)
    rows = []
    for i in range(level.size):
        each = [vector if (own := opened(level, vector)) is None else own[i] for vector in vectors]
        rows.append(gradients(outputs, inputs, each, retain or i + 1 < level.size, create, unused))
    return tuple(
        None if column[0] is None else Batched(_core.stack(list(column)), level) for column in zip(*rows, strict=True)
    )


@rule("_grad")
def _grad(level: Level, name: str, *args: Any) -> Any:
    del level, name
    return gradients(*args)


class _Info(NamedTuple):
    batch_size: int
    randomness: str


@rule("apply")
def _custom(level: Level, name: str, function: Any, *args: Any) -> Any:
    from rustgrad.autograd.function import Function

    staged: Any = getattr(function, "vmap", None)
    if staged is None or staged is Function.vmap:
        refuse(f"{name} of a custom function without a static method `vmap`")
    values = [arg if (own := opened(level, arg)) is None else own for arg in args]
    dims = tuple(None if opened(level, arg) is None else 0 for arg in args)
    result, places = staged(_Info(level.size, level.randomness), dims, *values)
    if not isinstance(result, tuple):
        return result if places is None else Batched(result.movedim(places, 0), level)
    if not isinstance(places, tuple):
        places = (places,) * len(result)
    return tuple(
        one if at is None else wrapped(level, one.movedim(at, 0)) for one, at in zip(result, places, strict=True)
    )
