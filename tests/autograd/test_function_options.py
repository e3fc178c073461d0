"""Options of custom functions: gradients in one list, dtypes of gradients, keywords, what is marked wrongly."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import oracle
import pytest

T = oracle.T
Base: Any = T.autograd.Function


def leaf() -> Any:
    return T.tensor([2.0, 3.0], requires_grad=True)


class Boxed(Base):
    boxed_grads_call = True
    seen: ClassVar[list[Any]] = []

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, grads: Any) -> Any:
        Boxed.seen.append((type(grads), len(grads)))
        return grads[0] * 2 + grads[1] * 3


def test_gradients_in_one_list() -> None:
    x = leaf()
    a, b = Boxed.apply(x)
    (a.sum() + b.sum()).backward()
    assert x.grad.tolist() == [5.0, 5.0]
    a, b = Boxed.apply(x)
    assert a.grad_fn.apply(T.ones(2), T.ones(2)).tolist() == [5.0, 5.0]
    assert Boxed.seen == [(list, 2), (list, 2)]


def test_a_list_of_gradients_may_be_emptied() -> None:
    gone = []

    class Emptied(Base):
        boxed_grads_call = True

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grads: Any) -> Any:
            grad = grads[0]
            kept, ref = grad.clone(), weakref.ref(grad)
            grads.clear()
            del grad
            gone.append(ref() is None)
            return kept * 2

    x = leaf()
    Emptied.apply(x).sum().backward()
    assert gone == [True]
    assert x.grad.tolist() == [2.0, 2.0]


def typed(*dtypes: Any) -> Any:
    """Make a function that asks for gradients in these dtypes."""

    class Typed(Base):
        seen: ClassVar[list[Any]] = []

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_output_grad_dtype(*dtypes)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            Typed.seen.append((a.dtype, b.dtype))
            return (a + b).float()

    return Typed


def test_dtypes_of_gradients() -> None:
    f = typed(T.float64, None)
    x = leaf()
    a, b = f.apply(x)
    (a.sum() + b.double().sum()).backward()
    assert f.seen == [(T.float64, T.float32)]
    assert x.grad.tolist() == [2.0, 2.0]


def test_dtypes_of_gradients_are_checked() -> None:
    x = leaf()
    with pytest.raises(RuntimeError, match="number of declarations to match the number of outputs"):
        typed(None).apply(x)
    with pytest.raises(RuntimeError, match=r"torch\.dtype or None, but got int"):
        typed(None, 1).apply(x)

    class Twice(Base):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_output_grad_dtype(None)
            ctx.set_output_grad_dtype(None)
            return x * 2

    with pytest.raises(RuntimeError, match="can only be called once"):
        Twice.apply(x)


class Scaled(Base):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, k: float = 1.0) -> Any:
        ctx.save_for_backward(x, y)
        ctx.k = k
        return x * y * k

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad * y * ctx.k, grad * x * ctx.k, None


def test_keywords() -> None:
    x, y = leaf(), leaf()
    Scaled.apply(y=y, k=5.0, x=x).sum().backward()
    assert x.grad.tolist() == [10.0, 15.0]
    assert Scaled.apply(x, y).tolist() == [4.0, 9.0]
    with pytest.raises(TypeError, match="got an unexpected keyword argument"):
        Scaled.apply(x, other=y)
    with pytest.raises(TypeError, match="got multiple values for argument"):
        Scaled.apply(x, y, y=y)


@pytest.mark.parametrize("attribute", ["dirty_tensors", "to_save", "non_differentiable"])
def test_attributes_that_are_no_tuples(attribute: str) -> None:
    class Wrong(Base):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            setattr(ctx, attribute, "text")
            return x * 2

    with pytest.raises(RuntimeError, match="is expected to be a tuple but is str"):
        Wrong.apply(leaf())


def test_what_is_saved_for_forward_must_be_a_tuple() -> None:
    class Wrong(Base):
        @staticmethod
        def forward(x: Any) -> Any:
            return x * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.saved_for_forward = "text"

    with pytest.raises(RuntimeError, match="is expected to be a tuple but is str"):
        Wrong.apply(leaf())


def test_an_edge_keeps_the_node_of_a_function() -> None:
    x = leaf()
    y = Scaled.apply(x, x.detach()).sum()
    z = Scaled.apply(y, T.ones(()))
    edge = T.autograd.graph.get_gradient_edge(z)
    del z
    T.autograd.backward(edge)
    assert x.grad.tolist() == [2.0, 3.0]
