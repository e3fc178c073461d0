"""``vmap``: a function of slices, applied to all of them."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from rustgrad import _batching, _core
from rustgrad._core import Tensor
from rustgrad._nests import fill, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Function = Callable[..., Any]


def _name(func: Any) -> str:
    return getattr(func, "__name__", repr(func))


def vmap(
    func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Function:
    """Return a function that applies ``func`` to the slices of its arguments and stacks the results.

    Parameters
    ----------
    func
        Called once for all slices, if all it does has a rule for a batch; else once for each slice, with tensors
        without that dimension.
    in_dims
        Along which dimension each argument is cut: a number, or a nest of them; None for what all calls get whole.
    out_dims
        Where the results get the new dimension: a number, or one for each result.
    randomness
        Whether random functions raise an error, draw ``"different"`` numbers for each slice or the ``"same"`` for all.
    chunk_size
        How many slices are taken at once; all by default.

    Raises
    ------
    ValueError
        By the function returned, if nothing is to be cut, or sizes differ.
    RuntimeError
        If numbers are drawn where ``randomness`` is ``"error"``, or a tensor without the dimension is overwritten with
        one that has it.
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
        size = _size(flat, dims)
        if chunk_size is None or size <= chunk_size:
            tree, results, places = _mapped(func, args, flat, dims, size, kwargs, out_dims, randomness)
            return fill(tree, iter(results))
        chunks = []
        for start in range(0, size, chunk_size):
            count = min(chunk_size, size - start)
            parts = [v if d is None else v.narrow(d, start, count) for v, d in zip(flat, dims, strict=True)]
            tree, results, places = _mapped(func, args, parts, dims, count, kwargs, out_dims, randomness)
            chunks.append(results)
        joined = [
            column[0] if place is None else _core.cat(list(column), place)
            for column, place in zip(zip(*chunks, strict=True), places, strict=True)
        ]
        return fill(tree, iter(joined))

    return wrapper


def _size(flat: Sequence[Any], dims: Sequence[Any]) -> int:
    """Give the size of the dimension that is cut, the same for all arguments that are."""
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
        message = f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}"
        raise ValueError(message)
    return int(sizes.pop())


def _mapped(
    func: Function, args: Any, flat: Sequence[Any], dims: Sequence[Any], size: int, kwargs: dict[str, Any],
    out_dims: Any, randomness: str,
) -> tuple[Any, list[Any], list[Any]]:  # fmt: skip
    """Give a result's form, what stands in its places for all slices together, and where the dimension is."""
    inputs = [_batching.base(one) for one in flat if isinstance(one, Tensor)]
    level = _batching.Level(size, len(_batching.active.levels), randomness, inputs)
    state = level.state
    try:
        return _at_once(func, args, flat, dims, level, kwargs, out_dims)
    except _batching.Forbidden as error:
        if _batching.active.levels:
            raise
        raised, message = (ValueError if isinstance(error, ValueError) else RuntimeError), str(error)
    except Exception:
        raised = None
    if raised is not None:
        raise raised(message)
    level.undo()
    if not _core.equal(state, _core.get_rng_state()):
        _core.set_rng_state(state)
    level.state = state
    return _one_by_one(func, args, flat, dims, level, kwargs, out_dims)


def _at_once(
    func: Function, args: Any, flat: Sequence[Any], dims: Sequence[Any], level: Any, kwargs: dict[str, Any],
    out_dims: Any,
) -> tuple[Any, list[Any], list[Any]]:  # fmt: skip
    """Call the function once, with tensors that stand for all slices."""
    levels = _batching.active.levels
    given = (
        v if d is None else _batching.Batched(v.movedim(d, 0) if d else v, level)
        for v, d in zip(flat, dims, strict=True)
    )
    levels.append(level)
    try:
        result = func(*fill(args, given), **kwargs)
    finally:
        levels.pop()
    if _batching.check_draws(level) and level.randomness == "different":
        _batching.refuse("a random function")
    places: list[Any] = []
    _pair(result, out_dims, [], places)
    found = []
    for one, place in zip(leaves(result), places, strict=True):
        own = _batching.opened(level, one)
        if place is None:
            if own is not None:
                message = (
                    f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is None"
                )
                raise _NotMapped(message)
            found.append(one)
            continue
        if not isinstance(one, Tensor):
            message = (
                f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(one)}. Did you "
                "mean to set out_dims= to None for output?"
            )
            raise _NotMapped(message)
        value = _batching.slices(level, one)
        found.append(value.movedim(0, place) if place else value)
    return result, found, places


class _NotMapped(_batching.Forbidden, ValueError):
    """What a function gave cannot be the result for a batch."""


def _one_by_one(
    func: Function, args: Any, flat: Sequence[Any], dims: Sequence[Any], level: Any, kwargs: dict[str, Any],
    out_dims: Any,
) -> tuple[Any, list[Any], list[Any]]:  # fmt: skip
    """Call the function for each slice and stack the results."""
    results = []
    for i in range(level.size):
        if level.randomness == "same" and i:
            _core.set_rng_state(level.state)
        parts = (v if d is None else v.select(d, i) for v, d in zip(flat, dims, strict=True))
        results.append(func(*fill(args, parts), **kwargs))
        if level.randomness == "error":
            _batching.check_draws(level)
    if not results:
        message = "vmap(...): there is nothing along the mapped dimension, so the shape of the result is unknown."
        raise ValueError(message)
    columns = [list(leaves(result)) for result in results]
    places: list[Any] = []
    _pair(results[0], out_dims, [], places)
    found = []
    for at, place in enumerate(places):
        column = [row[at] for row in columns]
        if place is None:
            found.append(column[0])
            continue
        if not all(isinstance(one, Tensor) for one in column):
            message = f"vmap(...): the function must only return Tensors, got type {type(column[0])}."
            raise ValueError(message)
        found.append(_core.stack(column, place))
    return results[0], found, places


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
