"""The state of the random generator that is used where none is given."""

from __future__ import annotations

from contextlib import contextmanager

from rustgrad._core import default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

_ = default_generator


@contextmanager
def fork_rng(
    devices: Iterable[object] | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """Put the generator's state back at the end.

    Parameters
    ----------
    devices
        Devices other than the CPU; there are none.
    enabled
        Whether to do anything.
    device_type
        Accepted; the CPU's state is the only one.

    Raises
    ------
    RuntimeError
        If ``devices`` names any.
    """
    if not enabled or device_type == "meta":
        yield
        return
    if devices is not None and list(devices):
        message = f"{_caller}: there is no device but the CPU, whose state is always kept; leave out {_devices_kw}="
        raise RuntimeError(message)
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
