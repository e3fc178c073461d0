"""Negative log-likelihood: values, what is ignored, gradients of two orders, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from oracle import T

F: Any = T.nn.functional


def by_hand(rows: Any, classes: Any, weight: Any, ignore: int, reduction: str) -> Any:
    """Add up in Python what the definition says."""
    losses, total = [], 0.0
    for row, c in zip(rows.tolist(), classes.tolist(), strict=True):
        factor = 0.0 if c == ignore else 1.0 if weight is None else float(weight[c])
        losses.append(-row[c] * factor if c != ignore else 0.0)
        total += factor
    if reduction == "none":
        return losses
    return sum(losses) / (total if reduction == "mean" else 1.0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradients(reduction: str, weighted: bool) -> None:
    x = T.tensor([[-1.0, -2.0, -0.5], [-0.1, -3.0, -2.0], [-2.5, -0.3, -1.0]], dtype=T.float64, requires_grad=True)
    classes = T.tensor([2, -100, 1])
    weight = T.tensor([0.5, 1.5, 2.0], dtype=T.float64) if weighted else None
    loss = F.nll_loss(x, classes, weight, reduction=reduction)
    assert loss.tolist() == pytest.approx(by_hand(x.detach(), classes, weight, -100, reduction))
    assert T.autograd.gradcheck(lambda x: F.nll_loss(x, classes, weight, reduction=reduction), x)
    assert T.autograd.gradgradcheck(lambda x: F.nll_loss(x.log_softmax(1), classes, weight, reduction=reduction), x)


def test_ignored_rows_may_be_infinite() -> None:
    x = T.tensor([[-math.inf, 0.0], [-0.5, -1.0]], requires_grad=True)
    loss = F.nll_loss(x, T.tensor([7, 0]), ignore_index=7)
    assert loss.item() == 0.5
    loss.backward()
    assert x.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]
    assert str(F.nll_loss(x.detach(), T.tensor([7, 7]), ignore_index=7, reduction="none")) == "tensor([0., 0.])"


def test_nothing_counts() -> None:
    x = T.zeros(2, 3, requires_grad=True)
    assert math.isnan(F.nll_loss(x, T.tensor([-100, -100])).item())
    assert F.nll_loss(x, T.tensor([-100, -100]), reduction="sum").item() == 0.0


@pytest.mark.parametrize(
    ("shape", "target", "name"),
    [
        ((3,), (), "NllLoss"),
        ((2, 3), (2,), "NllLoss"),
        ((2, 3, 4), (2, 4), "NllLoss2D"),
        ((2, 3, 2, 2), (2, 2, 2), "NllLoss2D"),
    ],
)
def test_more_dimensions(shape: tuple[int, ...], target: tuple[int, ...], name: str) -> None:
    x = T.linspace(-1, -2, math.prod(shape), dtype=T.float64).reshape(shape).requires_grad_()
    classes = T.ones(target, dtype=T.int64)
    loss = F.nll_loss(x, classes)
    assert loss.grad_fn.name() == f"{name}Backward0"
    assert T.allclose(loss, -x.select(0 if x.dim() == 1 else 1, 1).mean())
    assert F.nll_loss(x, classes, reduction="none").shape == target
    (grad,) = T.autograd.grad(loss, x)
    assert grad.sum().item() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ([0, 3], IndexError, "Target 3 is out of bounds"),
        ([0, 1, 2], ValueError, r"Expected input batch_size \(2\) to match target batch_size \(3\)"),
        ([0.0, 1.0], RuntimeError, "expected target dtype to be Long or Byte, but got Float"),
    ],
)
def test_refusals(target: list[float], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        F.nll_loss(T.zeros(2, 3), T.tensor(target))


# Loss, sum of the absolute first and second derivatives, as torch gives them.
SMOOTHED = {
    ("none", True, -100): (9.5179006491, 24.9427634267, 129.1099882270),
    ("mean", True, -100): (2.0037685577, 4.6909518025, 3.5612625193),
    ("sum", True, -100): (9.5179006491, 105.8396000436, 1812.9191124019),
    ("mean", False, 3): (1.8488672440, 4.0455612541, 4.0580337154),
    ("none", True, 3): (4.9797775620, 13.3985066441, 93.5977849017),
    ("mean", True, 3): (1.8108282044, 4.0953844125, 5.8094382505),
    ("sum", True, 3): (4.9797775620, 30.9713446195, 332.2499430703),
}


@pytest.mark.parametrize(("reduction", "weighted", "ignored"), list(SMOOTHED))
def test_label_smoothing(reduction: str, weighted: bool, ignored: int) -> None:
    x = (T.arange(35, dtype=T.float64).reshape(5, 7) * 1.7).sin().requires_grad_()
    weight = T.arange(1, 8, dtype=T.float64) / 4 if weighted else None
    classes = T.tensor([0, 3, 6, 2, 3])
    loss = F.cross_entropy(x, classes, weight, ignore_index=ignored, reduction=reduction, label_smoothing=0.3)
    (first,) = T.autograd.grad((loss * loss).sum(), x, create_graph=True)
    (second,) = T.autograd.grad((first * first).sum(), x, retain_graph=True)
    got = loss.sum().item(), first.abs().sum().item(), second.abs().sum().item()
    assert got == pytest.approx(SMOOTHED[reduction, weighted, ignored], rel=1e-9)
    (loss * loss).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), first.detach().numpy(), rtol=1e-12, atol=1e-14)
