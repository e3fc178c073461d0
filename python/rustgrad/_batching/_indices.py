"""Rules of indexing: subscripts, gathering, scattering."""

from __future__ import annotations

from typing import Any

from rustgrad import _core
from rustgrad._batching._core import Batched, Level, call, opened, refuse, rule, slices
from rustgrad._batching._elementwise import aligned, written
from rustgrad._batching._shapes import place
from rustgrad._core import Tensor


def _key(*entries: Any) -> tuple[Any, ...]:
    return entries


def _is_index(entry: Any) -> bool:
    """Whether an entry of a subscript picks elements one by one."""
    return isinstance(entry, (Tensor, list, tuple))


def _normal(key: Any, rank: int) -> tuple[list[Any], list[Any]]:
    """Split a subscript in two: a basic one, and after it one of whole dimensions and tensors."""
    entries = list(key) if isinstance(key, tuple) else [key]
    if any(isinstance(entry, bool) for entry in entries) or (
        isinstance(key, list) and any(not isinstance(entry, int) for entry in key)
    ):
        refuse("a subscript of nests or booleans")
    for i, entry in enumerate(entries):
        if isinstance(entry, (list, tuple)):
            entries[i] = _core.tensor(entry)
    taken = sum(
        0 if entry is None or entry is Ellipsis
        else entry.dim() if isinstance(entry, Tensor) and entry.dtype is _core.bool
        else 1 for entry in entries
    )  # fmt: skip
    if taken > rank:
        message = f"too many indices for tensor of dimension {rank}"
        raise IndexError(message)
    basic: list[Any] = []
    later: list[Any] = []
    whole = slice(None)
    open_ = True
    for entry in entries:
        if entry is Ellipsis:
            basic.extend([whole] * (rank - taken))
            later.extend([whole] * (rank - taken))
            open_ = False
        elif isinstance(entry, Tensor):
            count = entry.dim() if entry.dtype is _core.bool else 1
            basic.extend([whole] * count)
            later.append(entry)
        else:
            basic.append(entry)
            if not isinstance(entry, int) and not hasattr(entry, "__index__"):
                later.append(whole)
    if open_:
        later.extend([whole] * (rank - taken))
    return basic, later


def _split_up(later: list[Any]) -> bool:
    """Whether whole dimensions lie between the tensors of a subscript, so that theirs come first."""
    at = [i for i, entry in enumerate(later) if _is_index(entry)]
    return at[-1] - at[0] + 1 != len(at)


@rule("__getitem__")
def _item(level: Level, name: str, x: Any, key: Any) -> Any:
    del name
    value = opened(level, x)
    whole = slice(None)
    if value is not None and (isinstance(key, (int, slice)) or key is None or key is Ellipsis):
        if isinstance(key, int) and value.dim() == 1:
            message = "invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a number"
            raise IndexError(message)
        return Batched(value[whole, key], level)
    basic, later = _normal(key, x.dim())
    indices = [entry for entry in later if _is_index(entry)]
    plain = all(opened(level, entry) is None for entry in indices)
    if value is not None:
        value = value[_key(whole, *basic)]
    if not indices:
        return Batched(value, level)
    apart = _split_up(later)
    if value is not None and plain:
        result = value[_key(whole, *later)]
        if apart:
            result = result.movedim(max(entry.dim() for entry in indices), 0)
        return Batched(result, level)
    if any(entry.dtype is _core.bool for entry in indices):
        refuse("a mask of each slice as a subscript")
    before = next(i for i, entry in enumerate(later) if _is_index(entry))
    rank = max(entry.dim() for entry in indices)
    found = iter(aligned(level, indices, False))
    later = [next(found) if _is_index(entry) else entry for entry in later]
    if value is None:
        result = x[tuple(basic)][tuple(later)]
        return Batched(result if apart else result.movedim(before, 0), level)
    rows = _core.arange(level.size).reshape(level.size, *(1,) * rank)
    result = value[_key(rows, *later)]
    if not apart and before:
        # The dimensions of the tensors came first; they belong behind those before them.
        result = result.movedim(tuple(range(1, rank + 1)), tuple(range(before + 1, before + rank + 1)))
    return Batched(result, level)


for _name in ("__getitem__", "__setitem__"):
    setattr(Batched, _name, lambda *args, name=_name: call(name, args, {}))


@rule("__setitem__")
def _assign(level: Level, name: str, target: Any, key: Any, source: Any) -> None:
    value = written(level, target, name)
    basic, later = _normal(key, target.dim())
    indices = [entry for entry in later if _is_index(entry)]
    if any(type(entry) is Batched for entry in indices) or (indices and _split_up(later)):
        refuse("a subscript of each slice, assigned to")
    place_ = value[_key(slice(None), *basic)]
    rank = (place_[_key(slice(None), *later)] if indices else place_).dim() - 1
    if isinstance(source, Tensor):
        if source.dim() > rank:
            refuse("an assignment with more dimensions")
        source = aligned(level, [source, _core.empty((0,) * rank)], False)[0]
    if indices:
        place_[_key(slice(None), *later)] = source
    else:
        value[_key(slice(None), *basic)] = source


@rule("gather")
def _gathered(level: Level, name: str, x: Any, dim: int, index: Any, **kwargs: Any) -> Any:
    if not x.dim():
        refuse("gather of 0-d tensors")
    return Batched(getattr(slices(level, x), name)(place(dim, x.dim()), slices(level, index), **kwargs), level)


@rule("index_select")
def _selected(level: Level, name: str, x: Any, dim: int, index: Any) -> Any:
    value = opened(level, x)
    rank = x.dim()
    if not rank:
        refuse("index_select of 0-d tensors")
    if opened(level, index) is None:
        return Batched(getattr(value, name)(place(dim, rank), index), level)
    return x[_key(*(slice(None),) * (place(dim, rank) - 1), index.reshape(-1))]


@rule("take_along_dim")
def _taken_along(level: Level, name: str, x: Any, indices: Any, dim: Any = None) -> Any:
    if dim is None:
        x, indices, dim = x.reshape(-1), indices.reshape(-1), 0
    if x.dim() != indices.dim():
        refuse(f"{name} of different ranks")
    return Batched(getattr(slices(level, x), name)(slices(level, indices), place(dim, x.dim())), level)


@rule("take")
def _taken(level: Level, name: str, x: Any, index: Any) -> Any:
    del level, name
    return x.reshape(-1)[index]


_SCATTERS = ("scatter", "scatter_add", "scatter_reduce")


@rule(*_SCATTERS, *(f"{name}_" for name in _SCATTERS))
def _scattered(level: Level, name: str, x: Any, dim: int, index: Any, *args: Any, **kwargs: Any) -> Any:
    rank = x.dim()
    if not rank:
        refuse(f"{name} of 0-d tensors")
    value = written(level, x, name) if name.endswith("_") else slices(level, x)
    given = [slices(level, one) if isinstance(one, Tensor) else one for one in args]
    for key, one in kwargs.items():
        if isinstance(one, Tensor):
            kwargs[key] = slices(level, one) if one.dim() else refuse("a 0-d value")
    result = getattr(value, name)(place(dim, rank), slices(level, index), *given, **kwargs)
    return x if name.endswith("_") else Batched(result, level)


@rule("index_add", "index_copy", "index_add_", "index_copy_")
def _index_written(level: Level, name: str, x: Any, dim: int, index: Any, source: Any, **kwargs: Any) -> Any:
    if opened(level, index) is not None or not x.dim():
        refuse(f"{name} at places of each slice")
    value = written(level, x, name) if name.endswith("_") else slices(level, x)
    result = getattr(value, name)(place(dim, x.dim()), index, slices(level, source), **kwargs)
    return x if name.endswith("_") else Batched(result, level)


@rule("masked_select", "nonzero", "argwhere", "unique", "unique_consecutive", "bincount", "histc", "is_nonzero")
def _of_unknown_size(level: Level, name: str, *args: Any, **kwargs: Any) -> Any:
    del level, args, kwargs
    return refuse(name)


@rule("bucketize")
def _bucket(level: Level, name: str, x: Any, boundaries: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    if value is None or opened(level, boundaries) is not None:
        refuse(f"{name} with boundaries of each slice")
    return Batched(getattr(_core, name)(value, boundaries, **kwargs), level)


@rule("searchsorted")
def _searched(level: Level, name: str, sequence: Any, x: Any, **kwargs: Any) -> Any:
    if not isinstance(x, Tensor) or kwargs.get("sorter") is not None:
        refuse(f"{name} with such arguments")
    own = opened(level, sequence)
    if own is None and sequence.dim() == 1:
        return Batched(getattr(_core, name)(sequence, opened(level, x), **kwargs), level)
    if sequence.dim() == 1:
        # Each slice looks for its values in its own row.
        values = slices(level, x).reshape(level.size, -1)
        return Batched(getattr(_core, name)(own, values, **kwargs).reshape(level.size, *x.shape), level)
    return Batched(getattr(_core, name)(slices(level, sequence), slices(level, x), **kwargs), level)
