"""Derivatives carried forward: a value together with the direction in which it moves.

The derivative of a result is found when :func:`unpack_dual` asks for it, by differentiating the record of
operations twice: once back to the values that move, once along the weights of that first pass, in which it
is linear. What follows from that:

* between :func:`enter_dual_level` and :func:`exit_dual_level` operations are recorded also in ``no_grad``
  (not in inference mode, where results have no derivative);
* a value that an operation saved must not be overwritten before its derivative is asked for;
* a custom function needs ``jvp``, as in torch, and its ``jvp`` is what counts.
"""

from __future__ import annotations

from collections import namedtuple

from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad.autograd.grad_mode import _Mode, set_multithreading_enabled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]

# As in torch, one level for all threads; recording is switched on the thread that enters it.
_current_level = -1
# The directions of this level, by the number of their leaf.
_directions: dict[int, tuple[Tensor, Tensor]] = {}


if TYPE_CHECKING:

    class UnpackedDualTensor(NamedTuple):
        """A value and the direction in which it moves, None if it does not."""

        primal: Tensor
        tangent: Tensor | None

else:
    # `typing` would take half of the time of the import.
    UnpackedDualTensor = namedtuple("UnpackedDualTensor", ("primal", "tangent"))  # noqa: PYI024
    UnpackedDualTensor.__doc__ = "A value and the direction in which it moves, None if it does not."


def enter_dual_level() -> int:
    """Begin to carry derivatives forward; gives the number of the level, of which there is one.

    Raises
    ------
    RuntimeError
        Within a level.
    """
    global _current_level
    if _current_level >= 0:
        message = "Nested forward mode AD is not supported at the moment"
        raise RuntimeError(message)
    _current_level = 0
    _core._set_forward(True)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End a level: all directions are forgotten.

    Raises
    ------
    RuntimeError
        If there is none, or ``level`` is not its number.
    """
    global _current_level
    if level is None:
        level = _current_level
    if level != _current_level:
        message = "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        raise RuntimeError(message)
    if level < 0:
        message = "Dual level must be a positive number."
        raise RuntimeError(message)
    _core._set_forward(False)
    _directions.clear()
    _current_level = -1


class dual_level(_Mode):
    """A level as context manager (and decorator).

    >>> import rustgrad as torch
    >>> import rustgrad.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor([2.0]), torch.tensor([1.0]))
    ...     fwAD.unpack_dual(x * x * x).tangent
    tensor([12.])
    """

    def _enter(self) -> int:
        return enter_dual_level()

    def _exit(self, before: int) -> None:
        exit_dual_level(level=before)

    def __enter__(self) -> int:  # type: ignore[override]
        super().__enter__()
        level: int = self._stack[-1]
        return level


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """Let a value move in a direction: gives a tensor of the same memory that does.

    Raises
    ------
    RuntimeError
        Outside a level, or if the shapes differ.
    ValueError
        If one of them is not floating point.
    """
    if level is None:
        level = _current_level
    if level < 0:
        message = (
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
        raise RuntimeError(message)
    for name, value in (("primal", tensor), ("tangent", tangent)):
        if not value.is_floating_point():
            message = f"Expected {name} to be floating point or complex, but got: {value.dtype}"
            raise ValueError(message)
    if level != _current_level:
        message = "Invalid level given to _make_dual"
        raise RuntimeError(message)
    if _seeds(tangent):
        message = (
            f"Setting a forward grad that itself has a forward gradient at the same level{level} is not supported."
        )
        raise RuntimeError(message)
    if _seeds(tensor):
        message = (
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level "
            f"{level} is not supported."
        )
        raise RuntimeError(message)
    if tensor.shape != tangent.shape:
        message = (
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is "
            f"not supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
        raise RuntimeError(message)
    return _moving(tensor, tangent)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """Split a value from the direction in which it moves.

    Raises
    ------
    RuntimeError
        If ``level`` is not the number of the level.
    """
    if level is None:
        level = _current_level
    if level < 0:
        return UnpackedDualTensor(tensor, None)
    if level != _current_level:
        message = "Invalid level given to _fw_primal"
        raise RuntimeError(message)
    tangent = _tangent(tensor)
    if tangent is None:
        return UnpackedDualTensor(tensor.view_as(tensor), None)
    primal = tensor.view_as(tensor) if _other_leaves(tensor) else tensor.detach()
    return UnpackedDualTensor(primal, tangent)


def _moving(tensor: Tensor, tangent: Tensor) -> Tensor:
    """Give a tensor of the same memory that moves."""
    seed = _core.zeros_like(tensor.detach(), requires_grad=True)
    dual: Tensor = _core._dual(tensor, seed)
    _directions[id(seed)] = (seed, tangent)
    return dual


def _walk(tensor: Tensor) -> tuple[list[Tensor], bool]:
    """Find the seeds on which a tensor depends, and whether it depends on other leaves too."""
    start: Any = tensor._grad_fn
    if start is None:
        return [], bool(tensor._asks_grad)
    seeds: dict[int, Tensor] = {}
    others = False
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        leaf = getattr(node, "variable", None) if not node.next_functions else None
        if isinstance(leaf, Tensor):
            if id(leaf) in _directions:
                seeds[id(leaf)] = leaf
            else:
                others = True
        nexts = node.next_functions
        after_these: list[Any] = [after for after, _ in nexts if after is not None]
        if node.name() == "DualBackward":
            primal, seed = nexts[0][0], nexts[1][0]
            after_these = [] if primal is None else [primal]
            if id(seed.variable) in _directions:
                # What lies behind a value that moves moves it no further.
                others = others or (primal is not None and _leads_to_leaf(primal))
                after_these = [seed]
        for after in after_these:
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return list(seeds.values()), others


def _leads_to_leaf(start: Any) -> bool:
    """Whether there is a leaf behind a node that is no seed."""
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        nexts = [after for after, _ in node.next_functions if after is not None]
        if node.name() == "DualBackward":
            nexts = [after for after, _ in node.next_functions[:1] if after is not None]
        elif not nexts and id(getattr(node, "variable", None)) not in _directions:
            return True
        for after in nexts:
            if after not in seen:
                seen.add(after)
                stack.append(after)
    return False


def _seeds(tensor: Tensor) -> list[Tensor]:
    return _walk(tensor)[0]


def _other_leaves(tensor: Tensor) -> bool:
    return _walk(tensor)[1]


def _text(tensor: Tensor) -> str:
    """Write a tensor with the direction in which it moves."""
    tangent = _tangent(tensor)
    shown = tensor if _other_leaves(tensor) else tensor.detach()
    before = _core._set_forward(False)
    try:
        return repr(shown) if tangent is None else f"{repr(shown)[:-1]}, tangent={tangent!r})"
    finally:
        _core._set_forward(before)


def _asks_grad(tensor: Tensor) -> bool:
    """Whether a tensor requires a gradient, apart from what is recorded for its direction."""
    return bool(tensor._asks_grad) and _other_leaves(tensor)


def _tangent(tensor: Tensor) -> Tensor | None:
    """Find the direction in which a tensor moves."""
    if not _directions or not tensor.is_floating_point():
        return None
    seeds, others = _walk(tensor)
    if not seeds:
        return None
    directions = [_directions[id(seed)][1] for seed in seeds]
    last: Any = tensor._grad_fn
    if len(seeds) == 1 and last.name() == "DualBackward":
        return directions[0]
    keep = others or any(direction._asks_grad for direction in directions)
    before = _core._set_forward(False)
    asked = _core._set_grad_enabled(True)
    try:
        weights = _core.zeros_like(tensor.detach(), requires_grad=True)
        with set_multithreading_enabled(False):
            found = _core._tangent_pass(True)
            try:
                grads = _grad([tensor], seeds, [weights], True)
                pairs = [(g, d) for g, d in zip(grads, directions, strict=True) if g is not None and g._asks_grad]
                result = None
                if pairs:
                    outputs, along = zip(*pairs, strict=True)
                    result = _grad(outputs, [weights], [d.to(g.dtype) for g, d in pairs], keep)[0]
                    del outputs, along
            finally:
                _core._tangent_pass(found)
    finally:
        _core._set_grad_enabled(asked)
        _core._set_forward(before)
    if result is None:
        return _core.zeros_like(tensor.detach())
    return result if keep else result.detach()


def _grad(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor], create_graph: bool
) -> Sequence[Tensor | None]:
    from rustgrad.autograd import grad

    found: Sequence[Tensor | None] = grad(
        list(outputs), list(inputs), list(weights), create_graph=create_graph, retain_graph=True, allow_unused=True
    )
    return found


class _Context:
    """A context of a custom function as its ``jvp`` sees it."""

    def __init__(self, context: Any) -> None:
        object.__setattr__(self, "_context", context)

    def __getattr__(self, name: str) -> Any:
        context = object.__getattribute__(self, "_context")
        if name == "saved_tensors" and context.saved_for_forward is not None:
            return context.saved_for_forward
        return getattr(context, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._context, name, value)


def _custom(context: Any, args: tuple[Any, ...], outputs: list[Any]) -> list[Any]:
    """Let the outputs of a custom function move as its ``jvp`` says if one of its arguments does."""
    tangents: list[Any] = [_tangent(arg) if isinstance(arg, Tensor) else None for arg in args]
    if all(tangent is None for tangent in tangents):
        return outputs
    if context.materialize_grads:
        for i, arg in enumerate(args):
            if tangents[i] is None and isinstance(arg, Tensor):
                tangents[i] = _core.zeros_like(arg.detach())
    moved = context._forward_cls.jvp(_Context(context), *tangents)
    moved = moved if isinstance(moved, tuple) else (moved,)
    if len(moved) != len(outputs):
        name = context.name()
        message = (
            f"{name}Backward jvp returned an invalid number of of forward gradients (expected {len(outputs)} "
            f"but got {len(moved)})"
        )
        raise RuntimeError(message)
    results = []
    for output, tangent in zip(outputs, moved, strict=True):
        if not isinstance(output, Tensor) or not output.is_floating_point():
            results.append(output)
        elif tangent is None:
            results.append(output if _other_leaves(output) else output.detach())
        else:
            results.append(_moving(output, tangent))
    return results
