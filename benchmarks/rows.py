"""The rows of the benchmark: small functions in torch's names, so that one text runs on both modules.

A row is a function of the module ``T`` that prepares its inputs and returns the work to be timed. ``per``
is the number of operations within one run of the work, where the figure of interest is per operation.
A row that needs what the module lacks fails with ``AttributeError`` and is reported as skipped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Work = Callable[[], object]


def used(result: Any) -> object:
    """Read one element: rustgrad does elementwise work on large tensors only when somebody asks for it."""
    return result.view(-1)[0].item()


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    prepare: Callable[[Any], Work]
    per: int = 1
    flops: float = 0.0
    """Floating-point operations of one run, for rows that are bound by them."""
    streams: float = 0.0
    """Bytes that one run reads and writes at least, for rows that are bound by them: inputs once in each pass, results
    and gradients once."""
    big: bool = False
    """Needs more than a second or a gigabyte; left out with ``--quick``."""


ROWS: list[Row] = []


def row(
    name: str, per: int = 1, flops: float = 0.0, streams: float = 0.0, big: bool = False
) -> Callable[[Callable[[Any], Work]], Callable[[Any], Work]]:
    """Register a function as a row."""

    def register(prepare: Callable[[Any], Work]) -> Callable[[Any], Work]:
        ROWS.append(Row(name, prepare, per, flops, streams, big))
        return prepare

    return register


@row("z = z * k, 0-d, grad, forward + backward, per op", per=1000)
def scalar_chain(T: Any) -> Work:
    x, k = T.tensor(1.0, requires_grad=True), T.tensor(1.0001)

    def work() -> None:
        z = x
        for _ in range(1000):
            z = z * k
        z.backward()

    return work


@row("z = z * k, 16 elements, no grad, per op", per=1000)
def small_no_grad(T: Any) -> Work:
    x, k = T.ones(16), T.ones(16)

    def work() -> None:
        z = x
        for _ in range(1000):
            z = z * k

    return work


@row("scalar graph: sin, cos, reuse, per op", per=1400)
def scalar_graph(T: Any) -> Work:
    x = T.tensor(0.5, requires_grad=True)

    def work() -> None:
        a, b = x, x * 2
        for _ in range(200):
            c = a.sin() * b + a
            b = (b.cos() + c) * 0.5
            a = c * 0.9
        (a + b).backward()

    return work


# The products of a step forward, and back but for the gradients of its inputs.
@row("tanh RNN, batch 16, hidden 64, 200 steps", flops=200 * 2 * 16 * (3 * 64 * 64 + 2 * 32 * 64))
def rnn(T: Any) -> Work:
    T.manual_seed(0)
    w = (T.randn(64, 64) * 0.1).requires_grad_()
    u = (T.randn(32, 64) * 0.1).requires_grad_()
    b = T.zeros(64, requires_grad=True)
    steps = [T.randn(16, 32) for _ in range(200)]

    def work() -> None:
        h = T.zeros(16, 64)
        for x in steps:
            h = T.tanh(h @ w + x @ u + b)
        (h * h).mean().backward()

    return work


def mlp_step(T: Any, sizes: list[int], batch: int, adam: bool) -> Work:
    T.manual_seed(0)
    nn, functional = T.nn, T.nn.functional
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimiser = T.optim.Adam(model.parameters()) if adam else T.optim.SGD(model.parameters(), lr=0.01)
    x, y = T.randn(batch, sizes[0]), T.randint(0, sizes[-1], (batch,))

    def work() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    return work


@row("MLP 64-64-64-10, batch 32, cross-entropy, SGD step", flops=6 * 32 * (2 * 64 * 64 + 64 * 10) - 2 * 32 * 64 * 64)
def small_mlp(T: Any) -> Work:
    return mlp_step(T, [64, 64, 64, 10], 32, adam=False)


@row(
    "MLP 784-512-256-10, batch 256, Adam step",
    flops=6 * 256 * (784 * 512 + 512 * 256 + 256 * 10) - 2 * 256 * 784 * 512,
)
def large_mlp(T: Any) -> Work:
    return mlp_step(T, [784, 512, 256, 10], 256, adam=True)


@row("the same small MLP by hand (no nn, no optim)")
def mlp_by_hand(T: Any) -> Work:
    T.manual_seed(0)
    shapes = [(64, 64), (64,), (64, 64), (64,), (64, 10), (10,)]
    parameters = [(T.randn(*shape) * 0.1).requires_grad_() for shape in shapes]
    x, y = T.randn(32, 64), T.randint(0, 10, (32, 1))

    def work() -> None:
        w1, b1, w2, b2, w3, b3 = parameters
        h = T.relu(x @ w1 + b1)
        h = T.relu(h @ w2 + b2)
        loss = -T.log_softmax(h @ w3 + b3, 1).gather(1, y).mean()
        loss.backward()
        with T.no_grad():
            for parameter in parameters:
                parameter.sub_(parameter.grad, alpha=0.01)
                parameter.grad.zero_()

    return work


@row("Adam over 400 parameters of 500 elements", streams=7 * 4 * 400 * 500)
def adam(T: Any) -> Work:
    parameters = [T.ones(500, requires_grad=True) for _ in range(400)]
    for parameter in parameters:
        parameter.grad = T.ones(500)
    optimiser = T.optim.Adam(parameters)
    return lambda: optimiser.step()


def elementwise(count: int) -> Callable[[Any], Work]:
    def prepare(T: Any) -> Work:
        x = T.linspace(-1, 1, count).requires_grad_()

        def work() -> None:
            x.grad = None
            ((2 * x + 1).tanh() * x).sigmoid().mean().backward()

        return work

    return prepare


for label, count in (("1 k", 1_000), ("100 k", 100_000), ("4 M", 4_000_000), ("20 M", 20_000_000)):
    name = f"((2x+1).tanh()*x).sigmoid().mean(), forward + backward, {label}"
    row(name, streams=12.0 * count, big=count > 5_000_000)(elementwise(count))


@row("c = a + b, 20 M floats", streams=12 * 20e6, big=True)
def plus(T: Any) -> Work:
    a, b = T.ones(20_000_000), T.ones(20_000_000)
    return lambda: used(a + b)


@row("((x - mean) / std)**3 over rows of 4096 x 1024, forward + backward", streams=12 * 4096 * 1024)
def normalise(T: Any) -> Work:
    T.manual_seed(0)
    x = T.randn(4096, 1024).requires_grad_()

    def work() -> None:
        x.grad = None
        z = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        (z**3).sum().backward()

    return work


@row("cross-entropy of 2048 x 8192 logits, forward + backward", streams=12 * 2048 * 8192)
def big_cross_entropy(T: Any) -> Work:
    T.manual_seed(0)
    x, y = T.randn(2048, 8192).requires_grad_(), T.randint(0, 8192, (2048,))

    def work() -> None:
        x.grad = None
        T.nn.functional.cross_entropy(x, y).backward()

    work()
    return work


@row("layer norm + gelu on 4096 x 768, forward + backward", streams=12 * 4096 * 768)
def layer_norm(T: Any) -> Work:
    T.manual_seed(0)
    x, norm = T.randn(4096, 768).requires_grad_(), T.nn.LayerNorm(768)

    def work() -> None:
        x.grad = None
        T.nn.functional.gelu(norm(x)).sum().backward()

    return work


@row("x.t() * y + x, 2048 x 2048, forward + backward", streams=24 * 2048 * 2048)
def transposed(T: Any) -> Work:
    T.manual_seed(0)
    x, y = T.randn(2048, 2048).requires_grad_(), T.randn(2048, 2048).requires_grad_()

    def work() -> None:
        x.grad = y.grad = None
        (x.t() * y + x).sum().backward()

    return work


@row("embedding 20000 x 128, 8192 look-ups x[i], forward + backward", streams=4 * 128 * (8192 + 20000))
def embedding(T: Any) -> Work:
    T.manual_seed(0)
    table, index = T.randn(20000, 128).requires_grad_(), T.randint(0, 20000, (8192,))

    def work() -> None:
        table.grad = None
        (table[index] * 2).sum().backward()

    return work


def product(n: int, m: int, k: int, dtype: str, flip: bool) -> Callable[[Any], Work]:
    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        a, b = T.randn(n, k).to(getattr(T, dtype)), T.randn(k, m).to(getattr(T, dtype))
        if flip:
            a, b = a.t().contiguous().t(), b.t().contiguous().t()
        return lambda: a @ b

    return prepare


for size in (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048):
    row(f"matmul {size} float32", flops=2 * size**3)(product(size, size, size, "float32", flip=False))
for size in (64, 512, 1024):
    row(f"matmul {size} float64", flops=2 * size**3)(product(size, size, size, "float64", flip=False))
    row(f"matmul {size} float32, both transposed", flops=2 * size**3)(product(size, size, size, "float32", flip=True))
row("matmul 8192 x 64 by 64 x 768", flops=2.0 * 8192 * 64 * 768)(product(8192, 768, 64, "float32", flip=False))


@row("64 products of 128 x 128", flops=64 * 2 * 128**3)
def batched(T: Any) -> Work:
    T.manual_seed(0)
    a, b = T.randn(64, 128, 128), T.randn(64, 128, 128)
    return lambda: T.bmm(a, b)


@row("48 branches of 96 x 96 products and tanh, forward + backward", flops=48 * (4 + 4 + 3) * 2 * 96**3)
def branches(T: Any) -> Work:
    T.manual_seed(0)
    leaves = [(T.randn(96, 96) * 0.1).requires_grad_() for _ in range(48)]
    x = T.randn(96, 96)

    def work() -> None:
        total: Any = None
        for leaf in leaves:
            h = x
            for _ in range(4):
                h = (h @ leaf).tanh()
            total = h.sum() if total is None else total + h.sum()
        total.backward()

    return work


@row("convolution 3x3, 16 x 32 x 32 x 32 to 64, forward + backward", flops=3 * 2.0 * 16 * 30 * 30 * 64 * 32 * 9)
def convolution(T: Any) -> Work:
    T.manual_seed(0)
    layer, x = T.nn.Conv2d(32, 64, 3), T.randn(16, 32, 32, 32).requires_grad_()
    return lambda: layer(x).sum().backward()


LENET = 2 * 64 * (28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10)


@row("LeNet step, batch 64", flops=3 * LENET - 2 * 64 * 28 * 28 * 6 * 25)
def lenet(T: Any) -> Work:
    T.manual_seed(0)
    nn = T.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Conv2d(6, 16, 5), nn.Sigmoid(),
        nn.AvgPool2d(2, 2), nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    optimiser = T.optim.SGD(model.parameters(), lr=0.1)
    x, y = T.randn(64, 1, 28, 28), T.randint(0, 10, (64,))

    def work() -> None:
        optimiser.zero_grad()
        T.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()

    return work


DECODER = 2 * 1024 * (4 * (12 * 128 * 128 + 2 * 128 * 128) + 128 * 96)


@row("decoder of 4 layers, width 128, batch 8, context 128, AdamW step", flops=3 * DECODER, big=True)
def decoder(T: Any) -> Work:
    T.manual_seed(0)
    nn, functional = T.nn, T.nn.functional
    width, heads, context, vocabulary = 128, 4, 128, 96
    token, place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
    layers = [
        (nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width),
         nn.Linear(width, 4 * width), nn.Linear(4 * width, width))
        for _ in range(4)
    ]  # fmt: skip
    head = nn.Linear(width, vocabulary)
    modules = [token, place, head, *(module for layer in layers for module in layer)]
    optimiser = T.optim.AdamW([parameter for module in modules for parameter in module.parameters()])
    text = T.randint(0, vocabulary, (8, context + 1))
    future = T.ones(context, context).triu(1).bool()

    def work() -> None:
        optimiser.zero_grad()
        x = token(text[:, :-1]) + place(T.arange(context))
        for norm1, qkv, out, norm2, up, down in layers:
            parts = qkv(norm1(x)).view(8, context, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            q, k, v = parts[0], parts[1], parts[2]
            scores = (q @ k.transpose(-1, -2)) / math.sqrt(width // heads)
            mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ v
            x = x + out(mixed.transpose(1, 2).reshape(8, context, width))
            x = x + down(functional.gelu(up(norm2(x))))
        functional.cross_entropy(head(x).reshape(-1, vocabulary), text[:, 1:].reshape(-1)).backward()
        optimiser.step()

    return work


@row("Hessian-vector product of a small MLP")
def hessian_vector(T: Any) -> Work:
    T.manual_seed(0)
    w1, w2 = T.randn(16, 32).requires_grad_(), T.randn(32, 1).requires_grad_()
    v1, v2, x = T.randn(16, 32), T.randn(32, 1), T.randn(8, 16)

    def work() -> object:
        loss = ((x @ w1).tanh() @ w2).square().mean()
        g1, g2 = T.autograd.grad(loss, [w1, w2], create_graph=True)
        return T.autograd.grad((g1 * v1).sum() + (g2 * v2).sum(), [w1, w2])

    return work


@row("Hessian of a 50-variable Rosenbrock function")
def hessian(T: Any) -> Work:
    x = T.linspace(-1, 1, 50)

    def rosenbrock(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    return lambda: T.autograd.functional.hessian(rosenbrock, x)


@row("the same Hessian by 50 calls of autograd.grad")
def hessian_by_hand(T: Any) -> Work:
    x = T.linspace(-1, 1, 50).requires_grad_()

    def work() -> object:
        value = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        (g,) = T.autograd.grad(value, x, create_graph=True)
        return T.stack([T.autograd.grad(g[i], x, retain_graph=True)[0] for i in range(50)])

    return work


@row("300,000-operation chain: built, differentiated, dropped, per op", per=300_000, big=True)
def deep_chain(T: Any) -> Work:
    x = T.tensor(1.0, requires_grad=True)

    def work() -> None:
        z = x
        for _ in range(300_000):
            z = z + 1.0
        z.backward()

    return work


def simple(name: str, make: Callable[[Any], Work], streams: float = 0.0) -> None:
    """Register a row given as a lambda: other things that programs do."""
    row(name, streams=streams)(make)


def with_input(shape: tuple[int, ...], work: Callable[[Any, Any], object]) -> Callable[[Any], Work]:
    """Time ``work(T, x)`` for a random ``x``."""

    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        x = T.randn(*shape)
        return lambda: work(T, x)

    return prepare


simple("sum of 4 M floats", with_input((4_000_000,), lambda T, x: x.sum()), streams=16e6)
simple("sum over dim 0 of 2048 x 2048", with_input((2048, 2048), lambda T, x: x.sum(0)), streams=4 * 2048**2)
simple("max over dim 1 of 2048 x 2048", with_input((2048, 2048), lambda T, x: x.max(1)), streams=4 * 2048**2)
simple("softmax of 4096 x 1024", with_input((4096, 1024), lambda T, x: x.softmax(1)), streams=8 * 4096 * 1024)
simple("exp of 4 M floats", with_input((4_000_000,), lambda T, x: used(x.exp())), streams=32e6)
simple(
    "x.t().contiguous(), 2048 x 2048", with_input((2048, 2048), lambda T, x: x.t().contiguous()), streams=8 * 2048**2
)
simple("x[:, ::2] * 2, 2048 x 2048", with_input((2048, 2048), lambda T, x: x[:, ::2] * 2), streams=6 * 2048**2)
simple("cumsum over dim 1 of 2048 x 2048", with_input((2048, 2048), lambda T, x: x.cumsum(1)), streams=8 * 2048**2)
simple("sort of 1 M floats", with_input((1_000_000,), lambda T, x: x.sort()))
simple("topk 10 of 1000 x 1000", with_input((1000, 1000), lambda T, x: x.topk(10)))
simple("x[x > 0] of 1 M floats", with_input((1_000_000,), lambda T, x: x[x > 0]))
simple("cat of ten 100 k", with_input((100_000,), lambda T, x: T.cat([x] * 10)), streams=8e6)
simple("reading 1000 elements x[i].item()", with_input((1000,), lambda T, x: [x[i].item() for i in range(1000)]))
simple(
    "writing 1000 elements x[i] = 1.0", with_input((1000,), lambda T, x: [x.__setitem__(i, 1.0) for i in range(1000)])
)
simple("iterating over 1000 rows", with_input((1000, 8), lambda T, x: sum(1 for _ in x)))
simple("tolist of 100 k", with_input((100_000,), lambda T, x: x.tolist()))
simple("tensor(list of 10 k)", lambda T: lambda numbers=[0.5] * 10_000: T.tensor(numbers))  # type: ignore[misc]
simple("randn 1 M", lambda T: lambda: T.randn(1_000_000))


def typed(dtype: str, shape: tuple[int, ...], work: Callable[[Any, Any], object]) -> Callable[[Any], Work]:
    """Time ``work(T, x)`` for an ``x`` of a dtype: random numbers, small integers, or coin flips."""

    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        if dtype.startswith("float"):
            x = T.randn(*shape).to(getattr(T, dtype))
        else:
            x = T.randint(0, 2 if dtype == "bool" else 100, shape).to(getattr(T, dtype))
        return lambda: work(T, x)

    return prepare


def with_gradient(dtype: str, shape: tuple[int, ...], work: Callable[[Any, Any], Any]) -> Callable[[Any], Work]:
    """Time ``work(T, x).sum().backward()``."""

    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        x = T.randn(*shape).to(getattr(T, dtype)).requires_grad_()

        def run() -> None:
            x.grad = None
            work(T, x).sum().backward()

        return run

    return prepare


def size_of(shape: tuple[int, ...], dtype: str) -> float:
    """Return the bytes of an array of floats."""
    return math.prod(shape) * int(dtype.removeprefix("float")) / 8


# The same functions of both float types, forward; sizes that no vector divides among them.
for dtype in ("float32", "float64"):
    for label, arrays, shape, work in (
        ("mean of 1000 x 1000", 1, (1000, 1000), lambda T, x: x.mean()),
        ("sum over the middle of 33 x 65 x 127", 1, (33, 65, 127), lambda T, x: x.sum(1)),
        ("max over the last of 33 x 65 x 127", 1, (33, 65, 127), lambda T, x: x.amax(2)),
        ("std over dim 1 of 1000 x 1000", 1, (1000, 1000), lambda T, x: x.std(1)),
        ("argmax over dim 0 of 1000 x 1000", 1, (1000, 1000), lambda T, x: x.argmax(0)),
        ("norm over dim 1 of 1000 x 1000", 1, (1000, 1000), lambda T, x: x.norm(dim=1)),
        ("log_softmax of 1000 x 8", 2, (1000, 8), lambda T, x: x.log_softmax(1)),
        ("logsumexp over dim 1 of 1000 x 1000", 1, (1000, 1000), lambda T, x: x.logsumexp(1)),
        ("x ** 2.5 of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(x**2.5)),
        ("x * column of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(x * x[:, :1])),
        ("x + row of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(x + x[0])),
        ("x.t().contiguous() of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(x.t().contiguous())),
        ("flip of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(x.flip(1))),
        ("cumprod over dim 1 of 1000 x 1000", 2, (1000, 1000), lambda T, x: x.cumprod(1)),
        ("where of 1000 x 1000", 2, (1000, 1000), lambda T, x: used(T.where(x > 0, x, -x))),
        ("stack of two 1000 x 1000", 3, (1000, 1000), lambda T, x: T.stack([x, x])),
        ("sort of rows of 1000 x 16", 2, (1000, 16), lambda T, x: x.sort(1)),
        ("64 products of 8 x 8", 0, (64, 8, 8), lambda T, x: x @ x),
    ):
        row(f"{label}, {dtype}", streams=arrays * size_of(shape, dtype))(typed(dtype, shape, work))
    for label, arrays, shape, work in (
        ("softmax of 1000 x 1000", 4, (1000, 1000), lambda T, x: x.softmax(1)),
        ("std over dim 1 of 1000 x 1000", 3, (1000, 1000), lambda T, x: x.std(1)),
        ("max over dim 1 of 1000 x 1000", 2, (1000, 1000), lambda T, x: x.max(1)[0]),
        ("x[x > 0] of 1000 x 1000", 0, (1000, 1000), lambda T, x: x[x > 0]),
        ("x[5:900] of 1000 x 128", 0, (1000, 128), lambda T, x: x[5:900]),
        ("cat along dim 1 of 1000 x 128", 0, (1000, 128), lambda T, x: T.cat([x, x * 2], 1)),
    ):
        row(f"{label}, forward + backward, {dtype}", streams=arrays * size_of(shape, dtype))(
            with_gradient(dtype, shape, work)
        )

for dtype, label, size, work in (
    ("int64", "sum", 8, lambda T, x: x.sum()),
    ("int64", "cumsum over dim 1", 16, lambda T, x: x.cumsum(1)),
    ("int64", "nonzero", 0, lambda T, x: x.nonzero()),
    ("int64", "unique", 0, lambda T, x: x.unique()),
    ("int32", "to float", 8, lambda T, x: used(x.float())),
    ("uint8", "max", 1, lambda T, x: x.max()),
    ("bool", "sum over dim 0", 1, lambda T, x: x.sum(0)),
    ("bool", "all over dim 1", 1, lambda T, x: x.all(1)),
):
    row(f"{label} of 1000 x 1000, {dtype}", streams=size * 1e6)(typed(dtype, (1000, 1000), work))


def looked_up(work: Callable[[Any, Any, Any, Any], object]) -> Callable[[Any], Work]:
    """Time ``work(T, x, rows, columns)`` for a matrix of 1000 x 128 and 5000 indices of each."""

    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        x = T.randn(1000, 128)
        places, columns = T.randint(0, 1000, (5000,)), T.randint(0, 128, (5000,))
        return lambda: work(T, x, places, columns)

    return prepare


row("x[i, j], 5000 look-ups")(looked_up(lambda T, x, i, j: x[i, j]))
row("x[:, j], 5000 look-ups in 1000 rows")(looked_up(lambda T, x, i, j: x[:, j]))
row("index_select of 5000 rows of 128")(looked_up(lambda T, x, i, j: x.index_select(0, i)))
row("index_add of 5000 rows of 128")(looked_up(lambda T, x, i, j: x.index_add(0, i, x[i])))
row("x[i] = rows, 5000 of 128")(looked_up(lambda T, x, i, j: x.__setitem__(i, x[i])))
row("x[x > 0] = 0 of 1000 x 128")(looked_up(lambda T, x, i, j: x.clone().__setitem__(x > 0, 0.0)))
row("gather along dim 1 of 1000 x 128")(looked_up(lambda T, x, i, j: x.gather(1, j[:1000, None].expand(1000, 128))))

for count in (1000, 1_000_000):
    row(f"rand {count}")(lambda T, n=count: lambda: T.rand(n))  # type: ignore[misc]
    row(f"randint {count}")(lambda T, n=count: lambda: T.randint(0, 10, (n,)))  # type: ignore[misc]
    row(f"randperm {count}")(lambda T, n=count: lambda: T.randperm(n))  # type: ignore[misc]
    row(f"arange {count}")(lambda T, n=count: lambda: T.arange(n))  # type: ignore[misc]
    row(f"linspace {count}")(lambda T, n=count: lambda: T.linspace(0, 1, n))  # type: ignore[misc]
    row(f"zeros {count}")(lambda T, n=count: lambda: T.zeros(n))  # type: ignore[misc]

simple(
    "writing 1000 elements x[i, 3] = 1.0",
    with_input((1000, 8), lambda T, x: [x.__setitem__((i, 3), 1.0) for i in range(1000)]),
)
simple(
    "reading 1000 elements x[i, 3].item()", with_input((1000, 8), lambda T, x: [x[i, 3].item() for i in range(1000)])
)
simple("float(v) for v in 1000 elements", with_input((1000,), lambda T, x: sum(float(v) for v in x)))
simple("x.sum().item() of 64", with_input((64,), lambda T, x: x.sum().item()))
simple("stack of 1000 0-d", with_input((1000,), lambda T, x: T.stack(list(x))))
simple("tensor(1.0)", lambda T: lambda: T.tensor(1.0))


@row("zeroing 100 gradients of 100 elements")
def zero_gradients(T: Any) -> Work:
    parameters = [T.ones(100, requires_grad=True) for _ in range(100)]
    for parameter in parameters:
        parameter.grad = T.ones(100)

    def work() -> None:
        for parameter in parameters:
            parameter.grad.zero_()

    return work
