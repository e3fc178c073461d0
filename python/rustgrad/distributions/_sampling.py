"""Draws by rejection: gamma, Poisson and binomial numbers."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as _rg
from rustgrad.autograd.function import Function, once_differentiable


def _draw_gamma(alpha: Any) -> Any:
    """Draw by the method of Marsaglia and Tsang (2000), in double precision."""
    alpha = alpha.detach().double()
    small = alpha < 1
    shape = _rg.where(small, alpha + 1, alpha)
    d = (shape - 1.0 / 3).reshape(-1)
    c = 1 / (9 * d).sqrt()
    result = _rg.zeros_like(d)
    # What is not a number stays so: nothing would ever be accepted.
    left = ((d > 0) & d.isfinite()).nonzero().flatten()
    result[~(d > 0)] = math.nan
    while left.numel():
        x, u = _rg.randn_like(left, dtype=_rg.double), _rg.rand_like(left, dtype=_rg.double)
        v = (1 + c[left] * x) ** 3
        inside = v > 0
        safe = v.where(inside, 1.0)
        good = inside & (u.log() < 0.5 * x * x + d[left] * (1 - safe + safe.log()))
        result[left[good]] = (d[left] * safe)[good]
        left = left[~good]
    result = result.reshape(alpha.shape)
    return result * _rg.where(small, (1 - _rg.rand_like(alpha)) ** (1 / alpha), 1.0)


def _slope(alpha: Any, x: Any) -> Any:
    """Return the derivative of a draw by ``alpha`` at a fixed quantile.

    That is ``-(dP/dalpha) / p`` of the distribution function ``P`` and its density ``p``, with the series
    ``P = x^a e^-x / Gamma(a) * sum_k x^k / (a (a + 1) ... (a + k))`` and its derivative by terms.
    """
    alpha, x = alpha.double(), x.double().clamp(min=1e-300)
    term = 1 / alpha
    inner = 1 / alpha
    total, derivative = term, term * inner
    k = 0
    while k < 100_000:
        k += 1
        step = 1 / (alpha + k)
        term = term * x * step
        inner = inner + step
        total, derivative = total + term, derivative + term * inner
        if k % 16 == 0 and bool((term * (inner + 1) <= 1e-17 * derivative).all()):
            break
    # x * sum is P / p.
    return -x * total * (x.log() - alpha.digamma() - derivative / total)


class _Gamma(Function):
    @staticmethod
    def forward(ctx: Any, alpha: Any) -> Any:
        draw = _draw_gamma(alpha).to(alpha.dtype)
        draw = draw.clamp(min=_rg.finfo(alpha.dtype).tiny)
        ctx.save_for_backward(alpha, draw)
        return draw

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        alpha, draw = ctx.saved_tensors
        return gradient * _slope(alpha, draw).to(gradient.dtype)


def standard_gamma(alpha: Any) -> Any:
    """Draw from gamma distributions of rate one; differentiable once by ``alpha``."""
    return _Gamma.apply(alpha)


def _inverted(first: Any, ratio: Any, limit: Any) -> Any:
    """Draw counts by going through the probabilities from zero upwards.

    ``first`` is the probability of zero, ``ratio(k)`` that of ``k`` over that of ``k - 1``.
    """
    u = _rg.rand_like(first)
    count, probability = _rg.zeros_like(first), first
    reached = first
    k = 0
    while k < limit:
        above = u > reached
        if not bool(above.any()):
            break
        k += 1
        probability = probability * ratio(k)
        count = count + above
        reached = reached + probability
    return count


def _transformed(
    mean: Any, spread: Any, shift: float, a: Any, b: Any, v_r: Any, alpha: Any, log_mass: Any, top: Any
) -> Any:
    """Draw counts by transformed rejection with a squeeze (Hörmann 1993)."""
    result = _rg.zeros_like(mean)
    left = _rg.arange(mean.numel())
    while left.numel():
        u, v = _rg.rand_like(mean[left]) - 0.5, _rg.rand_like(mean[left])
        us = 0.5 - u.abs()
        k = ((2 * a[left] / us + b[left]) * u + mean[left] + shift).floor()
        inside = (k >= 0) & (k <= top[left])
        at = k.where(inside, 0.0)
        near = (us >= 0.07) & (v <= v_r[left])
        bound = (v * alpha[left] / (a[left] / (us * us) + b[left])).log()
        good = inside & (near | (~((us < 0.013) & (v > us)) & (bound <= log_mass(left, at))))
        result[left[good]] = at[good]
        left = left[~good]
    return result


def poisson(rate: Any) -> Any:
    """Draw from Poisson distributions."""
    mean = rate.detach().double().reshape(-1)
    if bool((mean < 0).any()):
        message = "invalid Poisson rate, expected rate to be non-negative"
        raise RuntimeError(message)
    result = _rg.full_like(mean, math.nan)
    small, large = (mean < 10).nonzero().flatten(), ((mean >= 10) & mean.isfinite()).nonzero().flatten()
    if small.numel():
        mu = mean[small]
        result[small] = _inverted((-mu).exp(), lambda k: mu / k, 200)
    if large.numel():
        mu = mean[large]
        b = 0.931 + 2.53 * mu.sqrt()
        a = -0.059 + 0.02483 * b
        alpha = 1.1239 + 1.1328 / (b - 3.4)
        v_r = 0.9277 - 3.6224 / (b - 2)
        log_mu = mu.log()
        result[large] = _transformed(
            mu, mu.sqrt(), 0.43, a, b, v_r, alpha,
            lambda left, k: k * log_mu[left] - mu[left] - (k + 1).lgamma(), _rg.full_like(mu, math.inf),
        )  # fmt: skip
    return result.reshape(rate.shape).to(rate.dtype)


def binomial(count: Any, prob: Any) -> Any:
    """Draw numbers of successes from binomial distributions."""
    count, prob = _rg.broadcast_tensors(count, prob)
    n, given = count.detach().double().reshape(-1), prob.detach().double().reshape(-1)
    p = _rg.minimum(given, 1 - given)
    result = _rg.full_like(n, math.nan)
    small, large = (n * p < 10).nonzero().flatten(), (n * p >= 10).nonzero().flatten()
    if small.numel():
        ns, odds = n[small], p[small] / (1 - p[small])
        first = (ns * (-p[small]).log1p()).exp()
        result[small] = _rg.minimum(_inverted(first, lambda k: odds * (ns - k + 1).clamp(min=0) / k, 400), ns)
    if large.numel():
        ns, ps = n[large], p[large]
        spread = (ns * ps * (1 - ps)).sqrt()
        b = 1.15 + 2.53 * spread
        a = -0.0873 + 0.0248 * b + 0.01 * ps
        odds = (ps / (1 - ps)).log()
        peak = ((ns + 1) * ps).floor()
        most = (peak + 1).lgamma() + (ns - peak + 1).lgamma()
        result[large] = _transformed(
            ns * ps, spread, 0.5, a, b, 0.92 - 4.2 / b, (2.83 + 5.1 / b) * spread,
            lambda left, k: (
                most[left] - (k + 1).lgamma() - (ns[left] - k + 1).lgamma() + (k - peak[left]) * odds[left]
            ),
            ns,
        )  # fmt: skip
    result = _rg.where(given > 0.5, n - result, result)
    return result.reshape(prob.shape).to(prob.dtype)
