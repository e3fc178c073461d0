"""Rules of sums, extremes, norms and the like."""

from __future__ import annotations

from typing import Any

from rustgrad._batching._core import Batched, Level, call, opened, refuse, rule, wrapped
from rustgrad._batching._shapes import place
from rustgrad._core import Tensor

#: Where ``dim`` stands among the arguments after the tensor; several dimensions at once, or one.
_SEVERAL = {
    **dict.fromkeys(("sum", "mean", "nansum", "nanmean", "amax", "amin", "logsumexp", "count_nonzero"), 0),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "all", "any"), 0),
    "norm": 1,
}
_ONE = {
    **dict.fromkeys(("prod", "argmax", "argmin", "max", "min", "median", "nanmedian"), 0),
    "aminmax": -1,
    **dict.fromkeys(("quantile", "nanquantile"), 1),
}


@rule(*_SEVERAL)
def _over_several(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    if value is None or any(isinstance(one, Tensor) for one in args):
        refuse(f"{name} with such arguments")
    rank, given = value.dim() - 1, list(args)
    dims: tuple[int, ...]
    if name in ("var", "std", "var_mean", "std_mean") and given and isinstance(given[0], bool):
        kwargs["unbiased"] = given.pop(0)
    at = _SEVERAL[name]
    dim = given[at] if at < len(given) else kwargs.pop("dim", None)
    if rank == 0:
        value, dims = value.unsqueeze(1), (1,)
        kept = given[at + 1] if at + 1 < len(given) else kwargs.get("keepdim", False)
        if kept:
            refuse(f"{name} of 0-d tensors with keepdim")
    elif dim is None or dim == () or dim == []:
        dims = tuple(range(1, rank + 1))
    else:
        dims = tuple(place(one, rank) for one in ((dim,) if isinstance(dim, int) else dim))
    found: Any = dims[0] if len(dims) == 1 else dims
    if at < len(given):
        given[at] = found
        return wrapped(level, getattr(value, name)(*given, **kwargs))
    return wrapped(level, getattr(value, name)(*given, dim=found, **kwargs))


@rule(*_ONE)
def _over_one(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    if name in ("max", "min"):
        other = args[0] if args else kwargs.get("other")
        if isinstance(other, Tensor):
            return call("maximum" if name == "max" else "minimum", (x, other), {})
    value = opened(level, x)
    if value is None or any(isinstance(one, Tensor) for one in args):
        refuse(f"{name} with such arguments")
    rank, given, at = value.dim() - 1, list(args), _ONE[name]
    placed = 0 <= at < len(given)
    dim = given[at] if placed else kwargs.pop("dim", None)
    if dim is None or rank == 0:
        kept = given[at + 1] if placed and at + 1 < len(given) else kwargs.pop("keepdim", False)
        value, found = value.reshape(level.size, -1), 1
        if placed:
            del given[at:]
        result = getattr(value, name)(*given, dim=found, **kwargs)
        if dim is None and name in ("max", "min", "median", "nanmedian"):
            result = result[0]
        if kept:
            result = result.reshape(level.size, *(1,) * rank)
        return wrapped(level, result)
    found = place(dim, rank)
    if placed:
        given[at] = found
        return wrapped(level, getattr(value, name)(*given, **kwargs))
    return wrapped(level, getattr(value, name)(*given, dim=found, **kwargs))


@rule("equal", "allclose")
def _compared(level: Level, name: str, *args: Any, **kwargs: Any) -> Any:
    del level, args, kwargs
    return refuse(name)


@rule("msort")
def _sorted(level: Level, name: str, x: Any) -> Any:
    del name
    return Batched(x.value.sort(1)[0], level)
