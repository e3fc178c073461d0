"""Functions that turn functions into their derivatives, over the recorded graph.

Each takes a function of tensors (or of tuples, lists and dicts of them) and gives another function. They nest:
``grad(grad(f))`` is the second derivative. ``vmap`` calls its function once for each slice and stacks the results: the
numbers are those of a batched run, the time is that of a loop.
"""

from __future__ import annotations

import threading
from functools import wraps

import rustgrad as _rg
from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad.autograd.grad_mode import enable_grad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Function = Callable[..., Any]

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip

_level = threading.local()


class _Level:
    """One of these functions at work: within it, results stay connected to what an outer one differentiates by."""

    def __enter__(self) -> bool:
        depth: int = getattr(_level, "depth", 0)
        _level.depth = depth + 1
        self._mode = enable_grad()
        self._mode.__enter__()
        return depth == 0

    def __exit__(self, *exception: object) -> None:
        self._mode.__exit__(*exception)
        _level.depth -= 1


def _leaves(tree: Any) -> Iterator[Any]:
    """Give what a nest of tuples, lists and dicts holds, in order."""
    if isinstance(tree, (tuple, list)):
        for one in tree:
            yield from _leaves(one)
    elif isinstance(tree, dict):
        for one in tree.values():
            yield from _leaves(one)
    else:
        yield tree


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to what a nest holds."""
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map(function, one) for one in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map(function, one) for one in tree)
    if isinstance(tree, dict):
        return {key: _map(function, one) for key, one in tree.items()}
    return function(tree)


def _fill(tree: Any, values: Iterator[Any]) -> Any:
    """Put values, in order, into the places of a nest."""
    return _map(lambda _: next(values), tree)


def _point(value: Any) -> Any:
    """Give a tensor to differentiate by, with the same elements; it leads back to what it was made of."""
    if not isinstance(value, Tensor):
        return value
    return value.view_as(value) if value.requires_grad else value.detach().requires_grad_()


def _leads_elsewhere(tensor: Tensor, points: set[int]) -> bool:
    """Whether a tensor depends on leaves other than these."""
    start: Any = tensor.grad_fn
    if start is None:
        return tensor.requires_grad and id(tensor) not in points
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        leaf = getattr(node, "variable", None) if not node.next_functions else None
        if isinstance(leaf, Tensor) and id(leaf) not in points:
            return True
        for after, _ in node.next_functions:
            if after is not None and after not in seen:
                seen.add(after)
                stack.append(after)
    return False


def _settle(tree: Any, points: Sequence[Any], outermost: bool) -> Any:
    """Cut results from the points that were made here, at the outermost level, unless they lead elsewhere too."""
    if not outermost:
        return tree
    own = {id(point) for point in points if isinstance(point, Tensor) and point.is_leaf}

    def settled(value: Any) -> Any:
        if isinstance(value, Tensor) and value.requires_grad and not _leads_elsewhere(value, own):
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


def _gradients(outputs: Sequence[Tensor], points: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
    """Give the product of a Jacobian with vectors, zeros where there is no dependence; itself recorded."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(points)
    if pairs:
        found = _rg.autograd.grad(
            [o for o, _ in pairs], list(points), [v for _, v in pairs], create_graph=True, allow_unused=True
        )
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
            found = _gradients([output], points, [_core.ones_like(output.detach())])
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
            found = _gradients(outputs, points, vectors)
            return _settle(_fill(tuple(primals), iter(found)), points, last)

    shown, aux = _settle((output, aux), points, outermost)
    return (shown, pull, aux) if has_aux else (shown, pull)


def _product(outputs: Sequence[Tensor], points: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Tensor]:
    """Give the product of a Jacobian with vectors from the right, by differentiating that from the left."""
    weights = [_core.zeros_like(output.detach()).requires_grad_() for output in outputs]
    back = _gradients(outputs, points, weights)
    return _gradients(back, weights, tangents)


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
        moved = _fill(output, iter(_product(outputs, points, given_tangents)))
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
            moved = _product(outputs, points, list(_leaves(tangents)))
            return _settle(_fill(output, iter(moved)), points, last)

    return _settle(output, points, outermost), push


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
        Accepted: rows are made one by one.
    """
    del _preallocate_and_copy
    if chunk_size is not None and chunk_size <= 0:
        message = "jacrev: `chunk_size` should be greater than 0."
        raise ValueError(message)

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Level() as outermost:
            given, chosen, points = _at_points(args, argnums)
            output = func(*given, **kwargs)
            aux = None
            if has_aux:
                output, aux = _aux(output, "jacrev(f)(*args)")

            def of_one(one: Any) -> Any:
                if not isinstance(one, Tensor):
                    message = f"jacrev(f)(*args): Expected f(*args) to return only tensors, got {type(one).__name__}"
                    raise RuntimeError(message)
                units = _core.eye(one.numel(), dtype=one.dtype).reshape(one.numel(), *one.shape)
                rows = [_gradients([one], points, [unit]) for unit in units]
                tables = [
                    _core.stack([row[i] for row in rows]).reshape(*one.shape, *point.shape)
                    if rows
                    else _core.zeros((*one.shape, *point.shape), dtype=one.dtype)
                    for i, point in enumerate(points)
                ]
                return _fill(chosen, iter(tables))

            table = _map(of_one, output)
            table, aux = _settle((table, aux), points, outermost)
        return (table, aux) if has_aux else table

    return wrapper


def jacfwd(
    func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """:func:`jacrev` under its other name: both give the same numbers, and here by the same way."""
    del randomness
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """Return a function that gives the second derivatives of ``func``."""
    return jacfwd(jacrev(func, argnums), argnums)


def functional_call(
    module: Any, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict[str, Any] | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with other tensors in place of its parameters and buffers.

    Parameters
    ----------
    module
        The module; it is as before after the call.
    parameter_and_buffer_dicts
        Tensors by name, or several such dicts.
    args, kwargs
        What to call it with; one argument need be no tuple.
    tie_weights
        Whether a tensor that the module holds under several names is replaced under all.
    strict
        Refuse dicts that lack a name.

    Raises
    ------
    ValueError
        If dicts name the same, or disagree about tied ones.
    RuntimeError
        If ``strict`` and names are missing or unknown.
    """
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else parameter_and_buffer_dicts
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(one, dict) for one in dicts):
        message = "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
        raise ValueError(message)
    given: dict[str, Tensor] = {}
    for one in dicts:
        for name, tensor in one.items():
            if name in given:
                message = f"{[name]} appeared in multiple dictionaries; behavior of functional call is ambiguous"
                raise ValueError(message)
            given[name] = tensor
    own = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    if tie_weights:
        for name, tensor in list(given.items()):
            tied = [other for other in own if name in own and own[other] is own[name] and other != name]
            for other in tied:
                if given.get(other, tensor) is not tensor:
                    message = f"functional_call got multiple values for keys {sorted([name, other])}, which are tied."
                    raise ValueError(message)
                given[other] = tensor
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if strict and (missing or unknown):
        message = (
            f"Error(s) in loading state for {type(module).__name__}: Missing key(s): {missing}. "
            f"Unexpected key(s): {unknown}."
        )
        raise RuntimeError(message)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, tensor in given.items():
            if name not in own:
                continue
            path, _, last = name.rpartition(".")
            part = module.get_submodule(path) if path else module
            place = part._parameters if last in part._parameters else part._buffers
            before.append((place, last, place[last]))
            place[last] = tensor
        return module(*arguments, **(kwargs or {}))
    finally:
        for place, last, old in reversed(before):
            place[last] = old


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters and the buffers of modules of one kind, stacked by name.

    Raises
    ------
    RuntimeError
        If there are none, they are of several classes, or not all in one mode.
    """
    if not models:
        message = "stack_module_state: Expected at least one model, got 0."
        raise RuntimeError(message)
    if len({model.training for model in models}) > 1:
        message = "stack_module_state: Expected all models to have the same training/eval mode."
        raise RuntimeError(message)
    if len({type(model) for model in models}) > 1:
        message = "stack_module_state: Expected all models to be of the same class."
        raise RuntimeError(message)

    def stacked(lists: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        result = {}
        for name, first in lists[0].items():
            both = _core.stack([one[name] for one in lists]).detach()
            result[name] = both.requires_grad_() if first.requires_grad else both
        return result

    parameters = stacked([dict(model.named_parameters()) for model in models])
    return parameters, stacked([dict(model.named_buffers()) for model in models])


def vmap(
    func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Function:
    """Return a function that applies ``func`` to the slices of its arguments and stacks the results.

    Parameters
    ----------
    func
        Called once for each slice, with tensors without that dimension.
    in_dims
        Along which dimension each argument is cut: a number, or a nest of them; None for what all calls get whole.
    out_dims
        Where the results get the new dimension: a number, or one for each result.
    randomness
        Accepted: random functions draw anew in each call (torch's ``"different"``).
    chunk_size
        Accepted: slices are taken one by one.

    Raises
    ------
    ValueError
        By the function returned, if nothing is to be cut, or sizes differ.
    """
    if randomness not in ("error", "different", "same"):
        message = f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        raise RuntimeError(message)
    if chunk_size is not None and chunk_size <= 0:
        message = f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})"
        raise ValueError(message)

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        flat: list[Any] = []
        dims: list[Any] = []
        _pair(args, in_dims, flat, dims)
        sizes = set()
        for value, dim in zip(flat, dims, strict=True):
            if dim is None:
                continue
            if not isinstance(value, Tensor):
                message = f"vmap(...): Got in_dim={dim} for an input but the input is of type {type(value)}."
                raise ValueError(message)
            if not -value.dim() <= dim < value.dim():
                message = (
                    f"vmap(...): Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
                    f"{value.dim()} so expected in_dim to satisfy -{value.dim()} <= in_dim < {value.dim()}."
                )
                raise ValueError(message)
            sizes.add(value.size(dim))
        if not sizes:
            message = "vmap(...): got no inputs to cut: at least one in_dim must not be None."
            raise ValueError(message)
        if len(sizes) > 1:
            message = (
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}"
            )
            raise ValueError(message)
        results = []
        for i in range(sizes.pop()):
            parts = (v if d is None else v.select(d, i) for v, d in zip(flat, dims, strict=True))
            results.append(func(*_fill(args, parts), **kwargs))
        if not results:
            message = "vmap(...): there is nothing along the mapped dimension, so the shape of the result is unknown."
            raise ValueError(message)
        columns = [list(_leaves(result)) for result in results]
        outs: list[Any] = []
        _pair(results[0], out_dims, [], outs)
        stacked = []
        for place, out in enumerate(outs):
            column = [row[place] for row in columns]
            if out is None:
                stacked.append(column[0])
                continue
            if not all(isinstance(one, Tensor) for one in column):
                message = f"vmap(...): the function must only return Tensors, got type {type(column[0])}."
                raise ValueError(message)
            stacked.append(_core.stack(column, out))
        return _fill(results[0], iter(stacked))

    return wrapper


def _pair(tree: Any, dims: Any, flat: list[Any], found: list[Any]) -> None:
    """List what a nest holds with the dimension that another one, of the same form or of less, names for it."""
    if isinstance(tree, (tuple, list)):
        if isinstance(dims, (tuple, list)):
            if len(dims) != len(tree):
                message = f"vmap(...): in_dims or out_dims names {len(dims)} places where there are {len(tree)}."
                raise ValueError(message)
        else:
            dims = [dims] * len(tree)
        for one, dim in zip(tree, dims, strict=True):
            _pair(one, dim, flat, found)
    elif isinstance(tree, dict):
        for key, one in tree.items():
            _pair(one, dims[key] if isinstance(dims, dict) else dims, flat, found)
    else:
        flat.append(tree)
        found.append(dims[0] if isinstance(dims, tuple) and len(dims) == 1 else dims)
