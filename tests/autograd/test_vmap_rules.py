"""torch.func.vmap: every operation, for a whole batch and nested, against the same function called slice by slice."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import oracle
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T: Any = oracle.T
F: Any = T.nn.functional
func: Any = importlib.import_module(f"{oracle.MODULE}.func")


def numbers(*shape: int) -> Any:
    """Numbers without ties, between -1 and 1."""
    count = 1
    for size in shape:
        count *= size
    return T.sin(T.arange(count, dtype=T.float64) * 1.7 + 0.3).reshape(shape)


def flat(result: Any) -> list[Any]:
    return [result] if isinstance(result, T.Tensor) else [one for part in result for one in flat(part)]


def by_loop(function: Callable[..., Any], dims: tuple[Any, ...], args: tuple[Any, ...]) -> list[Any]:
    size = next(arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None)
    rows = []
    for i in range(size):
        rows.append(flat(function(*(a if d is None else a.select(d, i) for a, d in zip(args, dims, strict=True)))))
    return [T.stack(list(column)) for column in zip(*rows, strict=True)]


EYE = 2 * T.eye(3, dtype=T.float64)


class Calls:
    """A function that counts how often it is called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.count = 0

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        return self.function(*args)


def check(function: Callable[..., Any], dims: tuple[Any, ...], *args: Any) -> None:
    """Compare with the loop, as it is and with each floating argument differentiated; the function is called once."""
    counted = Calls(function)
    found = flat(func.vmap(counted, in_dims=dims)(*args))
    expected = by_loop(function, dims, args)
    assert counted.count == 1
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert T.allclose(one, other, equal_nan=True), (one, other)
    leaves = [a.clone().requires_grad_() if a.is_floating_point() else a for a in args]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    results = []
    for outputs in (flat(func.vmap(function, in_dims=dims)(*leaves)), by_loop(function, dims, tuple(leaves))):
        total = sum((one * one.detach().cos()).sum() for one in outputs if one.requires_grad)
        results.append(T.autograd.grad(total, wanted, allow_unused=True) if isinstance(total, T.Tensor) else None)
    if results[1] is None:
        return
    for one, other in zip(*results, strict=True):
        if other is not None:
            assert T.allclose(one, other, equal_nan=True), (one, other)


# One tensor of each slice: of shapes (3,), (2, 3) and so on, whatever the function takes.
OF_ONE: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "sin": ((2, 3), lambda x: x.sin()),
    "function exp": ((2, 3), lambda x: T.exp(x)),
    "0-d": ((), lambda x: x * 2 + 1),
    "abs": ((3,), lambda x: abs(-x)),
    "sigmoid": ((3,), lambda x: F.sigmoid(x) + T.sigmoid(x) + x.sigmoid()),
    "relu and others": ((3,), lambda x: F.relu(x) + F.gelu(x) + F.silu(x) + F.elu(x) + F.leaky_relu(x, 0.2)),
    "softplus and others": ((3,), lambda x: F.softplus(x) + F.mish(x) + F.hardtanh(x) + F.logsigmoid(x) + F.selu(x)),
    "modules of activations": ((3,), lambda x: T.nn.Tanh()(x) + T.nn.ReLU()(x) + T.nn.GELU()(x)),
    "glu": ((2, 4), lambda x: F.glu(x)),
    "clamp": ((3,), lambda x: x.clamp(-0.5, 0.5) + T.clamp(x, min=0.1) + x.clamp_max(0.2)),
    "clamp by tensors": ((3,), lambda x: T.clamp(x, T.full((3,), -0.2, dtype=T.float64), x.abs() / 2)),
    "powers": ((3,), lambda x: x**2 + 2**x + T.pow(x, 3) + x.abs() ** 0.5 + x.abs() ** x),
    "numbers first": ((3,), lambda x: 2 - x + 1 / x + 3 * x + (2 + x)),
    "rank one and two": ((2, 3), lambda x: x + x[0] * x[:, :1] - x.sum()),
    "comparisons": ((3,), lambda x: (x > 0) & (x <= x.max()) | (x == x[0])),
    "not": ((3,), lambda x: ~(x > 0)),
    "where": ((3,), lambda x: T.where(x > 0, x, -x) + T.where(x > 0, x, 0.0) + x.where(x > 0, x * 2)),
    "masked_fill": ((3,), lambda x: x.masked_fill(x > 0, 7.0)),
    "lerp": ((3,), lambda x: T.lerp(x, x * 2, 0.3) + x.lerp(-x, x.abs())),
    "addcmul": ((3,), lambda x: T.addcmul(x, x, x, value=2.0) + x.addcdiv(x, x)),
    "maximum": ((3,), lambda x: T.maximum(x, -x) + T.minimum(x, x * 2) + T.max(x, -x)),
    "atan2": ((3,), lambda x: T.atan2(x, x + 2) + T.hypot(x, x)),
    "floor_divide": ((3,), lambda x: x.detach() // 0.3 + x % 0.3 + T.fmod(x, 0.3)),
    "dtype": ((3,), lambda x: x.float() + x.to(T.float32) * 2.0),
    "promotion of 0-d": ((), lambda x: x * T.ones(3)),
    "promotion of whole numbers": ((3,), lambda x: (x * 10).long() * 1.5),
    "clone and detach": ((3,), lambda x: x.clone() * x.detach()),
    "sum": ((2, 3), lambda x: (x.sum(), x.sum(0), x.sum(-1, keepdim=True), x.sum((0, 1)), T.sum(x, dim=1))),
    "sum of 0-d": ((), lambda x: x.sum() + x.mean()),
    "mean": ((2, 3), lambda x: (x.mean(), x.mean(1), T.mean(x, 0, keepdim=True))),
    "var": ((2, 3), lambda x: (x.var(), x.std(0), x.var(1, unbiased=False), T.std(x), x.var(dim=0, keepdim=True))),
    "prod": ((2, 3), lambda x: (x.prod(), x.prod(1))),
    "amax": ((2, 3), lambda x: (x.amax(), x.amin(0), x.amax((0, 1)))),
    "max": ((2, 3), lambda x: (x.max(), x.max(1)[0], x.min(0).indices, T.max(x, dim=-1).values)),
    "argmax": ((2, 3), lambda x: (x.argmax(), x.argmin(1), x.argmax(0, keepdim=True))),
    "all": ((2, 3), lambda x: ((x > 0).all(), (x > 0).any(1))),
    "median": ((2, 3), lambda x: (x.median(), x.median(1)[0])),
    "logsumexp": ((2, 3), lambda x: (x.logsumexp(1), T.logsumexp(x, (0, 1)))),
    "norm": ((2, 3), lambda x: (x.norm(), x.norm(dim=1), x.norm(1, 0), T.linalg.norm(x), T.norm(x, p=1))),
    "vector norms": ((2, 3), lambda x: (T.linalg.vector_norm(x), T.linalg.vector_norm(x, 3, 1))),
    "softmax": ((2, 3), lambda x: (x.softmax(0), F.log_softmax(x, 1), T.softmax(x, -1), F.softmin(x, dim=0))),
    "cumsum": ((2, 3), lambda x: (x.cumsum(0), x.cumprod(-1), T.cumsum(x, dim=1), x.logcumsumexp(0))),
    "sort": ((2, 3), lambda x: (x.sort(0)[0], x.sort(descending=True).values, T.argsort(x, 1), x.topk(2)[0])),
    "kthvalue": ((2, 3), lambda x: (x.kthvalue(2)[0], x.topk(2, 1, largest=False).values)),
    "reshape": ((2, 3), lambda x: (x.reshape(3, 2), x.reshape(-1), x.reshape((1, 6)))),
    "view": ((2, 3), lambda x: (x.contiguous().view(6), x.contiguous().view(-1, 2), x.contiguous().view((3, 2)))),
    "transpose": ((2, 3), lambda x: (x.T, x.t(), x.mT, x.transpose(0, 1), x.permute(1, 0), T.transpose(x, 0, -1))),
    "unsqueeze": ((2, 3), lambda x: (x.unsqueeze(0), x.unsqueeze(-1), T.unsqueeze(x, 1), x[None], x[:, None])),
    "squeeze": ((1, 3, 1), lambda x: (x.squeeze(), x.squeeze(0), x.squeeze(-1), x.squeeze((0, 2)), x.squeeze(1))),
    "expand": ((1, 3), lambda x: (x.expand(2, 3), x.expand(4, -1, 3), x.expand_as(T.ones(2, 3)))),
    "flatten": ((2, 3, 2), lambda x: (x.flatten(), x.flatten(1), T.flatten(x, 0, 1), x.flatten(1).unflatten(1, (3, 2)))),
    "movedim": ((2, 3, 4), lambda x: (x.movedim(0, 2), x.movedim((0, 1), (-1, 0)))),
    "split": ((4, 3), lambda x: (*x.chunk(2), *x.split(3), *x.unbind(1), *T.split(x, [1, 3]), *T.chunk(x, 3, -1))),
    "narrow": ((4, 3), lambda x: (x.narrow(0, 1, 2), x.select(1, 0), x.select(0, -1))),
    "flip": ((2, 3), lambda x: (x.flip(0), x.flip((0, 1)), x.roll(1, 0), x.roll(2), T.roll(x, (1, 2), (0, 1)))),
    "repeat": ((2, 3), lambda x: (x.repeat(2, 1), x.repeat(2, 1, 3), T.tile(x, (2,)))),
    "diagonal": ((3, 3), lambda x: (x.diagonal(), x.diag(), x.tril(), x.triu(1), x.trace(), T.diag(x[0]))),
    "unfold": ((5,), lambda x: x.unfold(0, 3, 1)),
    "diff": ((2, 4), lambda x: (x.diff(), x.diff(dim=0))),
    "subscripts": ((4, 3), lambda x: (x[0], x[-1, 1], x[1:3], x[:, 0], x[..., 1], x[::2, None, 1:], x[1, ...])),
    "lists": ((4, 3), lambda x: (x[[0, 2]], x[:, [1, 0]], x[[0, 1], [2, 0]], x[T.tensor([1, 3])])),
    "tensors apart": ((4, 3, 2), lambda x: (x[T.tensor([0, 1]), :, T.tensor([1, 0])], x[0, :, T.tensor([1, 0])])),
    "masks": ((4, 3), lambda x: (x[T.tensor([True, False, True, False])], x[:, T.tensor([True, False, True])])),
    "indices of each": ((4, 3), lambda x: (x[x.argmax(0)], x[x.argmax(0), T.arange(3)], x[:, x.argmax(1)])),
    "loops over rows": ((4, 3), lambda x: sum(row * i for i, row in enumerate(x))),
    "length": ((4, 3), lambda x: x * len(x) + x.shape[1] + x.dim() + x.numel() + x.size(0)),
    "gather": ((2, 3), lambda x: (x.gather(1, x.argsort(1)), T.take_along_dim(x, x.argsort(1), 1))),
    "index_select": ((4, 3), lambda x: (x.index_select(0, T.tensor([2, 0])), T.index_select(x, 1, T.tensor([1])))),
    "scatter": ((2, 3), lambda x: (T.zeros_like(x).scatter(1, x.argsort(1), x), x.scatter_add(1, x.argsort(1), x))),
    "index_add": ((4, 3), lambda x: x.index_add(0, T.tensor([1, 1]), x[:2])),
    "cat": ((2, 3), lambda x: (T.cat([x, x * 2]), T.cat([x, T.ones(2, 1, dtype=T.float64)], 1), T.cat([x, x], dim=-1))),
    "stack": ((2, 3), lambda x: (T.stack([x, T.ones(2, 3, dtype=T.float64)]), T.stack([x, x], -1), T.hstack([x, x]))),
    "vstack": ((3,), lambda x: (T.vstack([x, x]), T.hstack([x, x]))),
    "matrix and its transpose": ((2, 3), lambda x: (x @ x.T, x.mm(x.t()), T.matmul(x.T, x), x @ x[0], x[:, 0] @ x)),
    "products of vectors": ((3,), lambda x: (x @ x, x.dot(x), T.outer(x, x), T.dot(x, T.ones(3, dtype=T.float64)))),
    "products of stacks": ((2, 3, 3), lambda x: (x @ x, x.bmm(x), T.bmm(x, x.mT), x @ x[0], x[0] @ x, x @ x[0, 0])),
    "einsum": ((2, 3), lambda x: (T.einsum("ij,kj->ik", x, x), T.einsum("ij->j", x), T.einsum("ij,ij", x, x))),
    "tensordot": ((2, 3), lambda x: (T.tensordot(x, x, ([1], [1])), T.tensordot(x, x, 2))),
    "kron": ((2, 3), lambda x: T.kron(x, x)),
    "cross": ((2, 3), lambda x: T.linalg.cross(x, x.flip(1))),
    "addmm": ((3, 3), lambda x: (T.addmm(x, x, x), T.addmm(x[0], x, x, beta=0.5, alpha=2), T.addmv(x[0], x, x[1]))),
    "determinants": ((3, 3), lambda x: (T.linalg.det(x + EYE), T.slogdet(x + EYE)[1], T.det(x), (x @ x.T + EYE).logdet())),
    "inverses": ((3, 3), lambda x: (T.linalg.inv(x + EYE), T.linalg.solve(x + EYE, x[0]), T.inverse(x - EYE), T.linalg.solve(x + EYE, x.T))),
    "cholesky": ((3, 3), lambda x: T.linalg.cholesky(x @ x.T + EYE)),
    "eigenvalues": ((3, 3), lambda x: (T.linalg.eigvalsh(x + x.T + EYE * x), T.linalg.svdvals(x * x + EYE * x))),
    "matrix_power": ((3, 3), lambda x: T.matrix_power(x, 3)),
    "created like": ((2, 3), lambda x: x + T.zeros_like(x) + T.ones_like(x) + x.new_zeros(3) + T.full_like(x, 2.0)),
    "in place": ((3,), lambda x: x.clone().add_(1).mul_(x).sin_().clamp_(max=0.7)),
    "operators in place": ((3,), lambda x: in_place(x)),
    "subscripts in place": ((4, 3), lambda x: filled(x)),
    "linear": ((3,), lambda x: F.linear(x, numbers(2, 3), numbers(2))),
    "linear of matrices": ((4, 3), lambda x: F.linear(x, numbers(2, 3))),
    "layer_norm": ((2, 3), lambda x: (F.layer_norm(x, (3,)), F.layer_norm(x, (3,), numbers(3), numbers(3)))),
    "group_norm": ((2, 4, 3), lambda x: F.group_norm(x, 2, numbers(4), numbers(4))),
    "normalise": ((2, 3), lambda x: (F.normalize(x, dim=1), F.cosine_similarity(x, x.flip(1)), F.rms_norm(x, (3,)))),
    "losses": ((3,), lambda x: (F.mse_loss(x, x * 2), F.l1_loss(x, x * 2), F.smooth_l1_loss(x, x * 3), F.huber_loss(x, -x))),
    "sums of losses": ((3,), lambda x: (F.mse_loss(x, x * 2, reduction="sum"), F.mse_loss(x, -x, reduction="none"))),
    "binary cross entropy": ((3,), lambda x: (
        F.binary_cross_entropy(x.sigmoid(), (x > 0).double()), F.binary_cross_entropy_with_logits(x, x.abs()),
    )),
    "cross entropy": ((4, 3), lambda x: (
        F.cross_entropy(x, T.tensor([0, 2, 1, 1])), F.cross_entropy(x, T.tensor([0, -100, 1, 1]), reduction="sum"),
        F.cross_entropy(x, x.argmax(1), reduction="none"), F.cross_entropy(x, T.tensor([0, -100, 1, 1])),
        F.cross_entropy(x, T.tensor([0, 2, 1, 1]), label_smoothing=0.1), F.cross_entropy(x, x.softmax(1)),
        F.cross_entropy(x, T.tensor([0, 2, 1, 1]), weight=numbers(3).abs()),
    )),
    "cross entropy of one": ((3,), lambda x: (F.cross_entropy(x, T.tensor(1)), F.cross_entropy(x, x.argmax()))),
    "nll_loss": ((4, 3), lambda x: F.nll_loss(x.log_softmax(1), T.tensor([0, 2, 1, 1]))),
    "kl_div": ((3,), lambda x: F.kl_div(x.log_softmax(0), x.softmax(0), reduction="sum")),
    "conv1d": ((2, 2, 5), lambda x: F.conv1d(x, numbers(3, 2, 3), numbers(3))),
    "conv2d": ((2, 5, 5), lambda x: F.conv2d(x, numbers(3, 2, 3, 3), numbers(3), stride=2, padding=1)),
    "conv2d of batches": ((2, 2, 5, 5), lambda x: F.conv2d(x, numbers(4, 1, 3, 3), groups=2)),
    "conv_transpose2d": ((2, 3, 4, 4), lambda x: F.conv_transpose2d(x, numbers(3, 2, 2, 2), numbers(2), stride=2)),
    "pools": ((2, 4, 4), lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 1))),
    "pools of batches": ((2, 2, 4, 4), lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 2))),
    "pad": ((2, 3), lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 0, 1), value=2.0))),
    "pads of other modes": ((2, 5), lambda x: (F.pad(x, (2, 1), mode="reflect"), F.pad(x, (1, 2), mode="replicate"))),
    "images": ((2, 4, 3, 3), lambda x: (
        F.interpolate(x, scale_factor=2), F.interpolate(x, size=(5, 4), mode="bilinear"), F.pixel_shuffle(x, 2),
        F.unfold(x, 2), F.fold(F.unfold(x, 2), (3, 3), 2), F.pad(x, (1, 1, 2, 0), mode="circular"),
    )),
    "turned": ((2, 3), lambda x: (T.fliplr(x), x.flipud(), T.rot90(x), x.rot90(2, (1, 0)))),
    "meshgrid": ((3,), lambda x: (*T.meshgrid(x, x[:2], indexing="ij"), *T.meshgrid(x[:2], x, indexing="xy"))),
    "repeat_interleave": ((2, 3), lambda x: (x.repeat_interleave(2), x.repeat_interleave(2, 1))),
    "parts replaced": ((2, 3), lambda x: (x.select_scatter(x[:, 0], 1, 2), x.detach().slice_scatter(x[:1], 0, 1, 2))),
    "bucketize": ((3,), lambda x: (
        T.bucketize(x, T.tensor([-0.5, 0.0, 0.5])), T.searchsorted(T.tensor([-0.5, 0.0, 0.5], dtype=T.float64), x),
        T.searchsorted(x.sort()[0], x * 0.9),
    )),
    "grid_sample": ((1, 2, 4, 4), lambda x: F.grid_sample(x, x[:, :, :, :2].tanh(), align_corners=False)),
    "one_hot": ((3,), lambda x: F.one_hot(x.argsort(), 4)),
    "embedding": ((3,), lambda x: F.embedding(x.argsort(), numbers(4, 2))),
    "attention": ((2, 4, 3), lambda x: F.scaled_dot_product_attention(x, x, x)),
    "whole attention": ((2, 9, 3), lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
    "dropout at rest": ((3,), lambda x: F.dropout(x, 0.5, training=False)),
    "cdist": ((4, 3), lambda x: T.cdist(x, x + 1)),
    "nests": ((3,), lambda x: [x, (x * 2, x * 3)]),
    "nan_to_num": ((3,), lambda x: T.nan_to_num(x / 0)),
    "isnan": ((3,), lambda x: (T.isnan(x), x.isfinite(), T.isclose(x, x))),
    "signs": ((3,), lambda x: x.sign() + x.round() + x.floor() + x.trunc() + T.ceil(x) + x.frac()),
}  # fmt: skip


def in_place(x: Any) -> Any:
    y = x * 1
    y += x
    y *= 2
    y -= 1
    y /= 3
    return y


def filled(x: Any) -> Any:
    y = T.zeros_like(x)
    y[0] = x[1]
    y[1:3, 0] = 2.0
    y[3] = x[0, 0]
    y[:, 1:] = x[:, :2]
    return y


# In torch the gradient of a part that was put in place of another comes out too large.
@pytest.mark.parametrize("name", [n for n in OF_ONE if n != "parts replaced" or oracle.MODULE != "torch"])
def test_operations_of_one_tensor(name: str) -> None:
    shape, function = OF_ONE[name]
    check(function, (0,), numbers(5, *shape))
    if shape:
        check(function, (1,), numbers(5, *shape).movedim(0, 1).contiguous())


# torch does not write to subscripts of nested slices.
@pytest.mark.parametrize("name", [n for n in OF_ONE if n != "subscripts in place" or oracle.MODULE != "torch"])
def test_operations_of_one_tensor_nested(name: str) -> None:
    shape, function = OF_ONE[name]
    x = numbers(2, 3, *shape)
    found = flat(func.vmap(func.vmap(function))(x))
    for i in range(2):
        for one, other in zip(found, by_loop(function, (0,), (x[i],)), strict=True):
            assert T.allclose(one[i], other, equal_nan=True)


# Two tensors: of each slice both, or one, the other whole.
OF_TWO: dict[str, tuple[tuple[int, ...], tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "sum": ((3,), (3,), lambda a, b: a + b * 2 - a / b),
    "vector and matrix": ((3,), (2, 3), lambda a, b: (a * b, b - a, b / a, a < b)),
    "matrix and 0-d": ((2, 3), (), lambda a, b: (a * b, b * a, T.maximum(a, b), T.where(a > b, a, b))),
    "vectors": ((3,), (3,), lambda a, b: (a @ b, T.dot(a, b), T.outer(a, b), T.inner(a, b))),
    "matrix, vector": ((2, 3), (3,), lambda a, b: (a @ b, a.mv(b), T.mv(a, b), F.linear(b, a))),
    "vector, matrix": ((2,), (2, 3), lambda a, b: (a @ b, T.matmul(a, b))),
    "matrices": ((2, 3), (3, 4), lambda a, b: (a @ b, a.mm(b), T.mm(a, b), a.matmul(b), T.einsum("ij,jk->ki", a, b))),
    "stack, matrix": ((2, 2, 3), (3, 4), lambda a, b: a @ b),
    "matrix, stack": ((4, 2), (3, 2, 3), lambda a, b: a @ b),
    "stack, vector": ((2, 2, 3), (3,), lambda a, b: a @ b),
    "vector, stack": ((2,), (3, 2, 3), lambda a, b: a @ b),
    "stacks": ((2, 2, 3), (2, 3, 2), lambda a, b: (a @ b, a.bmm(b))),
    "linear": ((3,), (2, 3), lambda a, b: F.linear(a, b, b[:, 0])),
    "linear of matrices": ((4, 3), (2, 3), lambda a, b: F.linear(a, b)),
    "baddbmm": ((2, 2, 2), (2, 2, 2), lambda a, b: T.baddbmm(a, a, b)),
    "solve": ((3, 3), (3, 2), lambda a, b: T.linalg.solve(a + EYE, b)),
    "triangular": ((3, 3), (3, 2), lambda a, b: T.linalg.solve_triangular(a + EYE, b, upper=True)),
    "cat": ((2, 3), (1, 3), lambda a, b: (T.cat([a, b]), T.cat((b, a)))),
    "stack": ((2,), (2,), lambda a, b: (T.stack([a, b]), T.stack((b, a), 1))),
    "clamp": ((3,), (3,), lambda a, b: T.clamp(a, min=b)),
    "where": ((3,), (3,), lambda a, b: (T.where(a > 0, a, b), T.where(b > 0, 1.0, a), a.masked_fill(b > 0, 2.0))),
    "conv2d": ((2, 5, 5), (3, 2, 3, 3), lambda a, b: F.conv2d(a, b, padding=1)),
    "conv2d of batches": ((2, 2, 5, 5), (3, 2, 3, 3), lambda a, b: F.conv2d(a, b, b[:, 0, 0, 0], stride=2)),
    "conv2d in groups": ((2, 4, 5, 5), (4, 2, 3, 3), lambda a, b: F.conv2d(a, b, groups=2)),
    "conv1d": ((2, 2, 5), (3, 2, 3), lambda a, b: F.conv1d(a, b, dilation=2)),
    "conv_transpose2d": ((2, 2, 3, 3), (2, 3, 2, 2), lambda a, b: F.conv_transpose2d(a, b, stride=2)),
    "layer_norm": ((2, 3), (3,), lambda a, b: F.layer_norm(a, (3,), b, b * 2)),
    "group_norm": ((2, 4, 3), (4,), lambda a, b: F.group_norm(a, 2, b, b * 2)),
    "batch_norm": ((4, 3), (3,), lambda a, b: F.batch_norm(a, None, None, b, b * 2, training=True)),
    "batch_norm at rest": ((4, 3), (3,), lambda a, b: F.batch_norm(a, b.detach(), b.detach().abs() + 1)),
    "losses": ((3,), (3,), lambda a, b: (F.mse_loss(a, b), F.l1_loss(a, b), F.smooth_l1_loss(a, b, reduction="sum"))),
    "rows of a table": ((4, 3), (3,), lambda a, b: (a[b.argsort()], a.index_select(0, b.argsort()))),
    "embedding": ((4, 2), (3,), lambda a, b: F.embedding(b.argsort(), a)),
    "gather": ((3, 2), (3, 2), lambda a, b: a.gather(0, b.argsort(0))),
    "columns of a table": ((2, 4), (3,), lambda a, b: (a[:, b.argsort()], a[0, b.argsort()])),
    "cross entropy": ((4, 3), (4, 3), lambda a, b: F.cross_entropy(a, b.argmax(1))),
    "attention": ((4, 3), (5, 3), lambda a, b: F.scaled_dot_product_attention(a, b, b)),
    "whole attention": ((9, 3), (2, 5, 3), lambda a, b: F.scaled_dot_product_attention(a.expand(2, 9, 3), b, b)),
    "masked attention": (
        (9, 3),
        (9, 5),
        lambda a, m: F.scaled_dot_product_attention(a, a[:5], a[:5], attn_mask=m.detach()),
    ),
    "lerp": ((3,), (3,), lambda a, b: T.lerp(a, b, 0.25)),
    "bilinear": ((2, 3), (2, 4), lambda a, b: F.bilinear(a, b, numbers(2, 3, 4))),
}


@pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0), (-1, 0)])
@pytest.mark.parametrize("name", OF_TWO)
def test_operations_of_two_tensors(name: str, dims: tuple[Any, Any]) -> None:
    first, second, function = OF_TWO[name]
    args = []
    for shape, dim, lead in ((first, dims[0], 5), (second, dims[1], 5)):
        x = numbers(*shape) if dim is None else numbers(lead, *shape)
        args.append(x.movedim(0, -1).contiguous() if dim == -1 else x)
    check(function, dims, *args)


# torch broadcasts the arguments of l1_loss by the shapes of what lies in memory.
NESTED = [name for name in OF_TWO if name != "losses" or oracle.MODULE != "torch"]


@pytest.mark.parametrize("name", NESTED)
def test_operations_of_two_tensors_nested(name: str) -> None:
    first, second, function = OF_TWO[name]
    a, b = numbers(2, *first), numbers(3, *second)
    found = flat(func.vmap(func.vmap(function, (None, 0)), (0, None))(a, b))
    for i in range(2):
        for j in range(3):
            for one, other in zip(found, flat(function(a[i], b[j])), strict=True):
                assert T.allclose(one[i, j], other, equal_nan=True)
