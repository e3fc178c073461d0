"""Small programs whose answers under torch are recorded, one text file a family.

``tests/programs/<family>.txt`` holds programs divided by blank lines; the value of the last line is the
answer (or the type of the exception). ``# stage 4`` on a line of its own puts what follows into a later
stage; any other line that starts with ``#`` is a heading. The family ``printing`` answers with the exact text,
``graphs`` with the nodes behind the result.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import oracle
from oracle import T, encode

FOLDER = Path(__file__).parent / "programs"
EXAMPLES = Path(__file__).parents[1] / "examples"
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def families() -> list[str]:
    """Name the families of programs."""
    return [*sorted(path.stem for path in FOLDER.glob("*.txt")), "promotion"]


@functools.cache
def read(family: str) -> dict[str, int]:
    """Return the programs of a family with their stages, in order."""
    if family == "promotion":
        return promotions()
    found: dict[str, int] = {}
    stage = 3
    for block in (FOLDER / f"{family}.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = block.strip("\n").splitlines()
        while lines and lines[0].startswith("#"):
            heading = lines.pop(0)
            if heading.startswith("# stage"):
                stage = int(heading.split()[2])
        if lines:
            text = "\n".join(lines)
            assert text not in found, f"twice in {family}: {text}"
            found[text] = stage
    return found


def promotions() -> dict[str, int]:
    """Make the table of result types: tensors, 0-d tensors and Python scalars, under several operations."""
    scalars = ("True", "2", "2.5")
    found = {}
    for left in DTYPES:
        one = f"T.ones(2, dtype=T.{left})"
        others = [f"T.ones(2, dtype=T.{right})" for right in DTYPES]
        others += [f"T.ones((), dtype=T.{right})" for right in DTYPES]
        others += [*scalars, "np.float64(2.5)", "np.int64(2)"]
        for other in others:
            texts = [f"{one} {symbol} {other}" for symbol in ("+", "*", "/", "//", "**", "<")]
            texts += [f"{other} - {one}", f"{one}.clone().mul_({other})", f"T.where(T.ones(2) > 0, {one}, {other})"]
            if other.startswith("T."):
                texts += [f"T.maximum({one}, {other})", f"T.cat([{one}, {other.replace('()', '1')}])"]
                texts += [f"T.result_type({one}, {other})", f"T.promote_types({one}.dtype, {other}.dtype)"]
                texts += [f"T.can_cast({one}.dtype, {other}.dtype)"]
            found.update(dict.fromkeys(texts, 3))
    for left in DTYPES:
        for right in DTYPES:
            found[f"T.ones((), dtype=T.{left}) + T.ones((), dtype=T.{right})"] = 3
        for scalar in scalars:
            found[f"T.ones((), dtype=T.{left}) * {scalar}"] = 3
    return found


def answer(family: str, program: str) -> Any:
    """Run one program and return its answer in JSON's types."""
    space: dict[str, Any] = {"T": T, "np": np, "copy": copy, "math": math, "pickle": pickle}
    if family == "graphs":
        space |= {"x": T.tensor([2.0, 3.0], requires_grad=True), "y": T.tensor([1.0, 2.0], requires_grad=True)}
        space["m"] = T.ones(2, 2, requires_grad=True)
    body = ast.parse(program).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    try:
        exec(compile(ast.Module(body, []), "<program>", "exec"), space)
        result = (
            eval(compile(ast.Expression(last.value), "<program>", "eval"), space)
            if isinstance(last, ast.Expr)
            else None
        )
        if family == "printing":
            return repr(result)
        if family == "graphs":
            return graph(getattr(result, "grad_fn", None))
        if family == "promotion":
            return str(getattr(result, "dtype", result)).rpartition(".")[2]
        return encode(result)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return {"error": oracle.error_name(error)}
    finally:
        T.set_printoptions(profile="default")
        T.set_default_dtype(T.float32)


def graph(node: Any) -> str:
    """Write the graph behind a node as nested class names."""
    if node is None:
        return "None"
    return f"{type(node).__name__}({', '.join(graph(next_) for next_, _ in node.next_functions)})"


def tour() -> str:
    """Return what ``examples/autograd_tour.py`` prints with the module under test."""
    source = (EXAMPLES / "autograd_tour.py").read_text(encoding="utf-8")
    if oracle.IS_TORCH:
        source = source.replace("import rustgrad as torch", "import torch")
    space: dict[str, Any] = {"__name__": "tour"}
    exec(compile(source, "autograd_tour.py", "exec"), space)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        space["play"](space["CHAPTER"])
    return printed.getvalue().replace("import torch\n", "import rustgrad as torch\n")


def record(family: str) -> dict[str, Any]:
    """Return the answers of the module at hand to every program of a family."""
    return {program: answer(family, program) for program in read(family)}


def of_stage(family: str) -> list[str]:
    """Return the programs that are expected to work by now."""
    return [program for program, stage in read(family).items() if stage <= oracle.STAGE]


def check(family: str, program: str, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """Run a program and compare its answer to torch's."""
    want = oracle.golden(family)[program]
    got = answer(family, program)
    if isinstance(want, dict) and "error" in want and isinstance(got, dict) and "error" in got:
        fits = got == want or (want["error"] == "NotImplementedError" and got["error"] in ("RuntimeError", "TypeError"))
        assert fits, f"{program}\nraises {got['error']}, torch raises {want['error']}"
    elif family == "printing":
        assert got == want, f"{program}\nprints\n{got}\ntorch prints\n{want}"
    else:
        oracle.compare(got, want, rtol, atol, program)
