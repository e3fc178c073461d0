"""Views and writes in place: who is a view of whom, what is recorded, what is refused."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
Function: Any = T.autograd.Function


def leaf(*values: float) -> Any:
    return T.tensor(list(values) or [2.0, 3.0], requires_grad=True)


def name(tensor: Any) -> str:
    return type(tensor.grad_fn).__name__


# ---- bases

VIEWS = {
    "view": lambda t: t.view(6),
    "view_as": lambda t: t.view_as(t),
    "reshape": lambda t: t.reshape(6),
    "flatten": lambda t: t.flatten(),
    "transpose": lambda t: t.transpose(0, 1),
    "t": lambda t: t.t(),
    "T": lambda t: t.T,
    "mT": lambda t: t.mT,
    "permute": lambda t: t.permute(1, 0),
    "swapaxes": lambda t: t.swapaxes(0, 1),
    "movedim": lambda t: t.movedim(0, 1),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "squeeze": lambda t: t.squeeze(),
    "expand": lambda t: t.expand(2, 2, 3),
    "narrow": lambda t: t.narrow(1, 0, 2),
    "select": lambda t: t.select(0, 1),
    "index": lambda t: t[0],
    "slice": lambda t: t[:, 1:],
    "ellipsis": lambda t: t[...],
    "none": lambda t: t[None],
    "diagonal": lambda t: t.diagonal(),
    "unfold": lambda t: t.unfold(1, 2, 1),
    "as_strided": lambda t: t.as_strided((2,), (1,)),
    "split": lambda t: t.split(1)[0],
    "chunk": lambda t: t.chunk(2)[1],
    "unbind": lambda t: t.unbind()[0],
    "detach": lambda t: t.detach(),
    "contiguous": lambda t: t.contiguous(),
    "clone": lambda t: t.clone(),
    "exp": lambda t: t.exp(),
    "advanced": lambda t: t[[0, 1]],
    "data": lambda t: t.data,
    "to": lambda t: t.to(T.float32),
    "float": lambda t: t.float(),
}


@pytest.mark.parametrize("which", VIEWS)
@pytest.mark.parametrize("grad", [True, False])
def test_who_is_a_view(which: str, grad: bool) -> None:
    base = T.arange(6.0).reshape(2, 3).clone()
    if grad:
        base.requires_grad_()
    made = VIEWS[which](base)
    views = which not in ("contiguous", "clone", "exp", "advanced", "to", "float", "data")
    if which in ("contiguous", "to", "float"):
        assert made is base
    elif which in ("detach", "data"):
        assert made.data_ptr() == base.data_ptr()
        assert made._is_view() is (which == "detach" and False)
    else:
        assert made._is_view() is views
        assert (made._base is base) is views
        assert (made.data_ptr() == base.data_ptr()) or not views or which in ("select", "slice", "chunk")
    assert made.requires_grad is (grad and which not in ("detach", "data"))


def test_views_of_views_have_the_first_base() -> None:
    base = T.arange(6.0)
    view = base.view(2, 3)
    other = view[0][1:]
    assert other._base is base
    assert base._base is None
    assert not base._is_view()


def test_versions_are_shared_with_views() -> None:
    base = T.zeros(4)
    view = base[:2]
    view.add_(1)
    base.mul_(2)
    assert base._version == view._version == 2
    assert base.detach()._version == 2
    assert base.data._version == 0
    assert base.clone()._version == 0


def test_every_write_counts_once() -> None:
    x = T.zeros(4)
    write: Any
    for write in (
        lambda: x.add_(1),
        lambda: x.zero_(),
        lambda: x.fill_(2.0),
        lambda: x.copy_(T.ones(4)),
        lambda: x.__setitem__(0, 3.0),
        lambda: x.__setitem__(T.tensor([0, 1]), 4.0),
        lambda: x.clamp_(0, 1),
        lambda: x.uniform_(),
        lambda: x.normal_(),
        lambda: T.add(T.ones(4), 1, out=x),
        lambda: x.masked_fill_(x > 0, 1.0),
        lambda: x.index_fill_(0, T.tensor([0]), 1.0),
        lambda: x.scatter_(0, T.tensor([0]), 1.0),
        lambda: x.exp_(),
    ):
        before = x._version
        write()
        assert x._version == before + 1


# ---- writes are recorded


def test_writes_through_a_view_reach_the_base() -> None:
    root = T.ones(2, 2, requires_grad=True)
    x = root.clone()
    v = x.narrow(0, 0, 1)
    v.mul_(2)
    assert name(x) == "CopySlices"
    assert name(v) == "AsStridedBackward0"
    x.sum().backward()
    assert root.grad.tolist() == [[2.0, 2.0], [1.0, 1.0]]


def test_writes_to_the_base_reach_its_views() -> None:
    root = T.ones(2, 2, requires_grad=True)
    x = root.clone()
    v = x.narrow(0, 0, 1)
    x.mul_(2)
    assert v.tolist() == [[2.0, 2.0]]
    v.sum().backward()
    assert root.grad.tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_views_of_views_written() -> None:
    root = T.ones(2, 2, requires_grad=True)
    x = root.clone()
    a = x.view(4)
    b = a[1:]
    c = b.view(3, 1)
    c.mul_(3)
    b.add_(1)
    x.sum().backward(retain_graph=True)
    assert root.grad.tolist() == [[1.0, 3.0], [3.0, 3.0]]
    root.grad = None
    a.sum().backward()
    assert root.grad.tolist() == [[1.0, 3.0], [3.0, 3.0]]


def test_a_view_of_a_constant_becomes_differentiable() -> None:
    x = T.zeros(2, 2)
    v = x[0]
    w = x[1]
    y = leaf()
    v.copy_(y)
    assert x.requires_grad
    assert v.requires_grad
    assert w.requires_grad
    (x * 2).sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]


def test_a_detached_tensor_written_stays_detached() -> None:
    root = leaf()
    x = root * 1
    d = x.detach()
    d[0] = 10.0
    assert x.tolist() == [10.0, 3.0]
    assert not d.requires_grad
    x.sum().backward()
    assert root.grad.tolist() == [1.0, 1.0]


def test_the_gradient_of_a_view_after_several_writes() -> None:
    x = T.rand(4, requires_grad=True)
    y = x.clone()
    v = y[:2]
    v.mul_(2)
    y.mul_(3)
    v.add_(y[2:])
    (y * T.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [6.0, 60.0, 303.0, 3030.0]


def test_in_place_within_itself() -> None:
    x = leaf()
    y = x.clone()
    y.mul_(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    x = leaf()
    y = x.clone()
    y[0] = y[1]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_saved_results_of_views_written() -> None:
    x = T.rand(4, requires_grad=True)
    y = x.clone()
    y[:2].exp_()
    z = y.clone()
    y.sum().backward()
    assert T.allclose(x.grad, T.cat([z[:2], T.ones(2)]))
    y = x.clone()
    y[:2].exp_()
    y[2:].sigmoid_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    "index", ["1", "(slice(None), 1)", "[0, 2]", "([0, 1], [2, 2])", "slice(0, 3, 2)", "...", "mask"]
)
def test_assignments(index: str) -> None:
    x = T.ones(4, 4, requires_grad=True)
    key = (T.arange(16).view(4, 4) % 3 == 0) if index == "mask" else eval(index)
    y = x + 2
    before = y._version
    y[key] = 2
    assert y._version == before + 1
    y.backward(T.ones(4, 4))
    want = T.ones(4, 4)
    want[key] = 0
    assert x.grad.tolist() == want.tolist()
    x.grad = None
    y = x + 2
    value = T.full_like(x[key], 7.0).detach().requires_grad_()
    y[key] = value
    y.backward(T.ones(4, 4))
    assert x.grad.tolist() == want.tolist()
    assert value.grad.tolist() == T.ones_like(value).tolist()


def test_assignments_that_broadcast() -> None:
    x = leaf()
    y = T.zeros(2, 3, 2)
    y[1] = x
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_indexing_does_not_save_what_it_reads() -> None:
    a, b = T.tensor([1.0, 0.0, 0.0]), T.zeros(3, requires_grad=True)
    t = b + 0
    t[a != 0] = t[a != 0]
    t.backward(T.ones(3))
    assert b.grad.tolist() == [1.0, 1.0, 1.0]


# ---- the version error


def test_writes_after_saving_are_noticed() -> None:
    x, y = T.ones(2, requires_grad=True), leaf()
    z = x * y
    q, w = z + y, z * y
    z.add_(2)
    q.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one of the variables needed for gradient computation has been modified"):
        w.sum().backward()
    z = x * y
    r = z + y
    w = z.exp_()
    r.sum().backward(retain_graph=True)
    w.sum().backward()


def test_the_version_error_tells_versions_and_node() -> None:
    x = leaf()
    y = x * 1
    z = y * y
    y.add_(1)
    message = (
        r"one of the variables needed for gradient computation has been modified by an inplace operation: "
        r"\[torch.FloatTensor \[2\]\], which is output 0 of \w+, is at version 1; expected version 0 instead."
    )
    with pytest.raises(RuntimeError, match=message):
        z.sum().backward()


def test_writes_through_views_bases_data_and_no_grad() -> None:
    def check(write: Any, noticed: bool = True) -> None:
        x = leaf()
        y = x * 1
        z = y**2
        write(y)
        if noticed:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                z.sum().backward()
        else:
            z.sum().backward()

    check(lambda y: y[:1].add_(1))
    check(lambda y: y.view(2, 1).mul_(2))
    check(lambda y: y.detach().zero_())
    check(lambda y: y.data.zero_(), noticed=False)
    check(lambda y: y.add(1), noticed=False)

    def quiet(y: Any) -> None:
        with T.no_grad():
            y.zero_()

    check(quiet)
    x = leaf()
    y = (x * x).sum()
    with T.no_grad():
        x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_nothing_is_saved_without_need() -> None:
    mu = T.ones(1, requires_grad=True)
    x = T.empty(1)
    loss: Any = 0
    for i in range(3):
        x.detach_()
        x.copy_(mu + i)
        loss = loss + (x * T.tensor([float(i)])).sum()
    loss.backward()
    assert mu.grad.tolist() == [3.0]


# ---- what is refused


def test_views_of_leaves() -> None:
    x = leaf()
    v = x[:1]
    message = "a view of a leaf Variable that requires grad is being used in an in-place operation."
    with pytest.raises(RuntimeError, match=message):
        v.add_(1)
    with pytest.raises(RuntimeError, match=message):
        x.view_as(x).copy_(T.ones(2))
    with pytest.raises(RuntimeError, match=message):
        x[0].zero_()


@pytest.mark.parametrize("make", ["unbind", "split", "chunk"])
def test_multiple_views(make: str) -> None:
    def views(base: Any) -> Any:
        return {"unbind": base.unbind, "split": lambda: base.split(1), "chunk": lambda: base.chunk(2)}[make]()

    a, b = views(leaf() * 1)
    class_ = {"unbind": "Unbind", "split": "Split", "chunk": "Split"}[make]
    for i, one in enumerate((a, b)):
        message = (
            f"Output {i} of {class_} is a view and is being modified inplace. This view is the output of a function "
            "that returns multiple views."
        )
        with pytest.raises(RuntimeError, match=message):
            one.add_(1)
    c, _ = views(T.ones(2))
    c.add_(1)
    c, _ = views(T.ones(2))
    with pytest.raises(RuntimeError, match="is the output of a function that returns multiple views"):
        c.copy_(leaf()[0] if make == "unbind" else leaf()[:1])


def test_a_base_with_multiple_views_may_be_written() -> None:
    root = leaf()
    x = root * 1
    a, b = x.unbind()
    x.mul_(2)
    x.sum().backward()
    assert root.grad.tolist() == [2.0, 2.0]
    message = (
        "Output 1 of Unbind is a view and its base or another view of its base has been modified inplace. This view is "
        "the output of a function that returns multiple views."
    )
    use: Any
    for use in (lambda: b.grad_fn, lambda: b * 3, lambda: b.backward()):
        with pytest.raises(RuntimeError, match=message):
            use()
    assert a.detach().item() == 4.0


NO_GRAD = "A view was created in no_grad mode and is being modified inplace with grad mode enabled"
MULTI = "is the output of a function that returns multiple views"


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("mode", [True, False])
def test_views_made_with_and_without_recording(requires_grad: bool, mode: bool) -> None:
    base = T.rand(2, requires_grad=requires_grad).clone()
    with T.set_grad_enabled(mode):
        one = base.view_as(base)
        many = base.unbind()
    assert one._is_view()
    assert all(view._is_view() for view in many)
    errors = {
        (True, True): (None, MULTI),
        (True, False): (NO_GRAD, NO_GRAD),
        (False, True): (None, None),
        (False, False): (None, None),
    }[requires_grad, mode]
    for view, error in zip((many[0], one), reversed(errors), strict=True):
        if error is None:
            view.add_(1)
        else:
            with pytest.raises(RuntimeError, match=error):
                view.add_(1)


LAYOUTS: dict[str, Any] = {
    "as_strided_": lambda v: v.as_strided_((1, 0), (2, 2)),
    "transpose_": lambda v: v.transpose_(0, 0),
    "t_": lambda v: v.t_(),
    "squeeze_": lambda v: v.squeeze_(0),
    "unsqueeze_": lambda v: v.unsqueeze_(0),
    "swapdims_": lambda v: v.swapdims_(0, 0),
    "swapaxes_": lambda v: v.swapaxes_(0, 0),
}


class Alias(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["normal", "multi", "custom"])
def test_layouts_changed_in_place_keep_how_a_view_was_made(layout: str, kind: str) -> None:
    change = LAYOUTS[layout]
    custom = "view was created inside a custom Function"
    for made_recording in (True, False):
        for changed_recording in (True, False):
            for requires_grad in (True, False):
                first = second = None
                if requires_grad:
                    error = {"normal": None, "multi": MULTI, "custom": custom}[kind] if made_recording else NO_GRAD
                    first, second = (error, None) if changed_recording else (None, error)
                base = T.rand(2, 3, requires_grad=requires_grad).clone()
                with T.set_grad_enabled(made_recording):
                    if kind == "multi":
                        view = base.unbind()[0]
                    elif kind == "custom":
                        view = Alias.apply(base)
                    else:
                        view = base.view_as(base)
                with T.set_grad_enabled(changed_recording):
                    if first is not None:
                        with pytest.raises(RuntimeError, match=first):
                            change(view)
                        continue
                    change(view)
                if second is not None:
                    with pytest.raises(RuntimeError, match=second):
                        view.add_(1)
                else:
                    view.add_(1)


def test_views_of_views_made_without_recording() -> None:
    for mode, text in ((T.no_grad(), "no_grad block"), (T.inference_mode(), "inference_mode")):
        x = T.zeros(2)
        with mode:
            y = x.view(2)
        y.requires_grad_(True)
        z = y.view(2)
        with pytest.raises(RuntimeError, match=f"a view of a view .* is being .* inside the {text}"):
            z /= 2


def test_custom_views_of_constants() -> None:
    a, b = T.rand(1, 2), T.rand(1, requires_grad=True)
    view = Alias.apply(a)
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        view += b
    view = Alias.apply(a)
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        view.copy_(b)
    a.select(1, 0).copy_(b[0])
    assert a.requires_grad


def test_printing_a_view_whose_history_is_unknown() -> None:
    a = T.ones(1, requires_grad=True)
    with T.no_grad():
        b = a[:]
        b *= 2
    assert repr(b) == "tensor([2.], grad_fn=<Invalid>)"
    assert repr(a) == "tensor([2.], requires_grad=True)"
    assert repr(a.clone()) == "tensor([2.], grad_fn=<CloneBackward0>)"


def test_expanded_tensors_cannot_be_written() -> None:
    x = T.ones(1).expand(3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        x.add_(1)
    x.zero_()
    assert x.tolist() == [0.0] * 3


def test_results_of_another_shape_or_kind() -> None:
    x = T.ones(2)
    with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"):
        x.add_(T.ones(3, 2))
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        T.ones(2, dtype=T.int64).add_(0.5)


# ---- writes that are allowed


def test_mutation_of_saved_tensors_may_be_allowed() -> None:
    with T.autograd.graph.allow_mutation_on_saved_tensors() as context:
        a = T.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        out.sum().backward()
        assert a.grad.tolist() == (2 * T.ones(2, 3)).tolist()
    assert context is not None


def test_mutation_through_views() -> None:
    def run(write: Any) -> None:
        with T.autograd.graph.allow_mutation_on_saved_tensors():
            a = T.full((2, 3), 2.0, requires_grad=True)
            b = a.clone()
            view = b.view(3, 2)
            out = (b**2).sum() + (view**3).sum()
            write(b, view)
            out.backward()
            assert a.grad.tolist() == T.full((2, 3), 16.0).tolist()

    run(lambda b, view: b.zero_())
    run(lambda b, view: view.zero_())
    run(lambda b, view: b[0].mul_(3))
    run(lambda b, view: (b.add_(1), b.add_(1)))
    run(lambda b, view: None)


def test_mutation_and_second_derivatives() -> None:
    with T.autograd.graph.allow_mutation_on_saved_tensors():
        a = T.full((2,), 3.0, requires_grad=True)
        b = a.clone()
        (g,) = T.autograd.grad((b**3 / 3).sum(), a, create_graph=True)
        b.cos_()
        (h,) = T.autograd.grad(g.sum(), a)
        assert h.tolist() == [6.0, 6.0]


def test_mutation_of_saved_results() -> None:
    with T.autograd.graph.allow_mutation_on_saved_tensors():
        a = T.zeros(2, requires_grad=True)
        b = a.exp()
        c = b * 1
        b.mul_(5)
        c.sum().backward()
        assert a.grad.tolist() == [1.0, 1.0]


def test_mutation_out_of_the_block() -> None:
    with T.autograd.graph.allow_mutation_on_saved_tensors():
        a = T.rand(2, 3, requires_grad=True)
        out = (a.clone() ** 2).sum()
    with pytest.raises(
        AssertionError, match="Trying to backward outside of the 'allow_mutation_on_saved_tensors' context"
    ):
        out.backward()
    with T.autograd.graph.allow_mutation_on_saved_tensors() as context:
        a = T.rand(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        context.clear()
        with pytest.raises(AssertionError, match="Trying to backward outside of the 'allow_mutation_on_saved_tensors'"):
            out.backward()


def test_mutation_blocks_do_not_nest() -> None:
    with (
        pytest.raises(RuntimeError, match="allow_mutation_on_saved_tensors contexts cannot be nested"),
        T.autograd.graph.allow_mutation_on_saved_tensors(),
        T.autograd.graph.allow_mutation_on_saved_tensors(),
    ):
        pass
    x = leaf()
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


@pytest.mark.parametrize(
    ("write", "of_target"),
    [
        (lambda v, a: v.masked_fill_(T.tensor([[True, False], [False, True]]), 3.0), [[0.0, 1.0], [1.0, 0.0]]),
        (lambda v, a: v.masked_fill_(T.tensor([[True, False], [False, True]]), a.sum()), [[0.0, 1.0], [1.0, 0.0]]),
        (lambda v, a: v.addcmul_(a, a), [[1.0, 1.0], [1.0, 1.0]]),
        (lambda v, a: v.lerp_(a, 0.25), [[0.75, 0.75], [0.75, 0.75]]),
        (lambda v, a: v.fill_(a.sum()), [[0.0, 0.0], [0.0, 0.0]]),
        (lambda v, a: v.index_add_(0, T.tensor([1]), a[:1]), [[1.0, 1.0], [1.0, 1.0]]),
        (lambda v, a: v.index_copy_(0, T.tensor([1]), a[:1]), [[1.0, 1.0], [0.0, 0.0]]),
        (lambda v, a: v.scatter_(0, T.tensor([[0, 1]]), a[:1]), [[0.0, 1.0], [1.0, 0.0]]),
    ],
)
def test_gradients_of_writes_into_a_part(write: Any, of_target: Any) -> None:
    x = T.ones(3, 2, requires_grad=True)
    a = T.full((2, 2), 2.0, requires_grad=True)
    whole = x * 1
    part = whole.narrow(0, 1, 2)
    write(part, a)
    whole.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0], *of_target]
    expected = T.ones(2, 2, requires_grad=True)
    free = T.full((2, 2), 2.0, requires_grad=True)
    write(expected * 1, free).sum().backward()
    assert T.equal(x.grad[1:], expected.grad)
    assert (a.grad is None) == (free.grad is None)
    assert a.grad is None or T.equal(a.grad, free.grad)


def test_kept_gradients_of_views_of_several_outputs() -> None:
    x = T.ones(4, requires_grad=True) * 1
    first, _ = x.split(2)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="is a view and its base or another view of its base has been modified"):
        first.retain_grad()


def test_sources_put_by_index_must_not_be_written() -> None:
    x = T.ones(2, requires_grad=True)
    source = x * 1
    for put in (T.Tensor.index_add, T.Tensor.index_copy):
        y = put(T.zeros(2), 0, T.tensor([0, 1]), source)
        with T.no_grad():
            source.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
