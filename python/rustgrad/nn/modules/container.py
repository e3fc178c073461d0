"""Modules made of modules, and lists and dictionaries of parameters."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from rustgrad._core import Tensor
from rustgrad.nn.modules.module import Module, _indent, _is_parameter, _typename
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Self


def _place(index: Any, count: int) -> int:
    """Turn an index that may be negative into a place, or raise."""
    place = operator.index(index)
    if not -count <= place < count:
        message = f"index {place} is out of range"
        raise IndexError(message)
    return place % count


class _Numbered(Module):
    """Modules under the names 0, 1, 2, ..."""

    _modules: dict[str, Any]

    def _name(self, index: Any) -> str:
        return next(islice(self._modules, _place(index, len(self._modules)), None))

    def _set_all(self, modules: Iterable[Any]) -> None:
        self._modules.clear()
        for place, module in enumerate(modules):
            self.add_module(str(place), module)

    def __setitem__(self, index: Any, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)[index] if isinstance(index, slice) else [self._name(index)]
        for name in names:
            delattr(self, name)
        self._set_all(list(self._modules.values()))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: Any) -> Any:
        """Remove a module and return it."""
        module = self[key]  # type: ignore[index]
        del self[key]
        return module


class Sequential(_Numbered):
    """Modules called one after the other, each with the result of the one before."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for place, module in enumerate(args):
                self.add_module(str(place), module)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def forward(self, input: Any) -> Any:
        """Call the modules in turn."""
        for module in self._modules.values():
            input = module(input)
        return input

    def _others(self, other: object) -> list[Any]:
        if not isinstance(other, Sequential):
            message = f"add operator supports only objects of Sequential class, but {type(other)} is given."
            raise ValueError(message)
        return list(other)

    def __add__(self, other: object) -> Sequential:
        return Sequential(*self, *self._others(other))

    def __iadd__(self, other: object) -> Self:
        for module in self._others(other):
            self.append(module)
        return self

    def __mul__(self, times: int) -> Sequential:
        if not isinstance(times, int):
            message = f"unsupported operand type(s) for *: {type(self)} and {type(times)}"
            raise TypeError(message)
        if times <= 0:
            message = f"Non-positive multiplication factor {times} for {type(self)}"
            raise ValueError(message)
        return Sequential(*(module for _ in range(times) for module in self))

    __rmul__ = __mul__

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before a place."""
        if not isinstance(module, Module):
            message = f"module should be of type: {Module}"
            raise AssertionError(message)
        count = len(self)
        if not -count <= index <= count:
            message = f"Index out of range: {index}"
            raise IndexError(message)
        modules = list(self)
        modules.insert(index, module)
        self._set_all(modules)
        return self

    def extend(self, sequential: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in sequential:
            self.append(module)
        return self


class ModuleList(_Numbered):
    """A list of modules that are parts of the module the list belongs to."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._name(index)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def insert(self, index: int, module: Module) -> None:
        """Add a module before a place."""
        modules = list(self)
        modules.insert(index, module)
        self._set_all(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            message = f"ModuleList.extend should be called with an iterable, but got {type(modules).__name__}"
            raise TypeError(message)
        for module in list(modules):
            self.append(module)
        return self

    def __repr__(self) -> str:
        groups: list[tuple[str, int, int]] = []
        for place, module in enumerate(self):
            text = repr(module)
            if groups and groups[-1][0] == text:
                groups[-1] = (text, groups[-1][1], place)
            else:
                groups.append((text, place, place))
        if not groups:
            return self._get_name() + "()"
        lines = [
            f"({first}): {_indent(text)}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {_indent(text)}"
            for text, first, last in groups
        ]
        return self._get_name() + "(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """A dictionary of modules that are parts of the module it belongs to."""

    _modules: dict[str, Any]

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Remove a module and return it."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Any:
        """Return the names."""
        return self._modules.keys()

    def items(self) -> Any:
        """Return names and modules."""
        return self._modules.items()

    def values(self) -> Any:
        """Return the modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add modules from a dictionary or from pairs."""
        for key, module in _pairs(modules, "ModuleDict"):
            self[key] = module


def _pairs(source: Any, what: str) -> Iterator[tuple[Any, Any]]:
    if not isinstance(source, Iterable):
        message = f"{what}.update should be called with an iterable of key/value pairs, but got {type(source).__name__}"
        raise TypeError(message)
    if isinstance(source, (Mapping, ModuleDict, ParameterDict)):
        yield from source.items()
        return
    for place, pair in enumerate(source):
        if not isinstance(pair, Iterable):
            message = f"{what} update sequence element #{place} should be Iterable; is {type(pair).__name__}"
            raise TypeError(message)
        pair = tuple(pair)
        if len(pair) != 2:
            message = f"{what} update sequence element #{place} has length {len(pair)}; 2 is required"
            raise ValueError(message)
        yield pair


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not _is_parameter(value) else value


def _describe(value: Any, by_dtype: bool = False) -> str:
    if not isinstance(value, Tensor):
        return f"Object of type: {type(value).__name__}"
    size = "x".join(str(n) for n in value.shape)
    kind = "Parameter" if _is_parameter(value) else "Tensor"
    named = value.dtype if by_dtype else _typename(value)
    return f"{kind} containing: [{named} of size {size}]"


class ParameterList(Module):
    """A list of parameters of the module it belongs to; plain tensors become parameters."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)([self[i] for i in range(*index.indices(len(self)))])
        return getattr(self, str(_place(index, self._size)))

    def __setitem__(self, index: Any, value: Any) -> None:
        setattr(self, str(_place(index, self._size)), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(self._size)])

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def append(self, value: Any) -> Self:
        """Add a value at the end."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add values at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            message = f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}"
            raise TypeError(message)
        for value in values:
            self.append(value)
        return self

    def pop(self, index: Any = -1) -> Any:
        """Remove a value and return it."""
        place = _place(index, self._size)
        values = list(self)
        value = values.pop(place)
        for i in range(self._size):
            delattr(self, str(i))
        self._size = 0
        self.extend(values)
        return value

    def extra_repr(self) -> str:
        """List the values."""
        return "\n".join(f"  ({i}): {_describe(value, True)}" for i, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse."""
        message = "ParameterList should not be called."
        raise RuntimeError(message)


class ParameterDict(Module):
    """A dictionary of parameters of the module it belongs to; plain tensors become parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def _attribute(self, key: Any) -> str:
        if not isinstance(key, str):
            message = (
                "Index given to ParameterDict cannot be used as a key as it is not a string "
                f"(type is '{type(key).__name__}'). Open an issue on github if you need non-string keys."
            )
            raise TypeError(message)
        return key

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._attribute(key))

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, self._attribute(key), _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, self._attribute(key))

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Any:
        """Return the names."""
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names and values."""
        return [(key, self[key]) for key in self._keys]

    def values(self) -> Iterable[Any]:
        """Return the values."""
        return [self[key] for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return getattr(self, key) if key in self._keys else default

    def pop(self, key: str) -> Any:
        """Remove a value and return it."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Remove all values."""
        for key in list(self._keys):
            del self[key]

    def update(self, parameters: Any) -> None:
        """Add values from a dictionary or from pairs."""
        for key, value in _pairs(parameters, "ParametersDict"):
            self[key] = value

    def extra_repr(self) -> str:
        """List the values."""
        return "\n".join(f"  ({key}): {_describe(value)}" for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse."""
        message = "ParameterDict should not be called."
        raise RuntimeError(message)
