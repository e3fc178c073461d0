"""utils.checkpoint: what is noticed when the second run differs from the first; errors and contexts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from checkpoint_parts import CheckpointError, T, checkpoint, module, numbers, reentrant, wave

# What differs between the runs.


def test_fewer_tensors_the_second_time() -> None:
    x, calls = numbers(3), [0]

    def f(x: Any) -> Any:
        calls[0] += 1
        return x.exp() if calls[0] > 1 else x.exp().sin()

    with pytest.raises(
        CheckpointError, match="A different number of tensors was saved during the original forward and recomputation"
    ):
        checkpoint(f, x, use_reentrant=False).sum().backward()


def test_more_tensors_the_second_time() -> None:
    def make() -> Callable[[Any], Any]:
        calls = [0]

        def f(x: Any) -> Any:
            calls[0] += 1
            y = x.exp()
            return y.sin() if calls[0] > 1 else y

        return f

    x = numbers(3)
    with pytest.raises(
        CheckpointError, match="trying to save more tensors during recomputation than during the original forward pass"
    ):
        checkpoint(make(), x, use_reentrant=False, early_stop=False).sum().backward()
    checkpoint(make(), x, use_reentrant=False).sum().backward()


@pytest.mark.parametrize("change", ["shape", "dtype"])
def test_other_tensors_the_second_time(change: str) -> None:
    calls = [0]

    def f(x: Any) -> Any:
        calls[0] += 1
        if calls[0] % 2 == 0:
            x = x.float() if change == "dtype" else T.cat([x, x])
        return x.exp().sum()

    x = numbers(3)
    with pytest.raises(
        CheckpointError, match="Recomputed values for the following tensors have different metadata"
    ) as caught:
        checkpoint(f, x, use_reentrant=False).backward()
    assert "tensor at position 0" in str(caught.value)
    assert "saved metadata: {'shape': torch.Size([3]), 'dtype': torch.float64" in str(caught.value)
    assert "recomputed metadata: {'shape'" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    if change == "dtype":
        checkpoint(f, x, use_reentrant=False, determinism_check="none").backward()


def test_debug() -> None:
    def make() -> Callable[[Any], Any]:
        calls = [0]

        def f(x: Any) -> Any:
            calls[0] += 1
            return (x.exp() if calls[0] == 1 else T.cat([x, x]).sin()).sum()

        return f

    x = numbers(3)
    wanted = "You are seeing this error because you passed `debug=True` to checkpoint"
    with pytest.raises(CheckpointError, match=wanted):
        checkpoint(make(), x, use_reentrant=False, debug=True).backward()
    with module.set_checkpoint_debug_enabled(True):
        y = checkpoint(make(), x, use_reentrant=False)
    with pytest.raises(CheckpointError, match=wanted):
        y.backward()
    with module.set_checkpoint_debug_enabled(False):
        y = checkpoint(make(), x, use_reentrant=False, debug=True)
    with pytest.raises(CheckpointError, match="Tip: To see a more detailed error message, either pass `debug=True`"):
        y.backward()
    checkpoint(wave, x, use_reentrant=False, debug=True).sum().backward()


@pytest.mark.rustgrad_only
def test_debug_names_the_lines() -> None:
    calls = [0]

    def f(x: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:
            return T.cat([x, x]).exp().sum()
        return x.exp().sum()

    with pytest.raises(CheckpointError) as caught:
        checkpoint(f, numbers(3), use_reentrant=False, debug=True).backward()
    text = str(caught.value)
    lines = [f.__code__.co_firstlineno + offset for offset in (4, 3)]
    assert all(f"{__file__}:{line}:f" in text for line in lines)
    assert "The first 0 tensors saved agree" in text


# Errors and contexts.


@reentrant
def test_errors_of_the_function_pass_through(use_reentrant: bool) -> None:
    def failing(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        checkpoint(failing, numbers(3), use_reentrant=use_reentrant)
    assert T.is_grad_enabled()
    calls = []

    def later(x: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("later")
        return x.exp()

    y = checkpoint(later, numbers(3), use_reentrant=use_reentrant)
    with pytest.raises(KeyError, match="later"):
        y.sum().backward()
    x = numbers(3)
    (x * x).sum().backward()
    assert T.equal(x.grad, 2 * x.detach()), "hooks are gone"


def test_contexts() -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def noting(name: str) -> Iterator[None]:
        log.append(f"enter {name}")
        try:
            yield
        finally:
            log.append(f"exit {name}")

    x = numbers(3)
    y = checkpoint(wave, x, use_reentrant=False, context_fn=lambda: (noting("forward"), noting("recompute")))
    assert log == ["enter forward", "exit forward"]
    y.sum().backward()
    assert log[2:] == ["enter recompute", "exit recompute"]
    first, second = module.noop_context_fn()
    with first, second:
        pass


def test_a_context_that_swallows_the_error() -> None:
    def failing(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(RuntimeError, match="the forward context provided by context_fn suppressed an exception"):
        checkpoint(
            failing,
            numbers(3),
            use_reentrant=False,
            context_fn=lambda: (contextlib.suppress(KeyError), contextlib.nullcontext()),
        )
