"""Loss scaling, and the switch for computing in half precision, of which there is none here to switch on."""

from __future__ import annotations

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any

import rustgrad as _rg
from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from rustgrad.optim.optimizer import Optimizer

__all__ = ["GradScaler", "autocast", "is_autocast_available"]


def is_autocast_available(device_type: str) -> bool:
    """Return False: there are no half precision dtypes."""
    return False


class autocast:
    """A block, or a decorator, that computes as ever.

    With ``enabled=False`` it changes nothing, as in torch; on a GPU, which is absent, it switches itself off with a
    warning, as in torch without one.

    Raises
    ------
    NotImplementedError
        If it is to be enabled on the CPU.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            message = f"Expected `device_type` of type `str`, got: `{type(device_type)}`"
            raise ValueError(message)
        self.device, self.fast_dtype = device_type, dtype
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available: autocast is disabled", UserWarning, stacklevel=2)
        elif enabled:
            message = f"autocast on {device_type!r}: there are no half precision dtypes; pass enabled=False"
            raise NotImplementedError(message)
        self._enabled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs in the block."""

        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapped


class GradScaler:
    """Scales losses up, gradients down again, and leaves out steps whose gradients are not finite.

    Parameters
    ----------
    device
        Where; on ``"cuda"``, which is absent, the scaler switches itself off with a warning, as in torch.
    init_scale, growth_factor, backoff_factor, growth_interval
        The first scale; by what it grows after so many finite steps, and shrinks after one that was not.
    enabled
        Whether it does anything.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device, self._enabled = device, enabled
        if enabled and device == "cuda":
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False
        if growth_factor <= 1.0:
            message = "The growth factor must be > 1.0."
            raise AssertionError(message)
        if backoff_factor >= 1.0:
            message = "The backoff factor must be < 1.0."
            raise AssertionError(message)
        self._init_scale, self._growth, self._backoff, self._interval = (
            init_scale, growth_factor, backoff_factor, growth_interval,
        )  # fmt: skip
        self._scale: Tensor | None = None
        self._tracker = 0
        # Of each optimiser since the last update: whether its gradients are finite, and whether it has stepped.
        self._found: dict[int, bool] = {}
        self._stepped: set[int] = set()

    def _present(self, what: str) -> Tensor:
        if self._scale is None:
            message = (
                f"Attempted {what} but _scale is None.  This may indicate your script did not use scaler.scale(loss "
                "or outputs) earlier in the iteration."
            )
            raise AssertionError(message)
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """Return a tensor, or the tensors of a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if self._scale is None:
            self._scale = _rg.tensor(self._init_scale, dtype=_rg.float32)
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(part) for part in outputs)
        message = "outputs must be a Tensor or an iterable of Tensors"
        raise ValueError(message)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the optimiser's gradients by the scale, once between updates."""
        if not self._enabled:
            return
        scale = self._present("unscale_")
        key = id(optimizer)
        if key in self._found:
            when = "after step()" if key in self._stepped else "on this optimizer since the last update()"
            message = f"unscale_() has already been called {when}."
            raise RuntimeError(message)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not gradients:
            return
        with _rg.no_grad():
            inverse = scale.double().reciprocal().float()
            for gradient in gradients:
                gradient.mul_(inverse)
            self._found[key] = all(bool(gradient.isfinite().all()) for gradient in gradients)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Take a step of the optimiser, if all its gradients are finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            message = "Closure use is not currently supported if GradScaler is enabled."
            raise RuntimeError(message)
        self._present("step")
        key = id(optimizer)
        if key in self._stepped:
            message = "step() has already been called since the last update()."
            raise RuntimeError(message)
        if key not in self._found:
            self.unscale_(optimizer)
        if key not in self._found:
            message = "No inf checks were recorded for this optimizer."
            raise AssertionError(message)
        self._stepped.add(key)
        return optimizer.step(*args, **kwargs) if self._found[key] else None

    def update(self, new_scale: Any = None) -> None:
        """Adapt the scale to whether the gradients were finite, or set it."""
        if not self._enabled:
            return
        scale = self._present("update")
        if new_scale is not None:
            scale.fill_(float(new_scale))
        elif not self._found:
            message = "No inf checks were recorded prior to update."
            raise AssertionError(message)
        elif not all(self._found.values()):
            scale.mul_(self._backoff)
            self._tracker = 0
        else:
            self._tracker += 1
            if self._tracker == self._interval:
                grown = float(scale) * self._growth
                if math.isfinite(grown):
                    scale.fill_(grown)
                self._tracker = 0
        self._found, self._stepped = {}, set()

    def get_scale(self) -> float:
        """Return the scale, one if the scaler does nothing."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale)

    def is_enabled(self) -> bool:
        """Say whether the scaler does anything."""
        return self._enabled

    def get_growth_factor(self) -> float:
        """Return by what the scale grows."""
        return self._growth

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by what the scale grows."""
        self._growth = new_factor

    def get_backoff_factor(self) -> float:
        """Return by what the scale shrinks."""
        return self._backoff

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by what the scale shrinks."""
        self._backoff = new_factor

    def get_growth_interval(self) -> int:
        """Return after how many finite steps the scale grows."""
        return self._interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many finite steps the scale grows."""
        self._interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """Return the state; nothing if the scaler does nothing."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth,
            "backoff_factor": self._backoff,
            "growth_interval": self._interval,
            "_growth_tracker": self._tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        if not self._enabled:
            return
        if not state_dict:
            message = (
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
            raise RuntimeError(message)
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth, self._backoff = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._interval, self._tracker = state_dict["growth_interval"], state_dict["_growth_tracker"]
