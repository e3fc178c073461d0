"""Derivatives of functions at a point: Jacobians, Hessians and their products with vectors.

All functions here call ``func`` once, on copies of ``inputs`` that share their data, and go through
the recorded graph as often as they need to: once for a product with a vector, once for each row of a
Jacobian, once and then once for each row of a Hessian.
"""

from __future__ import annotations

from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad.autograd.grad_mode import enable_grad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Function = Callable[..., Any]
    Tensors = tuple[Tensor, ...]
    Gradients = Sequence[Tensor | None]

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_RETURNED = "outputs of the user-provided function"
_NOT_STRICT = "This is not allowed in strict mode"

_INDEPENDENT_OUTPUT = f"The output of the user-provided function is independent of input {{i}}. {_NOT_STRICT}."
_CONSTANT_OUTPUT = (
    "Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
    "differentiable manner from the input when running in strict mode."
)
_CONSTANT_GRADIENT = (
    "The gradient with respect to input {i} is independent of the inputs of the user-provided function. "
    f"{_NOT_STRICT}."
)
_CONSTANT_JACOBIAN = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {i} "
    f"is independent of the input. {_NOT_STRICT}. You should ensure that your function is twice differentiable and "
    "that the jacobian depends on the inputs (this would be violated by a linear function for example)."
)
_FIXED_JACOBIAN = (
    f"The jacobian of the user-provided function is independent of input {{i}}. {_NOT_STRICT} when create_graph=True."
)
_FIXED_HESSIAN = (
    f"The hessian of the user-provided function is independent of input {{i}}. {_NOT_STRICT} when create_graph=True."
)
_ABSENT_IN_JVP = (
    "The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the double "
    f"backward trick to compute forward mode gradients. {_NOT_STRICT}."
)
_ABSENT_IN_VHP = f"The jacobian of the user-provided function is independent of input {{i}}. {_NOT_STRICT}."
_ABSENT_IN_HVP = (
    "The hessian of the user-provided function is independent of entry {i} in the grad_jacobian. "
    f"{_NOT_STRICT} as it prevents from using the double backward trick to replace forward mode AD."
)


def _tensors(value: Any, what: str, name: str | None) -> tuple[bool, Tensors]:
    """Say whether a value is a tuple, and make it one; all it holds must be tensors."""
    several = isinstance(value, tuple)
    found: tuple[Any, ...] = value if several else (value,)
    for i, one in enumerate(found):
        if not isinstance(one, Tensor):
            where = f"value at index {i}" if several else f"given {what}"
            message = (
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {where} "
                f"has type {type(one)}."
            )
            raise TypeError(message)
    return several, found


def _points(inputs: Tensors, connected: bool) -> Tensors:
    """Give new tensors with the same data that require gradients; ``connected`` ones lead back to ``inputs``."""
    return tuple(
        one.view_as(one) if connected and one.requires_grad else one.detach().requires_grad_() for one in inputs
    )


def _vector(v: Any, name: str, like: Tensors, several: bool, connected: bool) -> Tensors:
    """Check the vector of a product: it has the shapes of ``like``."""
    _, found = _tensors(v, "v", name)
    found = tuple(one.view_as(one) if connected and one.requires_grad else one.detach() for one in found)
    if len(found) != len(like):
        message = "The given v should contain a single Tensor."
        if several:
            message = f"v is a tuple of invalid length: should be {len(like)} but got {len(found)}."
        raise RuntimeError(message)
    for i, (one, other) in enumerate(zip(found, like, strict=True)):
        if one.shape != other.shape:
            entry = f"Entry {i} in " if several else ""
            message = f"{entry}v has invalid size: should be {other.shape} but got {one.shape}."
            raise RuntimeError(message)
    return found


def _vector_for_input(v: Any, name: str, inputs: Tensors, several: bool, connected: bool) -> Tensors | None:
    if v is not None:
        return _vector(v, name, inputs, several, connected)
    if len(inputs) != 1 or inputs[0].numel() != 1:
        message = (
            "The vector v can only be None if the input to the user-provided function is a single Tensor "
            "with a single element."
        )
        raise RuntimeError(message)
    return None


def _demand_history(tensors: Gradients, constant: str, absent: str = _INDEPENDENT_OUTPUT) -> None:
    for i, one in enumerate(tensors):
        if one is None:
            raise RuntimeError(absent.format(i=i))
        if not one.requires_grad:
            raise RuntimeError(constant.format(i=i))


def _gradients(outputs: Gradients, inputs: Tensors, vector: Gradients | None, create_graph: bool) -> Gradients:
    """Differentiate the outputs that have a history, if any; the graph is not needed afterwards."""
    pairs = zip(outputs, [None] * len(outputs) if vector is None else vector, strict=True)
    chosen = [(output, weight) for output, weight in pairs if output is not None and output.requires_grad]
    if not chosen:
        return (None,) * len(inputs)
    roots, weights = zip(*chosen, strict=True)
    return _core._grad(roots, inputs, list(weights), create_graph, create_graph, True)


def _filled(grads: Gradients, like: Tensors, strict: bool, create_graph: bool, absent: str, constant: str) -> Tensors:
    """Put zeros where no gradient arrived; in strict mode, refuse it."""
    filled = []
    for i, (grad, one) in enumerate(zip(grads, like, strict=True)):
        if grad is None:
            if strict:
                raise RuntimeError(absent.format(i=i))
            filled.append(_core.zeros_like(one))
        else:
            if strict and create_graph and not grad.requires_grad:
                raise RuntimeError(constant.format(i=i))
            filled.append(grad)
    return tuple(filled)


def _given(tensors: Tensors, several: bool, create_graph: bool) -> Any:
    """Give results as the caller expects them: without history unless asked for, one or a tuple."""
    results = tensors if create_graph else tuple(one.detach() for one in tensors)
    return results if several else results[0]


def _single_output(func: Function, name: str, inputs: Tensors, strict: bool) -> Tensor:
    """Call a function whose second derivatives are wanted: it must give one number."""
    several, outputs = _tensors(func(*inputs), _RETURNED, name)
    if strict:
        _demand_history(outputs, _CONSTANT_OUTPUT)
    if several:
        message = f"The function given to {name} should return a single Tensor"
        raise RuntimeError(message)
    if outputs[0].numel() != 1:
        message = f"The Tensor returned by the function given to {name} should contain a single element"
        raise RuntimeError(message)
    return outputs[0]


def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Multiply a vector with the Jacobian of a function from the left.

    Parameters
    ----------
    func
        Takes tensors and returns a tensor or a tuple of tensors.
    inputs
        Where to differentiate: a tensor or a tuple of tensors.
    v
        A vector of the shapes of the outputs; may be absent for a single output of one element.
    create_graph
        Make both results differentiable.
    strict
        Raise an error where an input has no influence, instead of giving zeros.

    Returns
    -------
    outputs
        What ``func`` returned.
    product
        One tensor for each input, of its shape; a tuple if ``inputs`` is one.

    Raises
    ------
    TypeError
        If inputs, outputs or ``v`` are something else.
    RuntimeError
        If ``v`` does not fit the outputs; in strict mode, see there.
    """
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "vjp")
        points = _points(given, create_graph)
        outputs_several, outputs = _tensors(func(*points), _RETURNED, "vjp")
        if strict:
            _demand_history(outputs, _CONSTANT_OUTPUT)
        vector = None
        if v is not None:
            vector = _vector(v, "vjp", outputs, outputs_several, create_graph)
        elif len(outputs) != 1 or outputs[0].numel() != 1:
            message = (
                "The vector v can only be None if the user-provided function returns a single Tensor with a "
                "single element."
            )
            raise RuntimeError(message)
    grads = _gradients(outputs, points, vector, create_graph)
    product = _filled(grads, points, strict, create_graph, _INDEPENDENT_OUTPUT, _FIXED_JACOBIAN)
    return _given(outputs, outputs_several, create_graph), _given(product, several, create_graph)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Multiply the Jacobian of a function with a vector from the right.

    The product of the transposed Jacobian with a vector ``u`` is linear in ``u``, whatever ``u`` is;
    its own vector-Jacobian product with ``v`` is the result.

    Parameters
    ----------
    func, inputs, create_graph, strict
        As in :func:`vjp`.
    v
        A vector of the shapes of the inputs; may be absent for a single input of one element.

    Returns
    -------
    outputs
        What ``func`` returned.
    product
        One tensor for each output, of its shape; a tuple if ``func`` returned one.

    Raises
    ------
    TypeError, RuntimeError
        As :func:`vjp`.
    """
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "jvp")
        points = _points(given, create_graph)
        vector = _vector_for_input(v, "jvp", points, several, create_graph)
        outputs_several, outputs = _tensors(func(*points), _RETURNED, "jvp")
        if strict:
            _demand_history(outputs, _CONSTANT_OUTPUT)
        weights = tuple(_core.zeros_like(output, requires_grad=True) for output in outputs)
        grads = _gradients(outputs, points, weights, True)
        if strict:
            _demand_history(grads, _CONSTANT_GRADIENT)
    twice = _gradients(grads, weights, vector, create_graph)
    product = _filled(twice, outputs, strict, create_graph, _ABSENT_IN_JVP, _FIXED_JACOBIAN)
    return _given(outputs, outputs_several, create_graph), _given(product, outputs_several, create_graph)


def _refuse_gaps(i: int, found: Sequence[tuple[Any, int | None, int | None]], create_graph: bool) -> None:
    """Raise the error of strict mode for the first row of an output that does not depend on an input."""
    gaps = []
    for j, (_, absent, constant) in enumerate(found):
        if absent is not None:
            message = f"Output {i} of the user-provided function is independent of input {j}. {_NOT_STRICT}."
            gaps.append((absent, j, message))
        if create_graph and constant is not None:
            gaps.append((constant, j, _FIXED_JACOBIAN.format(i=i)))
    if gaps:
        raise RuntimeError(min(gaps)[2])


def _rows(i: int, output: Tensor, inputs: Tensors, create_graph: bool, strict: bool) -> list[Tensor]:
    """Give the Jacobian of one output, a block for each input."""
    if output.requires_grad:
        found = _core._jacobian_rows(output, inputs, create_graph)
    else:
        found = [(None, 0, None)] * len(inputs)
    if strict:
        _refuse_gaps(i, found, create_graph)
    return [
        _core.zeros(output.shape + one.shape, dtype=one.dtype) if rows is None else rows.view(output.shape + one.shape)
        for (rows, _, _), one in zip(found, inputs, strict=True)
    ]


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Give the Jacobian of a function: one recording, and one backward pass for each element of its outputs.

    Parameters
    ----------
    func, inputs, create_graph, strict
        As in :func:`vjp`.
    vectorize
        Accepted; the result is the same. Excludes ``strict``.
    strategy
        ``"reverse-mode"`` or ``"forward-mode"``. The latter gives the same numbers, computed in
        reverse mode; like torch's it needs ``vectorize=True`` and excludes ``strict`` and
        ``create_graph``, and its result has the dtype of the output, not of the input.

    Returns
    -------
    Tensor or tuple of tensors or tuple of tuples of tensors
        For output ``i`` and input ``j``, in this order, a tensor of the shape of the output followed by
        the shape of the input; a tuple over outputs or inputs where they are tuples.

    Raises
    ------
    AssertionError
        If there is no such strategy.
    TypeError, RuntimeError, NotImplementedError
        If inputs or outputs are something else, in strict mode, or for arguments that exclude each other.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        message = (
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more '
            'outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
        raise AssertionError(message)
    if strategy == "forward-mode":
        if create_graph:
            message = (
                'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not '
                'supported together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
            )
            raise NotImplementedError(message)
        return _forward_jacobian(func, inputs, strict, vectorize)
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "jacobian")
        points = _points(given, create_graph)
        outputs_several, outputs = _tensors(func(*points), _RETURNED, "jacobian")
        if strict:
            _demand_history(outputs, _CONSTANT_OUTPUT)
            if vectorize:
                message = (
                    "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported "
                    "together. Please either set `strict=False` or `vectorize=False`."
                )
                raise RuntimeError(message)
        if not vectorize and not all(output.numel() for output in outputs):
            message = "stack expects a non-empty TensorList"
            raise RuntimeError(message)
        blocks = [_rows(i, output, points, create_graph, strict) for i, output in enumerate(outputs)]
        lines = tuple(_given(tuple(line), several, create_graph) for line in blocks)
    return lines if outputs_several else lines[0]


def _forward_jacobian(func: Function, inputs: Any, strict: bool, vectorize: bool) -> Any:
    """Give what torch's forward mode would: lists instead of tuples, in the dtypes of the outputs."""
    if strict:
        message = (
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
        raise RuntimeError(message)
    several, given = _tensors(inputs, "inputs", "jacobian")
    if not vectorize:
        message = (
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is"
            "only implemented for `vectorize=True`."
        )
        raise NotImplementedError(message)
    connected = _core.is_grad_enabled() and any(one.requires_grad for one in given)
    with enable_grad():
        points = _points(given, connected)
        outputs_several, outputs = _tensors(func(*points), "outputs", None)
        lines: list[Any] = []
        for i, output in enumerate(outputs):
            blocks = [block.to(output.dtype) for block in _rows(i, output, points, connected, False)]
            results = blocks if connected else [block.detach() for block in blocks]
            lines.append(results if several else results[0])
    return (lines if several else tuple(lines)) if outputs_several else lines[0]


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Give the Hessian of a function with one number as result.

    The function and its gradient are recorded once; each row is one backward pass over the gradient.

    Parameters
    ----------
    func
        Takes tensors and returns a tensor with one element.
    inputs, create_graph, strict
        As in :func:`vjp`.
    vectorize
        Accepted; the result is the same. Excludes ``strict``.
    outer_jacobian_strategy
        The ``strategy`` of :func:`jacobian`, for the derivative of the gradient.

    Returns
    -------
    Tensor or tuple of tuples of tensors
        For inputs ``i`` and ``j`` a tensor of the shape of the first followed by that of the second; a
        tuple of tuples if ``inputs`` is a tuple.

    Raises
    ------
    AssertionError, TypeError, RuntimeError, NotImplementedError
        As :func:`jacobian`.
    """
    several, given = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        message = 'Expected strategy to be either "forward-mode" or "reverse-mode".'
        raise AssertionError(message)

    def value(*point: Tensor) -> Tensor:
        return _single_output(func, "hessian", point, strict).squeeze()

    def gradient(*point: Tensor) -> Any:
        found = jacobian(value, point, create_graph=True)
        if strict:
            _demand_history(found, _CONSTANT_JACOBIAN)
        return found

    blocks = jacobian(
        gradient,
        given,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return blocks if several else blocks[0][0]


def _second_product(
    name: str, func: Function, inputs: Any, v: Any, create_graph: bool, strict: bool, absent: str
) -> tuple[Any, Any]:
    """Multiply the Hessian with a vector: one gradient that is recorded, and the gradient of that."""
    with enable_grad():
        several, given = _tensors(inputs, "inputs", name)
        points = _points(given, create_graph)
        vector = _vector_for_input(v, name, points, several, create_graph)
        output = _single_output(func, name, points, strict)
        grads = _gradients((output,), points, None, True)
        if strict:
            _demand_history(grads, _CONSTANT_JACOBIAN)
    twice = _gradients(grads, points, vector, create_graph)
    product = _filled(twice, points, strict, create_graph, absent, _FIXED_HESSIAN)
    return _given((output,), False, create_graph), _given(product, several, create_graph)


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Multiply a vector with the Hessian of a function from the left.

    Parameters
    ----------
    func
        Takes tensors and returns a tensor with one element.
    inputs, create_graph, strict
        As in :func:`vjp`.
    v
        A vector of the shapes of the inputs; may be absent for a single input of one element.

    Returns
    -------
    output
        What ``func`` returned.
    product
        One tensor for each input, of its shape; a tuple if ``inputs`` is one.

    Raises
    ------
    TypeError, RuntimeError
        As :func:`vjp`, and if ``func`` returns anything but one number.
    """
    return _second_product("vhp", func, inputs, v, create_graph, strict, _ABSENT_IN_VHP)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Multiply the Hessian of a function with a vector from the right.

    A Hessian is symmetric, so the product is computed as that of :func:`vhp`, at a cost of less than
    three gradients; torch goes through a third derivative for the same numbers.

    Parameters and results are those of :func:`vhp`.
    """
    return _second_product("hvp", func, inputs, v, create_graph, strict, _ABSENT_IN_HVP)
