"""What one module answers to the rows of the table: values, gradients and second gradients.

Used by ``test_ops.py`` (the module under test) and by ``record_golden.py`` (torch).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from op_table import FLOATS, TABLE, Array, Case, Index, Mask, Row, shuffled
from oracle import T, encode, error_name, is_tensor

Grads = list[Any]


def tensors(case: Case, dtype: str) -> dict[str, Any]:
    """Make the inputs of a case as fresh tensors."""
    return {name: T.from_numpy(array.copy()) for name, array in case.arrays(dtype).items()}


def flat(result: Any) -> list[Any]:
    """Return the tensors of a result: one, or those of a tuple."""
    if is_tensor(result):
        return [result]
    if isinstance(result, (tuple, list)):
        return [tensor for entry in result for tensor in flat(entry)]
    return []


def weights(tensor: Any, key: str) -> Any:
    """Return fixed weights of the shape and dtype of a tensor, so that every element counts differently."""
    shape = tuple(tensor.shape)
    count = math.prod(shape)
    numbers = (shuffled(key, count) + 1.0) / (count + 1.0) - 0.4
    kind = str(tensor.dtype).rpartition(".")[2]
    return T.from_numpy(numbers.reshape(shape).astype(kind))


def objective(result: Any) -> Any:
    """Sum the differentiable results with fixed weights; ``None`` if there are none."""
    total = None
    for position, tensor in enumerate(flat(result)):
        if tensor.requires_grad:
            part = (tensor * weights(tensor, f"out{position}")).sum().to(T.float64)
            total = part if total is None else total + part
    return total


def gradients(total: Any, inputs: list[Any], *, create_graph: bool) -> Grads:
    """Differentiate ``total``; inputs without influence get zeros."""
    if total is None or not total.requires_grad:
        return [T.zeros_like(tensor) for tensor in inputs]
    grads = T.autograd.grad(total, inputs, create_graph=create_graph, allow_unused=True)
    return [T.zeros_like(tensor) if grad is None else grad for tensor, grad in zip(inputs, grads, strict=True)]


def derivatives(
    row: Row, case: Case, dtype: str, order: int, arrange: Callable[[Any], Any] | None = None
) -> list[Grads]:
    """Return [gradients] or [gradients, second gradients] with respect to the float inputs of the case."""
    inputs = tensors(case, dtype)
    leaves = [tensor for tensor in inputs.values() if tensor.is_floating_point()]
    for leaf in leaves:
        leaf.requires_grad_()
    given = inputs if arrange is None else {name: arrange(tensor) for name, tensor in inputs.items()}
    first = gradients(objective(row.run(T, given)), leaves, create_graph=order > 1)
    answers = [[grad.detach().clone() for grad in first]]
    if order > 1:
        total = objective(first)
        answers.append([grad.detach().clone() for grad in gradients(total, leaves, create_graph=False)])
    return answers


def values(row: Row, case: Case, dtype: str) -> Any:
    """Return the encoded value for inputs of ``dtype``, or the name of the error."""
    try:
        return encode(row.run(T, tensors(case, dtype)))
    except (ArithmeticError, RuntimeError, TypeError, ValueError, IndexError) as error:
        return {"error": error_name(error)}


def record() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (family, answers) for the whole table; run with torch only."""
    families: dict[str, dict[str, Any]] = {}
    for row in TABLE:
        cases: dict[str, Any] = {}
        for label, case in row.cases.items():
            answer: dict[str, Any] = {dtype: values(row, case, dtype) for dtype in case.dtypes}
            if "error" in answer["float64"] if isinstance(answer["float64"], dict) else False:
                print(f"note: {row.text} [{label}] float64: {answer['float64']}")
            elif case.order:
                answer["grads"] = encode(derivatives(row, case, "float64", case.order))
            cases[label] = answer
        known = families.setdefault(row.family, {})
        assert row.text not in known, f"two rows for {row.text}"
        known[row.text] = cases
    yield from families.items()


def move(case: Case, step: float) -> dict[str, Array]:
    """Return the float64 inputs moved by ``step`` along a fixed direction (central differences)."""
    arrays = case.arrays("float64")
    for name, array in arrays.items():
        if array.dtype.name in FLOATS:
            direction = (shuffled(f"direction{name}", array.size) + 1.0) / (array.size + 1.0) - 0.3
            arrays[name] = np.asarray(array + step * direction.reshape(array.shape))
    return arrays


def along(case: Case, grads: Grads) -> float:
    """Return the product of gradients with the direction that ``move`` takes."""
    before, after = move(case, 0.0), move(case, 1.0)
    ways = [after[name] - before[name] for name in before if before[name].dtype.name in FLOATS]
    return float(sum(np.sum(way * grad.numpy()) for way, grad in zip(ways, grads, strict=True)))


def objective_at(row: Row, case: Case, step: float, order: int) -> float:
    """Evaluate the scalar whose derivative of ``order`` is under test, at moved inputs."""
    inputs = {name: T.from_numpy(array) for name, array in move(case, step).items()}
    leaves = [tensor for tensor in inputs.values() if tensor.is_floating_point()]
    for leaf in leaves:
        leaf.requires_grad_()
    total = objective(row.run(T, inputs))
    if order > 1:
        first = gradients(total, leaves, create_graph=False)
        return sum(float((grad * weights(grad, f"out{position}")).sum().item()) for position, grad in enumerate(first))
    return 0.0 if total is None else total.item()


def has_floats(case: Case) -> bool:
    """Say whether a case has anything to differentiate by."""
    return any(not isinstance(entry, (Index, Mask)) for entry in case.inputs.values())
