"""Which module is under test, and what real torch once answered.

The module is chosen by ``RUSTGRAD_TEST_MODULE`` (``rustgrad`` by default, ``torch`` to check the tests
themselves). What torch answered is kept in ``tests/golden/*.json.gz``, written by ``record_golden.py``.
"""

from __future__ import annotations

import functools
import gzip
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

MODULE = os.environ.get("RUSTGRAD_TEST_MODULE", "rustgrad")
IS_TORCH = MODULE == "torch"
T: Any = importlib.import_module(MODULE)

STAGE = 99 if IS_TORCH else int(os.environ.get("RUSTGRAD_TEST_STAGE", "3"))
"""Rows and programs of a later stage than this are not run."""

GOLDEN = Path(__file__).parent / "golden"


@functools.cache
def golden(family: str) -> dict[str, Any]:
    """Read what torch answered for one family of questions."""
    with gzip.open(GOLDEN / f"{family}.json.gz", "rt", encoding="utf-8") as file:
        content: dict[str, Any] = json.load(file)
    return content


def save_golden(family: str, content: dict[str, Any]) -> Path:
    """Write a golden file; the same content gives the same bytes."""
    path = GOLDEN / f"{family}.json.gz"
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def is_tensor(value: object) -> bool:
    """Tell a tensor of the module under test."""
    return isinstance(value, T.Tensor)


def encode(value: Any) -> Any:
    """Turn an answer into JSON: tensors with dtype, shape and numbers; containers; else its repr."""
    if is_tensor(value):
        kind = str(value.dtype).rpartition(".")[2]
        numbers = value.detach().reshape(-1).tolist()
        if kind == "float32":  # nine digits are enough to tell all float32 apart
            numbers = [float(f"{number:.9g}") for number in numbers]
        return {"dtype": kind, "shape": list(value.shape), "data": numbers}
    if isinstance(value, T.dtype):
        return {"repr": repr(value).rpartition(".")[2]}
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, tuple) and type(value).__name__ == "Size":
        return {"size": list(value)}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return {"array": str(value.dtype), "shape": list(value.shape), "data": value.reshape(-1).tolist()}
    return {"repr": repr(value)}


def compare(got: Any, want: Any, rtol: float = 0.0, atol: float = 0.0, where: str = "") -> None:
    """Assert that two encoded answers agree; numbers within the tolerance, NaN equal to NaN."""
    if isinstance(want, dict) and isinstance(got, dict) and "data" in want:
        head = {key: entry for key, entry in got.items() if key != "data"}
        wanted = {key: entry for key, entry in want.items() if key != "data"}
        assert head == wanted, f"{where}: {head}, torch gives {wanted}"
        left, right = np.array(got["data"]), np.array(want["data"])
        if left.dtype.kind == "f" or right.dtype.kind == "f":
            np.testing.assert_allclose(
                left.astype(float), right.astype(float), rtol=rtol, atol=atol, err_msg=f"{where} {head}"
            )
        else:
            np.testing.assert_array_equal(left, right, err_msg=f"{where} {head}")
    elif isinstance(want, list) and isinstance(got, list):
        assert len(got) == len(want), f"{where}: {len(got)} results, torch gives {len(want)}"
        for position, (mine, theirs) in enumerate(zip(got, want, strict=True)):
            compare(mine, theirs, rtol, atol, f"{where}[{position}]")
    elif isinstance(want, dict) and isinstance(got, dict) and "float" in want and "float" in got:
        same = math.isclose(got["float"], want["float"], rel_tol=max(rtol, 1e-6), abs_tol=atol)
        nans = math.isnan(got["float"]) and math.isnan(want["float"])
        assert same or nans, f"{where}: {got['float']}, torch gives {want['float']}"
    else:
        assert got == want, f"{where}: {got!r}, torch gives {want!r}"


def error_name(error: BaseException) -> str:
    """Name the built-in exception that a user would catch this error as."""
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins":
            return kind.__name__
    return type(error).__name__


def error_fits(got: BaseException, want: str) -> bool:
    """Say whether ``got`` would be caught by a program written for torch's exception ``want``.

    A missing kernel (``NotImplementedError``) may also be a plain ``RuntimeError``, or a ``TypeError``.
    """
    accepted = {want, "RuntimeError", "TypeError"} if want == "NotImplementedError" else {want}
    return any(kind.__name__ in accepted for kind in type(got).__mro__)
