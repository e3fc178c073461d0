"""Comparing results in tests: :func:`assert_close`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["assert_close"]

# Relative and absolute tolerance by dtype; whole numbers must be equal.
_TOLERANCES = {"torch.float64": (1e-7, 1e-7), "torch.float32": (1.3e-6, 1e-5)}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Assert that ``|actual - expected| <= atol + rtol * |expected|`` for every element.

    Parameters
    ----------
    actual, expected
        Tensors, numbers, or sequences and mappings of them.
    allow_subclasses
        Whether the classes of tensors may differ.
    rtol, atol
        The tolerances, both or neither; by default those of the dtypes.
    equal_nan
        Whether NaN equals NaN.
    check_device, check_layout
        Accepted; there is one device and one layout.
    check_dtype, check_stride
        Whether dtypes and strides must agree.
    msg
        The message of the error, or a function of the message it would have.

    Raises
    ------
    AssertionError
        If they differ; the message tells where and by how much.
    TypeError
        If they cannot be compared.
    ValueError
        If only one tolerance is given.
    """
    if (rtol is None) != (atol is None):
        message = (
            "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
            f"{'rtol' if rtol is None else 'atol'}."
        )
        raise ValueError(message)
    tolerances = None if rtol is None or atol is None else (rtol, atol)
    found = _difference(actual, expected, tolerances, equal_nan, check_dtype, check_stride, allow_subclasses, "")
    if found is not None:
        raise AssertionError(msg(found) if callable(msg) else msg or found)


def _difference(
    actual: Any,
    expected: Any,
    tolerances: tuple[float, float] | None,
    equal_nan: bool,
    check_dtype: bool,
    check_stride: bool,
    allow_subclasses: bool,
    where: str,
) -> str | None:
    """Describe the first difference; None if there is none."""
    rest = (tolerances, equal_nan, check_dtype, check_stride, allow_subclasses)
    item = f"\n\nThe failure occurred for item {where}" if where else ""
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        if not allow_subclasses and type(actual) is not type(expected):
            return f"{type(actual)} and {type(expected)} are not of the same class.{item}"
        found = _tensors(actual, expected, tolerances, equal_nan, check_dtype, check_stride)
        return found and found + item
    numbers = (bool, int, float)
    if isinstance(actual, numbers) and isinstance(expected, numbers):
        if check_dtype and type(actual) is not type(expected) and tolerances is None:
            return f"The types of the numbers do not match: {type(actual)} != {type(expected)}.{item}"
        floats = isinstance(actual, float) or isinstance(expected, float)
        limits = tolerances or ((1e-7, 1e-7) if floats else (0.0, 0.0))
        found = _numbers(actual, expected, limits, equal_nan)
        return found and found + item
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return f"The keys of the mappings do not match: {sorted(actual)} != {sorted(expected)}{item}"
        pairs = [(f"[{key!r}]", actual[key], expected[key]) for key in expected]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}{item}"
        pairs = [(f"[{i}]", a, b) for i, (a, b) in enumerate(zip(actual, expected, strict=True))]
    elif actual is None and expected is None:
        return None
    else:
        message = f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
        raise TypeError(message)
    for key, a, b in pairs:
        found = _difference(a, b, *rest, where + key)
        if found is not None:
            return found
    return None


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _numbers(actual: float, expected: float, limits: tuple[float, float], equal_nan: bool) -> str | None:
    rtol, atol = limits
    if actual == expected or (equal_nan and math.isnan(actual) and math.isnan(expected)):
        return None
    difference = abs(actual - expected)
    if math.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return None
    exact = rtol == atol == 0
    ratio = difference / abs(expected) if expected else math.inf
    notes = ("", "") if exact else (f" (up to {atol} allowed)", f" (up to {rtol} allowed)")
    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{notes[0]}\nRelative difference: {ratio}{notes[1]}"
    )


def _tensors(
    actual: Tensor,
    expected: Tensor,
    tolerances: tuple[float, float] | None,
    equal_nan: bool,
    check_dtype: bool,
    check_stride: bool,
) -> str | None:
    for name, checked in (("shape", True), ("dtype", check_dtype)):
        a, b = getattr(actual, name), getattr(expected, name)
        if checked and a != b:
            return f"The values for attribute '{name}' do not match: {a} != {b}."
    if check_stride and actual.stride() != expected.stride():
        return f"The values for attribute 'stride()' do not match: {actual.stride()} != {expected.stride()}."
    defaults = [_TOLERANCES.get(str(t.dtype).replace("rustgrad", "torch"), (0.0, 0.0)) for t in (actual, expected)]
    rtol, atol = tolerances or (max(d[0] for d in defaults), max(d[1] for d in defaults))
    a, b = actual.detach(), expected.detach()
    if a.dtype != b.dtype or not a.dtype.is_floating_point:
        # Whole numbers are compared as such where that is exact.
        common = _core.promote_types(a.dtype, b.dtype)
        common = _core.int64 if common == _core.bool else common
        a, b = a.to(common), b.to(common)
    close = _core.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if close.all().item():
        return None
    exact = rtol == atol == 0
    if actual.dim() == 0:
        return _numbers(actual.item(), expected.item(), (rtol, atol), equal_nan)
    wrong = int((~close).sum().item())
    difference = (a - b).abs()
    ratio = difference / b.abs()
    lines = [
        f"Tensor-likes are not {'equal' if exact else 'close'}!\n",
        f"Mismatched elements: {wrong} / {a.numel()} ({wrong / a.numel():.1%})",
    ]
    for name, values, limit in (("absolute", difference, atol), ("relative", ratio, rtol)):
        flat = values.masked_fill(close, 0).reshape(-1)
        at = int(flat.argmax().item())
        index = []
        for size in reversed(a.shape):
            index.append(at % size)
            at //= size
        place = tuple(reversed(index))
        note = "" if exact else f" (up to {limit} allowed)"
        lines.append(f"Greatest {name} difference: {values[place].item()} at index {place}{note}")
    return "\n".join(lines)
