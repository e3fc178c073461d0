"""The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import rustgrad as _rg
from rustgrad.optim._settings import settings
from rustgrad.optim.optimizer import Closure, Optimizer, Params

if TYPE_CHECKING:
    from rustgrad._core import Tensor


class _Point(NamedTuple):
    """A place on the line: how far along it is, the loss, its gradient, and its slope along the line."""

    at: float
    loss: float
    grad: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """Return where the cubic through two points and their slopes is least, kept between bounds.

    Formula source: Nocedal & Wright, *Numerical Optimization*, 2nd edition, equation 3.59.
    """
    if a.at > b.at:
        a, b = b, a
    bend = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.at - b.at)
    square = bend * bend - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    place = b.at - (b.at - a.at) * (b.slope + root - bend) / (b.slope - a.slope + 2 * root)
    return min(max(place, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], _Point],
    start: _Point,
    first: float,
    reach: float,
    most: int,
    tolerance: float = 1e-9,
    decrease: float = 1e-4,
    flatten: float = 0.9,
) -> tuple[_Point, int]:
    """Find a point of enough decrease and small slope; returns it and the number of evaluations.

    Formula source: Nocedal & Wright, algorithms 3.5 and 3.6; ``reach`` is the largest element of the direction.
    """

    def rises(point: _Point) -> bool:
        return point.loss > start.loss + decrease * point.at * start.slope

    def is_flat(point: _Point) -> bool:
        return abs(point.slope) <= -flatten * start.slope

    before, point = start, evaluate(first)
    evaluations, rounds = 1, 0
    bracket: list[_Point] = []
    done = False
    while rounds < most:
        if rises(point) or (rounds > 1 and point.loss >= before.loss):
            bracket = [before, point]
            break
        if is_flat(point):
            bracket, done = [point], True
            break
        if point.slope >= 0:
            bracket = [before, point]
            break
        low, high = point.at + 0.01 * (point.at - before.at), point.at * 10
        before, point = point, evaluate(_cubic_minimum(before, point, low, high))
        evaluations, rounds = evaluations + 1, rounds + 1
    else:
        bracket = [start, point]
    bracket.sort(key=lambda end: end.loss)
    slow = False
    while not done and rounds < most:
        best, other = bracket
        left, right = sorted((best.at, other.at))
        if (right - left) * reach < tolerance:
            break
        place = _cubic_minimum(best, other, left, right)
        # Close to an end twice running, or beyond it: a tenth away from it instead.
        margin = 0.1 * (right - left)
        near = min(right - place, place - left) < margin
        if near and (slow or place >= right or place <= left):
            place = right - margin if abs(place - right) < abs(place - left) else left + margin
            near = False
        slow = near
        point = evaluate(place)
        evaluations, rounds = evaluations + 1, rounds + 1
        if rises(point) or point.loss >= best.loss:
            bracket = sorted((best, point), key=lambda end: end.loss)
        else:
            done = is_flat(point)
            if not done and point.slope * (other.at - best.at) >= 0:
                other = best
            bracket = [point, other]
    return bracket[0], evaluations


class LBFGS(Optimizer):
    """L-BFGS, with fixed steps or with a line search (``line_search_fn="strong_wolfe"``).

    ``step`` needs a closure that computes loss and gradients anew; it is called several times. There can be one group
    of parameters only.

    Formula source: Nocedal & Wright, *Numerical Optimization*, 2nd edition, algorithm 7.4.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, settings(self, locals()))
        if len(self.param_groups) != 1:
            message = "LBFGS doesn't support per-parameter options (parameter groups)"
            raise ValueError(message)
        self._params = self.param_groups[0]["params"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        """Return all gradients in one vector; the absent ones are zero."""
        parts = [
            parameter.new_zeros(parameter.numel()) if parameter.grad is None else parameter.grad.reshape(-1)
            for parameter in self._params
        ]
        whole = _rg.cat(parts)
        return -whole if self.param_groups[0]["maximize"] else whole

    def _advance(self, size: float, direction: Tensor) -> None:
        parts = direction.split([parameter.numel() for parameter in self._params])
        for parameter, part in zip(self._params, parts, strict=True):
            parameter.add_(part.view(parameter.shape), alpha=size)

    def _direction(self, grad: Tensor, state: dict[str, Any]) -> Tensor:
        """Return the product of the estimated inverse Hessian and the negated gradient."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        change, moved = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = change.dot(moved)
        kept = (state["old_dirs"], state["old_stps"], state["ro"])
        if curvature > 1e-10:
            if len(state["old_dirs"]) == self.param_groups[0]["history_size"]:
                for entries in kept:
                    entries.pop(0)
            for entries, entry in zip(kept, (change, moved, 1.0 / curvature), strict=True):
                entries.append(entry)
            state["H_diag"] = curvature / change.dot(change)
        history = list(zip(*kept, strict=True))
        direction, factors = grad.neg(), []
        for change, moved, inverse in reversed(history):
            factors.append(moved.dot(direction) * inverse)
            direction.sub_(change * factors[-1])
        direction.mul_(state["H_diag"])
        for (change, moved, inverse), factor in zip(history, reversed(factors), strict=True):
            direction.add_(moved * (factor - change.dot(direction) * inverse))
        return direction

    def step(self, closure: Closure | None = None) -> Any:
        """Make up to ``max_iter`` iterations; returns the first loss.

        Raises
        ------
        TypeError
            Without a closure.
        RuntimeError
            If the line search is not known.
        """
        if closure is None:
            message = "LBFGS.step() missing 1 required positional argument: 'closure'"
            raise TypeError(message)
        with _rg.no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Closure) -> Any:
        group = self.param_groups[0]
        sign = -1.0 if group["maximize"] else 1.0

        def measure() -> Any:
            loss = self._loss(closure)
            return loss, sign * (loss.item() if hasattr(loss, "item") else float(loss))

        first_loss, loss = measure()
        if not self._params:
            return first_loss
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._gradient()
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss
        for turn in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(grad, state)
            previous = loss
            state.update(d=direction, prev_flat_grad=grad.clone(), prev_loss=loss)
            size = float(group["lr"])
            if state["n_iter"] == 1:
                size *= min(1.0, 1.0 / grad.abs().sum().item())
            state["t"] = size
            slope = grad.dot(direction).item()
            if slope > -group["tolerance_change"]:
                break
            used = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    message = "only 'strong_wolfe' is supported"
                    raise RuntimeError(message)
                begin = [parameter.clone() for parameter in self._params]

                def evaluate(size: float, direction: Tensor = direction, begin: list[Tensor] = begin) -> _Point:
                    self._advance(size, direction)
                    loss = measure()[1]
                    grad = self._gradient()
                    for parameter, value in zip(self._params, begin, strict=True):
                        parameter.copy_(value)
                    return _Point(size, loss, grad, grad.dot(direction).item())

                start = _Point(0.0, loss, grad, slope)
                reach = direction.abs().max().item()
                point, used = _strong_wolfe(evaluate, start, size, reach, group["max_eval"] - evaluations)
                size, loss, grad = point.at, point.loss, point.grad
                state["t"] = size
                self._advance(size, direction)
            else:
                self._advance(size, direction)
                if turn != group["max_iter"]:
                    # The last place need not be measured: its step is not judged any more.
                    loss, used = measure()[1], 1
                    grad = self._gradient()
            evaluations += used
            state["func_evals"] += used
            if (
                turn == group["max_iter"]
                or evaluations >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or (direction * size).abs().max() <= group["tolerance_change"]
                or abs(loss - previous) < group["tolerance_change"]
            ):
                break
        return first_loss
