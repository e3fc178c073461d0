"""utils.checkpoint: recomputing in the backward pass, re-entrant and not; and the random state it keeps."""

from __future__ import annotations

import contextlib
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from checkpoint_parts import (
    CheckpointError,
    Counter,
    T,
    checkpoint,
    checkpoint_sequential,
    grads_of,
    graph,
    module,
    numbers,
    reentrant,
    same,
    wave,
)


@reentrant
def test_gradients_are_the_same(use_reentrant: bool) -> None:
    x, w = numbers(3, 4), numbers(4, 4)

    def block(x: Any, w: Any) -> Any:
        return wave(x @ w)

    plain = grads_of(lambda: block(block(x, w), w).sum(), x, w)
    again = grads_of(
        lambda: checkpoint(block, checkpoint(block, x, w, use_reentrant=use_reentrant), w, use_reentrant=use_reentrant).sum(),
        x, w,
    )  # fmt: skip
    assert same(plain, again)


@reentrant
def test_the_function_runs_again_in_the_backward_pass(use_reentrant: bool) -> None:
    x, f = numbers(3), Counter(wave)
    y = checkpoint(f, x, use_reentrant=use_reentrant)
    assert f.begun == 1
    y.sum().backward()
    assert f.begun == 2


@reentrant
def test_values_and_history(use_reentrant: bool) -> None:
    x = numbers(3)
    y = checkpoint(wave, x, use_reentrant=use_reentrant)
    assert T.equal(y, wave(x))
    assert y.requires_grad
    assert not y.is_leaf


@reentrant
def test_several_outputs_and_other_arguments(use_reentrant: bool) -> None:
    x, c = numbers(3), numbers(3).detach()

    def f(x: Any, k: float, c: Any, none: None) -> Any:
        assert none is None
        return x * k, x.exp() * c, c

    a, b, _d = checkpoint(f, x, 2.5, c, None, use_reentrant=use_reentrant)
    (a * b).sum().backward()
    grad = x.grad
    x.grad = None
    a, b, _d = f(x, 2.5, c, None)
    (a * b).sum().backward()
    assert T.equal(grad, x.grad)
    assert c.grad is None


@reentrant
def test_part_of_the_outputs(use_reentrant: bool) -> None:
    x = numbers(3)
    a, _b = checkpoint(lambda x: (x.exp(), x.sin()), x, use_reentrant=use_reentrant)
    a.sum().backward()
    assert T.equal(x.grad, x.detach().exp())


def test_outputs_that_are_no_tensors() -> None:
    x = numbers(3)
    y, note, nothing = checkpoint(lambda x: (x.exp(), "note", None), x, use_reentrant=False)
    assert (note, nothing) == ("note", None)
    y.sum().backward()
    assert T.equal(x.grad, x.detach().exp())


def test_inputs_in_containers_and_closures() -> None:
    x, w = numbers(3), numbers(3)
    found = checkpoint(lambda pair: pair["x"].exp() * w, {"x": x}, use_reentrant=False)
    assert same(grads_of(lambda: found.sum(), x, w), grads_of(lambda: (x.exp() * w).sum(), x, w))


def test_keywords() -> None:
    x, w = numbers(3), numbers(3)

    def f(x: Any, *, w: Any = None, power: int = 1) -> Any:
        return x.exp() * w**power

    loss = lambda: checkpoint(f, x, w=w, power=3, use_reentrant=False).sum()  # noqa: E731
    assert same(grads_of(loss, x, w), grads_of(lambda: f(x, w=w, power=3).sum(), x, w))
    with pytest.raises(ValueError, match="Unexpected keyword arguments: w,power"):
        checkpoint(f, x, w=w, power=3, use_reentrant=True)


# Which mode.


def test_the_mode_should_be_given() -> None:
    x, f = numbers(3), Counter(wave)
    with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed explicitly"):
        y = checkpoint(f, x)
    assert "CheckpointFunction" in type(y.grad_fn).__name__, "the default is the re-entrant mode"
    with pytest.warns(UserWarning, match="checkpoint_sequential.*use_reentrant"):
        checkpoint_sequential([wave, wave], 2, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint(f, x, use_reentrant=False)


def test_options_of_the_other_mode() -> None:
    x = numbers(3)
    for options in (
        {"debug": True},
        {"context_fn": lambda: (contextlib.nullcontext(), contextlib.nullcontext())},
    ):
        with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
            checkpoint(wave, x, use_reentrant=True, **options)
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        checkpoint(wave, x, use_reentrant=False, determinism_check="strict")
    with pytest.raises(ValueError, match="debug=True is incompatible with non-default context_fn"):
        checkpoint(wave, x, use_reentrant=False, debug=True, context_fn=lambda: (None, None))


def test_a_reentrant_checkpoint_needs_an_input_with_gradient() -> None:
    w = numbers(3)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True. Gradients will be None"):
        y = checkpoint(lambda x: x * w, T.ones(3, dtype=T.float64), use_reentrant=True)
    assert not y.requires_grad


def test_without_reentrance_no_input_needs_a_gradient() -> None:
    w = numbers(3)
    y = checkpoint(lambda x: (x * w).exp(), T.ones(3, dtype=T.float64), use_reentrant=False)
    y.sum().backward()
    assert T.equal(w.grad, w.detach().exp())
    w.grad = None
    checkpoint(lambda: w.exp(), use_reentrant=False).sum().backward()
    assert T.equal(w.grad, w.detach().exp())


def test_a_reentrant_checkpoint_refuses_chosen_inputs() -> None:
    x = numbers(3)
    message = "torch.utils.checkpoint is incompatible with .grad\\(\\) or passing an `inputs` parameter to .backward"
    with pytest.raises(RuntimeError, match=message):
        T.autograd.grad(checkpoint(wave, x, use_reentrant=True).sum(), x)
    with pytest.raises(RuntimeError, match=message):
        checkpoint(wave, x, use_reentrant=True).sum().backward(inputs=[x])
    y = checkpoint(lambda x: checkpoint(wave, x, use_reentrant=True), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match=message):
        T.autograd.grad(y.sum(), x)


def test_without_reentrance_inputs_may_be_chosen() -> None:
    x = numbers(3)
    (want,) = T.autograd.grad(wave(x).sum(), x)
    (found,) = T.autograd.grad(checkpoint(wave, x, use_reentrant=False).sum(), x)
    assert T.equal(found, want)
    checkpoint(wave, x, use_reentrant=False).sum().backward(inputs=[x])
    assert T.equal(x.grad, want)


def test_a_reentrant_checkpoint_without_differentiable_output() -> None:
    x = numbers(3)
    y = checkpoint(lambda x: x.detach() * 2, x, use_reentrant=True)
    with pytest.raises(
        RuntimeError, match="none of output has requires_grad=True, this checkpoint\\(\\) is not necessary"
    ):
        y.sum().backward()


@reentrant
def test_inside_no_grad_nothing_is_recorded(use_reentrant: bool) -> None:
    x, f = numbers(3), Counter(wave)
    with T.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = checkpoint(f, x, use_reentrant=use_reentrant)
    assert not y.requires_grad
    assert f.begun == 1


# Modes without re-entrance.


def test_double_backward() -> None:
    x = numbers(3)

    def second(f: Callable[[Any], Any]) -> Any:
        (g,) = T.autograd.grad(f(x).sum(), x, create_graph=True)
        return T.autograd.grad(g.sum(), x)[0]

    assert T.allclose(second(lambda x: checkpoint(wave, x, use_reentrant=False)), second(wave), rtol=1e-12)
    assert T.autograd.gradcheck(lambda x: checkpoint(wave, x, use_reentrant=False), x)
    assert T.autograd.gradgradcheck(lambda x: checkpoint(wave, x, use_reentrant=False), x)


def test_each_pass_recomputes() -> None:
    x, f = numbers(3), Counter(wave)
    y = checkpoint(f, x, use_reentrant=False)
    y.sum().backward(retain_graph=True)
    first = x.grad
    x.grad = None
    y.sum().backward(retain_graph=True)
    assert T.equal(first, x.grad)
    y.sum().backward()
    assert f.begun == 4
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.sum().backward()


def test_one_pass_recomputes_once_whatever_it_needs() -> None:
    x, f = numbers(3), Counter(lambda x: (x.exp(), x.sin(), x.tanh()))
    a, b, c = checkpoint(f, x, use_reentrant=False)
    (a * b * c).sum().backward()
    assert f.begun == 2


def test_early_stop() -> None:
    x = numbers(3)
    for options, ended in (({}, 1), ({"early_stop": False}, 2)):
        f = Counter(lambda x: x.exp().clone() + 1)
        checkpoint(f, x, use_reentrant=False, **options).sum().backward()
        assert (f.begun, f.ended) == (2, ended)
    for enable, ended in ((True, 1), (False, 2)):
        f = Counter(lambda x: x.exp() + 1)
        with module.set_checkpoint_early_stop(enable):
            y = checkpoint(f, x, use_reentrant=False, early_stop=not enable)
        y.sum().backward()
        assert (f.begun, f.ended) == (2, ended)


def test_early_stop_is_set_for_a_block() -> None:
    with contextlib.suppress(KeyError), module.set_checkpoint_early_stop(False):
        with module.set_checkpoint_early_stop(True):
            pass
        raise KeyError
    x, f = numbers(3), Counter(lambda x: x.exp() + 1)
    checkpoint(f, x, use_reentrant=False).sum().backward()
    assert f.ended == 1


@pytest.mark.parametrize("early_stop", [False, True])
def test_nested(early_stop: bool) -> None:
    x, w = numbers(3, 3), numbers(3, 3)
    inner = Counter(lambda x: wave(x @ w))

    def middle(x: Any) -> Any:
        return checkpoint(inner, x.cos(), use_reentrant=False).exp() + x

    def outer(x: Any) -> Any:
        return checkpoint(middle, checkpoint(middle, x, use_reentrant=False), use_reentrant=False) * x

    with module.set_checkpoint_early_stop(early_stop):
        found = grads_of(lambda: checkpoint(outer, x, use_reentrant=False).sum(), x, w)
    plain = grads_of(lambda: (lambda f: f(f(x)) * x)(lambda x: wave(x.cos() @ w).exp() + x).sum(), x, w)
    assert same(found, plain)


def test_deep_nesting_runs_each_layer_twice() -> None:
    x, counters = numbers(3), [Counter(T.sin) for _ in range(4)]

    def layer(depth: int) -> Callable[[Any], Any]:
        if depth == 4:
            return lambda x: x
        return lambda x: checkpoint(lambda x: layer(depth + 1)(counters[depth](x)), x, use_reentrant=False)

    layer(0)(x).sum().backward()
    assert [counter.begun for counter in counters] == [2, 2, 2, 2]


@reentrant
def test_nested_in_the_other_mode(use_reentrant: bool) -> None:
    x = numbers(3)

    def outer(x: Any) -> Any:
        return checkpoint(wave, x.exp(), use_reentrant=not use_reentrant) * x

    found = grads_of(lambda: checkpoint(outer, x, use_reentrant=use_reentrant).sum(), x)
    assert same(found, grads_of(lambda: (wave(x.exp()) * x).sum(), x))


def test_nested_reentrant() -> None:
    x = numbers(3)

    def outer(x: Any) -> Any:
        return checkpoint(wave, x.exp(), use_reentrant=True) * x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in the first run nothing inside requires gradients
        found = grads_of(lambda: checkpoint(outer, x, use_reentrant=True).sum(), x)
    assert same(found, grads_of(lambda: (wave(x.exp()) * x).sum(), x))


def test_a_backward_pass_inside_the_function() -> None:
    x = numbers(3)

    def f(x: Any) -> Any:
        y = x.exp()
        (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
        return (g * y).sin()

    for early_stop in (True, False):
        with module.set_checkpoint_early_stop(early_stop):
            found = grads_of(lambda: checkpoint(f, x, use_reentrant=False).sum(), x)
        assert T.allclose(found[0], grads_of(lambda: f(x).sum(), x)[0], rtol=1e-12)


def test_in_place_inside_the_function() -> None:
    x = numbers(3)

    def f(x: Any) -> Any:
        y = x.exp() + 1
        y.mul_(x)
        y[0] = x[1] * x[2]
        return y.sin()

    assert same(grads_of(lambda: checkpoint(f, x, use_reentrant=False).sum(), x), grads_of(lambda: f(x).sum(), x))


def test_an_input_overwritten_after_the_call_is_noticed() -> None:
    x = numbers(3)
    y = x * 1
    z = checkpoint(wave, y, use_reentrant=False)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_intermediate_results_are_not_kept() -> None:
    kept = []

    def f(x: Any) -> Any:
        y = x.exp()
        kept.append(weakref.ref(y))
        return (y * y).sum()

    x = numbers(3)
    z = checkpoint(f, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    z.backward()
    gc.collect()
    assert kept[1]() is None


def test_the_graph_is_freed() -> None:
    class Witness:
        pass

    witness = Witness()
    gone = weakref.ref(witness)

    def f(x: Any, witness: Any = witness) -> Any:
        return wave(x)

    x = numbers(3)
    y = checkpoint(f, x, use_reentrant=False)
    del f, witness
    gc.collect()
    assert gone() is not None
    del y
    gc.collect()
    assert gone() is None


def test_saved_tensors_read_outside_of_a_pass() -> None:
    x = numbers(3)
    y = checkpoint(T.exp, x, use_reentrant=False)
    assert T.equal(y.grad_fn._saved_result, x.detach().exp())
    y.sum().backward()
    assert T.equal(x.grad, x.detach().exp())


def test_a_custom_function_reads_its_tensors_once() -> None:
    class Square(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 2 * x

    class Greedy(Square):
        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            ctx.saved_tensors
            (x,) = ctx.saved_tensors
            return grad * 2 * x

    x = numbers(3)
    checkpoint(lambda x: Square.apply(x.exp()), x, use_reentrant=False).sum().backward()
    assert T.allclose(x.grad, 2 * (2 * x.detach()).exp())
    with pytest.raises(CheckpointError, match=r"already unpacked once.*make sure to do so only once"):
        checkpoint(lambda x: Greedy.apply(x.exp()), x, use_reentrant=False).sum().backward()


def test_hooks_on_saved_tensors_around_a_checkpoint_see_its_inputs() -> None:
    x, shapes = numbers(3), []

    def pack(tensor: Any) -> Any:
        shapes.append(tuple(tensor.shape))
        return tensor

    with graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = checkpoint(lambda x: x.exp().sin().tanh(), x, use_reentrant=False)
    assert shapes == [(3,)]
    y.sum().backward()


# Random numbers.


@reentrant
def test_the_random_state_is_that_of_the_first_run(use_reentrant: bool) -> None:
    x, seen = numbers(100), []

    def f(x: Any) -> Any:
        mask = T.rand(100, dtype=T.float64)
        seen.append(mask)
        return (x * mask).exp()

    y = checkpoint(f, x, use_reentrant=use_reentrant)
    T.rand(3)
    T.manual_seed(7)
    expected = T.rand(2).tolist()
    T.manual_seed(7)
    y.sum().backward()
    assert T.equal(seen[0], seen[1])
    assert T.rand(2).tolist() == expected, "the state outside goes on as if nothing had been drawn"


@reentrant
def test_the_random_state_may_be_left_alone(use_reentrant: bool) -> None:
    x, seen = numbers(5), []

    def f(x: Any) -> Any:
        seen.append(T.rand(5))
        return x.exp()

    T.manual_seed(0)
    checkpoint(f, x, use_reentrant=use_reentrant, preserve_rng_state=False).sum().backward()
    assert not T.equal(seen[0], seen[1])


@reentrant
def test_dropout(use_reentrant: bool) -> None:
    x = T.ones(1000, dtype=T.float64, requires_grad=True)
    y = checkpoint(lambda x: T.nn.functional.dropout(x.exp(), 0.5), x, use_reentrant=use_reentrant)
    y.sum().backward()
    assert T.allclose(x.grad, y.detach())


def test_fork_rng() -> None:
    T.manual_seed(3)
    expected = T.rand(4).tolist()
    T.manual_seed(3)
    with T.random.fork_rng():
        T.rand(10)
        T.manual_seed(9)
    assert T.rand(4).tolist() == expected
    T.manual_seed(3)
    with contextlib.suppress(KeyError), T.random.fork_rng(devices=[]):
        T.rand(10)
        raise KeyError
    assert T.rand(4).tolist() == expected
    T.manual_seed(3)
    with T.random.fork_rng(enabled=False):
        T.rand(4)
    assert T.rand(4).tolist() != expected


def test_random_states() -> None:
    assert T.get_rng_state().dtype == T.uint8
    state = T.random.get_rng_state()
    first = T.rand(3).tolist()
    T.random.set_rng_state(state)
    assert T.rand(3).tolist() == first
    T.random.manual_seed(11)
    assert T.random.initial_seed() == 11
    assert isinstance(T.random.seed(), int)


# Sequences.


@reentrant
@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_sequences(use_reentrant: bool, segments: int) -> None:
    x = numbers(3)
    counters = [Counter(step) for step in (T.sin, T.exp, lambda x: x * x, T.tanh, T.cos)]
    run = lambda: checkpoint_sequential(counters, segments, x, use_reentrant=use_reentrant).sum()  # noqa: E731
    found = grads_of(run, x)
    plain = grads_of(lambda: ((x.sin().exp()) ** 2).tanh().cos().sum(), x)
    assert T.allclose(found[0], plain[0], rtol=1e-12)
    size = 5 // segments
    assert [counter.begun for counter in counters] == [2 if i < size * (segments - 1) else 1 for i in range(5)]


def test_sequences_take_one_option() -> None:
    x = numbers(3)
    checkpoint_sequential([T.sin, T.exp], 2, x, use_reentrant=False, preserve_rng_state=False)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: more"):
        checkpoint_sequential([T.sin, T.exp], 2, x, use_reentrant=False, more=1)


# As decorator.


def test_decorator() -> None:
    begun = []

    @checkpoint(use_reentrant=False)
    def f(x: Any, k: float = 1.0) -> Any:
        """Multiply."""
        begun.append(1)
        return (x * k).exp()

    class Model:
        def __init__(self) -> None:
            self.k = 3.0

        @checkpoint(use_reentrant=False)
        def forward(self, x: Any) -> Any:
            return (x * self.k).exp()

    x = numbers(3)
    f(x, k=2.0).sum().backward()
    assert len(begun) == 2
    assert f.__doc__ == "Multiply."
    assert T.allclose(x.grad, 2 * (2 * x.detach()).exp())
    x.grad = None
    Model().forward(x).sum().backward()
    assert T.allclose(x.grad, 3 * (3 * x.detach()).exp())
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(use_reentrant=False, k=1)


# The helpers.


def test_detach_variable() -> None:
    x, y = numbers(3), T.ones(2)
    a, b, c = module.detach_variable((x * 2, y, "c"))
    assert (a.requires_grad, a.is_leaf, b.requires_grad, c) == (True, True, False, "c")
    with pytest.raises(RuntimeError, match=r"Only tuple of tensors is supported. Got Unsupported input type: list"):
        module.detach_variable([x])


def test_check_backward_validity() -> None:
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        module.check_backward_validity([T.ones(2), 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.check_backward_validity([T.ones(2), numbers(2)])


def test_states_of_other_devices() -> None:
    assert module.get_device_states(numbers(2)) == ([], [])
    module.set_device_states([], [], device_type="meta")


def test_groups_of_passes() -> None:
    x, f = numbers(3), Counter(lambda x: (x.exp(), x.sin()))
    a, b = checkpoint(f, x, use_reentrant=False)
    with module.GraphExecGroup():
        a.sum().backward()
        b.sum().backward()
    assert f.begun == 2
    with (
        module.GraphExecGroup(),
        pytest.raises(RuntimeError, match="GraphExecGroup contexts cannot be nested"),
        module.GraphExecGroup(),
    ):
        pass
    y = checkpoint(T.exp, x, use_reentrant=False)
    with module.GraphExecGroup():
        y.sum().backward(retain_graph=True)
        with pytest.raises(CheckpointError, match="Performing two backward calls that overlap"):
            y.sum().backward()
