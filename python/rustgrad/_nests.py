"""Nests of tuples, lists and dicts: what they hold, and others of their form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def leaves(tree: Any) -> Iterator[Any]:
    """Give what a nest of tuples, lists and dicts holds, in order."""
    if isinstance(tree, (tuple, list)):
        for one in tree:
            yield from leaves(one)
    elif isinstance(tree, dict):
        for one in tree.values():
            yield from leaves(one)
    else:
        yield tree


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to what a nest holds."""
    if isinstance(tree, tuple) and hasattr(tree, "_make"):
        return type(tree)(*(mapped(function, one) for one in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(function, one) for one in tree)
    if isinstance(tree, dict):
        return {key: mapped(function, one) for key, one in tree.items()}
    return function(tree)


def fill(tree: Any, values: Iterator[Any]) -> Any:
    """Put values, in order, into the places of a nest."""
    return mapped(lambda _: next(values), tree)


def whole(tensor: Any) -> Any:
    """Give what can be asked whether all is well: of a tensor that stands for a batch, the slices."""
    if type(tensor) is Tensor:
        return tensor
    from rustgrad._batching import base

    return base(tensor)


def check_writable(name: str, source: Any, targets: Sequence[Any]) -> None:
    """Refuse to write what stands for a batch to tensors that do not, as an operation is about to."""
    from rustgrad._batching import Batched, written

    if type(source) is Batched:
        for target in targets:
            if target is not None:
                written(source.level, target, name)
