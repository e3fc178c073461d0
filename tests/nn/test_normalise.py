"""Batch and group normalisation against the formula in composed operations: values, gradients of two orders."""

from __future__ import annotations

from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional
SHAPES = [(6, 4, 5, 7), (70, 6, 3), (130, 300), (3, 4, 2, 2, 2), (2, 4, 1), (5, 8, 300)]


def _by_hand(x: Any, groups: int, weight: Any, bias: Any, given: Any = None) -> Any:
    """Normalise the channels of groups of a member, or with no groups, of the batch."""
    n, channels = x.shape[:2]
    dims: tuple[int, ...]
    if groups:
        wide, dims = x.reshape(n, groups, -1), (2,)
    else:
        wide, dims = x.reshape(n, channels, -1), (0, 2)
    if given is None:
        mean = wide.mean(dims, True)
        variance = ((wide - mean) ** 2).mean(dims, True)
    else:
        mean, variance = (part.reshape(1, -1, 1) for part in given)
    normal = ((wide - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)
    shape = (1, channels) + (1,) * (x.dim() - 2)
    return normal * weight.reshape(shape) + bias.reshape(shape)


def _draw(*shape: int) -> Any:
    return (T.randn(*shape, dtype=T.float64) + 0.5).requires_grad_()


def _check(ours: Any, theirs: Any, inputs: tuple[Any, ...]) -> None:
    assert T.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    seed = T.randn_like(theirs)
    pairs = []
    for made in (ours, theirs):
        first = T.autograd.grad(made, inputs, seed, retain_graph=True)
        again = T.autograd.grad(made, inputs, seed, create_graph=True)
        for a, b in zip(first, again, strict=True):
            assert T.allclose(a, b, rtol=1e-8, atol=1e-9)
        loss = sum((grad * grad.detach().cos()).sum() for grad in again)
        pairs.append((first, T.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)))
    for mine, other in zip(*pairs, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert T.allclose(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strided", [False, True])
def test_batch_norm(shape: tuple[int, ...], strided: bool) -> None:
    T.manual_seed(0)
    x = _draw(*shape)
    if strided:
        x = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    weight, bias = _draw(shape[1]), _draw(shape[1])
    mean, var = T.zeros(shape[1], dtype=T.float64), T.ones(shape[1], dtype=T.float64)
    ours = F.batch_norm(x, mean, var, weight, bias, training=True, momentum=0.3)
    _check(ours, _by_hand(x, 0, weight, bias), (x, weight, bias))
    flat = x.detach().transpose(0, 1).reshape(shape[1], -1)
    assert T.allclose(mean, 0.3 * flat.mean(1))
    assert T.allclose(var, 0.7 + 0.3 * flat.var(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_of_running_statistics(shape: tuple[int, ...]) -> None:
    T.manual_seed(0)
    x, weight, bias = _draw(*shape), _draw(shape[1]), _draw(shape[1])
    mean, var = T.randn(shape[1], dtype=T.float64), T.rand(shape[1], dtype=T.float64) + 0.5
    given = (mean.clone(), var.clone())
    ours = F.batch_norm(x, mean, var, weight, bias)
    _check(ours, _by_hand(x, 0, weight, bias, given), (x, weight, bias))
    assert T.equal(mean, given[0])


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[1] % 2 == 0])
@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm(shape: tuple[int, ...], groups: int) -> None:
    T.manual_seed(0)
    x, weight, bias = _draw(*shape), _draw(shape[1]), _draw(shape[1])
    ours = F.group_norm(x, groups, weight, bias)
    _check(ours, _by_hand(x, groups, weight, bias), (x, weight, bias))


@pytest.mark.parametrize("shape", [(16, 36), (8, 12, 7), (5, 6, 4, 5)])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_of_channels_of_few_places(shape: tuple[int, ...], groups: int) -> None:
    T.manual_seed(0)
    x, weight, bias = T.randn(shape), T.randn(shape[1]), T.randn(shape[1])
    grad = T.randn(shape)
    for parts in ((weight, bias), (weight, None), (None, bias), (None, None)):
        for made in (x, x.transpose(0, -1).contiguous().transpose(0, -1)):
            given = [part.requires_grad_() for part in (made.clone(), *parts) if part is not None]
            ours = F.group_norm(given[0], groups, *parts)
            lines = [part.detach().double().requires_grad_() for part in (given[0], weight, bias)]
            ones = [lines[1] if parts[0] is not None else T.ones(shape[1], dtype=T.float64)]
            ones.append(lines[2] if parts[1] is not None else T.zeros(shape[1], dtype=T.float64))
            expected = _by_hand(lines[0], groups, *ones)
            assert ours.shape == shape
            assert T.allclose(ours.double(), expected, atol=1e-5)
            used = [line for line, part in zip(lines, (x, *parts), strict=True) if part is not None]
            own = T.autograd.grad(ours, given, grad)
            exact = T.autograd.grad(expected, used, grad.double())
            assert all(T.allclose(a.double(), b, atol=1e-4) for a, b in zip(own, exact, strict=True))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parts_may_be_absent(name: str) -> None:
    T.manual_seed(0)
    x, part = _draw(4, 6, 9), _draw(6)
    zeros, ones = T.zeros(6, dtype=T.float64), T.ones(6, dtype=T.float64)
    parts = {"weight": ones, "bias": zeros} | {name: part}
    # torch fails in the second derivative of a batch norm without a weight.
    for groups in (3,) if name == "bias" else (0, 3):
        given = {name: part}
        made = F.group_norm(x, 3, **given) if groups else F.batch_norm(x, None, None, training=True, **given)
        _check(made, _by_hand(x, groups, parts["weight"], parts["bias"]), (x, part))
    plain = F.batch_norm(x, None, None, training=True)
    _check(plain, _by_hand(x, 0, ones, zeros), (x,))


def test_precision_of_a_large_mean() -> None:
    T.manual_seed(0)
    x = T.randn(64, 3, 17, 19) + 1000.0
    made = F.batch_norm(x, None, None, training=True)
    assert float(made.mean((0, 2, 3)).abs().max()) < 1e-3
    assert float((made.var((0, 2, 3)) - 1).abs().max()) < 1e-3


def test_nodes() -> None:
    x, weight = T.randn(2, 4, 3, requires_grad=True), T.ones(4, requires_grad=True)
    node = F.batch_norm(x, None, None, weight, training=True, eps=1e-3).grad_fn
    assert node.name() == "NativeBatchNormBackward0"
    assert node._saved_training is True
    assert node._saved_eps == 1e-3
    assert T.equal(node._saved_input, x)
    node = F.group_norm(x, 2, weight).grad_fn
    assert node.name() == "NativeGroupNormBackward0"
    assert (node._saved_N, node._saved_C, node._saved_HxW, node._saved_group) == (2, 4, 3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.batch_norm(T.ones(2, 4, 3), None, None), "running_mean must be defined"),
        (lambda: F.batch_norm(T.ones(2, 4), T.ones(3), T.ones(3)), "should contain"),
        (lambda: F.batch_norm(T.ones(2, 4).double(), T.ones(4), T.ones(4)), "mixed dtype"),
        (lambda: F.batch_norm(T.ones(2, 4), T.ones(4).double(), T.ones(4).double(), training=True), "mixed dtype"),
        (lambda: F.group_norm(T.ones(2, 4, 3), 3), "divisible by num_groups"),
        (lambda: F.group_norm(T.ones(2, 4, 3), -2), "greater than 0"),
        (lambda: F.group_norm(T.ones(2, 4, 3), 2, T.ones(3)), "weight to be a vector of size equal"),
        (lambda: F.group_norm(T.ones(2, 4, 0), 2), "HxW to be greater than 0"),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()
