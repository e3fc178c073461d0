"""Leaves and the attributes of tensors: grad, requires_grad, data, detach, out=, pickling."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


# ---- grad


def test_grad_may_be_assigned_and_deleted() -> None:
    x = leaf()
    assert x.grad is None
    g = T.ones(2)
    x.grad = g
    assert x.grad is g
    (x * 3).sum().backward()
    assert x.grad is g
    assert g.tolist() == [4.0, 4.0]
    del x.grad
    assert x.grad is None
    x.grad = None
    assert x.grad is None


def test_assigned_grads_are_checked() -> None:
    x = leaf()
    with pytest.raises(
        RuntimeError, match=r"attempting to assign a gradient of size '\[3\]' to a tensor of size '\[2\]'"
    ):
        x.grad = T.ones(3)
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
        x.grad = T.ones(2, dtype=T.float64)
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got grad of type"):
        x.grad = 3
    with pytest.raises(RuntimeError, match="can't assign Variable as its own grad"):
        x.grad = x
    assert x.grad is None


def test_grad_of_tensors_that_need_none() -> None:
    x = T.ones(2)
    x.grad = T.ones(2)
    assert x.grad.tolist() == [1.0, 1.0]


def test_reading_grad_of_a_non_leaf_warns() -> None:
    x = leaf()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _ = x.grad
        assert caught == []
        y = x.clone()
        assert y.grad is None
        assert len(caught) == 1
        assert "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed" in str(caught[0].message)
        assert caught[0].category is UserWarning
        assert caught[0].filename == __file__
        y.retain_grad()
        _ = y.grad
        assert len(caught) == 1


def test_grads_have_a_grad() -> None:
    x = leaf()
    x.sum().backward()
    assert x.grad.grad is None
    assert x.grad.grad_fn is None
    assert not x.grad.requires_grad
    assert x.grad.is_leaf


def test_accumulation_keeps_the_object() -> None:
    x = leaf()
    x.sum().backward()
    first = x.grad
    x.sum().backward()
    assert x.grad is first
    assert first.tolist() == [2.0, 2.0]


def test_grad_is_laid_out_like_its_leaf() -> None:
    x = T.ones(2, 3).t().requires_grad_()
    (x * T.ones(3, 2)).sum().backward()
    assert x.grad.stride() == x.stride()


def test_grad_dtype() -> None:
    x = leaf()
    assert x.grad_dtype == T.float32
    x.grad_dtype = T.float64
    assert x.grad_dtype == T.float64
    (x * 2).sum().backward()
    assert x.grad.dtype == T.float64
    with pytest.raises(RuntimeError, match=r"Cannot set grad_dtype.*because there is already a gradient"):
        x.grad_dtype = T.float32
    x.grad = None
    x.grad_dtype = None
    assert x.grad_dtype is None
    x.grad = T.ones(2, dtype=T.float64)
    assert x.grad.dtype == T.float64
    y = x * 2
    with pytest.raises(RuntimeError, match="grad_dtype can only be set on leaf tensors"):
        y.grad_dtype = T.float64


# ---- requires_grad


def test_requires_grad_switch() -> None:
    x, y = T.ones(2), leaf()
    assert x.requires_grad_() is x
    assert x.requires_grad
    assert y.requires_grad_(True) is y
    z = x * y
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        z.requires_grad_(False)
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        z.requires_grad = False
    assert z.requires_grad_() is z
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        z.requires_grad = True
    x.requires_grad = False
    assert not x.requires_grad
    assert not y.requires_grad_(False).requires_grad


def test_requires_grad_is_for_floating_dtypes() -> None:
    message = "only Tensors of floating point"
    for dtype in (T.int64, T.bool, T.uint8):
        x = T.ones(2, dtype=dtype)
        with pytest.raises(RuntimeError, match=message):
            x.requires_grad_()
        with pytest.raises(RuntimeError, match=message):
            x.requires_grad = True
        x.requires_grad = False
        assert x.requires_grad_(False) is x
    with pytest.raises(RuntimeError, match=r"[Oo]nly Tensors of floating point"):
        T.ones(2, dtype=T.int64, requires_grad=True)


def test_requires_grad_propagates() -> None:
    x, z = T.ones(2), leaf()
    a = x + x
    assert not a.requires_grad
    assert (a + z).requires_grad
    assert not (z > 0).requires_grad
    assert not z.argmax().requires_grad
    assert not z.argsort().requires_grad
    assert not z.long().requires_grad
    values, indices = z.sort()
    assert values.requires_grad
    assert not indices.requires_grad


def test_requires_grad_after_writes() -> None:
    a = T.ones(2)
    a += leaf()
    assert a.requires_grad
    assert not a.is_leaf
    a = T.ones(2)
    a.add_(5)
    a.requires_grad = True
    a.sum().backward()
    assert a.grad.tolist() == [1.0, 1.0]
    a = T.ones(2)
    b = a[:]
    a.requires_grad = True
    write: Any
    for write in (lambda: a.add_(5), lambda: b.add_(5)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            write()


def test_is_leaf() -> None:
    x = leaf()
    assert x.is_leaf
    assert T.ones(2).is_leaf
    assert not (x * 2).is_leaf
    assert (x * 2).detach().is_leaf
    assert T.ones(2).mul(2).is_leaf
    with T.no_grad():
        assert (x * 2).is_leaf
    assert x.double().is_leaf is False


def test_attributes_cannot_be_deleted() -> None:
    x = leaf()
    for name in ("data", "requires_grad", "grad_fn", "_grad_fn", "_backward_hooks", "is_leaf", "shape"):
        with pytest.raises((RuntimeError, AttributeError)):
            delattr(x, name)
    with pytest.raises(RuntimeError):
        del x.data
    with pytest.raises(RuntimeError):
        del x.requires_grad


def test_read_only_attributes() -> None:
    x = leaf()
    for name, value in (("is_leaf", True), ("shape", (2,)), ("dtype", T.float64), ("_version", 3), ("output_nr", 1)):
        with pytest.raises(AttributeError):
            setattr(x, name, value)


def test_tensors_take_attributes() -> None:
    x = leaf()
    x.note = "kept"
    y = x * 2
    assert x.note == "kept"
    assert not hasattr(y, "note")


# ---- data and detach


def test_data_shares_memory_and_not_history() -> None:
    x = leaf()
    y = (x * x).sum()
    x.data.mul_(10)
    assert x.tolist() == [20.0, 30.0]
    assert x._version == 0
    assert not x.data.requires_grad
    y.backward()
    assert x.grad.tolist() == [40.0, 60.0]


def test_data_may_be_set() -> None:
    x = leaf()
    identity = id(x)
    x.data = T.ones(3)
    assert id(x) == identity
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert x.requires_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0] * 3
    with pytest.raises(TypeError):
        x.data = None
    with pytest.raises(TypeError):
        x.data = [1.0]
    with pytest.raises(RuntimeError, match="data set to a tensor that requires gradients must be floating point"):
        x.data = T.ones(3, dtype=T.int64)


def test_setting_data_keeps_the_version() -> None:
    x = T.ones(1, 2)
    view = x[:]
    x.add_(1)
    before = x._version
    x.data = T.ones(2, 3)
    assert x._version == before
    x.add_(1)
    assert x._version == before + 1
    assert view.tolist() == [[2.0, 2.0]]


def test_detach_shares_memory_and_version() -> None:
    x = leaf()
    y = x * 2
    d = y.detach()
    assert not d.requires_grad
    assert d.grad_fn is None
    assert d.is_leaf
    assert d.data_ptr() == y.data_ptr()
    z = y**2
    d.zero_()
    assert y._version == d._version == 1
    with pytest.raises(RuntimeError, match="has been modified by an inplace operation"):
        z.sum().backward()


def test_detach_in_place() -> None:
    x, y = leaf(), leaf()
    a = x * 2
    (y + a).sum().backward(retain_graph=True)
    assert a.detach_() is a
    assert not a.requires_grad
    assert a.is_leaf
    (y + a).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert y.grad.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        x.narrow(0, 0, 1).detach_()


def test_detaching_a_base_leaves_its_views() -> None:
    x = leaf()
    view = x.narrow(0, 0, 1)
    x.detach_()
    assert not x.requires_grad
    assert view.requires_grad
    assert view.grad_fn is not None
    assert view._base is x


def test_a_saved_input_that_was_detached() -> None:
    a = T.tensor(1.0, requires_grad=True).clone()
    b = a.sin()
    a.detach_()
    with pytest.raises(RuntimeError, match="Trying to use a saved tensor that has been detached"):
        b.backward()
    a = T.tensor(1.0, requires_grad=True).clone()
    b = a.exp()
    a.detach_()
    b.backward()


def test_copies_of_leaves() -> None:
    x = leaf()
    x.grad = T.ones(2)
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.is_leaf
    assert y is not x
    assert y.grad.tolist() == [1.0, 1.0]
    assert y.grad is not x.grad
    z = copy.copy(x)
    assert z.data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize("protocol", range(5))
def test_pickled_leaves(protocol: int) -> None:
    x, y = leaf(), T.ones(3, dtype=T.int64)
    a, b = pickle.loads(pickle.dumps([x, y], protocol=protocol))
    assert (a.tolist(), a.requires_grad, a.dtype) == (x.tolist(), True, x.dtype)
    assert (b.tolist(), b.requires_grad, b.dtype) == (y.tolist(), False, y.dtype)
    assert a.is_leaf


def test_pickled_non_leaves_come_back_as_tensors() -> None:
    x = leaf() * 2
    again = pickle.loads(pickle.dumps(x.detach()))
    assert again.tolist() == x.tolist()
    assert not again.requires_grad


@pytest.mark.skipif(not hasattr(T, "save"), reason="no save and load yet")
def test_saving_and_loading() -> None:
    buffer = io.BytesIO()
    T.save({"w": leaf(), "n": 3}, buffer)
    buffer.seek(0)
    got = T.load(buffer)
    assert got["w"].tolist() == [2.0, 3.0]
    assert got["w"].requires_grad
    assert got["n"] == 3


@pytest.mark.skipif(not hasattr(T.nn, "Parameter"), reason="no modules yet")
def test_parameters() -> None:
    p = T.nn.Parameter(T.ones(2))
    assert p.requires_grad
    assert p.is_leaf
    assert isinstance(p, T.Tensor)
    (p * 2).sum().backward()
    assert p.grad.tolist() == [2.0, 2.0]
    q = pickle.loads(pickle.dumps(p))
    assert type(q) is type(p)
    assert q.requires_grad
    assert not T.nn.Parameter(T.ones(2), requires_grad=False).requires_grad
    assert type(p * 2) is T.Tensor


# ---- writing


def test_leaves_are_written_only_without_recording() -> None:
    x = leaf()
    message = "a leaf Variable that requires grad is being used in an in-place operation"
    write: Any
    for write in (
        lambda: x.add_(1),
        lambda: x.zero_(),
        lambda: x.copy_(T.ones(2)),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.mul_(x),
    ):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            write()
    with pytest.raises(RuntimeError, match=message):
        x.add_(1)
    assert x._version == 0
    with T.no_grad():
        x.add_(1)
        x[0] = 10.0
    assert x.tolist() == [10.0, 4.0]
    assert x.is_leaf
    assert x.requires_grad
    assert x._version == 2


def test_copy_is_recorded() -> None:
    x, y = leaf(), T.zeros(2)
    y.copy_(x)
    assert y.requires_grad
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    z = T.zeros(2, 2, dtype=T.float64)
    z.copy_(x)
    z.sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_leaves_assigned_into_tensors() -> None:
    x, y, z = T.zeros(3, 2), leaf(), leaf()
    x[0] = y
    x[1] = 2 * z
    assert x.requires_grad
    x.sum().backward()
    assert (y.grad.tolist(), z.grad.tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_out_refuses_what_requires_a_gradient() -> None:
    a, b, out = leaf(), leaf(), T.zeros(2)
    with pytest.raises(RuntimeError, match=r"functions with out=... arguments don't support automatic differentiation"):
        T.mul(a, b, out=out)
    with T.no_grad():
        assert T.mul(a, b, out=out) is out
    assert out.tolist() == [4.0, 9.0]
    with pytest.raises(RuntimeError, match="out="):
        T.mul(T.ones(2), T.ones(2), out=T.zeros(2, requires_grad=True))
    call: Any
    for call in (
        lambda: T.exp(a, out=out),
        lambda: T.add(a, 1, out=out),
        lambda: T.matmul(a, b, out=T.zeros(())),
        lambda: T.cat([a, b], out=T.zeros(4)),
        lambda: T.sum(a, 0, out=T.zeros(())),
    ):
        with pytest.raises(RuntimeError, match="out="):
            call()


def test_numpy_of_what_requires_a_gradient() -> None:
    x = leaf()
    message = r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead."
    for y in (x, x * 2):
        with pytest.raises(RuntimeError, match=message):
            y.numpy()
    with T.no_grad():
        assert (x * 2).numpy().tolist() == [4.0, 6.0]
    assert x.detach().numpy().tolist() == [2.0, 3.0]


def test_item_and_tolist_of_what_requires_a_gradient() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = leaf()
        assert (x.sum().item(), x.tolist()) == (5.0, [2.0, 3.0])


def test_new_tensors_do_not_require_a_gradient() -> None:
    x = leaf()
    for y in (
        T.ones_like(x),
        T.zeros_like(x),
        T.empty_like(x),
        T.rand_like(x),
        x.new_zeros(2),
        x.new_ones(2),
        x.new_tensor([1.0]),
    ):
        assert not y.requires_grad
    assert T.ones_like(x, requires_grad=True).requires_grad
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not T.tensor(x).requires_grad


def test_layout_in_place_keeps_history() -> None:
    x = leaf()
    y = (x * 2).unsqueeze_(0)
    assert y.shape == (1, 2)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    m = T.ones(2, 3, requires_grad=True)
    n = (m * 2).t_()
    assert n.shape == (3, 2)
    n[0].sum().backward()
    assert m.grad.tolist() == [[2.0, 0.0, 0.0]] * 2


def test_variable_is_the_old_name_of_tensor() -> None:
    Variable: Any = T.autograd.Variable
    x = Variable(T.ones(2), requires_grad=True)
    assert isinstance(x, T.Tensor)
    assert isinstance(x, Variable)
    assert x.requires_grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    t = T.ones(2)
    assert Variable(t).data_ptr() == t.data_ptr()
    assert not Variable(t).requires_grad
