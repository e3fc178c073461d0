#!/usr/bin/env python3
"""Write python/rustgrad/_core.pyi from the compiled module.

Names, parameters and defaults are read from the module, types from the tables below; whatever is not named there
takes and gives tensors. ``mypy.stubtest`` holds the result to the module in CI.

Run with the built package importable:  ``PYTHONPATH=python python3 tools/make_stub.py``
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from rustgrad import _core

NUMBER = "bool | int | float"
PARAMETERS = {
    "alpha": "float",
    "correction": "float | None",
    "create_graph": "bool",
    "descending": "bool",
    "device": "device | str | None",
    "dim": "int | Sequence[int] | None",
    "dim0": "int",
    "dim1": "int",
    "dims": "Any",
    "dtype": "dtype | None",
    "eps": "float | None",
    "generator": "Generator | None",
    "gradient": "Tensor | None",
    "hook": "Callable[..., Any]",
    "index": "Any",
    "inplace": "bool",
    "inputs": "Any",
    "keepdim": "bool",
    "largest": "bool",
    "mode": "Any",
    "name": "str",
    "other": f"Tensor | {NUMBER}",
    "requires_grad": "bool",
    "retain_graph": "bool | None",
    "sorted": "bool",
    "stable": "bool",
    "value": "Any",
}
METHOD_RETURNS = {
    "__array__": "Any",
    "__bool__": "bool",
    "__complex__": "complex",
    "__contains__": "bool",
    "__deepcopy__": "Tensor",
    "__dlpack__": "Any",
    "__float__": "float",
    "__format__": "str",
    "__hash__": "int",
    "__index__": "int",
    "__int__": "int",
    "__iter__": "Iterator[Tensor]",
    "__len__": "int",
    "__reduce__": "Any",
    "__reduce_ex__": "Any",
    "__repr__": "str",
    "__setitem__": "None",
    "__str__": "str",
    "_is_view": "bool",
    "_sequence_nr": "int",
    "allclose": "bool",
    "backward": "None",
    "data_ptr": "int",
    "dim": "int",
    "element_size": "int",
    "equal": "bool",
    "get_device": "int",
    "is_complex": "bool",
    "is_contiguous": "bool",
    "is_floating_point": "bool",
    "is_inference": "bool",
    "is_nonzero": "bool",
    "is_set_to": "bool",
    "is_signed": "bool",
    "item": "Any",
    "ndimension": "int",
    "nelement": "int",
    "numel": "int",
    "numpy": "Any",
    "register_hook": "RemovableHandle",
    "register_post_accumulate_grad_hook": "RemovableHandle",
    "register_prehook": "RemovableHandle",
    "retain_grad": "None",
    "size": "Any",
    "storage_offset": "int",
    "stride": "Any",
    "tolist": "Any",
    "type": "Any",
}
#: Methods whose result is several tensors, or depends on the arguments.
SEVERAL = {
    "_unsafe_split", "aminmax", "broadcast_tensors", "chunk", "cummax", "cummin", "dsplit", "frexp", "hsplit", "histc",
    "kthvalue",
    "max", "median", "meshgrid", "min", "mode", "nanmedian", "nonzero", "sort", "split", "split_with_sizes",
    "std_mean", "svd", "tensor_split", "topk", "unbind", "unique", "unique_consecutive", "var_mean", "vsplit", "where",
}  # fmt: skip
PROPERTIES = {
    "_base": "Tensor | None",
    "_version": "int",
    "data": "Tensor",
    "device": "device",
    "dtype": "dtype",
    "grad": "Any",  # None until a backward pass, then a tensor: as in torch, code reads it unasked
    "grad_fn": "Node | None",
    "id": "int",
    "index": "int | None",
    "is_complex": "bool",
    "is_cpu": "bool",
    "is_cuda": "bool",
    "is_floating_point": "bool",
    "is_leaf": "bool",
    "is_signed": "bool",
    "is_sparse": "bool",
    "itemsize": "int",
    "layout": "Any",
    "names": "Any",
    "nbytes": "int",
    "ndim": "int",
    "next_functions": "tuple[tuple[Node | None, int], ...]",
    "output_nr": "int",
    "requires_grad": "bool",
    "retains_grad": "bool",
    "shape": "Any",
    "site": "str",
    "type": "str",
    "variable": "Tensor",
}
FUNCTION_RETURNS = {
    "_backward": "None",
    "_one_hot": "Tensor",
    "_grad": "tuple[Any, ...]",
    "allclose": "bool",
    "can_cast": "bool",
    "equal": "bool",
    "get_num_threads": "int",
    "initial_seed": "int",
    "is_grad_enabled": "bool",
    "is_inference_mode_enabled": "bool",
    "is_tensor": "bool",
    "manual_seed": "Generator",
    "numel": "int",
    "promote_types": "dtype",
    "result_type": "dtype",
    "seed": "int",
    "get_default_dtype": "dtype",
    "set_default_dtype": "None",
    "set_num_threads": "None",
    "set_printoptions": "None",
    "set_rng_state": "None",
    "_set_grad_enabled": "bool",
    "_set_inference_mode": "Any",
}
#: Classes whose methods give something else than tensors.
OTHER_CLASSES = {"Generator", "Node", "RemovableHandle", "Size", "device", "dtype", "finfo", "iinfo"}


SHADOWED = re.compile(r"\b(bool|int|float|complex|str|dtype|device)\b")


def spelled(kind: str) -> str:
    """Give a type by an alias where the module or the class has something else of its name."""
    return SHADOWED.sub(r"_\1", kind)


def parameter(p: inspect.Parameter) -> str:
    """Give one parameter as source."""
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    kind = PARAMETERS.get(p.name, "Any") if not stars else "Any"
    if p.default is p.empty:
        return f"{stars}{p.name}: {spelled(kind)}"
    default = repr(p.default)
    if default not in {"None", "True", "False"} and not default.lstrip("-").replace(".", "", 1).isdigit():
        default = "..." if not default.startswith("'") else default
    if default == "None" and "None" not in kind and kind != "Any":
        kind += " | None"
    if default in {"True", "False"}:
        kind = "bool"
    return f"{p.name}: {spelled(kind)} = {default}"


def signature(function: object, first: str | None) -> str:
    """Give the parameter list of a function as source; ``first`` names the receiver."""
    try:
        listed = list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"{first}, *args: Any, **kwargs: Any" if first else "*args: Any, **kwargs: Any"
    parts: list[str] = []
    seen_slash = seen_star = False
    for i, p in enumerate(listed):
        if first and i == 0:
            parts.append(p.name)
        else:
            if p.kind is p.VAR_POSITIONAL:
                seen_star = True
            if p.kind is p.KEYWORD_ONLY and not seen_star:
                parts.append("*")
                seen_star = True
            parts.append(parameter(p))
        following = listed[i + 1].kind if i + 1 < len(listed) else None
        if p.kind is p.POSITIONAL_ONLY and following is not p.POSITIONAL_ONLY and not seen_slash:
            parts.append("/")
            seen_slash = True
    return ", ".join(parts)


SKIP = {"__new__", "__doc__", "__module__", "__dict__", "__weakref__", "__getattribute__", "__init_subclass__",
        "__subclasshook__", "__dir__", "__sizeof__", "__init__", "__setattr__", "__delattr__"}  # fmt: skip

# Bases that take a type of elements.
GENERIC = {tuple: "tuple[Any, ...]"}


def of_class(name: str, cls: type) -> list[str]:
    """Give a class as source lines."""
    bases = [GENERIC.get(base, base.__name__) for base in cls.__bases__ if base is not object]
    final = "@final\n" if not cls.__flags__ & (1 << 10) else ""
    lines = [f"{final}class {name}({', '.join(bases)}):" if bases else f"{final}class {name}:"]
    own = vars(cls)
    tensor = name == "Tensor"
    if tensor:
        lines.append("    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...")
        lines.append("    def __init__(self, *args: Any) -> None: ...")
    elif "__new__" in own and own["__new__"] is not object.__new__ and cls.__text_signature__ is not None:
        listed = signature(cls, None)
        lines.append(f"    def __new__(cls{', ' + listed if listed else ''}) -> Self: ...")
    for member in sorted(own):
        if member == "__init__" and tensor:
            continue
        if member in SKIP or member.startswith("__pymethod") or (name == "Size" and member.startswith("__")):
            continue
        value = own[member]
        if isinstance(value, (staticmethod, classmethod)):
            lines.append(f"    @{type(value).__name__}")
            bound = getattr(cls, member)
            receiver = "cls, " if isinstance(value, classmethod) else ""
            lines.append(f"    def {member}({receiver}{signature(bound, None)}) -> Any: ...")
        elif inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value):
            kind = PROPERTIES.get(member, "Tensor" if tensor else "Any")
            lines += ["    @property", f"    def {member}(self) -> {spelled(kind)}: ..."]
            if tensor and member in {"data", "grad", "requires_grad", "grad_fn"}:
                lines += [f"    @{member}.setter", f"    def {member}(self, value: Any) -> None: ..."]
        elif type(value).__name__ == "classmethod_descriptor":
            lines += ["    @classmethod", f"    def {member}({signature(value, 'cls')}) -> Any: ..."]
        elif callable(value):
            default = "Any" if not tensor or member in SEVERAL else "Tensor"
            if member in {"__eq__", "__ne__"}:
                listed = "self, value: object, /"
                default = "Tensor" if tensor else "bool"
                lines.append(f"    def {member}({listed}) -> {default}: ...  # type: ignore[override]"
                             if tensor else f"    def {member}({listed}) -> _bool: ...")  # fmt: skip
                continue
            returns = METHOD_RETURNS.get(member, default)
            note = "  # type: ignore[misc]" if member == "__ipow__" else ""
            if name in OTHER_CLASSES:
                returns = METHOD_RETURNS.get(member, "Any")
            lines.append(f"    def {member}({signature(value, 'self')}) -> {spelled(returns)}: ...{note}")
        elif member in {"__hash__", "__match_args__"}:
            continue
        else:
            lines.append(f"    {member}: Any")
    if len(lines) == 1:
        lines.append("    pass")
    return lines


def main() -> None:
    """Write the stub."""
    names = sorted(name for name in dir(_core) if not (name.startswith("__") and name.endswith("__")))
    body: list[str] = []
    for name in names:
        value = getattr(_core, name)
        if isinstance(value, type):
            if value.__name__ != name and hasattr(_core, value.__name__):
                body.append(f"{name} = {value.__name__}")
            else:
                body += ["", *of_class(name, value)]
    for name in names:
        value = getattr(_core, name)
        if isinstance(value, type):
            continue
        if inspect.ismethoddescriptor(value):
            body.append(f"{name} = Tensor.{value.__name__}")
        elif callable(value):
            internal = name.startswith("_") and not name.startswith("_nn_")
            returns = FUNCTION_RETURNS.get(name, "Any" if internal or name in SEVERAL else "Tensor")
            body.append(f"def {name}({signature(value, None)}) -> {spelled(returns)}: ...")
        else:
            kind = type(value).__name__
            known = hasattr(_core, kind) or kind in {"int", "str"}
            body.append(f"{name}: {spelled(kind) if known else 'Any'}")
    head = [
        '"""The compiled part of rustgrad. Generated by tools/make_stub.py; types are in its tables."""',
        "",
        "from builtins import bool as _bool, complex as _complex, float as _float, int as _int, str as _str",
        "from collections.abc import Callable, Iterator, Sequence",
        "from typing import Any, TypeAlias, final",
        "",
        "from typing_extensions import Self",
        "",
        "",
        f"__all__ = {list(_core.__all__)!r}",
        "",
        "_dtype: TypeAlias = dtype",
        "_device: TypeAlias = device",
        "",
    ]
    # The dtypes shadow builtins below, so types are spelled through aliases.
    text = "\n".join(head + body) + "\n"
    target = Path(__file__).parent.parent / "python" / "rustgrad" / "_core.pyi"
    target.write_text(text)
    sys.stdout.write(f"{target}: {len(text.splitlines())} lines\n")


if __name__ == "__main__":
    main()
