"""Functions that turn functions into their derivatives, over the recorded graph.

Each takes a function of tensors (or of tuples, lists and dicts of them) and gives another function. They nest:
``grad(grad(f))`` is the second derivative. ``vmap`` calls its function once for a whole batch where every operation
in it has a rule for that (see ``rustgrad._batching``), else once for each slice: the numbers are the same.
"""

from __future__ import annotations

import threading
from functools import wraps

from rustgrad import _batching, _core
from rustgrad._batching import Batched, base
from rustgrad._core import Tensor
from rustgrad._nests import fill as _fill
from rustgrad._nests import leaves as _leaves
from rustgrad._nests import mapped as _map
from rustgrad._stateless import functional_call as functional_call
from rustgrad._stateless import stack_module_state as stack_module_state
from rustgrad._vmap import vmap as vmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Function = Callable[..., Any]

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip

_level = threading.local()

#: As many unit vectors are made at once.
_UNITS = 256


class _Level:
    """One of these functions at work: within it, results stay connected to what an outer one differentiates by."""

    def __enter__(self) -> bool:
        depth: int = getattr(_level, "depth", 0)
        _level.depth = depth + 1
        self._recording = _core._set_grad_enabled(True)
        return depth == 0

    def __exit__(self, *exception: object) -> None:
        _core._set_grad_enabled(self._recording)
        _level.depth -= 1


def _point(value: Any) -> Any:
    """Give a tensor to differentiate by, with the same elements; it leads back to what it was made of.

    Within ``vmap`` each slice has its own, so that gradients are those of each slice.
    """
    if not isinstance(value, Tensor):
        return value
    if _batching.active.levels:
        value = _batching.lifted(value, _batching.active.levels)
    return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()


def _is_recorded(outputs: Sequence[Any], points: Sequence[Any], outermost: bool) -> bool:
    """Whether gradients of the outputs may be differentiated again: by an outer level, or as they lead elsewhere."""
    own = [base(point) for point in points]
    if not outermost or not all(point.is_leaf for point in own):
        return True
    return any(one.requires_grad and _core._leads_elsewhere(base(one), own) for one in outputs)


def _settle(tree: Any, points: Sequence[Any], outermost: bool) -> Any:
    """Cut results from the points that were made here, at the outermost level, unless they lead elsewhere too."""
    if not outermost:
        return tree
    own = [base(point) for point in points if isinstance(point, Tensor) and point.is_leaf]

    def settled(value: Any) -> Any:
        if isinstance(value, Tensor) and value.requires_grad and not _core._leads_elsewhere(base(value), own):
            return value.detach()
        return value

    return _map(settled, tree)


def _chosen(args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> tuple[int, ...]:
    """Give the places of the arguments to differentiate by, from the front."""
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not wanted:
        message = "argnums must be non-empty"
        raise RuntimeError(message)
    places = []
    for one in wanted:
        if not -len(args) <= one < len(args):
            message = f"Got argnum={one}, but only {len(args)} positional inputs"
            raise RuntimeError(message)
        places.append(one % len(args))
    return tuple(places)


def _aux(result: Any, name: str) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        message = f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        raise RuntimeError(message)
    return result[0], result[1]


def _gradients(
    outputs: Sequence[Any],
    points: Sequence[Any],
    vectors: Sequence[Any],
    create_graph: bool = True,
    retain: bool = True,
) -> list[Any]:
    """Give the product of a Jacobian with vectors, zeros where there is no dependence."""
    kept = [i for i, output in enumerate(outputs) if output.requires_grad]
    found: Sequence[Any] = [None] * len(points)
    if kept:
        ends, starts = [outputs[i] for i in kept], [vectors[i] for i in kept]
        if any(type(one) is Batched for one in (*ends, *points, *starts)):
            found = _batching.gradients(ends, points, starts, retain, create_graph, True)
        else:
            found = _core._grad(ends, points, starts, retain, create_graph, True)
    return [_core.zeros_like(point.detach()) if one is None else one for one, point in zip(found, points, strict=True)]


def _at_points(args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> tuple[list[Any], Any, list[Tensor]]:
    """Give the arguments with points in place of the chosen ones; those; and the tensors they hold."""
    given = list(args)
    places = _chosen(args, argnums)
    for place in places:
        given[place] = _map(_point, given[place])
    chosen = given[places[0]] if isinstance(argnums, int) else tuple(given[place] for place in places)
    points = list(_leaves(chosen))
    for point in points:
        if not isinstance(point, Tensor):
            message = f"expected tensors to differentiate by, but got {type(point).__name__}"
            raise TypeError(message)
    return given, chosen, points


def grad_and_value(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of ``func`` and its value.

    Parameters
    ----------
    func
        A function with a 0-d tensor as result, or a pair of that and anything if ``has_aux``.
    argnums
        Which arguments to differentiate by; a tuple gives a tuple of gradients.
    has_aux
        Whether ``func`` gives a pair; the second part is handed through.

    Raises
    ------
    RuntimeError
        By the function returned, if the result is no 0-d tensor of a floating dtype, or an argument is missing.
    """

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Level() as outermost:
            given, chosen, points = _at_points(args, argnums)
            output = func(*given, **kwargs)
            aux = None
            if has_aux:
                output, aux = _aux(output, "grad_and_value(f)(*args)")
            if not isinstance(output, Tensor):
                kind = type(output).__name__
                message = f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got {kind}"
                raise RuntimeError(message)
            if output.dim() != 0:
                message = (
                    f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.dim()} dims. For its Jacobian there are vjp and jacrev."
                )
                raise RuntimeError(message)
            create = _is_recorded([output], points, outermost)
            found = _gradients([output], points, [_core.ones_like(output.detach())], create, create or has_aux)
            slopes = _fill(chosen, iter(found))
            slopes, output, aux = _settle((slopes, output, aux), points, outermost)
        return (slopes, (output, aux)) if has_aux else (slopes, output)

    return wrapper


def grad(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of ``func``; arguments as :func:`grad_and_value`.

    >>> import rustgrad as torch
    >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(0.5))
    tensor(-0.4794)
    """
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        slopes, value = both(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes

    return wrapper


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Return the value of a function and a function that multiplies vectors with its Jacobian from the left.

    Raises
    ------
    RuntimeError
        If a vector does not have the shape of the result.
    """
    with _Level() as outermost:
        given, _, points = _at_points(primals, tuple(range(len(primals))))
        output = func(*given)
        aux = None
        if has_aux:
            output, aux = _aux(output, "vjp(f, *primals)")
        outputs = list(_leaves(output))
        for one in outputs:
            if not isinstance(one, Tensor):
                message = f"vjp(f, *primals): Expected f(*primals) to return only tensors, got {type(one).__name__}"
                raise RuntimeError(message)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        del retain_graph, create_graph
        vectors = list(_leaves(cotangents))
        if len(vectors) != len(outputs) or any(
            v.shape != o.shape for v, o in zip(vectors, outputs, strict=True) if isinstance(v, Tensor)
        ):
            message = (
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function."
            )
            raise RuntimeError(message)
        with _Level() as last:
            create = _is_recorded([*outputs, *vectors], points, last)
            found = _gradients(outputs, points, vectors, create)
            return _settle(_fill(tuple(primals), iter(found)), points, last)

    shown, aux = _settle((output, aux), points, outermost)
    return (shown, pull, aux) if has_aux else (shown, pull)


def _product(outputs: Sequence[Any], points: Sequence[Any], tangents: Sequence[Any], outermost: bool) -> list[Any]:
    """Give the product of a Jacobian with vectors from the right, by differentiating that from the left."""
    weights = [_core.zeros_like(output.detach()).requires_grad_() for output in outputs]
    back = _gradients(outputs, points, weights)
    return _gradients(back, weights, tangents, _is_recorded([*back, *tangents], [*weights, *points], outermost))


def jvp(
    func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, strict: bool = False, has_aux: bool = False
) -> Any:
    """Return the value of a function and the product of its Jacobian with vectors.

    Raises
    ------
    RuntimeError
        If the tangents are not of the shapes of the primals; with ``strict``, if the result does not depend on them.
    """
    if not isinstance(primals, tuple) or not primals:
        message = (
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
        raise RuntimeError(message)
    given_tangents = list(_leaves(tangents))
    with _Level() as outermost:
        given, _, points = _at_points(primals, tuple(range(len(primals))))
        if len(points) != len(given_tangents) or any(
            p.shape != t.shape for p, t in zip(points, given_tangents, strict=True)
        ):
            message = "jvp(f, primals, tangents): Expected primals and tangents to have the same shapes and structure."
            raise RuntimeError(message)
        output = func(*given)
        aux = None
        if has_aux:
            output, aux = _aux(output, "jvp(f, primals, tangents)")
        outputs = list(_leaves(output))
        if strict and not all(one.requires_grad for one in outputs):
            message = "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs."
            raise RuntimeError(message)
        moved = _fill(output, iter(_product(outputs, points, given_tangents, outermost)))
        output, moved, aux = _settle((output, moved, aux), points, outermost)
    return (output, moved, aux) if has_aux else (output, moved)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """Return the value of a function at a point, and the linear function that is its derivative there."""
    with _Level() as outermost:
        given, _, points = _at_points(primals, tuple(range(len(primals))))
        output = func(*given)
        outputs = list(_leaves(output))

    def push(*tangents: Any) -> Any:
        with _Level() as last:
            moved = _product(outputs, points, list(_leaves(tangents)), last)
            return _settle(_fill(output, iter(moved)), points, last)

    return _settle(output, points, outermost), push


def _rows(output: Any, points: Sequence[Any], create_graph: bool) -> list[Any]:
    """Give the Jacobian of one output by each point, row by row.

    Slices of batches are independent, so rows of all of them are found together, from their sum.
    """
    shape, own = output.shape, [base(point) for point in points]
    outer = base(output)
    lead = outer.dim() - len(shape)
    if lead:
        outer = outer.sum(tuple(range(lead)))
    found: Sequence[Any] = ()
    count = outer.numel()
    if outer.requires_grad and count:
        # Unit vectors that lie ready cost less than those made one by one.
        units = _core.eye(count, dtype=outer.dtype).reshape(count, *shape) if 1 < count <= _UNITS else None
        found = [table for table, _, _ in _core._jacobian_rows(outer, own, create_graph, units)]
    tables = []
    for i, point in enumerate(points):
        if not found or found[i] is None:
            tables.append(point.detach().new_zeros((*shape, *point.shape), dtype=output.dtype))
            continue
        table = found[i]
        front = own[i].dim() - point.dim()
        if front:
            table = table.movedim(0, front).reshape(*own[i].shape[:front], *shape, *point.shape)
            tables.append(_batching.rewrapped(table, point))
        else:
            tables.append(table.reshape(*shape, *point.shape))
    return tables


def _columns(output: Any, points: Sequence[Any], outermost: bool) -> list[Any]:
    """Give the Jacobian of one output by each point, column by column: the derivative of its product with a vector."""
    weight = _core.zeros_like(output.detach()).requires_grad_()
    back = _gradients([output], points, [weight])
    create = _is_recorded(back, [weight, *points], outermost)
    tables = []
    for one, point in zip(back, points, strict=True):
        (table,) = _rows(one, [weight], create)
        rank = point.dim()
        tables.append(table.movedim(tuple(range(rank)), tuple(range(-rank, 0))) if rank else table)
    return tables


def _jacobian(
    func: Function, argnums: int | tuple[int, ...], has_aux: bool, name: str, tables: Callable[[Any, Any, bool], Any]
) -> Function:
    """Return a function that gives Jacobians, which ``tables`` finds for one output by all points."""

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Level() as outermost:
            given, chosen, points = _at_points(args, argnums)
            output = func(*given, **kwargs)
            aux = None
            if has_aux:
                output, aux = _aux(output, f"{name}(f)(*args)")

            def of_one(one: Any) -> Any:
                if not isinstance(one, Tensor):
                    message = f"{name}(f)(*args): Expected f(*args) to return only tensors, got {type(one).__name__}"
                    raise RuntimeError(message)
                return _fill(chosen, iter(tables(one, points, outermost)))

            table = _map(of_one, output)
            table, aux = _settle((table, aux), points, outermost)
        return (table, aux) if has_aux else table

    return wrapper


def jacrev(
    func: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Function:  # fmt: skip
    """Return a function that gives the Jacobian of ``func``: for each result one of shape (result, argument).

    Parameters
    ----------
    func, argnums, has_aux
        As :func:`grad`, but the results may be of any shape.
    chunk_size
        Accepted: rows are made one by one, from one plan of the graph.
    """
    del _preallocate_and_copy
    if chunk_size is not None and chunk_size <= 0:
        message = "jacrev: `chunk_size` should be greater than 0."
        raise ValueError(message)
    return _jacobian(
        func, argnums, has_aux, "jacrev",
        lambda one, points, outermost: _rows(one, points, _is_recorded([one], points, outermost)),
    )  # fmt: skip


def jacfwd(
    func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """Return a function that gives the Jacobian of ``func``, column by column where there are few.

    Arguments are those of :func:`jacrev`; ``randomness`` has no effect, as the function is called once.
    """
    del randomness

    def tables(one: Any, points: Sequence[Any], outermost: bool) -> list[Any]:
        if one.requires_grad and one.numel() > 2 * sum(point.numel() for point in points):
            return _columns(one, points, outermost)
        return _rows(one, points, _is_recorded([one], points, outermost))

    return _jacobian(func, argnums, has_aux, "jacfwd", tables)


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """Return a function that gives the second derivatives of ``func``."""
    return jacfwd(jacrev(func, argnums), argnums)


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Make all batch normalisation below a module use the statistics of the batch; returns the module."""
    for module in root.modules():
        if hasattr(module, "running_mean") and hasattr(module, "track_running_stats"):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
