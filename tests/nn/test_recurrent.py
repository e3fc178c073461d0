"""Recurrent layers and cells, packed sequences: against the formulas step by step, and against torch's numbers."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest
from oracle import T

nn: Any = T.nn
rnn: Any = importlib.import_module(f"{T.__name__}.nn.utils.rnn")

MODES = ["RNN", "RNN_RELU", "LSTM", "GRU"]


def make(mode: str, *sizes: int, **options: Any) -> Any:
    """Make a float64 layer with weights that a seed tells."""
    T.manual_seed(3)
    options.setdefault("dtype", T.float64)
    if mode == "RNN_RELU":
        return nn.RNN(*sizes, nonlinearity="relu", **options)
    return getattr(nn, mode)(*sizes, **options)


def step(mode: str, x: Any, h: Any, c: Any, w: list[Any]) -> tuple[Any, Any]:
    """Make one step by the formula."""
    a, b = x @ w[0].T, h @ w[1].T
    if len(w) > 2:
        a, b = a + w[2], b + w[3]
    if mode in ("RNN", "RNN_RELU"):
        return ((a + b).tanh() if mode == "RNN" else (a + b).relu()), None
    if mode == "GRU":
        (ar, az, an), (br, bz, bn) = a.chunk(3, -1), b.chunk(3, -1)
        r, z = (ar + br).sigmoid(), (az + bz).sigmoid()
        n = (an + r * bn).tanh()
        return (1 - z) * n + z * h, None
    i, f, g, o = (a + b).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def unrolled(mode: str, layer: Any, x: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Run a layer by the formula, over ``(T, B, *)``."""
    last = []
    directions = 2 if layer.bidirectional else 1
    for depth in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            at = depth * directions + direction
            h, c = states[0][at], (states[1][at] if mode == "LSTM" else None)
            steps = list(x.unbind(0))
            made = []
            for one in reversed(steps) if direction else steps:
                h, c = step(mode, one, h, c, layer.all_weights[at])
                made.append(h)
            outputs.append(T.stack(made[::-1] if direction else made))
            last.append((h,) if c is None else (h, c))
        x = T.cat(outputs, -1)
    return x, tuple(T.stack(parts) for parts in zip(*last, strict=True))


def inputs(layer: Any, length: int, batch: int) -> tuple[Any, tuple[Any, ...]]:
    T.manual_seed(7)
    x = T.randn(length, batch, layer.input_size, dtype=T.float64, requires_grad=True)
    shape = (layer.num_layers * (2 if layer.bidirectional else 1), batch, layer.hidden_size)
    count = 2 if layer.mode == "LSTM" else 1
    return x, tuple(T.randn(*shape, dtype=T.float64, requires_grad=True) for _ in range(count))


def as_hx(mode: str, states: tuple[Any, ...]) -> Any:
    return states if mode == "LSTM" else states[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "num_layers": 2}],
    ids=["plain", "deep", "bare"],
)
@pytest.mark.parametrize("length", [1, 5])
def test_layers_follow_the_formula(mode: str, options: dict[str, Any], length: int) -> None:
    layer = make(mode, 3, 4, **options)
    x, states = inputs(layer, length, 2)
    leaves = [x, *states, *layer.parameters()]

    def loss_of(output: Any, last: tuple[Any, ...]) -> Any:
        return (output * output.cos()).sum() + sum((one.sin() * (i + 2)).sum() for i, one in enumerate(last))

    output, last = layer(x, as_hx(mode, states))
    last = last if isinstance(last, tuple) else (last,)
    expected, expected_last = unrolled(mode, layer, x, states)
    for own, other in zip((output, *last), (expected, *expected_last), strict=True):
        assert T.allclose(own, other, rtol=1e-12, atol=1e-13)
    grads = T.autograd.grad(loss_of(output, last), leaves, create_graph=True)
    others = T.autograd.grad(loss_of(expected, expected_last), leaves, create_graph=True)
    for own, other in zip(grads, others, strict=True):
        assert T.allclose(own, other, rtol=1e-10, atol=1e-12)
    second = T.autograd.grad(sum((grad * grad).sum() for grad in grads), leaves)
    other_second = T.autograd.grad(sum((grad * grad).sum() for grad in others), leaves)
    for own, other in zip(second, other_second, strict=True):
        assert T.allclose(own, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("part", [0, 1])
def test_gradients_of_one_result_alone(mode: str, part: int) -> None:
    layer = make(mode, 2, 3)
    x, states = inputs(layer, 4, 2)
    result = layer(x, as_hx(mode, states))[part]
    expected = unrolled(mode, layer, x, states)[part]
    chosen = result[-1] if isinstance(result, tuple) else result
    other = expected[-1] if isinstance(expected, tuple) else expected
    leaves = [x, states[0], layer.weight_hh_l0]
    own = T.autograd.grad((chosen * chosen).sum(), leaves)
    for a, b in zip(own, T.autograd.grad((other * other).sum(), leaves), strict=True):
        assert T.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_gradcheck(mode: str) -> None:
    layer = make(mode, 2, 2)
    x, states = inputs(layer, 3, 1)
    names = list(dict(layer.named_parameters()))

    def run(x: Any, *rest: Any) -> Any:
        states, weights = rest[: len(rest) - len(names)], rest[len(rest) - len(names) :]
        for name, weight in zip(names, weights, strict=True):
            # A plain attribute in the place of the parameter.
            layer._parameters.pop(name, None)
            layer.__dict__[name] = weight
            if hasattr(layer, "_flat_weights"):
                layer._flat_weights = [getattr(layer, each) for each in names]
        return layer(x, as_hx(mode, states))[0]

    weights = tuple(getattr(layer, name).detach().requires_grad_() for name in names)
    assert T.autograd.gradcheck(run, (x, *states, *weights))


@pytest.mark.parametrize("mode", MODES)
def test_forms_of_the_input(mode: str) -> None:
    layer = make(mode, 3, 4, num_layers=2, bidirectional=True)
    turned = make(mode, 3, 4, num_layers=2, bidirectional=True, batch_first=True)
    x, states = inputs(layer, 5, 2)
    output, last = layer(x, as_hx(mode, states))
    other, other_last = turned(x.transpose(0, 1), as_hx(mode, states))
    assert T.equal(other, output.transpose(0, 1))
    assert T.equal(other_last[0], last[0])
    alone, alone_last = layer(x[:, 1], as_hx(mode, tuple(state[:, 1] for state in states)))
    assert alone.shape == (5, 8)
    assert T.allclose(alone, output[:, 1], rtol=1e-12)
    first = alone_last[0] if mode == "LSTM" else alone_last
    assert first.shape == (4, 4)
    zeros = tuple(T.zeros_like(state) for state in states)
    assert T.equal(layer(x)[0], layer(x, as_hx(mode, zeros))[0])


@pytest.mark.parametrize("mode", MODES)
def test_packed_sequences_are_run_each_in_its_length(mode: str) -> None:
    layer = make(mode, 3, 4, num_layers=2, bidirectional=True)
    x, states = inputs(layer, 5, 3)
    lengths = [2, 5, 3]
    packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, last = layer(packed, as_hx(mode, states))
    padded, counts = rnn.pad_packed_sequence(output, padding_value=-7.0)
    assert counts.tolist() == lengths
    for i, length in enumerate(lengths):
        own = tuple(state[:, i] for state in states)
        expected, expected_last = layer(x[:length, i], as_hx(mode, own))
        assert T.allclose(padded[:length, i], expected, rtol=1e-11, atol=1e-13)
        assert (padded[length:, i] == -7).all()
        final = last[0] if mode == "LSTM" else last
        expected_final = expected_last[0] if mode == "LSTM" else expected_last
        assert T.allclose(final[:, i], expected_final, rtol=1e-11, atol=1e-13)
    (grad,) = T.autograd.grad(padded.sum(), x)
    assert (grad[2:, 0] == 0).all()
    assert (grad[:2, 0] != 0).any()


@pytest.mark.parametrize(("cell", "mode"), [("RNNCell", "RNN"), ("LSTMCell", "LSTM"), ("GRUCell", "GRU")])
def test_cells_make_one_step(cell: str, mode: str) -> None:
    layer = make(mode, 3, 4)
    one = getattr(nn, cell)(3, 4, dtype=T.float64)
    one.load_state_dict({name[: -len("_l0")]: value for name, value in layer.state_dict().items()})
    x, states = inputs(layer, 1, 2)
    own = tuple(state[0] for state in states)
    made = one(x[0], as_hx(mode, own))
    output, last = layer(x, as_hx(mode, states))
    assert T.allclose(made[0] if mode == "LSTM" else made, output[0], rtol=1e-12)
    if mode == "LSTM":
        assert T.allclose(made[1], last[1][0], rtol=1e-12)
    alone = one(x[0, 1])
    assert (alone[0] if mode == "LSTM" else alone).shape == (4,)


def test_names_shapes_and_text() -> None:
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    assert [name for name, _ in layer.named_parameters()] == [
        f"{kind}_l{depth}{way}"
        for depth, way in itertools.product((0, 1), ("", "_reverse"))
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert layer.weight_ih_l1_reverse.shape == (16, 8)
    assert repr(layer) == "LSTM(3, 4, num_layers=2, bidirectional=True)"
    assert repr(nn.GRU(3, 4, bias=False, batch_first=True)) == "GRU(3, 4, bias=False, batch_first=True)"
    assert repr(nn.RNNCell(3, 4, nonlinearity="relu")) == "RNNCell(3, 4, nonlinearity=relu)"
    assert list(nn.GRUCell(3, 4).state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert nn.GRUCell(3, 4, bias=False).bias_ih is None


def test_dropout_between_layers_only_while_training() -> None:
    layer = make("GRU", 3, 8, num_layers=2, dropout=0.5)
    x, _ = inputs(layer, 4, 2)
    first, second = layer(x)[0], layer(x)[0]
    assert not T.equal(first, second)
    layer.eval()
    assert T.equal(layer(x)[0], layer(x)[0])
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last recurrent layer"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(3, 4)(T.ones(5, 2, 4)), RuntimeError, "input.size.-1. must be equal to input_size"),
        (lambda: nn.GRU(3, 4)(T.ones(5, 2, 3), T.ones(1, 3, 4)), RuntimeError, r"Expected hidden size \(1, 2, 4\)"),
        (lambda: nn.LSTM(3, 4)(T.ones(5, 2, 3), (T.ones(1, 3, 4),) * 2), RuntimeError, r"Expected hidden\[0\] size"),
        (lambda: nn.GRU(3, 4)(T.ones(5)), ValueError, "GRU: Expected input to be 2D or 3D, got 1D instead"),
        (lambda: nn.GRU(3, 4)(T.ones(5, 2, 3), T.ones(1, 4)), RuntimeError, "hx should also be 3-D but got 2-D"),
        (lambda: nn.LSTM(3, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(3, 4.0), TypeError, "hidden_size should be of type int, got: float"),
        (lambda: nn.GRU(3, 4, dropout=2), ValueError, r"dropout should be a number in range \[0, 1\]"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), ValueError, "Unknown nonlinearity 'sin'"),
        (lambda: nn.GRU(3, 4, proj_size=2), ValueError, "proj_size argument is only supported for LSTM"),
        (lambda: nn.GRUCell(3, 4)(T.ones(2, 5)), RuntimeError, "input has inconsistent input_size: got 5"),
        (lambda: nn.GRUCell(3, 4)(T.ones(1, 1, 3)), ValueError, "GRUCell: Expected input to be 1D or 2D, got 3D"),
        (lambda: nn.GRUCell(3, 4)(T.ones(2, 3), T.ones(3, 4)), RuntimeError, "Input batch size 2 doesn't match"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Sequences.


def test_padding_and_packing() -> None:
    one, two, three = T.tensor([1.0, 2.0]), T.tensor([3.0, 4.0, 5.0]), T.tensor([6.0])
    assert rnn.pad_sequence([one, two, three], batch_first=True, padding_value=9).tolist() == [
        [1, 2, 9],
        [3, 4, 5],
        [6, 9, 9],
    ]
    left = rnn.pad_sequence([one, two], padding_side="left")
    assert left.tolist() == [[0, 3], [1, 4], [2, 5]]
    packed = rnn.pack_sequence([one, two, three], enforce_sorted=False)
    assert packed.data.tolist() == [3, 1, 6, 4, 2, 5]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2]
    assert packed.unsorted_indices.tolist() == [1, 0, 2]
    assert [part.tolist() for part in rnn.unpack_sequence(packed)] == [[1, 2], [3, 4, 5], [6]]
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True, total_length=4)
    assert padded.shape == (3, 4)
    assert lengths.tolist() == [2, 3, 1]
    assert packed.double().data.dtype is T.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rnn.pack_padded_sequence(T.ones(5, 2, 3), [2, 5]), RuntimeError, "sorted in decreasing order"),
        (lambda: rnn.pack_padded_sequence(T.ones(5, 2, 3), [5, 0]), RuntimeError, "has to be greater than 0"),
        (lambda: rnn.pack_padded_sequence(T.ones(5, 2, 3), [5]), RuntimeError, "equal to batch_size"),
        (
            lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(T.ones(5, 2), [5, 2]), total_length=3),
            ValueError,
            "Expected total_length to be at least the length of the longest sequence",
        ),
    ],
)
def test_packing_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
