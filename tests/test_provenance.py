"""Errors name the lines of the user's program: where a tensor was made, saved, overwritten."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from oracle import T

pytestmark = pytest.mark.rustgrad_only


def here() -> int:
    """Return the line of the caller."""
    return sys._getframe(1).f_lineno


def names(error: BaseException, line: int, file: str = Path(__file__).name) -> bool:
    """Say whether an error's text names a line of a file as ``file:line`` or ``file", line n``."""
    text = str(error)
    return f"{file}:{line}" in text or f'{file}", line {line}' in text


def test_second_backward_names_the_line_that_made_the_tensor() -> None:
    """The error points at the operation whose saved tensors are gone."""
    x = T.ones(3, requires_grad=True)
    line = here() + 1
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time") as caught:
        y.backward()
    assert names(caught.value, line)


def test_second_backward_from_another_part_of_the_graph() -> None:
    """The line is that of the freed node, not that of the call."""
    x = T.ones(3, requires_grad=True)
    line = here() + 1
    shared = x.exp()
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="second time") as caught:
        (shared + 1).sum().backward()
    assert names(caught.value, line)


def test_overwritten_input_names_both_lines() -> None:
    """The line that saved it and the line that overwrote it."""
    x = T.ones(3, requires_grad=True)
    y = x + 1
    saved = here() + 1
    z = y * y
    overwritten = here() + 1
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        z.sum().backward()
    assert names(caught.value, saved)
    assert names(caught.value, overwritten)


def test_overwritten_output_names_both_lines() -> None:
    """The same for a saved output."""
    x = T.ones(3, requires_grad=True)
    saved = here() + 1
    y = x.tanh()
    overwritten = here() + 1
    y *= 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        y.sum().backward()
    assert names(caught.value, saved)
    assert names(caught.value, overwritten)


def test_overwritten_through_a_view_and_an_assignment() -> None:
    """Assigning to an index counts as overwriting, through views as well."""
    x = T.ones(3, requires_grad=True)
    y = x * 2
    saved = here() + 1
    z = y.sigmoid() * y
    view = y[1:]
    overwritten = here() + 1
    view[0] = 5
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        z.sum().backward()
    assert names(caught.value, saved)
    assert names(caught.value, overwritten)


def test_does_not_require_grad_names_the_line_that_made_the_tensor() -> None:
    """The error tells where the tensor without a graph came from."""
    x = T.ones(3)
    line = here() + 1
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match="does not require grad") as caught:
        y.backward()
    assert names(caught.value, line) or names(caught.value, here() - 1)


def test_shape_error_has_operation_and_both_shapes() -> None:
    """A shape error names what was asked and of what."""
    x, y = T.ones(2, 3), T.ones(4)
    with pytest.raises(RuntimeError) as caught:
        x + y
    text = str(caught.value)
    assert "add" in text
    assert "[2, 3]" in text or "(2, 3)" in text
    assert "[4]" in text or "(4,)" in text


def test_shape_error_names_the_lines_of_its_operands() -> None:
    """Operands that an operation with a graph made are shown with their lines."""
    leaf = T.ones(2, 3, requires_grad=True)
    left_line = here() + 1
    left = leaf * 2
    right_line = here() + 1
    right = leaf.sum(1) * 3
    with pytest.raises(RuntimeError) as caught:
        left @ left + right
    assert names(caught.value, left_line)
    with pytest.raises(RuntimeError) as caught:
        left + T.cat([right, right, right])
    assert names(caught.value, left_line)
    assert right_line > left_line


def test_the_line_within_a_function_of_another_file() -> None:
    """The file is the one that holds the call, be it the user's or a library's."""
    source = textwrap.dedent("""
        def layer(x):
            hidden = x * 3
            return hidden * hidden
    """)
    space: dict[str, Any] = {}
    code: CodeType = compile(source, "/somewhere/layers.py", "exec")
    exec(code, space)
    x = T.ones(2, requires_grad=True)
    y = space["layer"](x).sum()
    y.backward()
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert names(caught.value, 4, "layers.py")


def test_lines_stay_right_in_a_loop() -> None:
    """Each node has the line of its own call, though one frame made them all."""
    x = T.ones(2, requires_grad=True)
    z = x
    for _ in range(10):
        z = z + 1
        line = here() + 1
        z = z * z
    z.sum().backward()
    with pytest.raises(RuntimeError) as caught:
        z.sum().backward()
    assert names(caught.value, line)


def test_source_file_may_be_gone() -> None:
    """Code without a file is named by what the interpreter calls it."""
    space: dict[str, Any] = {"x": T.ones(2, requires_grad=True)}
    exec(compile("y = (x * x).sum()", "<typed in>", "exec"), space)
    space["y"].backward()
    with pytest.raises(RuntimeError) as caught:
        space["y"].backward()
    assert names(caught.value, 1, "<typed in>")


def test_code_may_be_dropped_before_the_error() -> None:
    """The line is known after the function that made the node has been freed."""
    x = T.ones(2, requires_grad=True)

    def make() -> Any:
        space: dict[str, Any] = {"x": x}
        exec(compile("\n\ny = (x * x).sum()", "gone.py", "exec"), space)
        return space["y"]

    y = make()
    y.backward()
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert names(caught.value, 3, "gone.py")
