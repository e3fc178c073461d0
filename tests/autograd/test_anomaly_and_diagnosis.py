"""Anomaly mode, the first number that is not finite, and what graphs hold in memory."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_nan_in_a_gradient_is_an_error() -> None:
    x = T.tensor([0.0], requires_grad=True)
    with (
        pytest.warns(UserWarning, match="Anomaly Detection|Error detected"),
        T.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"),
    ):
        ((x * 0).sqrt() * 0).sum().backward()
    assert not T.is_anomaly_enabled()


@pytest.mark.rustgrad_only
def test_the_error_names_the_line() -> None:
    x = T.tensor([0.0], requires_grad=True)
    y = (x * 0).sqrt()
    line = here() - 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with T.autograd.set_detect_anomaly(True), pytest.raises(RuntimeError, match=f"anomaly_and_diagnosis.py:{line}"):
            (y * 0).sum().backward()
    text = str(caught[-1].message)
    assert "Error detected in SqrtBackward0" in text
    assert f"line {line}" in text
    assert "(x * 0).sqrt()" in text


def test_entering_warns() -> None:
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        T.autograd.detect_anomaly()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with T.autograd.set_detect_anomaly(True):
            pass


def test_without_the_check_nan_passes() -> None:
    x = T.tensor([0.0], requires_grad=True)
    with T.autograd.set_detect_anomaly(True, check_nan=False):
        assert T.is_anomaly_enabled()
        assert not T.is_anomaly_check_nan_enabled()
        ((x * 0).sqrt() * 0).sum().backward()
    assert x.grad.isnan().all()
    assert not T.is_anomaly_enabled()


def test_as_a_switch() -> None:
    T.autograd.set_detect_anomaly(True)
    assert T.is_anomaly_enabled()
    T.autograd.set_detect_anomaly(False)
    assert not T.is_anomaly_enabled()


def test_nested_modes_are_put_back() -> None:
    with T.autograd.set_detect_anomaly(True):
        with T.autograd.set_detect_anomaly(False):
            assert not T.is_anomaly_enabled()
        assert T.is_anomaly_enabled()
    assert not T.is_anomaly_enabled()


def test_errors_in_custom_functions_are_attributed() -> None:
    class Fails(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            raise RuntimeError("Simulate error")

    x = T.ones(2, requires_grad=True)
    with (
        pytest.warns(UserWarning, match="Error detected in FailsBackward"),
        T.autograd.set_detect_anomaly(True),
        pytest.raises(RuntimeError, match="Simulate error"),
    ):
        Fails.apply(x).sum().backward()


class Bad(Function):
    """Gives a gradient that is not a number."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * float("nan")


class Induces(Function):
    """Has a derivative whose derivative is not a number."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return Bad.apply(x) * g


def texts(run: Any) -> list[str]:
    """Run something that fails on a NaN; give its warnings but the one of entering."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="returned nan values in its 0th output"):
            run()
    return [str(w.message) for w in caught if "Anomaly Detection has been enabled" not in str(w.message)]


def test_graphs_recorded_before() -> None:
    y = Bad.apply(T.ones(1, requires_grad=True))

    def run() -> None:
        with T.autograd.detect_anomaly():
            y.backward()

    (text,) = texts(run)
    assert "Error detected in BadBackward. No forward pass information available." in text


def test_graphs_recorded_inside() -> None:
    def run() -> None:
        with T.autograd.detect_anomaly():
            Bad.apply(T.ones(1, requires_grad=True)).backward()

    (text,) = texts(run)
    assert "Error detected in BadBackward. Traceback of forward call that caused the error:" in text
    assert "Bad.apply" in text


def test_what_induced_the_failing_calculation() -> None:
    def run() -> None:
        with T.autograd.detect_anomaly():
            x = T.ones(1, requires_grad=True)
            (g,) = T.autograd.grad(Induces.apply(x), x, create_graph=True)
            g.backward()

    first, second = texts(run)
    assert "Bad.apply" in first
    assert "Previous calculation was induced by InducesBackward" in second
    assert "Induces.apply" in second


def test_warnings_that_are_errors_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    a = T.ones(5, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with T.autograd.detect_anomaly():
            d = a + 1
            e = d**2
            d += 1
            warnings.simplefilter("error")
            with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*Good luck!"):
                e.sum().backward()
    assert "Error detected in PowBackward0" in capsys.readouterr().err


def test_finite_gradients_pass() -> None:
    x = T.tensor([1.0, 4.0], requires_grad=True)
    with T.autograd.set_detect_anomaly(True):
        x.sqrt().sum().backward()
    assert x.grad.tolist() == [0.5, 0.25]


# ---- beyond torch


@pytest.mark.rustgrad_only
def test_the_first_operation_that_is_not_finite() -> None:
    x = T.tensor([1.0, 0.0], requires_grad=True)
    with T.autograd.find_nonfinite() as report:
        y = x.log()
        line = here() - 1
        (y * x).sum()
    first = report.first
    assert first.name == "LogBackward0"
    assert first.file.endswith("test_anomaly_and_diagnosis.py")
    assert first.line == line
    assert not first.backward
    assert (first.output.inf, first.output.nan) == (1, 0)
    assert first.inputs[0].finite == (0.0, 1.0)
    assert first.inputs[0].shape == (2,)
    assert "LogBackward0" in str(report)


@pytest.mark.rustgrad_only
def test_the_first_gradient_that_is_not_finite() -> None:
    x = T.tensor([0.0, 4.0], requires_grad=True)
    with T.autograd.find_nonfinite() as report:
        x.sqrt().sum().backward()
    assert report.first.name == "SqrtBackward0"
    assert report.first.backward


@pytest.mark.rustgrad_only
def test_all_finite() -> None:
    x = T.tensor([1.0, 4.0], requires_grad=True)
    with T.autograd.find_nonfinite() as report:
        x.sqrt().sum().backward()
    assert report.first is None
    assert not report


@pytest.mark.rustgrad_only
def test_an_error_on_demand() -> None:
    x = T.tensor([0.0], requires_grad=True)
    with pytest.raises(FloatingPointError, match="LogBackward0"), T.autograd.find_nonfinite(raise_error=True):
        x.log()


@pytest.mark.rustgrad_only
def test_memory_by_line() -> None:
    x = T.ones(1000, requires_grad=True)
    kept = []
    for _ in range(5):
        kept.append(x.exp())
        line = here() - 1
    usage = T.autograd.graph.memory()
    mine = [row for row in usage.lines if row.line == line and row.file.endswith("test_anomaly_and_diagnosis.py")]
    assert mine[0].nodes == 5
    assert mine[0].tensors == 5
    assert mine[0].bytes >= 5 * 4000
    assert usage.nodes >= 5
    assert str(line) in str(usage)
    kept.clear()
    usage = T.autograd.graph.memory()
    assert not [row for row in usage.lines if row.line == line and row.file.endswith("test_anomaly_and_diagnosis.py")]


@pytest.mark.rustgrad_only
def test_lines_are_those_of_the_user_not_of_the_package() -> None:
    x = T.ones(3, requires_grad=True)
    first = T.nn.functional.embedding(T.tensor([0, 1]), x.reshape(3, 1))
    line = here() - 1
    second = T.nn.functional.embedding(T.tensor([0, 1]), x.reshape(3, 1))
    assert first.grad_fn.site.endswith(f":{line}")
    assert second.grad_fn.site.endswith(f":{line + 2}")


def test_whether_nan_is_looked_for_is_kept_while_detection_is_off() -> None:
    def state() -> tuple[bool, bool]:
        return T.is_anomaly_enabled(), T.is_anomaly_check_nan_enabled()

    assert state() == (False, True)
    with T.autograd.set_detect_anomaly(True, check_nan=False):
        assert state() == (True, False)
    assert state() == (False, True)
    with T.autograd.set_detect_anomaly(True):
        assert state() == (True, True)
    T.autograd.set_detect_anomaly(True, False)
    T.autograd.set_detect_anomaly(False)
    assert state() == (False, True)
