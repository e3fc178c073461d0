"""The loss of connectionist temporal classification: values, gradients, what it refuses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from oracle import T

F: Any = T.nn.functional

RAGGED = ((6, 5, 4), (3, 2, 1))
PADDED = [[1, 2, 3], [1, 1, 0], [4, 0, 0]]
FLAT = [1, 2, 3, 1, 1, 4]


def scores(dtype: Any = T.float64) -> Any:
    values = [[[((t * 7 + n * 3 + c * 5) % 11) / 3 - 1 for c in range(5)] for n in range(3)] for t in range(6)]
    return T.tensor(values, dtype=dtype, requires_grad=True)


def squeezed(path: tuple[int, ...]) -> list[int]:
    """Return the labels that a path of classes stands for: repetitions joined, blanks (0) left out."""
    return [label for label, _ in itertools.groupby(path) if label]


def by_paths(logs: Any, labels: list[int]) -> Any:
    """Return the loss by a sum over all paths of classes."""
    paths = [path for path in itertools.product(range(logs.shape[1]), repeat=len(logs)) if squeezed(path) == labels]
    return -T.stack([sum(logs[t, c] for t, c in enumerate(path)) for path in paths]).logsumexp(0)


@pytest.mark.parametrize("labels", [[], [2], [1, 2], [1, 1], [2, 1, 2]])
def test_it_is_the_sum_over_all_paths(labels: list[int]) -> None:
    given = scores().detach()[:5, 0, :3].clone().requires_grad_()
    logs = given.log_softmax(1)
    loss = F.ctc_loss(logs, T.tensor(labels, dtype=T.int64), (5,), (len(labels),), reduction="sum")
    expected = by_paths(logs, labels)
    assert T.allclose(loss, expected)
    own, other = (T.autograd.grad(one, given, retain_graph=True)[0] for one in (loss, expected))
    assert T.allclose(own, other)


@pytest.mark.parametrize("dtype", [T.float32, T.float64])
def test_layouts_dtypes_and_lengths_say_the_same(dtype: Any) -> None:
    logs = scores(dtype).log_softmax(2)
    whole = F.ctc_loss(logs, T.tensor(PADDED), *RAGGED, reduction="none")
    assert whole.dtype is dtype
    lengths = [T.tensor(one) for one in RAGGED]
    times: Any
    for targets, times in [
        (T.tensor(FLAT), RAGGED),
        (T.tensor(FLAT, dtype=T.int32), lengths),
        (T.tensor(PADDED, dtype=T.uint8), [list(one) for one in RAGGED]),
        (T.tensor(PADDED).t().contiguous().t(), [one.to(T.int32) for one in lengths]),
    ]:
        assert T.equal(F.ctc_loss(logs, targets, *times, reduction="none"), whole)
    across = logs.transpose(0, 1).contiguous().transpose(0, 1)
    assert T.equal(F.ctc_loss(across, T.tensor(FLAT), *RAGGED, reduction="none"), whole)
    for n, (steps, labels) in enumerate(zip(*RAGGED, strict=True)):
        alone = F.ctc_loss(logs[:, n], T.tensor(PADDED[n][:labels]), (steps,), (labels,), reduction="none")
        assert alone.shape == ()
        assert T.equal(alone, whole[n])
    assert T.allclose(T.nn.CTCLoss()(logs, T.tensor(FLAT), *RAGGED), (whole / lengths[1]).mean())
    assert T.allclose(T.ctc_loss(logs, T.tensor(FLAT), *RAGGED, 0, 2), whole.sum())
    assert T.equal(T.ctc_loss(logs, T.tensor(FLAT), *RAGGED), whole)


def test_the_gradient_is_that_of_the_scores() -> None:
    given = scores()
    logs = given.detach().requires_grad_()  # not normalised: the gradient is still of scores before a softmax
    weights = T.tensor([1.0, -2.0, 0.5], dtype=T.float64)
    loss = F.ctc_loss(logs, T.tensor(PADDED), *RAGGED, reduction="none")
    (own,) = T.autograd.grad((loss * weights).sum(), logs)
    # The probabilities, less the posteriors, which are minus the gradient of the sum over alignments.
    one = logs.detach()[:4, 2].clone().requires_grad_()
    (posterior,) = T.autograd.grad(by_paths(one, [4]), one)
    assert T.allclose(own[:4, 2], 0.5 * (one.detach().exp() + posterior))
    assert (own[4:, 2] == 0).all()


def test_targets_that_do_not_fit() -> None:
    logs = scores().log_softmax(2).detach().requires_grad_()
    short = ((3, 2, 1), (3, 2, 1))  # the second has twice the same label: three steps at least
    loss = F.ctc_loss(logs, T.tensor(PADDED), *short, reduction="none")
    assert loss.isinf().tolist() == [False, True, False]
    (grad,) = T.autograd.grad(loss.sum(), logs)
    assert grad[:2, 1].isnan().all()
    assert grad[:, [0, 2]].isfinite().all()
    zeroed = F.ctc_loss(logs, T.tensor(PADDED), *short, reduction="none", zero_infinity=True)
    assert zeroed.tolist() == [loss[0].item(), 0.0, loss[2].item()]
    (grad,) = T.autograd.grad(zeroed.sum(), logs)
    assert (grad[:, 1] == 0).all()
    empty = F.ctc_loss(logs, T.tensor(PADDED), (0, 0, 4), (0, 2, 0), reduction="none")
    assert empty.tolist()[:2] == [0.0, math.inf]
    assert T.allclose(empty[2], -logs[:4, 2, 0].sum())
    assert T.allclose(F.ctc_loss(logs, T.zeros(3, 0, dtype=T.int64), (6, 6, 6), (0, 0, 0)), -logs[:, :, 0].sum() / 3)


def test_another_blank() -> None:
    logs = scores().log_softmax(2)
    moved = logs[:, :, [4, 1, 2, 3, 0]]
    at_end = F.ctc_loss(logs, T.tensor([[1, 2, 3], [1, 1, 0], [0, 0, 0]]), *RAGGED, blank=4, reduction="none")
    assert T.allclose(at_end, F.ctc_loss(moved, T.tensor([[1, 2, 3], [1, 1, 0], [4, 0, 0]]), *RAGGED, reduction="none"))


def test_it_has_no_second_derivative() -> None:
    logs = scores().log_softmax(2).detach().requires_grad_()
    loss = F.ctc_loss(logs, T.tensor(PADDED), *RAGGED)
    assert loss.grad_fn.next_functions[0][0].next_functions[0][0].name() == "CtcLossBackward0"
    (grad,) = T.autograd.grad(loss, logs, create_graph=True)
    assert grad.requires_grad
    with pytest.raises(RuntimeError, match="derivative for aten::_ctc_loss_backward is not implemented"):
        T.autograd.grad(grad.square().sum(), logs)


def test_what_is_written_over_is_noticed() -> None:
    targets, logs = T.tensor(PADDED), scores().log_softmax(2)
    loss = F.ctc_loss(logs, targets, *RAGGED)
    targets.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    loss = F.ctc_loss(logs, targets, (6, 6, 6), (0, 0, 0)[:3])
    logs.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"blank": 5}, RuntimeError, "blank must be in label range"),
        ({"blank": -1}, RuntimeError, "blank must be in label range"),
        ({"input_lengths": (7, 5, 4)}, RuntimeError, "input_lengths to have value at most 6, but got value 7"),
        ({"input_lengths": (-1, 5, 4)}, RuntimeError, "input_lengths to have value at least 0, but got value -1"),
        ({"target_lengths": (-1, 2, 1)}, RuntimeError, "target_lengths to have value at least 0, but got value -1"),
        ({"input_lengths": (6, 5)}, RuntimeError, "input_lengths must be of size batch_size"),
        ({"target_lengths": (3, 2)}, RuntimeError, "target_lengths must be of size batch_size"),
        ({"target_lengths": (4, 2, 1)}, RuntimeError, "size at least 4 at dimension 1, but got size 3"),
        ({"targets": FLAT[:-1]}, RuntimeError, "size 6 at dimension 0, but got size 5"),
        ({"targets": [*FLAT, 1]}, RuntimeError, "size 6 at dimension 0, but got size 7"),
        ({"targets": PADDED[:2]}, RuntimeError, "size 3 at dimension 0, but got size 2"),
        ({"targets": [PADDED]}, RuntimeError, "Expected 1 to 2 dimensions, but got 3-dimensional"),
        ({"targets": 3}, RuntimeError, "Expected 1 to 2 dimensions, but got 0-dimensional"),
        ({"input_lengths": 6, "target_lengths": 3}, TypeError, "invalid combination of arguments"),
        ({"input_lengths": T.tensor([6, 5, 4])}, TypeError, "invalid combination of arguments"),
        ({"reduction": "most"}, ValueError, "most is not a valid value for reduction"),
        ({"log_probs": T.zeros(6)}, RuntimeError, "Expected 3-dimensional tensor, but got 2-dimensional"),
        ({"log_probs": T.zeros(1, 6, 3, 5)}, RuntimeError, "Expected 3-dimensional tensor, but got 5-dimensional"),
        ({"log_probs": T.zeros(0, 3, 5)}, RuntimeError, "log_probs tensor must not be empty"),
        ({"log_probs": T.zeros(6, 3, 5, dtype=T.int64)}, NotImplementedError, "not implemented for 'Long'"),
    ],
)
def test_refusals(change: dict[str, Any], error: type[Exception], words: str) -> None:
    given: dict[str, Any] = {
        "log_probs": scores(),
        "targets": PADDED,
        "input_lengths": RAGGED[0],
        "target_lengths": RAGGED[1],
    }
    given |= change
    given["targets"] = T.tensor(given["targets"])
    with pytest.raises(error, match=words):
        F.ctc_loss(**given)


def test_float_lengths_are_refused() -> None:
    lengths = [T.tensor(one) for one in RAGGED]
    with pytest.raises(RuntimeError, match="input_lengths must be integral"):
        F.ctc_loss(scores(), T.tensor(PADDED), lengths[0].double(), lengths[1])


@pytest.mark.rustgrad_only
@pytest.mark.parametrize("label", [5, -1])
def test_labels_beyond_the_classes(label: int) -> None:
    # torch reads what lies beside the tensor.
    targets = [[1, 2, label], *PADDED[1:]]
    with pytest.raises(IndexError, match=f"label {label} in target 0 is out of bounds for 5 classes"):
        F.ctc_loss(scores(), T.tensor(targets), *RAGGED)


def test_threads_change_no_bit() -> None:
    T.manual_seed(0)
    logs = T.randn(60, 40, 30).log_softmax(2).requires_grad_()
    targets, threads = T.randint(1, 30, (40, 20)), T.get_num_threads()
    made = []
    try:
        for count in (1, 3):
            T.set_num_threads(count)
            loss = F.ctc_loss(logs, targets, (60,) * 40, tuple(range(1, 21)) * 2, reduction="none")
            made.append((loss, *T.autograd.grad(loss.sum(), logs)))
    finally:
        T.set_num_threads(threads)
    assert T.equal(made[0][0], made[1][0])
    assert T.equal(made[0][1], made[1][1])
