"""Run the table of operations: values, dtypes, gradients, second gradients, layouts, central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import op_answers
import pytest
from op_table import FLOATS, Case, Row, rows
from oracle import STAGE, T, compare, encode, error_fits, golden, is_tensor

# Variances of too few elements are among the cases.
pytestmark = pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0:UserWarning")

ROWS = list(rows(STAGE))
SMOOTH = [row for row in ROWS if row.order]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text)
every_smooth_row = pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.text)


def recorded(row: Row, label: str) -> dict[str, Any]:
    """Return what torch answered to one case of a row."""
    answers: dict[str, Any] = golden(f"ops_{row.family}")[row.text][label]
    return answers


@every_row
def test_values(row: Row) -> None:
    """Values, dtypes and shapes are torch's for every dtype; so is the type of the error where it refuses."""
    for label, case in row.cases.items():
        for dtype in case.dtypes:
            want, where = recorded(row, label)[dtype], f"{row.text} [{label}, {dtype}]"
            if isinstance(want, dict) and "error" in want:
                if dtype not in row.extends:
                    with pytest.raises(Exception) as caught:  # noqa: PT011 (the type is checked below)
                        pytest.fail(f"{where} gave {row.run(T, op_answers.tensors(case, dtype))}, torch raises {want}")
                    assert error_fits(caught.value, want["error"]), f"{where}: {caught.value!r}, torch raises {want}"
                continue
            got = encode(row.run(T, op_answers.tensors(case, dtype)))
            compare(got, want, *result_tolerance(row, want), where)


def result_tolerance(row: Row, want: Any) -> tuple[float, float]:
    """Return the tolerance for a recorded answer, by the dtype it has."""
    first = want[0] if isinstance(want, list) and want else want
    kind = first.get("dtype", "float64") if isinstance(first, dict) else "float64"
    return row.tolerance(kind if kind in FLOATS else "float64")


@every_smooth_row
def test_gradients(row: Row) -> None:
    """First and second gradients in float64 are torch's; the first in float32 too."""
    for label, case in row.cases.items():
        if "grads" not in recorded(row, label):
            continue  # nothing to differentiate, or torch refuses these inputs
        want, where = recorded(row, label)["grads"], f"{row.text} [{label}]"
        got = encode(op_answers.derivatives(row, case, "float64", case.order))
        rtol, atol = row.tolerance("float64")
        compare(got[0], want[0], rtol * 10, atol * 10, f"gradient of {where}")
        if case.order > 1:
            compare(got[1], want[1], rtol * 100, atol * 100, f"second gradient of {where}")
        if label == "base":
            narrow = op_answers.derivatives(row, case, "float32", 1)[0]
            for position, (grad, theirs) in enumerate(zip(narrow, want[0], strict=True)):
                assert grad.dtype is T.float32, f"float32 gradient {position} of {where} has dtype {grad.dtype}"
                mine = {**encode(grad), "dtype": theirs["dtype"]}
                compare(mine, theirs, row.rtol * 5, row.atol * 5, f"float32 gradient {position} of {where}")


def transposed(tensor: Any) -> Any:
    """Return the same numbers with the last two dimensions' strides swapped."""
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2) if tensor.dim() > 1 else tensor


def stepped(tensor: Any) -> Any:
    """Return the same numbers as every second element of a longer row, from an offset of one."""
    if tensor.dim() == 0:
        return T.stack([tensor * 0, tensor]).to(tensor.dtype)[1]
    wide = T.stack([T.zeros_like(tensor), tensor], dim=-1)
    return wide.reshape(*tensor.shape[:-1], 2 * tensor.shape[-1])[..., 1::2]


@every_row
@pytest.mark.parametrize("arrange", [transposed, stepped], ids=lambda arrange: arrange.__name__)
def test_layouts(row: Row, arrange: Any) -> None:
    """Strided inputs give what contiguous inputs give, and the same gradients."""
    case = row.cases["base"]
    want = recorded(row, "base")
    if "error" not in want["float64"]:
        inputs = {name: arrange(tensor) for name, tensor in op_answers.tensors(case, "float64").items()}
        for name, tensor in op_answers.tensors(case, "float64").items():
            assert T.equal(inputs[name], tensor)
        if ".view(" in row.text or ".view_as(" in row.text or "as_strided" in row.text:
            return  # a view of strided memory is rightly refused
        compare(encode(row.run(T, inputs)), want["float64"], *result_tolerance(row, want["float64"]), row.text)
        if case.order:
            grads = encode(op_answers.derivatives(row, case, "float64", 1, arrange))
            rtol, atol = row.tolerance("float64")
            compare(grads[0], want["grads"][0], rtol * 10, atol * 10, f"gradient of {row.text}")


@every_smooth_row
def test_central_differences(row: Row) -> None:
    """Gradients agree with differences of values, second gradients with differences of gradients."""
    case = row.cases["base"]
    if not row.numeric or not op_answers.has_floats(case) or not case.order:
        pytest.skip("nothing to take differences of")
    answers = op_answers.derivatives(row, case, "float64", case.order)
    for order, grads in enumerate(answers, start=1):
        slope = op_answers.along(case, grads)
        step = 1e-5
        ahead, behind = (op_answers.objective_at(row, case, side * step, order) for side in (1.0, -1.0))
        measured = (ahead - behind) / (2 * step)
        assert slope == pytest.approx(measured, rel=2e-5, abs=2e-6), f"order {order} of {row.text}"


def test_function_and_method_forms_agree() -> None:
    """``T.exp(x)`` and ``x.exp()`` are one operation, wherever torch has both."""
    x = T.tensor([0.25, 0.5, 0.75], dtype=T.float64)
    names = (
        "exp expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
        "atanh sigmoid relu floor ceil round trunc frac sign abs neg sum mean prod max min argmax argmin var std norm "
        "all any isnan isinf isfinite logical_not clone flatten unsqueeze squeeze"
    )
    for name in names.split():
        arguments: tuple[int, ...] = (0,) if name == "unsqueeze" else ()
        function, method = getattr(T, name)(x, *arguments), getattr(x, name)(*arguments)
        assert T.equal(function, method), name


def test_in_place_forms_return_self() -> None:
    """``x.exp_()`` changes x and returns x itself."""
    for name in [
        "exp_",
        "log_",
        "sqrt_",
        "sin_",
        "cos_",
        "tanh_",
        "sigmoid_",
        "relu_",
        "abs_",
        "neg_",
        "floor_",
        "ceil_",
        "round_",
        "zero_",
        "square_",
        "reciprocal_",
    ]:
        x = T.tensor([0.25, 1.5])
        result = getattr(x, name)()
        assert result is x, name
        plain = T.tensor([0.25, 1.5])
        want = T.zeros_like(plain) if name == "zero_" else getattr(T, name[:-1])(plain)
        assert T.equal(x, want), name
    x = T.tensor([1.0, 2.0])
    before = x
    for operator in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__"):
        assert getattr(x, operator)(2.0) is before, operator


def test_out_of_place_does_not_touch_its_inputs() -> None:
    """No row changes the memory of its inputs."""
    for row in ROWS:
        case: Case = row.cases["base"]
        if "error" in recorded(row, "base")["float64"]:
            continue
        inputs = op_answers.tensors(case, "float64")
        row.run(T, inputs)
        for name, array in case.arrays("float64").items():
            np.testing.assert_array_equal(inputs[name].numpy(), array, err_msg=f"{row.text} changed {name}")


def test_every_result_is_a_tensor_of_the_module() -> None:
    """A row gives tensors (or numbers), never arrays of another library."""
    for row in ROWS:
        if "error" not in recorded(row, "base")["float64"]:
            result = row.run(T, op_answers.tensors(row.cases["base"], "float64"))
            assert is_tensor(result) or isinstance(result, (tuple, list, int, float, bool)), row.text
