"""What nodes keep under torch's names, apart from tensors; and writes into expanded tensors."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

T = oracle.T
F = T.nn.functional


def node(make: Any) -> Any:
    x = T.arange(1.0, 25.0).reshape(2, 3, 4).div(10).requires_grad_()
    result = make(x)
    return (result[0] if isinstance(result, tuple | list) else result).grad_fn


INDEX = T.zeros(2, 3, 4, dtype=T.int64)

KEPT = [
    (lambda x: x.sum(1), {"dim": (1,), "keepdim": False, "self_sym_sizes": (2, 3, 4)}),
    (lambda x: x.mean((0, 2), keepdim=True), {"dim": (0, 2), "keepdim": True, "self_sym_numel": 24}),
    (lambda x: x.prod(1), {"dim": 1, "keepdim": False}),
    (lambda x: x.amax((0, 1)), {"dim": (0, 1), "keepdim": False}),
    (lambda x: x.var(1), {"dim": (1,), "keepdim": False, "correction": 1}),
    (lambda x: x.var(), {"dim": None}),
    (lambda x: x.std((0, 1), keepdim=True, unbiased=False), {"dim": (0, 1), "keepdim": True, "correction": 0}),
    (lambda x: x.logsumexp(1), {"dim": (1,), "keepdim": False}),
    (lambda x: x.norm(p=3, dim=1), {"dim": (1,), "keepdim": False, "ord": 3}),
    (lambda x: x.norm(), {"dim": None, "ord": 2}),
    (lambda x: x.max(1), {"dim": 1, "keepdim": False, "self_sym_sizes": (2, 3, 4)}),
    (lambda x: x.median(1, keepdim=True), {"dim": 1, "keepdim": True}),
    (lambda x: x.sort(1), {"dim": 1}),
    (lambda x: x.cummax(1), {"dim": 1}),
    (lambda x: x.cumsum(1), {"dim": 1}),
    (lambda x: x.cumprod(2), {"dim": 2}),
    (lambda x: x.logcumsumexp(0), {"dim": 0}),
    (lambda x: x.softmax(1), {"dim": 1}),
    (lambda x: x.squeeze(0), {"dim": 0}),
    (lambda x: x.squeeze((0, 1)), {"dim": (0, 1)}),
    (lambda x: x.unsqueeze(1), {"dim": 1}),
    (lambda x: x.select(1, 2), {"dim": 1, "index": 2, "self_sym_sizes": (2, 3, 4)}),
    (lambda x: x[:, 1:3], {"dim": 1, "start": 1, "end": 3, "step": 1}),
    (lambda x: x[:, ::2], {"dim": 1, "start": 0, "end": 2**63 - 1, "step": 2}),
    (lambda x: x.permute(2, 0, 1), {"dims": (2, 0, 1)}),
    (lambda x: x[0].T, {"dims": (1, 0)}),
    (lambda x: x.transpose(0, 1), {"dim0": 0, "dim1": 1}),
    (lambda x: x.diagonal(1, 1, 2), {"offset": 1, "dim1": 1, "dim2": 2}),
    (lambda x: x.unfold(2, 2, 1), {"dimension": 2, "size": 2, "step": 1}),
    (lambda x: x.as_strided((2, 2), (1, 2), 1), {"size": (2, 2), "stride": (1, 2), "storage_offset": 1}),
    (lambda x: x.split(2, 1), {"dim": 1, "split_size": 2}),
    (lambda x: x.split([1, 2], 1), {"dim": 1, "split_sizes": (1, 2)}),
    (lambda x: x.unbind(1), {"dim": 1}),
    (lambda x: T.cat([x, x], 1), {"dim": 1}),
    (lambda x: x.flip(0), {"dims": (0,)}),
    (lambda x: x.triu(1), {"diagonal": 1}),
    (lambda x: x.gather(1, INDEX), {"dim": 1, "sparse_grad": False}),
    (lambda x: x.scatter(1, INDEX, x * 1), {"dim": 1}),
    (lambda x: x.scatter_add(2, INDEX, x * 1), {"dim": 2}),
    (lambda x: x.scatter_reduce(1, INDEX, x * 1, "amax"), {"dim": 1, "reduce": "amax", "include_self": True}),
    (lambda x: x.index_select(1, T.tensor([0])), {"dim": 1}),
    (lambda x: x.index_add(1, T.tensor([0]), x[:, :1], alpha=2), {"dim": 1, "alpha": 2}),
    (lambda x: x.index_put((T.tensor([0]),), x[0]), {"accumulate": False}),
    (lambda x: x.clamp(0.5, 1), {"min": 0.5, "max": 1}),
    (lambda x: x.clamp(min=0.5), {"min": 0.5, "max": None}),
    (lambda x: F.threshold(x, 0.5, 5), {"threshold": 0.5}),
    (lambda x: F.leaky_relu(x, 0.25), {"negative_slope": 0.25}),
    (lambda x: F.elu(x, 2.0), {"alpha": 2.0, "scale": 1, "input_scale": 1}),
    (lambda x: F.selu(x), {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}),
    (lambda x: F.gelu(x), {"approximate": "none"}),
    (lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    (lambda x: F.softplus(x, 2, 10), {"beta": 2, "threshold": 10}),
    (lambda x: F.hardtanh(x, -2, 2), {"min_val": -2, "max_val": 2}),
    (lambda x: F.relu6(x), {"min_val": 0, "max_val": 6}),
    (lambda x: F.softshrink(x, 0.25), {"lambd": 0.25}),
    (lambda x: T.logit(x, 0.125), {"eps": 0.125}),
    (lambda x: T.logit(x), {"eps": None}),
    (lambda x: x.div(2, rounding_mode="floor"), {"rounding_mode": "floor"}),
    (lambda x: x.div(x * 1, rounding_mode="trunc"), {"rounding_mode": "trunc"}),
    (lambda x: x.add(x * 1, alpha=2), {"alpha": 2}),
    (lambda x: 2 - x, {"alpha": 1}),
    (lambda x: x**2.5, {"exponent": 2.5}),
    (lambda x: 2**x, {"self": 2}),
    (lambda x: x.addcmul(x, x, value=2), {"value": 2}),
    (lambda x: x.lerp(x * 1, 0.5), {"weight": 0.5}),
    (lambda x: F.pad(x, (1, 2)), {"pad": (1, 2)}),
    (lambda x: F.layer_norm(x, (4,)), {"normalized_shape": (4,)}),
    (lambda x: F.embedding(T.tensor([0, 1]), x[0]), {"padding_idx": 2**64 - 1, "sparse": False}),
]


@pytest.mark.parametrize(("make", "kept"), KEPT)
def test_what_a_node_was_asked_for(make: Any, kept: dict[str, Any]) -> None:
    found = node(make)
    assert {name: getattr(found, f"_saved_{name}") for name in kept} == kept
    assert {f"_saved_{name}" for name in kept} <= set(dir(found))


def test_it_outlives_what_was_saved() -> None:
    x = T.ones(2, 3, requires_grad=True)
    y = x.amax(1)
    y.sum().backward()
    assert y.grad_fn._saved_dim == (1,)
    with pytest.raises(RuntimeError):
        _ = y.grad_fn._saved_self


def test_a_factor_that_is_a_number() -> None:
    x = T.ones(2, requires_grad=True)
    assert (x * 2).grad_fn._saved_other.dtype == T.int64
    assert (x * 2.5).grad_fn._saved_other.dtype == T.float64
    assert (2.5 * x).grad_fn._saved_other.item() == 2.5


def test_indices_have_their_name() -> None:
    x = T.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    for y in (x.median(1), x.kthvalue(2, 1), x.mode(1), x.cummax(1), x.cummin(1)):
        assert y[0].grad_fn._saved_indices.tolist() == y[1].tolist()
        assert not hasattr(y[0].grad_fn, "_saved_index")


def test_gather_looks_at_the_version_of_its_input() -> None:
    x = T.ones(3, requires_grad=True)
    y = x * 1
    z = y.gather(0, T.tensor([0, 0]))
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


class TestExpanded:
    """Writes where several elements share one place."""

    def test_values_may_be_put_by_mask_or_index(self) -> None:
        x = T.zeros(2).expand(3, 2)
        x.masked_fill_(T.tensor([True, False]), 9.0)
        assert x.tolist() == [[9.0, 0.0]] * 3
        x[:, [1]] = 7.0
        assert x.tolist() == [[9.0, 7.0]] * 3
        x[:, 0] = 5.0
        assert x.tolist() == [[5.0, 7.0]] * 3
        x.fill_(2.0)
        assert x.tolist() == [[2.0, 2.0]] * 3

    @pytest.mark.parametrize("write", [lambda x: x.mul_(2), lambda x: x.add_(1), lambda x: x.copy_(T.ones(3, 2))])
    def test_arithmetic_is_refused(self, write: Any) -> None:
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single"):
            write(T.zeros(2).expand(3, 2))

    def test_a_copy_onto_itself_changes_nothing(self) -> None:
        for x in (T.ones(2).expand(3, 2), T.ones(2, requires_grad=True).mul(2).expand(3, 2)):
            before = x.tolist()
            x.copy_(x)
            assert x.tolist() == before
