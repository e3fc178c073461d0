"""Rows that are whole small programs, as people write them: fits, simulations, models, loops over elements."""

from __future__ import annotations

import math
from typing import Any

from rows import Work, row


@row("program: linear regression by hand, 50 steps")
def regression(T: Any) -> Work:
    T.manual_seed(0)
    x = T.randn(200, 5)
    y = x @ T.arange(5.0) + 0.1 * T.randn(200)

    def work() -> float:
        w, b = T.zeros(5, requires_grad=True), T.zeros(1, requires_grad=True)
        for _ in range(50):
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            with T.no_grad():
                w -= 0.1 * w.grad
                b -= 0.1 * b.grad
                w.grad.zero_()
                b.grad.zero_()
        return float(loss.item())

    return work


@row("program: Gaussian process, 100 points, Cholesky, 10 Adam steps, float64")
def gaussian_process(T: Any) -> Work:
    T.manual_seed(0)
    x = T.linspace(0, 1, 100, dtype=T.float64)
    y, eye = T.sin(6 * x) + 0.1 * T.randn(100, dtype=T.float64), T.eye(100, dtype=T.float64)

    def work() -> float:
        logs = T.zeros(3, dtype=T.float64, requires_grad=True)
        optimiser = T.optim.Adam([logs], lr=0.05)
        for _ in range(10):
            length, noise, scale = logs.exp()
            k = scale * T.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + (noise * 0.1 + 1e-4) * eye
            factor = T.linalg.cholesky(k)
            loss = 0.5 * (y * T.cholesky_solve(y[:, None], factor)[:, 0]).sum() + factor.diagonal().log().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.item())

    return work


@row("program: Runge-Kutta over the Lorenz system, 100 steps, gradient")
def lorenz(T: Any) -> Work:
    def work() -> float:
        sigma, rho, beta = (T.tensor(v, requires_grad=True) for v in (10.0, 28.0, 8 / 3))

        def slope(state: Any) -> Any:
            x, y, z = state[0], state[1], state[2]
            return T.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

        state, h = T.ones(3), 0.005
        for _ in range(100):
            k1 = slope(state)
            k2 = slope(state + h / 2 * k1)
            k3 = slope(state + h / 2 * k2)
            k4 = slope(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        state.sum().backward()
        return float(rho.grad)

    return work


@row("program: second derivatives of a network (oscillator), Adam step")
def oscillator(T: Any) -> Work:
    T.manual_seed(0)
    nn, grad = T.nn, T.autograd.grad
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimiser = T.optim.Adam(net.parameters())
    t = T.linspace(0, 1, 60).view(-1, 1).requires_grad_()

    def work() -> None:
        u = net(t)
        velocity = grad(u, t, T.ones_like(u), create_graph=True)[0]
        acceleration = grad(velocity, t, T.ones_like(u), create_graph=True)[0]
        loss = ((acceleration + 4 * velocity + 400 * u) ** 2).mean() + (u[0, 0] - 1) ** 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return work


@row("program: pathwise delta of an option, 20 k paths of 50 steps")
def monte_carlo(T: Any) -> Work:
    def work() -> float:
        T.manual_seed(0)
        spot, sigma = T.tensor(100.0, requires_grad=True), T.tensor(0.2, requires_grad=True)
        steps = -0.5 * sigma**2 / 50 + sigma * math.sqrt(1 / 50) * T.randn(20_000, 50)
        T.relu((spot * T.exp(T.cumsum(steps, 1))).mean(1) - 100).mean().backward()
        return float(spot.grad)

    return work


@row("program: forward algorithm of a hidden Markov model, 100 steps, gradient")
def markov(T: Any) -> Work:
    T.manual_seed(0)
    seen = T.randint(0, 20, (100,))
    moves, emissions = T.randn(10, 10, requires_grad=True), T.randn(10, 20, requires_grad=True)

    def work() -> float:
        log_moves, log_emissions = moves.log_softmax(1), emissions.log_softmax(1)
        a = log_emissions[:, seen[0]]
        for t in range(1, 100):
            a = T.logsumexp(a[:, None] + log_moves, 0) + log_emissions[:, seen[t]]
        loss = -T.logsumexp(a, 0)
        moves.grad = emissions.grad = None
        loss.backward()
        return float(loss.item())

    return work


@row("program: k-means by differences, 5000 x 16, 20 centres, 10 rounds")
def k_means(T: Any) -> Work:
    T.manual_seed(0)
    x = T.randn(5000, 16)

    def work() -> float:
        centres = x[:20].clone()
        for _ in range(10):
            nearest = ((x[:, None] - centres) ** 2).sum(-1).argmin(1)
            count = T.bincount(nearest, minlength=20).clamp(min=1)
            centres = T.zeros(20, 16).index_add_(0, nearest, x) / count[:, None]
        return float(centres.sum())

    return work


@row("program: heat equation by slices, 64 x 64, 100 steps")
def heat(T: Any) -> Work:
    start = T.zeros(64, 64)
    start[20:40, 20:40] = 1

    def work() -> float:
        u = start.clone()
        for _ in range(100):
            u[1:-1, 1:-1] += 0.2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        return float(u.sum())

    return work


@row("program: CTC loss, 50 steps, batch 8, forward + backward")
def ctc(T: Any) -> Work:
    T.manual_seed(0)
    x, targets = T.randn(50, 8, 20, requires_grad=True), T.randint(1, 20, (8, 12))
    inputs, lengths = T.full((8,), 50), T.randint(5, 12, (8,))

    def work() -> None:
        x.grad = None
        T.nn.functional.ctc_loss(x.log_softmax(2), targets, inputs, lengths).backward()

    return work


@row("program: ridge and least squares, 500 x 20")
def least_squares(T: Any) -> Work:
    T.manual_seed(0)
    x, y = T.randn(500, 20), T.randn(500, 1)

    def work() -> float:
        ridge = T.linalg.solve(x.T @ x + 0.1 * T.eye(20), x.T @ y)
        return float(ridge.sum() + T.linalg.lstsq(x, y).solution.sum())

    return work


def language_model(cell: str) -> Any:
    def prepare(T: Any) -> Work:
        T.manual_seed(0)
        nn = T.nn
        embedding, output = nn.Embedding(100, 32), nn.Linear(64, 100)
        recurrent = getattr(nn, cell)(32, 64, batch_first=True)
        model = nn.ModuleList([embedding, recurrent, output])
        optimiser, x = T.optim.Adam(model.parameters()), T.randint(0, 100, (16, 33))

        def work() -> None:
            optimiser.zero_grad()
            scores = output(recurrent(embedding(x[:, :-1]))[0])
            nn.functional.cross_entropy(scores.reshape(-1, 100), x[:, 1:].reshape(-1)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()

        return work

    return prepare


for cell in ("GRU", "LSTM"):
    row(f"program: {cell} language model, batch 16, 32 steps, Adam step")(language_model(cell))


@row("program: 50 policy steps of single states, update")
def policy(T: Any) -> Work:
    T.manual_seed(0)
    nn = T.nn
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimiser = T.optim.Adam(net.parameters())

    def work() -> None:
        state, chances, rewards = [0.1, 0.2, -0.1, 0.0], [], []
        for _ in range(50):
            choices = T.distributions.Categorical(logits=net(T.tensor(state)))
            action = choices.sample()
            chances.append(choices.log_prob(action))
            state = [v * 0.9 + (0.1 if action.item() else -0.1) for v in state]
            rewards.append(1.0 - abs(state[0]))
        returns = T.tensor(rewards).flip(0).cumsum(0).flip(0)
        loss = -(T.stack(chances) * (returns - returns.mean())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return work


@row("program: one epoch of a DataLoader, 1000 rows, batch 32, MLP")
def epoch(T: Any) -> Work:
    T.manual_seed(0)
    nn, data = T.nn, __import__(f"{T.__name__}.utils.data", fromlist=["data"])
    pairs = data.TensorDataset(T.randn(1000, 20), T.randint(0, 3, (1000,)))
    loader = data.DataLoader(pairs, batch_size=32, shuffle=True)
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
    optimiser = T.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def work() -> int:
        right = 0
        for x, y in loader:
            optimiser.zero_grad()
            scores = net(x)
            nn.functional.cross_entropy(scores, y).backward()
            optimiser.step()
            right += (scores.argmax(1) == y).sum().item()
        return right

    return work


@row("program: score 1000 items of 32 numbers, ten best as lists")
def recommend(T: Any) -> Work:
    T.manual_seed(0)
    items, user = T.randn(1000, 32), T.randn(32)

    def work() -> Any:
        with T.inference_mode():
            values, places = T.topk(T.mv(items, user), 10)
            return places.tolist(), values.tolist()

    return work


@row("program: C[i, j] += A[i, k] * B[k, j], three loops of 8")
def three_loops(T: Any) -> Work:
    T.manual_seed(0)
    a, b = T.randn(8, 8), T.randn(8, 8)

    def work() -> Any:
        c = T.zeros(8, 8)
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    c[i, j] += a[i, k] * b[k, j]
        return c

    return work
