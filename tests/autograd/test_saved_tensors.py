"""Saved tensors: hooks that pack and unpack, hooks of one node, and what nodes show of them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function
graph = T.autograd.graph


def leaf() -> Any:
    return T.tensor([2.0, 3.0], requires_grad=True)


def test_what_is_unpacked_counts() -> None:
    x = leaf()
    with graph.saved_tensors_hooks(lambda t: (t,), lambda p: p[0] * 10):
        y = x * x
    y.sum().backward()
    assert x.grad.tolist() == [40.0, 60.0]


def test_order_and_number_of_calls() -> None:
    log: list[str] = []

    def pack(t: Any) -> Any:
        log.append(f"pack {tuple(t.shape)}")
        return t

    def unpack(t: Any) -> Any:
        log.append("unpack")
        return t

    x = leaf()
    with graph.saved_tensors_hooks(pack, unpack):
        y = x.exp() * x
    assert log == ["pack (2,)"] * 3
    y.sum().backward(retain_graph=True)
    assert log[3:] == ["unpack"] * 3
    y.sum().backward()
    assert log[6:] == ["unpack"] * 3


def test_the_innermost_hooks_count_and_hooks_end_with_their_block() -> None:
    log: list[str] = []

    def hooks(name: str) -> Any:
        return graph.saved_tensors_hooks(lambda t: (log.append(name), t)[1], lambda t: t)

    x = leaf()
    with hooks("outer"):
        x.exp()
        with hooks("inner"):
            x.exp()
        x.exp()
    x.exp()
    assert log == ["outer", "inner", "outer"]


def test_hooks_end_with_an_exception() -> None:
    log: list[int] = []
    x = leaf()
    with pytest.raises(ValueError, match="x"), graph.saved_tensors_hooks(lambda t: (log.append(1), t)[1], lambda t: t):
        raise ValueError("x")
    x.exp()
    assert log == []


def test_a_tensor_may_be_packed_as_anything() -> None:
    store: list[list[float]] = []

    def pack(t: Any) -> int:
        store.append(t.tolist())
        return len(store) - 1

    x = leaf()
    with graph.saved_tensors_hooks(pack, lambda i: T.tensor(store[i])):
        y = x.exp().sin()
    y.sum().backward()
    expected = leaf()
    expected.exp().sin().sum().backward()
    assert T.allclose(x.grad, expected.grad)


@pytest.mark.rustgrad_only
def test_no_original_is_kept() -> None:
    seen = []

    def pack(t: Any) -> Any:
        seen.append(weakref.ref(t))
        return t.detach().clone()

    x = leaf()
    with graph.saved_tensors_hooks(pack, lambda t: t):
        y = (x * 1).exp()
    gc.collect()
    assert all(ref() is None for ref in seen)
    y.sum().backward()
    assert T.allclose(x.grad, x.detach().exp())


def test_unpacking_must_give_a_tensor() -> None:
    x = leaf()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 5):
        y = x * x
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got result of type"):
        y.sum().backward()


def test_packing_must_not_write() -> None:
    x = leaf() * 1
    with (
        graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t),
        pytest.raises(RuntimeError, match="pack hook is modifying its input in place"),
    ):
        _ = x * x


@pytest.mark.parametrize("which", ["pack", "unpack"])
def test_errors_in_hooks_reach_the_caller(which: str) -> None:
    def fail(_: Any) -> Any:
        raise KeyError(which)

    def same(t: Any) -> Any:
        return t

    x = leaf()
    with (
        pytest.raises(KeyError, match=which),
        graph.saved_tensors_hooks(fail if which == "pack" else same, fail if which == "unpack" else same),
    ):
        (x * x).sum().backward()


def test_in_place_operations_save_what_was_there_before() -> None:
    x, y = leaf(), leaf()
    z = x * 1
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        z.mul_(y)
    z.sum().backward()
    assert y.grad.tolist() == [2.0, 3.0]
    assert x.grad.tolist() == [2.0, 3.0]


def test_hooks_can_be_refused() -> None:
    with (
        graph.disable_saved_tensors_hooks("none here"),
        pytest.raises(RuntimeError, match="none here"),
        graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        pass
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        pass


def test_hooks_apply_to_custom_functions() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 2 * x

    x = leaf()
    with graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t):
        y = Square.apply(x)
    y.sum().backward()
    assert x.grad.tolist() == [40.0, 60.0]


def test_second_derivatives_through_hooks() -> None:
    x = leaf()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = (x**3).sum()
        (g,) = T.autograd.grad(y, x, create_graph=True)
        (h,) = T.autograd.grad(g.sum(), x)
    assert h.tolist() == [12.0, 18.0]


# ---- nodes


def test_saved_inputs_and_results() -> None:
    x = leaf()
    y = x.exp()
    assert T.equal(y.grad_fn._saved_result, y)
    z = x * y
    assert z.grad_fn._saved_self is x
    assert T.equal(z.grad_fn._saved_other, y)
    assert z.grad_fn._saved_other.grad_fn is y.grad_fn
    assert (x**3).grad_fn._saved_exponent == 3
    assert (x * 3).grad_fn._saved_self is None
    assert (x * 3).grad_fn._saved_other.item() == 3
    with pytest.raises(AttributeError):
        _ = z.grad_fn._saved_bogus


def test_saved_attributes_are_gone_after_backward() -> None:
    y = leaf().exp()
    node = y.grad_fn
    y.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        _ = node._saved_result


def test_hooks_of_one_saved_tensor() -> None:
    x = leaf()
    y = x * x
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t * 100, lambda t: t)
    with pytest.raises(RuntimeError, match="hooks have already been set"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    assert x.grad.tolist() == [202.0, 303.0]


def test_hooks_of_what_is_not_there() -> None:
    x = leaf()
    y = x * 3
    with pytest.raises(RuntimeError, match="None"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    z = x * x
    saved = z.grad_fn._raw_saved_self
    z.sum().backward()
    with pytest.raises(RuntimeError, match="after it has been freed"):
        saved.register_hooks(lambda t: t, lambda t: t)


@pytest.mark.rustgrad_only
def test_cycles_through_packed_tensors_are_collected() -> None:
    class Token:
        pass

    def make(token: Token) -> None:
        x = leaf()
        box: list[Any] = [token]
        with graph.saved_tensors_hooks(lambda t: (t.detach(), box), lambda p: p[0]):
            y = x.exp() * x
        box.append(y)

    token = Token()
    alive = weakref.ref(token)
    make(token)
    del token
    gc.collect()
    assert alive() is None


def test_hooks_get_the_original_or_what_they_made() -> None:
    def pack(t: Any) -> Any:
        return t

    def unpack(t: Any) -> Any:
        return t

    a = T.tensor(2.0, requires_grad=True)
    with graph.saved_tensors_hooks(pack, unpack):
        b = a**2
    c = b.exp()
    assert b.grad_fn._raw_saved_self.data is a
    assert b.grad_fn._raw_saved_self.unpack_hook is unpack
    assert c.grad_fn._raw_saved_result.data is not c
    assert c.grad_fn._raw_saved_result.unpack_hook is None
    assert b.grad_fn._raw_saved_self.unpack().item() == a.item()


def test_saved_tensors_cannot_be_made() -> None:
    with pytest.raises(RuntimeError, match="Trying to create a SavedTensor object from Python is forbidden"):
        T.autograd.SavedTensor()


@pytest.mark.parametrize("is_leaf", [True, False])
def test_hooks_of_one_saved_tensor_in_detail(is_leaf: bool) -> None:
    def make() -> Any:
        x = leaf()
        return x if is_leaf else x + 1

    a = make()
    y = a * a
    y.grad_fn._raw_saved_self.register_hooks(lambda t: 2 * t, lambda t: t / 2)
    assert y.grad_fn._saved_self.tolist() == a.tolist()
    if not is_leaf:
        assert y.grad_fn._saved_self.grad_fn is a.grad_fn
    a = make()
    y = a * a
    y.grad_fn._raw_saved_self.register_hooks(lambda t: 2 * t, lambda t: t)
    assert T.autograd.grad(y.sum(), a)[0].tolist() == (3 * a).tolist()
    a = make()
    y = a**3
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    (g,) = T.autograd.grad(y.sum(), a, create_graph=True)
    assert T.autograd.grad(g.sum(), a)[0].tolist() == (6 * a).tolist()
    y = make() * make()
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t, u: t, lambda t: t)
    y = (a := make()) * a
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: 1)
    with pytest.raises(TypeError, match="Output of saved tensor unpack_hook expected to be a Tensor"):
        y.grad_fn._saved_self
    y = (a := make()) * a
    saved = y.grad_fn._raw_saved_self
    for wrong in ((lambda t: t,), (1, 1), ()):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            saved.register_hooks(*wrong)


def test_hooks_of_what_a_function_saved() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, save: bool) -> Any:
            if save:
                ctx.save_for_backward(x, None)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, None

    x = leaf()
    y = Same.apply(x, True)
    assert y.grad_fn.saved_tensors[0] is x
    assert y.grad_fn.saved_tensors[1] is None
    first, second = y.grad_fn._raw_saved_tensors
    with pytest.raises(RuntimeError, match="None is forbidden"):
        second.register_hooks(lambda t: t, lambda t: t)
    first.register_hooks(lambda t: t, lambda t: t)
    with pytest.raises(RuntimeError, match="already been set"):
        first.register_hooks(lambda t: t, lambda t: t)
    del first, second
    y.sum().backward()
    for name in ("saved_tensors", "_raw_saved_tensors"):
        with pytest.raises(RuntimeError, match="after they have already been freed"):
            getattr(y.grad_fn, name)
    y = Same.apply(x, False)
    assert y.grad_fn.saved_tensors == y.grad_fn._raw_saved_tensors == ()


def test_saved_tensors_may_be_given_out_once() -> None:
    class Once(Function):
        clear_saved_tensors_on_access = True

        @staticmethod
        def forward(ctx: Any, x: Any, again: bool) -> Any:
            ctx.save_for_backward(x)
            ctx.again = again
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            ref = weakref.ref(x)
            del x
            if ctx.again:
                ctx.saved_tensors
            else:
                assert ref() is None
            return g, None

    Once.apply(leaf().clone(), False).sum().backward()
    with pytest.raises(RuntimeError, match="can only be accessed once"):
        Once.apply(leaf(), True).sum().backward()


def test_numbers_are_not_packed() -> None:
    def fail(t: Any) -> Any:
        raise AssertionError

    x = leaf()
    with graph.saved_tensors_hooks(fail, fail):
        out = (x * 3).sum()
    assert T.autograd.grad(out, x)[0].tolist() == [3.0, 3.0]


def test_only_what_a_gradient_needs_is_packed() -> None:
    counts = [0, 0]

    def pack(t: Any) -> Any:
        counts[0] += 1
        return t

    def unpack(t: Any) -> Any:
        counts[1] += 1
        return t

    x, y = leaf(), T.ones(2)
    with graph.saved_tensors_hooks(pack, unpack):
        out = x * y
        assert counts == [1, 0]
        out.sum().backward()
    assert counts == [1, 1]


def test_second_derivatives_count_what_was_packed() -> None:
    def twice() -> Any:
        return graph.saved_tensors_hooks(lambda t: 2 * t, lambda t: t)

    a = leaf()
    with twice():
        s = (a**3).sum()
    (g,) = T.autograd.grad(s, a, create_graph=True)
    assert T.autograd.grad(g.sum(), a)[0].tolist() == (12 * a).tolist()
    s = (a**3).sum()
    with twice():
        (g,) = T.autograd.grad(s, a, create_graph=True)
        h = T.autograd.grad(g.sum(), a)[0]
    assert h.tolist() == (24 * a).tolist()


def test_save_on_cpu() -> None:
    for pin in (False, True):
        with graph.save_on_cpu(pin_memory=pin):
            x = leaf()
            y = x * x
            assert y.grad_fn._saved_self.tolist() == x.tolist()
            assert y.grad_fn._saved_self.dtype == x.dtype
            y.sum().backward()
        assert x.grad.tolist() == [4.0, 6.0]


def test_hooks_may_be_left_from_within() -> None:
    outer = graph.saved_tensors_hooks(lambda t: t, lambda t: t)
    inner: list[Any] = []

    def unpack(t: Any) -> Any:
        inner[0].__exit__()
        return t

    inner.append(graph.saved_tensors_hooks(lambda t: t, unpack))
    for _ in range(5):
        with outer:
            inner[0].__enter__()
            T.rand(3, 3, requires_grad=True).sin().sum().backward()
    for _ in range(5):
        inner[0].__exit__()
    y = leaf().exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t, lambda t: t)


def test_the_version_of_what_a_hook_gives_is_its_own() -> None:
    class Writes(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            before = a._version
            x.add_(1)
            assert a._version == before
            return g

    a = T.tensor(1.0, requires_grad=True)
    other = a.clone()
    with graph.saved_tensors_hooks(lambda t: other, lambda t: t):
        b = Writes.apply(a)
    b.backward()
