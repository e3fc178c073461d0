"""Rules of operations that move elements: views, shapes, joins."""

from __future__ import annotations

from typing import Any

from rustgrad import _core
from rustgrad._batching._core import Batched, Level, call, opened, refuse, rule, slices, wrapped
from rustgrad._core import Tensor


def place(dim: int, rank: int) -> int:
    """Give the dimension of the slices that is dimension ``dim`` of ``rank`` to the function."""
    if not -max(rank, 1) <= dim < max(rank, 1):
        message = (
            f"Dimension out of range (expected to be in range of [{-max(rank, 1)}, {max(rank, 1) - 1}], but got {dim})"
        )
        raise IndexError(message)
    return dim + 1 if dim >= 0 else dim + max(rank, 1) + 1


def _listed(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args


def _sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    for name in ("size", "shape", "sizes", "dims"):
        if name in kwargs:
            args = (kwargs[name],)
    return _listed(args)


@rule("view", "reshape")
def _reshaped(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    if len(args) == 1 and not isinstance(args[0], (int, tuple, list)):
        return Batched(x.value.view(*args), level)
    size = _sizes(args, kwargs)
    if -1 in size and level.size == 0:
        refuse("a size to be found of an empty batch")
    return Batched(getattr(x.value, name)(level.size, *size), level)


@rule("view_as", "reshape_as")
def _shaped_as(level: Level, name: str, x: Any, other: Any) -> Any:
    del level
    return getattr(x, name[:-3])(other.shape)


@rule("expand_as")
def _expanded_as(level: Level, name: str, x: Any, other: Any) -> Any:
    del level, name
    return x.expand(other.shape)


@rule("expand", "broadcast_to")
def _expanded(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    del name
    kwargs.pop("implicit", None)
    size, value = _sizes(args, kwargs), x.value
    more = len(size) - (value.dim() - 1)
    if more < 0:
        refuse("expand to fewer dimensions")
    if more:
        value = value.reshape(level.size, *(1,) * more, *value.shape[1:])
    return Batched(value.expand(level.size, *size), level)


@rule("permute")
def _permuted(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    rank = x.dim()
    return Batched(getattr(x.value, name)(0, *(place(dim, rank) for dim in _sizes(args, kwargs))), level)


#: Operations with dimensions at these places of their arguments, and what these are called.
_WITH_DIMS: dict[str, tuple[tuple[int, str, int | None], ...]] = {
    **dict.fromkeys(("transpose", "swapdims"), ((0, "dim0", None), (1, "dim1", None))),
    "swapaxes": ((0, "axis0", None), (1, "axis1", None)),
    "unsqueeze": (),
    "diagonal": ((1, "dim1", 0), (2, "dim2", 1)),
    **dict.fromkeys(("narrow", "select", "unflatten"), ((0, "dim", None),)),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), ((1, "dim", 0),)),
    **dict.fromkeys(("unsafe_chunk", "unsafe_split"), ((1, "dim", 0),)),
    "unbind": ((0, "dim", 0),),
    "unfold": ((0, "dimension", None),),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "cumprod"), ((0, "dim", None),)),
    **dict.fromkeys(("cummax", "cummin", "logcumsumexp"), ((0, "dim", None),)),
    **dict.fromkeys(("sort", "argsort"), ((0, "dim", -1),)),
    **dict.fromkeys(("topk", "kthvalue"), ((1, "dim", -1),)),
    "mode": ((0, "dim", -1),),
    "diff": ((1, "dim", -1),),
}  # fmt: skip


@rule(*(name for name, dims in _WITH_DIMS.items() if dims))
def _with_dims(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    if value is None or any(isinstance(one, Tensor) for one in (*args, *kwargs.values())):
        refuse(f"{name} with such arguments")
    rank, given = value.dim() - 1, list(args)
    bare = rank == 0 and name in ("softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp")
    if rank == 0 and not bare:
        refuse(f"{name} of 0-d tensors")
    for at, key, default in _WITH_DIMS[name]:
        if at < len(given):
            given[at] = place(given[at], rank)
        elif key in kwargs:
            kwargs[key] = place(kwargs[key], rank)
        elif default is not None:
            kwargs[key] = place(default, rank)
    if bare:
        return Batched(getattr(value.unsqueeze(1), name)(*given, **kwargs).squeeze(1), level)
    return wrapped(level, getattr(value, name)(*given, **kwargs))


@rule("unsqueeze")
def _unsqueezed(level: Level, name: str, x: Any, dim: int) -> Any:
    return Batched(getattr(x.value, name)(place(dim, x.dim() + 1)), level)


@rule("squeeze")
def _squeezed(level: Level, name: str, x: Any, dim: Any = None) -> Any:
    value, rank = x.value, x.dim()
    if dim is None:
        dims = [at for at in range(1, rank + 1) if value.shape[at] == 1]
    else:
        dims = [place(one, rank) for one in ((dim,) if isinstance(dim, int) else dim)]
    if not rank or not dims:
        return Batched(value, level)
    return Batched(getattr(value, name)(tuple(dims)), level)


@rule("movedim", "moveaxis")
def _moved(level: Level, name: str, x: Any, source: Any, destination: Any) -> Any:
    rank = x.dim()

    def places(dims: Any) -> Any:
        return place(dims, rank) if isinstance(dims, int) else tuple(place(dim, rank) for dim in dims)

    return Batched(getattr(x.value, name)(places(source), places(destination)), level)


@rule("t")
def _transposed(level: Level, name: str, x: Any) -> Any:
    del level
    if x.dim() > 2:
        message = f"{name}() expects a tensor with <= 2 dimensions, but self is {x.dim()}D"
        raise RuntimeError(message)
    return x if x.dim() < 2 else x.transpose(0, 1)


Batched.T = property(lambda self: self.permute(*range(self.dim() - 1, -1, -1)))  # type: ignore[attr-defined]
Batched.mT = property(lambda self: self.transpose(-2, -1))  # type: ignore[attr-defined]
Batched.H = Batched.T  # type: ignore[attr-defined]
Batched.mH = Batched.mT  # type: ignore[attr-defined]


@rule("adjoint")
def _adjoint(level: Level, name: str, x: Any) -> Any:
    del level, name
    return x.transpose(-2, -1)


@rule("flatten")
def _flattened(level: Level, name: str, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    rank = x.dim()
    if not rank:
        return Batched(x.value.unsqueeze(1), level)
    return Batched(getattr(x.value, name)(place(start_dim, rank), place(end_dim, rank)), level)


@rule("ravel")
def _ravelled(level: Level, name: str, x: Any) -> Any:
    del level, name
    return x.reshape(-1)


@rule("flip")
def _flipped(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    rank = x.dim()
    return Batched(getattr(x.value, name)([place(dim, rank) for dim in _sizes(args, kwargs)]), level)


@rule("roll")
def _rolled(level: Level, name: str, x: Any, shifts: Any, dims: Any = None) -> Any:
    if dims is None or dims == ():
        return x.reshape(-1).roll(shifts, 0).reshape(x.shape)
    rank = x.dim()
    dims = place(dims, rank) if isinstance(dims, int) else tuple(place(dim, rank) for dim in dims)
    return Batched(getattr(x.value, name)(shifts, dims), level)


@rule("repeat", "tile")
def _repeated(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    times, value = _sizes(args, kwargs), x.value
    more = len(times) - (value.dim() - 1)
    if more < 0:
        times, more = (1,) * -more + times if name == "tile" else refuse("repeat with too few times"), 0
    if more:
        value = value.reshape(level.size, *(1,) * more, *value.shape[1:])
    return Batched(value.repeat(1, *times), level)


@rule("tril", "triu", "trace", "diag_embed")
def _of_matrices(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    if name == "trace":
        return x.diagonal().sum()
    if name == "diag_embed" and len(args) + len(kwargs) > 1:
        refuse("diag_embed with dimensions")
    return Batched(getattr(x.value, name)(*args, **kwargs), level)


@rule("diag")
def _diagonal(level: Level, name: str, x: Any, diagonal: int = 0) -> Any:
    del level, name
    return x.diag_embed(diagonal) if x.dim() == 1 else x.diagonal(diagonal)


@rule("cat", "concat", "concatenate")
def _joined(level: Level, name: str, tensors: Any, dim: int = 0) -> Any:
    del name
    tensors = list(tensors)
    rank = max(one.dim() for one in tensors)
    return Batched(_core.cat([slices(level, one) for one in tensors], place(dim, rank)), level)


@rule("stack")
def _stacked(level: Level, name: str, tensors: Any, dim: int = 0) -> Any:
    del name
    tensors = list(tensors)
    return Batched(_core.stack([slices(level, one) for one in tensors], place(dim, tensors[0].dim() + 1)), level)


@rule("hstack", "vstack", "row_stack", "dstack", "column_stack")
def _stacked_along(level: Level, name: str, tensors: Any) -> Any:
    del level
    tensors = list(tensors)
    first = tensors[0].dim()
    if any(one.dim() != first for one in tensors):
        refuse(f"{name} of different ranks")
    if name == "hstack":
        return call("cat", ([one.reshape(-1) if first == 0 else one for one in tensors], 0 if first < 2 else 1), {})
    if name == "column_stack":
        return call("cat", ([one.reshape(-1, 1) if first < 2 else one for one in tensors], 1), {})
    if name == "dstack":
        refuse(name)
    return call("cat", ([one.reshape(1, -1) if first < 2 else one for one in tensors], 0), {})


@rule("broadcast_tensors")
def _broadcast(level: Level, name: str, *tensors: Any) -> Any:
    del level, name
    shape = _core.broadcast_shapes(*(one.shape for one in tensors))
    return tuple(one.expand(shape) for one in tensors)


@rule("atleast_1d", "atleast_2d")
def _at_least(level: Level, name: str, *tensors: Any) -> Any:
    del level
    least = int(name[8])
    made = tuple(one if one.dim() >= least else one.reshape(*(1,) * (least - one.dim()), *one.shape) for one in tensors)
    return made[0] if len(made) == 1 else made


@rule("unsqueeze_", "squeeze_", "transpose_", "t_", "swapdims_", "swapaxes_")
def _relaid(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    del level, x, args, kwargs
    return refuse(name)


@rule("fliplr", "flipud", "rot90")
def _turned(level: Level, name: str, x: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    if x.dim() < (1 if name == "flipud" else 2):
        refuse(f"{name} of so few dimensions")
    if name != "rot90":
        return x.flip(0 if name == "flipud" else 1)
    rank = x.dim()
    return Batched(getattr(x.value, name)(k, [place(dim, rank) for dim in dims or (0, 1)]), level)


@rule("meshgrid")
def _meshed(level: Level, name: str, *tensors: Any, indexing: Any = None) -> Any:
    del level
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy") or any(one.dim() != 1 for one in tensors):
        refuse(f"{name} of such arguments")
    swap = indexing == "xy" and len(tensors) > 1
    if swap:
        tensors = (tensors[1], tensors[0], *tensors[2:])
    count = len(tensors)
    shape = [one.shape[0] for one in tensors]
    made = [one.reshape(*(-1 if at == i else 1 for at in range(count))).expand(shape) for i, one in enumerate(tensors)]
    if swap:
        made = [made[1], made[0], *made[2:]]
    return tuple(made)


@rule("repeat_interleave")
def _interleaved(level: Level, name: str, x: Any, repeats: Any, dim: Any = None, **kwargs: Any) -> Any:
    value = opened(level, x)
    if value is None or not isinstance(repeats, int) or not x.dim():
        refuse(f"{name} by a tensor")
    if dim is None:
        value, dim = value.reshape(level.size, -1), 0
    return Batched(getattr(value, name)(repeats, place(dim, value.dim() - 1), **kwargs), level)


@rule("select_scatter", "slice_scatter")
def _part_replaced(level: Level, name: str, x: Any, part: Any, *args: Any, **kwargs: Any) -> Any:
    given, rank = list(args), x.dim()
    if given:
        given[0] = place(given[0], rank)
    elif "dim" in kwargs or name == "slice_scatter":
        kwargs["dim"] = place(kwargs.get("dim", 0), rank)
    return Batched(getattr(slices(level, x), name)(slices(level, part), *given, **kwargs), level)
