"""The optimisers beside SGD and Adam, averages of models, cyclic schedules."""

from __future__ import annotations

import copy
import importlib
import pickle
from typing import Any

import pytest
from oracle import T

optim: Any = T.optim
swa: Any = importlib.import_module(f"{T.__name__}.optim.swa_utils")

# Eight steps on a quadratic form in float64; the numbers and the names of the state are torch's.
MAKERS: dict[str, tuple[Any, list[float], list[str]]] = {
    "optim.Adadelta(p, lr=0.5)": (
        lambda p: optim.Adadelta(p, lr=0.5),
        [
            1.0133754614588384,
            -2.013350119662387,
            2.9867270822760936,
            0.2633735320377996,
            -0.5132748700562106,
            0.7370399709480776,
        ],
        ["acc_delta", "square_avg", "step"],
    ),
    "optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-3, weight_decay=0.1, maximize=True)": (
        lambda p: optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-3, weight_decay=0.1, maximize=True),
        [
            0.6857404071110622,
            -1.6699157151859914,
            3.378367857423736,
            -0.031233928679984216,
            -0.13166606720425464,
            1.2109987408495675,
        ],
        ["acc_delta", "square_avg", "step"],
    ),
    "optim.Adamax(p, lr=0.1)": (
        lambda p: optim.Adamax(p, lr=0.1),
        [
            1.7967979444348259,
            -2.7382310632536453,
            2.4841227276927187,
            0.9972165262974797,
            -1.1722851377948185,
            0.7524698264671164,
        ],
        ["exp_avg", "exp_inf", "step"],
    ),
    "optim.Adamax(p, lr=0.1, betas=(0.5, 0.6), eps=1e-3, weight_decay=0.1)": (
        lambda p: optim.Adamax(p, lr=0.1, betas=(0.5, 0.6), eps=1e-3, weight_decay=0.1),
        [
            1.8012985375556803,
            -2.8630488801328355,
            2.2256788875060582,
            1.033840957076825,
            -1.358657822504693,
            0.9206356786279262,
        ],
        ["exp_avg", "exp_inf", "step"],
    ),
    "optim.NAdam(p, lr=0.1)": (
        lambda p: optim.NAdam(p, lr=0.1),
        [
            1.6387375466428997,
            -2.6139060930931084,
            2.56558391310435,
            0.8888303211901447,
            -1.1601753414195342,
            0.9615071821794366,
        ],
        ["exp_avg", "exp_avg_sq", "mu_product", "step"],
    ),
    "optim.NAdam(p, lr=0.1, momentum_decay=0.1, weight_decay=0.1)": (
        lambda p: optim.NAdam(p, lr=0.1, momentum_decay=0.1, weight_decay=0.1),
        [
            1.6286424312206684,
            -2.6016065169303553,
            2.5100312234962368,
            0.84797326415464,
            -1.1116948824963948,
            0.8354940862149403,
        ],
        ["exp_avg", "exp_avg_sq", "mu_product", "step"],
    ),
    "optim.NAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True)": (
        lambda p: optim.NAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True),
        [
            1.5304849903702713,
            -2.4286999174308934,
            2.3635815062040386,
            0.839077255136646,
            -1.0924187294444057,
            0.9026139285981544,
        ],
        ["exp_avg", "exp_avg_sq", "mu_product", "step"],
    ),
    "optim.RAdam(p, lr=0.1)": (
        lambda p: optim.RAdam(p, lr=0.1),
        [
            1.5583914128352607,
            -2.912391141964635,
            2.6502927737417212,
            0.39700319629230585,
            -0.7350782906927992,
            0.660423861176765,
        ],
        ["exp_avg", "exp_avg_sq", "step"],
    ),
    "optim.RAdam(p, lr=0.1, betas=(0.5, 0.9), weight_decay=0.1)": (
        lambda p: optim.RAdam(p, lr=0.1, betas=(0.5, 0.9), weight_decay=0.1),
        [
            1.5979853136367228,
            -2.832479909391284,
            2.5448155377684567,
            0.4741882910229577,
            -0.7698667681506686,
            0.6302863071588717,
        ],
        ["exp_avg", "exp_avg_sq", "step"],
    ),
    "optim.RAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True, maximize=True)": (
        lambda p: optim.RAdam(p, lr=0.1, weight_decay=0.1, decoupled_weight_decay=True, maximize=True),
        [
            0.5021056179027115,
            -0.7794600482820384,
            3.413500088669792,
            0.11946965381446303,
            -0.18748477746881217,
            0.860719345629767,
        ],
        ["exp_avg", "exp_avg_sq", "step"],
    ),
    "optim.Rprop(p, lr=0.1)": (
        lambda p: optim.Rprop(p, lr=0.1),
        [2.64990848, -3.64990848, 2.7776959999999993, 1.8999084799999997, -2.1499084799999997, 0.976496],
        ["prev", "step", "step_size"],
    ),
    "optim.Rprop(p, lr=0.7, etas=(0.3, 1.9), step_sizes=(0.01, 1.0))": (
        lambda p: optim.Rprop(p, lr=0.7, etas=(0.3, 1.9), step_sizes=(0.01, 1.0)),
        [8.7, -9.7, 6.6671, 2.2359, -5.5671, 4.4171],
        ["prev", "step", "step_size"],
    ),
    "optim.ASGD(p, lr=0.1)": (
        lambda p: optim.ASGD(p, lr=0.1),
        [
            1.9634339916881336,
            -3.2946148967239353,
            2.824311975040809,
            0.4908584979220334,
            -0.8236537241809838,
            0.7060779937602023,
        ],
        ["ax", "eta", "mu", "step"],
    ),
    "optim.ASGD(p, lr=0.1, lambd=0.1, alpha=0.5, t0=3, weight_decay=0.1)": (
        lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, alpha=0.5, t0=3, weight_decay=0.1),
        [
            1.6777291941564538,
            -2.8137711872712132,
            2.410338331548223,
            0.41943229853911346,
            -0.7034427968178033,
            0.6025845828870557,
        ],
        ["ax", "eta", "mu", "step"],
    ),
    "optim.Adafactor(p)": (
        lambda p: optim.Adafactor(p),
        [
            1.12580023964222,
            -2.1247021702142312,
            2.879216279060835,
            0.38149458984427315,
            -0.6235365650738728,
            0.6660761245672697,
        ],
        ["col_var", "row_var", "step"],
    ),
    "optim.Adafactor(p, lr=0.1, beta2_decay=-0.5, eps=(1e-3, 1e-2), d=1.5, weight_decay=0.1)": (
        lambda p: optim.Adafactor(p, lr=0.1, beta2_decay=-0.5, eps=(1e-3, 1e-2), d=1.5, weight_decay=0.1),
        [
            2.2948190298088473,
            -3.1914216573457415,
            2.907417331559767,
            1.5155657559432552,
            -2.0317753152255005,
            1.844628242989512,
        ],
        ["col_var", "row_var", "step"],
    ),
}


def loss_of(w: Any) -> Any:
    return (w * w).sum() * 0.5 + (w[:, 1:] * w[:, :-1]).sum()


def begin() -> Any:
    return T.tensor([[1.0, -2.0, 3.0], [0.25, -0.5, 0.75]], dtype=T.float64, requires_grad=True)


def walk(w: Any, optimiser: Any, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of(w).backward()
        optimiser.step()


@pytest.mark.parametrize("name", list(MAKERS))
def test_steps_give_torchs_numbers(name: str) -> None:
    maker, expected, kept = MAKERS[name]
    w = begin()
    optimiser = maker([w])
    walk(w, optimiser, 8)
    assert w.flatten().tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert sorted(optimiser.state[w]) == kept
    assert optimiser.state[w]["step"].item() == 8


@pytest.mark.parametrize("name", list(MAKERS))
def test_steps_of_parameters_in_any_order_of_memory(name: str) -> None:
    maker, _, _ = MAKERS[name]
    plain, turned = begin(), begin().detach().t().contiguous().t().requires_grad_()
    assert not turned.is_contiguous()
    for w in (plain, turned):
        walk(w, maker([w]), 4)
    # Sums over the memory of the whole, as Adafactor takes them, go in another order.
    assert turned.flatten().tolist() == pytest.approx(plain.flatten().tolist(), rel=1e-15 if "Adafactor" in name else 0)


@pytest.mark.parametrize("name", ["Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD"])
def test_several_parameters_of_either_dtype_and_no_elements(name: str) -> None:
    make = getattr(optim, name)
    wide, narrow = begin(), begin().detach().float().requires_grad_()
    empty, idle = T.ones(0, 3, requires_grad=True), T.ones(2, requires_grad=True)
    optimiser = make([wide, empty, narrow, idle], lr=0.1)
    alone = begin()
    other = make([alone], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (loss_of(wide) + loss_of(narrow) + empty.sum()).backward()
        optimiser.step()
        walk(alone, other, 1)
    assert wide.tolist() == alone.tolist()
    assert narrow.flatten().tolist() == pytest.approx(alone.flatten().tolist(), rel=1e-5)
    assert idle.tolist() == [1, 1]
    assert idle not in optimiser.state


@pytest.mark.parametrize("name", list(MAKERS))
def test_state_goes_on_after_saving(name: str) -> None:
    maker, expected, _ = MAKERS[name]
    w = begin()
    first = maker([w])
    walk(w, first, 4)
    second = maker([w])
    second.load_state_dict(pickle.loads(pickle.dumps(copy.deepcopy(first.state_dict()))))
    walk(w, second, 4)
    # What was counted in float32 is loaded in the dtype of the parameter, so the last digits move.
    assert w.flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", ["Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD"])
def test_what_is_refused(name: str) -> None:
    w = begin()
    make = getattr(optim, name)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        make([w], lr=-1)
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        make([w], lr=T.ones(2))
    w.grad = T.ones_like(w)
    with pytest.raises(AssertionError, match="If capturable=True"):
        make([w], capturable=True).step()
    for foreach in (True, False, None):
        make([w], foreach=foreach).step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: optim.Rprop([w], etas=(1.5, 1.2)), "Invalid eta values: 1.5, 1.2"),
        (lambda w: optim.Adadelta([w], rho=2), "Invalid rho value: 2"),
        (lambda w: optim.NAdam([w], momentum_decay=-1), "Invalid momentum_decay value: -1"),
        (lambda w: optim.RAdam([w], betas=(0.5, 1.0)), "Invalid beta parameter at index 1: 1.0"),
        (lambda w: optim.Adafactor([w], d=0.5), "Clipping threshold d should be >= 1 but is: 0.5"),
        (lambda w: optim.LBFGS([{"params": [w]}, {"params": [T.ones(1)]}]), "LBFGS doesn't support per-parameter"),
        (lambda w: optim.Adam([w], lr=T.tensor(0.1), foreach=True), "lr as a Tensor is not supported"),
    ],
)
def test_settings_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(begin())


def test_fused_does_not_go_with_differentiable() -> None:
    with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
        optim.SGD([begin()], fused=True, differentiable=True)


# LBFGS.


def rosenbrock(w: Any) -> Any:
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


@pytest.mark.parametrize(
    ("settings", "steps", "losses"),
    [
        ({"lr": 0.002, "max_iter": 3}, 3, [49.199999999999996, 48.72500856173731, 48.41895828913354]),
        (
            {"line_search_fn": "strong_wolfe", "max_iter": 4},
            3,
            [49.199999999999996, 3.69017358526632, 3.5854138113885643],
        ),
        (
            {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 2, "lr": 3},
            3,
            [49.199999999999996, 4.0062549328041355, 3.5518179538345986],
        ),
    ],
)
def test_lbfgs_follows_torch(settings: dict[str, Any], steps: int, losses: list[float]) -> None:
    w = T.tensor([-1.2, 1.0, 0.5], dtype=T.float64, requires_grad=True)
    optimiser = optim.LBFGS([w], **settings)

    def closure() -> Any:
        optimiser.zero_grad()
        loss = rosenbrock(w)
        loss.backward()
        return loss

    seen = [optimiser.step(closure).item() for _ in range(steps)]
    assert seen == pytest.approx(losses, rel=1e-7)


def test_lbfgs_finds_the_minimum_of_several_parameters() -> None:
    a, b = T.zeros(3, dtype=T.float64, requires_grad=True), T.ones(2, 2, dtype=T.float64, requires_grad=True)
    idle = T.ones(1, requires_grad=True, dtype=T.float64)
    optimiser = optim.LBFGS([a, b, idle], line_search_fn="strong_wolfe", max_iter=50)

    def closure() -> Any:
        optimiser.zero_grad()
        loss = ((a - 2) ** 2).sum() + ((b * b).sum() - 3) ** 2 + a.sum() * 0
        loss.backward()
        return loss

    for _ in range(4):
        optimiser.step(closure)
    assert a.tolist() == pytest.approx([2.0] * 3, abs=1e-5)
    assert (b * b).sum().item() == pytest.approx(3.0, abs=1e-4)
    assert idle.item() == 1
    assert optimiser.state[a]["func_evals"] >= optimiser.state[a]["n_iter"]


def test_lbfgs_goes_on_after_saving() -> None:
    def step(w: Any, optimiser: Any) -> float:
        def closure() -> Any:
            optimiser.zero_grad()
            loss = rosenbrock(w)
            loss.backward()
            return loss

        return float(optimiser.step(closure).item())

    w = T.tensor([-1.2, 1.0, 0.5], dtype=T.float64, requires_grad=True)
    first = optim.LBFGS([w], max_iter=3, lr=0.002)
    step(w, first)
    v = w.detach().clone().requires_grad_()
    second = optim.LBFGS([v], max_iter=3, lr=0.002)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [step(w, first) for _ in range(2)] == [step(v, second) for _ in range(2)]


def test_lbfgs_needs_a_closure_and_a_known_search() -> None:
    w = begin()
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([w]).step()

    def closure() -> Any:
        loss = loss_of(w)
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optim.LBFGS([w], line_search_fn="armijo").step(closure)


# Schedules.


@pytest.mark.parametrize(
    ("settings", "rates", "momenta"),
    [
        (
            {"mode": "triangular2", "step_size_up": 2},
            [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2],
            [0.9, 0.85, 0.8, 0.85, 0.9, 0.875, 0.85, 0.875],
        ),
        (
            {"mode": "exp_range", "gamma": 0.5, "step_size_up": 1, "step_size_down": 2},
            [0.1, 0.3, 0.15, 0.1, 0.125],
            [0.9, 0.85, 0.8875, 0.9, 0.89375],
        ),
        (
            {"scale_fn": lambda x: 1 / x, "step_size_up": 1},
            [0.1, 0.5, 0.1, 0.3, 0.1],
            [0.9, 0.8, 0.9, 0.85, 0.9],
        ),
    ],
)
def test_cyclic_rates(settings: dict[str, Any], rates: list[float], momenta: list[float]) -> None:
    optimiser = optim.SGD([begin()], lr=1.0, momentum=0.5)
    schedule = optim.lr_scheduler.CyclicLR(optimiser, 0.1, 0.5, **settings)
    group, seen = optimiser.param_groups[0], []
    for _ in rates:
        seen.append((group["lr"], group["momentum"]))
        optimiser.step()
        schedule.step()
    assert [one[0] for one in seen] == pytest.approx(rates)
    assert [one[1] for one in seen] == pytest.approx(momenta)
    assert schedule.state_dict()["_scale_fn_custom"] is None


def test_cyclic_rates_refuse() -> None:
    w, cyclic = begin(), optim.lr_scheduler.CyclicLR
    with pytest.raises(ValueError, match="mode is invalid and scale_fn is None"):
        cyclic(optim.SGD([w]), 0.1, 0.5, mode="square")
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        cyclic(optim.Adagrad([w]), 0.1, 0.5)
    with pytest.raises(ValueError, match="base_lr must have the same length"):
        cyclic(optim.SGD([w]), [0.1, 0.2], 0.5)
    adam = optim.Adam([w])
    cyclic(adam, 0.1, 0.5)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def test_swalr_goes_to_its_rate() -> None:
    optimiser = optim.SGD([begin()], lr=0.5)
    schedule = swa.SWALR(optimiser, 0.1, anneal_epochs=4, anneal_strategy="linear")
    seen = []
    for _ in range(6):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        swa.SWALR(optimiser, 0.1, anneal_strategy="steps")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 2.0),
        ({"multi_avg_fn": lambda own, new, n: [o.copy_(w) for o, w in zip(own, new, strict=True)]}, 3.0),
        ({"avg_fn": lambda own, new, n: own * 0.5 + new * 0.5}, 2.25),
    ],
)
def test_averaged_models(settings: dict[str, Any], expected: float) -> None:
    model = T.nn.Linear(1, 1)
    average = swa.AveragedModel(model, **settings)
    for value in (1.0, 2.0, 3.0):
        with T.no_grad():
            model.weight.fill_(value)
        average.update_parameters(model)
    assert average.module.weight.item() == expected
    assert average.n_averaged.item() == 3
    assert list(average.state_dict()) == ["n_averaged", "module.weight", "module.bias"]
    assert average(T.zeros(1, 1)).item() == average.module.bias.item()


def test_update_bn_measures_anew() -> None:
    model = T.nn.Sequential(T.nn.BatchNorm1d(2))
    model.eval()
    batches = [T.tensor([[0.0, 2.0], [2.0, 4.0]]), (T.tensor([[4.0, 6.0], [6.0, 8.0]]), "label")]
    swa.update_bn(batches, model)
    assert model[0].running_mean.tolist() == [3.0, 5.0]
    assert model[0].running_var.tolist() == [2.0, 2.0]
    assert model[0].momentum == 0.1
    assert not model.training
