"""Grad modes: context managers, functions and decorators, and inference mode."""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import Any

import oracle
import pytest

T = oracle.T


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


# ---- context managers and functions


def test_no_grad_and_enable_grad() -> None:
    x = leaf()
    with T.no_grad():
        assert not T.is_grad_enabled()
        y = x * 2
        with T.enable_grad():
            assert T.is_grad_enabled()
            z = x * 2
        assert not T.is_grad_enabled()
    assert T.is_grad_enabled()
    assert (y.requires_grad, y.grad_fn) == (False, None)
    assert z.requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


def test_modes_give_nothing_to_as() -> None:
    for mode in (T.no_grad(), T.enable_grad(), T.inference_mode()):
        with mode as value:
            assert value is None


def test_modes_are_put_back_on_exceptions() -> None:
    for mode in (T.no_grad(), T.set_grad_enabled(False), T.inference_mode()):
        with pytest.raises(ZeroDivisionError), mode:
            1 / 0
        T.set_grad_enabled(True)
    assert T.is_grad_enabled()


def test_one_object_can_be_entered_again_and_nested() -> None:
    mode = T.no_grad()
    for _ in range(2):
        with mode:
            assert not T.is_grad_enabled()
        assert T.is_grad_enabled()


def test_set_grad_enabled() -> None:
    x = leaf()
    with T.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    with T.set_grad_enabled(True):
        assert (x * 2).requires_grad
    with T.set_grad_enabled(False):
        T.set_grad_enabled(True)
        assert (x * 2).requires_grad
    assert T.is_grad_enabled()
    T.set_grad_enabled(False)
    assert not T.is_grad_enabled()
    T.set_grad_enabled(True)
    T.set_grad_enabled(mode=True)
    assert repr(T.set_grad_enabled(True)).endswith("set_grad_enabled(mode=True)")


def test_leaves_made_without_recording() -> None:
    with T.no_grad():
        x = T.ones(2, requires_grad=True)
        assert x.requires_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


# ---- decorators


def test_decorators_with_and_without_parentheses() -> None:
    x = leaf()

    def add(a: Any, b: Any = 1) -> Any:
        """Add."""
        return a + b

    for decorated in (T.no_grad()(add), T.no_grad(add), T.inference_mode()(add), T.inference_mode(add)):
        assert not decorated(x, b=2).requires_grad
        assert T.is_grad_enabled()
        assert (decorated.__name__, decorated.__doc__) == ("add", "Add.")
        assert decorated.__wrapped__ is add
    with T.no_grad():
        for decorated in (T.enable_grad()(add), T.enable_grad(add)):
            assert decorated(x).requires_grad
            assert not T.is_grad_enabled()
    assert T.inference_mode(mode=False)(add)(x).requires_grad


def test_set_grad_enabled_as_decorator_changes_nothing_at_once() -> None:
    x = leaf()

    @T.set_grad_enabled(False)
    def sine(x: Any) -> Any:
        return x.sin()

    assert T.is_grad_enabled()
    assert not sine(x).requires_grad
    switch = T.set_grad_enabled(False)
    assert not T.is_grad_enabled()
    again = switch(lambda x: x.sin())
    assert T.is_grad_enabled()
    assert not again(x).requires_grad
    assert T.is_grad_enabled()


def test_recursive_decorators() -> None:
    @T.enable_grad()
    def on(depth: int) -> None:
        assert T.is_grad_enabled()
        if depth:
            off(depth - 1)
            assert T.is_grad_enabled()

    @T.no_grad()
    def off(depth: int) -> None:
        assert not T.is_grad_enabled()
        if depth:
            on(depth - 1)
            assert not T.is_grad_enabled()

    on(10)
    with T.no_grad():
        on(10)
        assert not T.is_grad_enabled()


def test_decorated_methods() -> None:
    class Thing:
        @T.no_grad()
        def off(self, x: Any) -> Any:
            return x * 2

        @classmethod
        @T.no_grad()
        def cls_off(cls, x: Any) -> Any:
            return x * 2

        @staticmethod
        @T.no_grad()
        def static_off(x: Any) -> Any:
            return x * 2

    x = leaf()
    assert not Thing().off(x).requires_grad
    assert not Thing.cls_off(x).requires_grad
    assert not Thing.static_off(x).requires_grad


def test_decorating_classes_warns_and_covers_the_constructor() -> None:
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):

        @T.no_grad()
        class Thing:
            def __init__(self) -> None:
                self.made = T.is_grad_enabled()

            def method(self) -> Any:
                return T.is_grad_enabled()

    thing = Thing()
    assert thing.made is False
    assert thing.method() is True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        T.no_grad()(lambda: None)()


def test_generators() -> None:
    @T.no_grad()
    def off() -> Any:
        for i in range(3):
            assert not T.is_grad_enabled()
            yield i
        return "end"

    @T.enable_grad()
    def on() -> Any:
        for i in range(3):
            assert T.is_grad_enabled()
            yield i

    for _ in off():
        assert T.is_grad_enabled()
    with T.no_grad():
        for _ in on():
            assert not T.is_grad_enabled()

    def outer() -> Any:
        value = yield from off()
        assert value == "end"

    assert list(outer()) == [0, 1, 2]


def test_generators_that_are_sent_values() -> None:
    @T.no_grad()
    def echo() -> Any:
        got = None
        while True:
            assert not T.is_grad_enabled()
            got = yield got
            if got == "stop":
                return

    generator = echo()
    assert next(generator) is None
    assert generator.send(3) == 3
    assert T.is_grad_enabled()
    with pytest.raises(StopIteration):
        generator.send("stop")


def test_generators_that_are_thrown_exceptions() -> None:
    class First(Exception):
        pass

    class Second(Exception):
        pass

    @T.no_grad()
    def off() -> Any:
        for i in range(5):
            try:
                yield i
            except First:
                assert not T.is_grad_enabled()
                if i > 2:
                    raise Second from None

    generator = off()
    assert next(generator) == 0
    assert generator.throw(First) == 1
    assert next(generator) == 2
    assert next(generator) == 3
    with pytest.raises(Second):
        generator.throw(First)
    assert T.is_grad_enabled()


def test_generators_that_are_closed() -> None:
    log: list[str] = []

    @T.no_grad()
    def off() -> Any:
        try:
            yield 1
        except GeneratorExit:
            assert not T.is_grad_enabled()
            log.append("closed")
            raise

    generator = off()
    next(generator)
    generator.close()
    assert log == ["closed"]
    assert T.is_grad_enabled()


def test_coroutines() -> None:
    def step(coroutine: Any) -> Any:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("the coroutine waits")

    def seen() -> bool:
        return bool(T.is_grad_enabled())

    async def plain() -> bool:
        return seen()

    decorated = T.no_grad()(plain)
    got = step(decorated())
    # torch switches the mode while the coroutine object is made, not while it runs
    assert got is oracle.IS_TORCH
    assert asyncio.iscoroutinefunction(plain)
    assert T.is_grad_enabled()


# ---- threads


def test_modes_belong_to_their_thread() -> None:
    seen: list[bool] = []

    def run() -> None:
        seen.append(T.is_grad_enabled())
        with T.no_grad():
            seen.append(T.is_grad_enabled())
        T.set_grad_enabled(False)

    with T.no_grad():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert not T.is_grad_enabled()
    assert seen == [True, False]
    assert T.is_grad_enabled()


# ---- inference mode


def test_inference_mode_switches_recording_off() -> None:
    assert not T.is_inference_mode_enabled()
    x = leaf()
    with T.inference_mode():
        assert T.is_inference_mode_enabled()
        assert not T.is_grad_enabled()
        y = x * 2
        assert y.is_inference()
        assert not y.requires_grad
        assert not x.is_inference()
        with T.inference_mode(False):
            assert not T.is_inference_mode_enabled()
            z = x * 2
            assert not z.is_inference()
        with T.enable_grad():
            assert T.is_grad_enabled()
            assert not (x * 2).requires_grad
    assert not T.is_inference_mode_enabled()
    assert T.is_grad_enabled()
    assert y.is_inference()


def test_inference_tensors_in_recorded_computations() -> None:
    with T.inference_mode():
        y = T.ones(2)
    x = leaf()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * y
    (x + y).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    copy = y.clone()
    assert not copy.is_inference()
    (x * copy).sum().backward()
    assert not (y + 1).is_inference()


def test_writing_inference_tensors() -> None:
    with T.inference_mode():
        y = T.ones(2)
        y.add_(1)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"):
        y.add_(1)
    with T.inference_mode():
        y.add_(1)
    assert y.sum().item() >= 6.0  # torch notices the refused write only after it was made


def test_inference_tensors_and_requires_grad() -> None:
    with T.inference_mode():
        y = T.ones(2)
        z = T.ones(2, requires_grad=True)
        assert z.requires_grad
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor outside InferenceMode"):
        y.requires_grad_()
    y.requires_grad_(False)


def test_inference_tensors_have_no_version() -> None:
    with T.inference_mode():
        y = T.ones(2)
        with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
            y._version
    with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
        y._version


def test_views_of_normal_tensors_in_inference_mode() -> None:
    x = T.ones(2, 3)
    with T.inference_mode():
        v = x.view(6)
        assert not v.is_inference()
        v.add_(1)
    assert x.sum().item() == 12
    assert x._version == 1
    y = leaf() * 1
    with T.inference_mode():
        w = y[:1]
        w.mul_(2)
        y.add_(1)
    assert y.tolist() == [5.0, 4.0]
    with pytest.raises(RuntimeError, match="A view was created in inference mode and is being modified inplace"):
        w.mul_(2)


def test_normal_tensors_written_in_inference_mode() -> None:
    x = leaf()
    y = x * 1
    z = y * y
    with T.inference_mode():
        y.add_(1)
        x.add_(1)
    assert y._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_views_of_inference_tensors() -> None:
    with T.inference_mode():
        x = T.ones(2, 3)
        v = x.view(6)
        assert v.is_inference()
        assert not v._is_view()
    w = x.view(6)
    assert w.is_inference()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        w.add_(1)


def test_backward_is_refused_in_inference_mode() -> None:
    with T.inference_mode():
        x = T.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match="does not require grad"):
            (x * 2).sum().backward()
