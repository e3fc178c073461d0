"""Losses of two tensors: names of nodes, derivatives of two orders also where the value has a kink."""

from __future__ import annotations

from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional

LOSSES: list[tuple[str, Any, str]] = [
    ("mse", F.mse_loss, "MseLoss"),
    ("smooth_l1", F.smooth_l1_loss, "SmoothL1Loss"),
    ("huber", F.huber_loss, "HuberLoss"),
    ("bce", F.binary_cross_entropy, "BinaryCrossEntropy"),
    ("bce_logits", F.binary_cross_entropy_with_logits, "BinaryCrossEntropyWithLogits"),
    ("soft_margin", F.soft_margin_loss, "SoftMarginLoss"),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("kind", "loss", "name"), LOSSES)
def test_gradients_of_two_orders(kind: str, loss: Any, name: str, reduction: str) -> None:
    x = T.tensor([[0.2, 0.7, 0.35], [0.45, 0.9, 0.05]], dtype=T.float64, requires_grad=True)
    t = T.tensor([[0.1, 0.2, 0.9], [1.0, 0.0, 0.3]], dtype=T.float64, requires_grad=kind not in ("bce", "soft_margin"))
    value = loss(x, t, reduction=reduction)
    assert value.grad_fn.name() == f"{name}Backward0"
    assert value.shape == (x.shape if reduction == "none" else ())
    inputs = (x, t) if t.requires_grad else (x,)
    assert T.autograd.gradcheck(lambda x, t=t: loss(x, t, reduction=reduction), inputs)
    assert T.autograd.gradgradcheck(lambda x, t=t: loss(x, t, reduction=reduction), inputs)


@pytest.mark.parametrize(
    ("loss", "at", "second"),
    [
        (lambda x: F.binary_cross_entropy_with_logits(x, T.zeros(3), reduction="sum"), 0.0, 0.25),
        (lambda x: F.smooth_l1_loss(x, T.zeros(3), reduction="sum"), 0.0, 1.0),
        (lambda x: F.huber_loss(x, T.zeros(3), reduction="sum"), 0.0, 1.0),
        (lambda x: F.huber_loss(x, T.zeros(3), reduction="sum"), 1.0, 0.0),
        (
            lambda x: F.binary_cross_entropy_with_logits(x, T.zeros(3), pos_weight=T.tensor(2.0), reduction="sum"),
            0.0,
            0.25,
        ),
    ],
)
def test_second_derivatives_at_kinks(loss: Any, at: float, second: float) -> None:
    hessian = T.autograd.functional.hessian(loss, T.full((3,), at))
    assert T.allclose(hessian, second * T.eye(3))


def test_saturated_probabilities() -> None:
    x = T.tensor([0.0, 1.0, 0.5], requires_grad=True)
    F.binary_cross_entropy(x, T.tensor([1.0, 1.0, 0.0]), reduction="sum").backward()
    assert x.grad.tolist() == pytest.approx([-1e12, 0.0, 2.0])


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_broadcast_and_promoted() -> None:
    x = T.tensor([[1.0], [2.0]], requires_grad=True)
    t = T.tensor([0.0, 1.0, 2.0], dtype=T.float64)
    value = F.mse_loss(x, t)
    assert value.dtype == T.float64
    assert value.item() == pytest.approx((1 + 0 + 1 + 4 + 1 + 0) / 6)
    value.backward()
    assert x.grad.dtype == T.float32
    assert x.grad.flatten().tolist() == pytest.approx([0.0, 1.0])


def test_overwritten_input_is_noticed() -> None:
    x = T.zeros(3, requires_grad=True)
    y = x * 1
    value = F.mse_loss(y, T.ones(3))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (F.relu, "ThresholdBackward"),
        (F.leaky_relu, "LeakyReluBackward"),
        (F.hardtanh, "HardtanhBackward"),
        (F.relu6, "HardtanhBackward"),
    ],
)
def test_flat_derivatives_carry_a_graph(f: Any, name: str) -> None:
    x = T.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    (g,) = T.autograd.grad(f(x).sum(), x, create_graph=True)
    assert g.grad_fn.name() == f"{name}Backward0"
    (second,) = T.autograd.grad(g.sum(), x)
    assert second.tolist() == [0.0, 0.0, 0.0]


def test_network_of_flat_parts_has_a_second_derivative() -> None:
    T.manual_seed(0)
    net = T.nn.Sequential(T.nn.Linear(1, 4), T.nn.ReLU(), T.nn.Linear(4, 1))
    t = T.linspace(0, 1, 5).unsqueeze(1).requires_grad_()
    (d,) = T.autograd.grad(net(t).sum(), t, create_graph=True)
    (dd,) = T.autograd.grad(d.sum(), t, create_graph=True)
    assert dd.tolist() == [[0.0]] * 5
