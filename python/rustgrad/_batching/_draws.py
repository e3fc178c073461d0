"""Rules of random functions: other numbers for each slice, or the same for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustgrad import _core
from rustgrad._batching._core import Batched, Forbidden, Level, opened, refuse, rule
from rustgrad._batching._elementwise import written
from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_ALLOWED = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)


def check_draws(level: Level) -> bool:
    """Say whether numbers were drawn that are the same for all slices, if any may be drawn."""
    if _core.equal(level.state, _core.get_rng_state()):
        return False
    if level.randomness == "error":
        raise Forbidden(_NOT_ALLOWED)
    return True


def _drawing(level: Level, draw: Callable[[], Any]) -> Any:
    """Draw for all slices; what was drawn so is no sign that the function must be called slice by slice."""
    if level.randomness == "error":
        raise Forbidden(_NOT_ALLOWED)
    known = _core.equal(level.state, _core.get_rng_state())
    result = draw()
    if known:
        level.state = _core.get_rng_state()
    return result


@rule("normal_", "uniform_", "exponential_", "random_", "bernoulli_", "log_normal_", "cauchy_", "geometric_")
def _filled(level: Level, name: str, target: Any, *args: Any, **kwargs: Any) -> Any:
    value = written(level, target, name)
    if any(isinstance(one, Tensor) for one in (*args, *kwargs.values())):
        refuse(f"{name} with tensors")

    def draw() -> None:
        if level.randomness == "same" and level.size:
            value.copy_(getattr(value[0].clone(), name)(*args, **kwargs))
        else:
            getattr(value, name)(*args, **kwargs)

    _drawing(level, draw)
    return target


@rule("rand_like", "randn_like", "randint_like")
def _drawn_like(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = opened(level, x)
    if level.randomness == "same" and level.size:
        one = _drawing(level, lambda: getattr(_core, name)(value[0], *args, **kwargs))
        return Batched(one.expand(level.size, *one.shape), level)
    return Batched(_drawing(level, lambda: getattr(_core, name)(value, *args, **kwargs)), level)


@rule("bernoulli")
def _bernoulli(level: Level, name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
    if level.randomness == "same" or args or kwargs:
        refuse(name)
    return Batched(_drawing(level, lambda: getattr(_core, name)(x.value)), level)
