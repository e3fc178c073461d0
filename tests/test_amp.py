"""Scaling of losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
from oracle import T

GradScaler: Any = T.amp.GradScaler


def parts(**options: Any) -> Any:
    """Return a layer, its optimiser, and a scaler."""
    layer = T.nn.Linear(2, 1)
    return layer, T.optim.SGD(layer.parameters(), lr=0.1), GradScaler("cpu", **options)


def test_a_step_is_that_without_scaling() -> None:
    """The loss is scaled up, the gradient down again."""
    layer, optimizer, scaler = parts()
    before = layer.weight.detach().clone()
    loss = layer(T.ones(1, 2)).sum()
    assert scaler.scale(loss).item() == loss.item() * 65536
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert layer.weight.grad.tolist() == [[1, 1]]
    scaler.step(optimizer)
    scaler.update()
    assert T.allclose(layer.weight, before - 0.1)
    assert scaler.state_dict()["_growth_tracker"] == 1


def test_steps_that_are_not_finite_are_left_out() -> None:
    """The scale shrinks after such a step and grows after enough others."""
    layer, optimizer, scaler = parts(init_scale=8.0, growth_interval=2)
    before = layer.weight.detach().clone()
    scaler.scale(layer(T.full((1, 2), math.inf)).sum()).backward()
    assert scaler.step(optimizer) is None
    scaler.update()
    assert T.equal(layer.weight, before)
    assert scaler.get_scale() == 4
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(layer(T.ones(1, 2)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 8
    again = GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 8
    assert again.state_dict() == scaler.state_dict()


def test_disabled() -> None:
    """A scaler that is disabled hands everything on."""
    layer, optimizer, scaler = parts(enabled=False)
    loss = layer(T.ones(1, 2)).sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 1
    assert scaler.state_dict() == {}
    assert not scaler.is_enabled()
    with T.autocast("cpu", enabled=False):
        assert layer(T.ones(1, 2)).dtype == T.float32


def test_order_of_calls() -> None:
    """Calls out of order are refused."""
    layer, optimizer, scaler = parts()
    with pytest.raises(AssertionError, match="_scale is None"):
        scaler.step(optimizer)
    scaler.scale(layer(T.ones(1, 2)).sum()).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_.. has already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step.. has already been called"):
        scaler.step(optimizer)
    optimizer.zero_grad()
    scaler.update()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    with pytest.raises(AssertionError, match="growth factor"):
        GradScaler("cpu", growth_factor=0.5)


@pytest.mark.rustgrad_only
def test_absent_devices_and_dtypes() -> None:
    """On a GPU all is switched off with a warning; half precision on the CPU is refused."""
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not GradScaler().is_enabled()
    with pytest.warns(UserWarning, match="CUDA is not available"), T.cuda.amp.autocast():
        pass
    with pytest.raises(NotImplementedError, match="no half precision"):
        T.autocast("cpu")
