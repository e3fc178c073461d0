"""Optimisers and schedules: values, state, groups, hooks, refusals."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from oracle import T

optim: Any = T.optim

# Written with torch's own numbers: three steps on f(w) = sum(w**2 * c) from (1, -2, 3), float64.
MAKERS: dict[str, tuple[Any, list[float]]] = {
    "optim.SGD(p, lr=0.1)": (lambda p: optim.SGD(p, lr=0.1), [0.7290000000000001, -1.024, 2.572125]),
    "optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01)": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
        [0.50499568619, -0.18999708637999996, 2.21872434807],
    ),
    "optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True)": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
        [1.950839, -6.441984, 4.314232125],
    ),
    "optim.SGD(p, lr=T.tensor(0.1, dtype=T.float64), weight_decay=0.5)": (
        lambda p: optim.SGD(p, lr=T.tensor(0.1, dtype=T.float64), weight_decay=0.5),
        [0.614125, -0.84375, 2.1870000000000003],
    ),
    "optim.Adam(p, lr=0.1)": (
        lambda p: optim.Adam(p, lr=0.1),
        [0.701586274504415, -1.700623392046465, 2.7003815249719785],
    ),
    "optim.Adam(p, lr=0.1, betas=(0.3, 0.6), eps=1e-3, weight_decay=0.1)": (
        lambda p: optim.Adam(p, lr=0.1, betas=(0.3, 0.6), eps=1e-3, weight_decay=0.1),
        [0.7060538172094657, -1.7026779476825769, 2.701848536752771],
    ),
    "optim.Adam(p, lr=0.1, amsgrad=True, maximize=True)": (
        lambda p: optim.Adam(p, lr=0.1, amsgrad=True, maximize=True),
        [1.3004900523217835, -2.3003523953023843, 3.300261331482557],
    ),
    "optim.AdamW(p, lr=0.1, weight_decay=0.2)": (
        lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.2),
        [0.6492032699623056, -1.5892933194929153, 2.530202511911884],
    ),
    "optim.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1)": (
        lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1),
        [0.8007446452486937, -1.7916047421946903, 2.7921910923222284],
    ),
    "optim.RMSprop(p, lr=0.1)": (
        lambda p: optim.RMSprop(p, lr=0.1),
        [5.088548363103125e-12, -0.3096873875871078, 1.0689949823967693],
    ),
    "optim.RMSprop(p, lr=0.1, alpha=0.4, momentum=0.5, centered=True, weight_decay=0.1)": (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.4, momentum=0.5, centered=True, weight_decay=0.1),
        [0.09082304946618373, -0.9223611550516628, 1.877754605033003],
    ),
}


def run(maker: Any, steps: int = 3) -> Any:
    """Make some steps on a quadratic."""
    w = T.tensor([1.0, -2.0, 3.0], dtype=T.float64, requires_grad=True)
    c = T.tensor([0.5, 1.0, 0.25], dtype=T.float64)
    optimiser = maker([w])
    for _ in range(steps):
        optimiser.zero_grad()
        (w * w * c).sum().backward()
        optimiser.step()
    return w


@pytest.mark.parametrize("name", list(MAKERS))
def test_steps_give_torchs_numbers(name: str) -> None:
    maker, expected = MAKERS[name]
    assert run(maker).tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_layout_does_not_matter(name: str) -> None:
    maker, expected = MAKERS[name]
    base = T.zeros(3, 2, dtype=T.float64)
    base[:, 0] = T.tensor([1.0, -2.0, 3.0], dtype=T.float64)
    w = base[:, 0].detach().requires_grad_()
    c = T.tensor([0.5, 1.0, 0.25], dtype=T.float64)
    optimiser = maker([w])
    for _ in range(3):
        optimiser.zero_grad()
        (w * w * c).sum().backward()
        optimiser.step()
    assert w.tolist() == pytest.approx(expected, rel=1e-13)
    assert base[:, 1].tolist() == [0, 0, 0]


def test_a_step_is_a_write_that_backward_notices() -> None:
    w = T.ones(2, requires_grad=True)
    loss = (w * w).sum()
    w.grad = T.ones(2)
    version = w._version
    optim.SGD([w], lr=0.1).step()
    assert w._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameters_without_gradient_stay() -> None:
    w, v = T.ones(2, requires_grad=True), T.ones(2, requires_grad=True)
    w.grad = T.ones(2)
    optimiser = optim.Adam([w, v], lr=0.5)
    optimiser.step()
    assert v.tolist() == [1, 1]
    assert v not in optimiser.state
    assert set(optimiser.state[w]) == {"step", "exp_avg", "exp_avg_sq"}
    assert optimiser.state[w]["step"].item() == 1


def test_groups_have_settings_of_their_own() -> None:
    w, v = T.ones(1, requires_grad=True), T.ones(1, requires_grad=True)
    optimiser = optim.SGD([{"params": [w]}, {"params": v, "lr": 1.0}], lr=0.5)
    for parameter in (w, v):
        parameter.grad = T.ones(1)
    optimiser.step()
    assert (w.item(), v.item()) == (0.5, 0.0)
    third = T.ones(1, requires_grad=True)
    optimiser.add_param_group({"params": [third], "momentum": 0.5})
    assert [group["momentum"] for group in optimiser.param_groups] == [0, 0, 0.5]
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimiser.add_param_group({"params": [w]})


def test_named_parameters() -> None:
    model = T.nn.Linear(1, 1)
    optimiser = optim.SGD(model.named_parameters(), lr=0.1)
    assert optimiser.param_groups[0]["param_names"] == ["weight", "bias"]


def test_what_cannot_be_optimised() -> None:
    w = T.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(TypeError, match="should be an iterable of Tensors or dicts"):
        optim.SGD(w, lr=0.1)
    with pytest.raises(TypeError, match="optimizer can only optimize Tensors, but one of the params is int"):
        optim.SGD([1], lr=0.1)
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        optim.SGD([w * 2], lr=0.1)
    attempts: list[Any] = [
        lambda: optim.SGD([w], lr=-1.0),
        lambda: optim.SGD([w], lr=0.1, momentum=-1.0),
        lambda: optim.SGD([w], lr=0.1, nesterov=True),
        lambda: optim.Adam([w], betas=(1.0, 0.9)),
        lambda: optim.Adam([w], eps=-1.0),
        lambda: optim.RMSprop([w], alpha=-1.0),
        lambda: optim.Adagrad([w], lr_decay=-1.0),
    ]
    for wrong in attempts:
        with pytest.raises(ValueError, match=r"Invalid|Nesterov"):
            wrong()


@pytest.mark.rustgrad_only
def test_differentiable_steps_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="differentiable=True is not supported"):
        optim.SGD([T.ones(1, requires_grad=True)], lr=0.1, differentiable=True)


@pytest.mark.parametrize("name", list(MAKERS))
def test_state_goes_on_in_another_optimiser(name: str) -> None:
    maker, _ = MAKERS[name]
    w = T.tensor([1.0, -2.0], dtype=T.float64, requires_grad=True)
    first = maker([w])

    def step(optimiser: Any, parameter: Any) -> None:
        optimiser.zero_grad()
        (parameter**2).sum().backward()
        optimiser.step()

    step(first, w)
    v = w.detach().clone().requires_grad_()
    second = maker([v])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    step(first, w)
    step(second, v)
    assert T.equal(w, v)
    third = pickle.loads(pickle.dumps(first))
    assert len(third.param_groups) == 1


def test_state_of_other_sizes_is_refused() -> None:
    w, v = T.ones(1, requires_grad=True), T.ones(1, requires_grad=True)
    one, two = optim.SGD([w], lr=0.1), optim.SGD([w, v], lr=0.1)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        one.load_state_dict(two.state_dict())
    two.add_param_group({"params": [T.ones(1, requires_grad=True)]})
    with pytest.raises(ValueError, match="different number of parameter groups"):
        one.load_state_dict(two.state_dict())


def test_closures_and_hooks() -> None:
    w = T.ones(1, requires_grad=True)
    optimiser = optim.SGD([w], lr=0.5)
    order: list[str] = []
    optimiser.register_step_pre_hook(lambda o, args, kwargs: order.append("before"))
    handle = optimiser.register_step_post_hook(lambda o, args, kwargs: order.append("after"))

    def closure() -> Any:
        order.append("closure")
        optimiser.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 1.0
    assert w.item() == 0.0
    assert order == ["before", "closure", "after"]
    handle.remove()
    optimiser.step()
    assert order[3:] == ["before"]


def test_an_optimiser_of_ones_own() -> None:
    class Sign(T.optim.Optimizer):  # type: ignore[misc]
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            with T.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.sub_(group["lr"] * parameter.grad.sign())

    w = T.tensor([1.0, -1.0], requires_grad=True)
    (w * w).sum().backward()
    Sign([w], lr=0.25).step()
    assert w.tolist() == [0.75, -0.75]


def test_gradients_are_dropped_or_zeroed() -> None:
    w = T.ones(1, requires_grad=True)
    optimiser = optim.SGD([w], lr=0.5)
    (w * w).sum().backward()
    grad = w.grad
    optimiser.zero_grad(set_to_none=False)
    assert w.grad is grad
    assert grad.item() == 0
    optimiser.zero_grad()
    assert w.grad is None


def rates(make: Any, epochs: int = 8) -> list[float]:
    """Follow the rate over some epochs."""
    optimiser = optim.SGD([T.ones(1, requires_grad=True)], lr=0.8, momentum=0.9)
    schedule = make(optimiser)
    followed = []
    for epoch in range(epochs):
        followed.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if isinstance(schedule, optim.lr_scheduler.ReduceLROnPlateau):
            schedule.step(1.0 if epoch else 2.0)
        else:
            schedule.step()
        assert schedule.get_last_lr() == [optimiser.param_groups[0]["lr"]]
    return followed


S = optim.lr_scheduler
SCHEDULES: dict[str, tuple[Any, list[float]]] = {
    "S.StepLR(o, 3)": (
        lambda o: S.StepLR(o, 3),
        [
            0.8,
            0.8,
            0.8,
            0.08000000000000002,
            0.08000000000000002,
            0.08000000000000002,
            0.008000000000000002,
            0.008000000000000002,
        ],
    ),
    "S.MultiStepLR(o, [2, 5, 5], gamma=0.5)": (
        lambda o: S.MultiStepLR(o, [2, 5, 5], gamma=0.5),
        [0.8, 0.8, 0.4, 0.4, 0.4, 0.1, 0.1, 0.1],
    ),
    "S.ExponentialLR(o, 0.9)": (
        lambda o: S.ExponentialLR(o, 0.9),
        [
            0.8,
            0.7200000000000001,
            0.6480000000000001,
            0.5832000000000002,
            0.5248800000000001,
            0.47239200000000015,
            0.42515280000000016,
            0.3826375200000002,
        ],
    ),
    "S.CosineAnnealingLR(o, 3, eta_min=0.1)": (
        lambda o: S.CosineAnnealingLR(o, 3, eta_min=0.1),
        [0.8, 0.625, 0.2750000000000001, 0.1, 0.275, 0.6250000000000004, 0.8000000000000006, 0.6250000000000006],
    ),
    "S.LambdaLR(o, lambda e: 0.95**e)": (
        lambda o: S.LambdaLR(o, lambda e: 0.95**e),
        [0.8, 0.76, 0.722, 0.6859, 0.651605, 0.6190247499999999, 0.5880735124999998, 0.5586698368749998],
    ),
    "S.MultiplicativeLR(o, lambda e: 0.95)": (
        lambda o: S.MultiplicativeLR(o, lambda e: 0.95),
        [0.8, 0.76, 0.722, 0.6859, 0.6516049999999999, 0.6190247499999999, 0.5880735124999998, 0.5586698368749998],
    ),
    "S.LinearLR(o, 0.25, total_iters=4)": (
        lambda o: S.LinearLR(o, 0.25, total_iters=4),
        [
            0.2,
            0.35000000000000003,
            0.5000000000000001,
            0.6500000000000001,
            0.8000000000000002,
            0.8000000000000002,
            0.8000000000000002,
            0.8000000000000002,
        ],
    ),
    "S.ConstantLR(o, 0.5, total_iters=2)": (
        lambda o: S.ConstantLR(o, 0.5, total_iters=2),
        [0.4, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8],
    ),
    "S.PolynomialLR(o, 5, power=2.0)": (
        lambda o: S.PolynomialLR(o, 5, power=2.0),
        [0.8, 0.5120000000000001, 0.28800000000000003, 0.12800000000000003, 0.031999999999999994, 0.0, 0.0, 0.0],
    ),
    "S.CosineAnnealingWarmRestarts(o, 2, T_mult=2)": (
        lambda o: S.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
        [0.8, 0.4, 0.8, 0.682842712474619, 0.4, 0.11715728752538102, 0.8, 0.7695518130045147],
    ),
    "S.ReduceLROnPlateau(o, patience=1, cooldown=1)": (
        lambda o: S.ReduceLROnPlateau(o, patience=1, cooldown=1),
        [0.8, 0.8, 0.8, 0.8, 0.08000000000000002, 0.08000000000000002, 0.08000000000000002, 0.008000000000000002],
    ),
    "S.OneCycleLR(o, 1.0, total_steps=10)": (
        lambda o: S.OneCycleLR(o, 1.0, total_steps=10),
        [
            0.040000000000000036,
            0.52,
            1.0,
            0.9504846320134737,
            0.8117456539497631,
            0.6112620219362893,
            0.38874197806371075,
            0.18825834605023697,
        ],
    ),
    'S.OneCycleLR(o, 1.0, total_steps=10, three_phase=True, anneal_strategy="linear")': (
        lambda o: S.OneCycleLR(o, 1.0, total_steps=10, three_phase=True, anneal_strategy="linear"),
        [0.04, 0.52, 1.0, 0.52, 0.040000000000000036, 0.032000799999999996, 0.024001599999999998, 0.0160024],
    ),
    "S.SequentialLR(o, [S.ConstantLR(o, 0.1, total_iters=2), S.ExponentialLR(o, 0.9)], [3])": (
        lambda o: S.SequentialLR(o, [S.ConstantLR(o, 0.1, total_iters=2), S.ExponentialLR(o, 0.9)], [3]),
        [
            0.08000000000000002,
            0.08000000000000002,
            0.8000000000000002,
            0.8,
            0.7200000000000001,
            0.6480000000000001,
            0.5832000000000002,
            0.5248800000000001,
        ],
    ),
    "S.ChainedScheduler([S.ConstantLR(o, 0.1, total_iters=2), S.ExponentialLR(o, 0.9)])": (
        lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.1, total_iters=2), S.ExponentialLR(o, 0.9)]),
        [
            0.08000000000000002,
            0.07200000000000002,
            0.6480000000000002,
            0.5832000000000003,
            0.5248800000000002,
            0.4723920000000002,
            0.42515280000000016,
            0.3826375200000002,
        ],
    ),
}


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules_give_torchs_rates(name: str) -> None:
    make, expected = SCHEDULES[name]
    assert rates(make) == pytest.approx(expected, rel=1e-14)


def test_a_schedule_goes_on_from_its_state() -> None:
    optimiser = optim.SGD([T.ones(1, requires_grad=True)], lr=1.0)
    schedule = S.StepLR(optimiser, 2, gamma=0.5)
    for _ in range(3):
        optimiser.step()
        schedule.step()
    other = S.StepLR(optimiser, 5)
    other.load_state_dict(schedule.state_dict())
    assert (other.last_epoch, other.step_size, other.gamma) == (3, 2, 0.5)


def test_the_wrong_order_is_warned_of() -> None:
    optimiser = optim.SGD([T.ones(1, requires_grad=True)], lr=1.0)
    schedule = S.ExponentialLR(optimiser, 0.5)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    assert math.isclose(optimiser.param_groups[0]["lr"], 0.5)
