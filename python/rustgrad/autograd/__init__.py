"""Differentiation: gradients of recorded computations, and the modes that control recording."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from rustgrad import _core
from rustgrad._core import SavedTensor as SavedTensor
from rustgrad._core import Tensor
from rustgrad._core import _is_multithreading_enabled as is_multithreading_enabled
from rustgrad.autograd import anomaly_mode, forward_ad, function, functional, grad_mode, graph, variable
from rustgrad.autograd._saved import GradientEdge
from rustgrad.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from rustgrad.autograd.function import Function, NestedIOFunction
from rustgrad.autograd.grad_mode import (
    _force_original_view_tracking as _force_original_view_tracking,
)
from rustgrad.autograd.grad_mode import (
    _unsafe_preserve_version_counter as _unsafe_preserve_version_counter,
)
from rustgrad.autograd.grad_mode import (
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    is_view_replay_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from rustgrad.autograd.gradcheck import gradcheck, gradgradcheck
from rustgrad.autograd.variable import Variable

__all__ = [
    "Function",
    "NestedIOFunction",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "enforce_grad_layout_policy",
    "find_nonfinite",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_multithreading_enabled",
    "is_view_replay_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rustgrad.autograd._diagnose import find_nonfinite

    _Places = Tensor | GradientEdge | Sequence[Tensor | GradientEdge]
    _Inputs = _Places | dict[Any, Tensor | GradientEdge]
    _OptionalTensors = Tensor | Sequence[Tensor | None] | None


def __getattr__(name: str) -> object:
    if name == "find_nonfinite":
        from rustgrad.autograd._diagnose import find_nonfinite

        return find_nonfinite
    if name == "profiler":
        import importlib

        return importlib.import_module("rustgrad.autograd.profiler")
    message = f"module 'rustgrad.autograd' has no attribute {name!r}"
    raise AttributeError(message)


def _list(value: _Places) -> list[Tensor | tuple[graph.Node, int]]:
    """Tensors as they are, edges as what the engine takes: a node and the number of its output."""
    places = [value] if isinstance(value, Tensor | GradientEdge) else list(value)
    return [(place.node, place.output_nr) if isinstance(place, GradientEdge) else place for place in places]


def _targets(value: _Inputs, name: str) -> list[Tensor | tuple[graph.Node, int]]:
    """Places to deliver gradients to, of which there must be some; the values of a dict in its order."""
    if isinstance(value, Mapping) and type(value) is not dict:
        message = (
            f"`inputs` argument to `{name}()` must be a dict, not {type(value).__name__}; other mappings are not taken."
        )
        raise TypeError(message)
    places = _list(list(value.values()) if isinstance(value, dict) else value)
    if not places:
        message = f"`inputs` argument to `{name}()` cannot be empty."
        raise RuntimeError(message)
    return places


def _gradients(value: _OptionalTensors, count: int, name: str) -> list[Tensor | None]:
    if value is None:
        return [None] * count
    gradients: list[Tensor | None] = [value] if isinstance(value, Tensor) else list(value)
    for gradient in gradients:
        if gradient is not None and not isinstance(gradient, Tensor):
            message = f"gradients can be either Tensors or None, but got {type(gradient).__name__}"
            raise TypeError(message)
    # Surplus gradients are dropped, as torch does.
    gradients = gradients[:count]
    if len(gradients) != count:
        message = f"got {count} tensors and {len(gradients)} gradients ({name})"
        raise RuntimeError(message)
    return gradients


def backward(
    tensors: _Places,
    grad_tensors: _OptionalTensors = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: _OptionalTensors = None,
    inputs: _Inputs | None = None,
) -> None:
    """Add the gradients of the sum of ``tensors`` to the ``.grad`` of the leaves they come from.

    Parameters
    ----------
    tensors
        Where to start; each needs a gradient in ``grad_tensors`` unless it has one element.
    grad_tensors
        The gradient with respect to each of ``tensors``, of its shape; None for ones.
    retain_graph
        Keep what the graph saved, so that it can be run again. Default: ``create_graph``.
    create_graph
        Record the pass itself, so that gradients can be differentiated.
    grad_variables
        The old name of ``grad_tensors``.
    inputs
        Add only to the ``.grad`` of these tensors, leaves or not; a dict stands for its values.

    Raises
    ------
    RuntimeError
        If a tensor does not require a gradient, a gradient does not fit, or what the graph saved
        is gone or was overwritten; the message names the lines of the program.
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            message = (
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
                "`backward()`. Please only use `grad_tensors`."
            )
            raise RuntimeError(message)
        grad_tensors = grad_variables
    roots = _list(tensors)
    gradients = _gradients(grad_tensors, len(roots), "grad_tensors")
    retain = create_graph if retain_graph is None else retain_graph
    targets = None if inputs is None else _targets(inputs, "backward")
    _core._backward(roots, gradients, retain, create_graph, targets)


def grad(
    outputs: _Places,
    inputs: _Inputs,
    grad_outputs: _OptionalTensors = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """Give the gradients of the sum of ``outputs`` with respect to ``inputs``.

    Parameters
    ----------
    outputs, grad_outputs, retain_graph, create_graph
        As in :func:`backward`.
    inputs
        Leaves or intermediate tensors; for a dict the gradients come as a dict with the same keys.
    only_inputs
        Must be left as it is: other leaves never get a gradient here.
    allow_unused
        Give None for an input that the outputs do not depend on, instead of an error.
    is_grads_batched
        Take the first dimension of each gradient of ``grad_outputs`` as that of a batch, and give the gradients of
        all entries, stacked. One pass is run for each.
    materialize_grads
        Give zeros instead of None for such an input.

    Raises
    ------
    RuntimeError
        As :func:`backward`, and if an input is not part of the graph.
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    if materialize_grads and allow_unused is False:
        message = (
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
        raise ValueError(message)
    unused = materialize_grads if allow_unused is None else allow_unused
    targets = _targets(inputs, "grad")
    roots = _list(outputs)
    gradients = _gradients(grad_outputs, len(roots), "grad_outputs")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        from rustgrad.autograd._batched import batched

        grads: tuple[Any, ...] = tuple(batched(roots, targets, gradients, retain, create_graph, unused))
    else:
        grads = _core._grad(roots, targets, gradients, retain, create_graph, unused)
    if materialize_grads:
        from rustgrad._core import zeros_like

        if any(g is None and not isinstance(t, Tensor) for g, t in zip(grads, targets, strict=True)):
            message = "materialize_grads cannot be used when the given input is a GradientEdge"
            raise RuntimeError(message)
        grads = tuple(
            zeros_like(t, requires_grad=create_graph) if g is None and isinstance(t, Tensor) else g
            for g, t in zip(grads, targets, strict=True)
        )
    # Typed as what most calls give: a dict takes a dict back.
    return dict(zip(inputs, grads, strict=True)) if isinstance(inputs, dict) else grads  # type: ignore[return-value]
