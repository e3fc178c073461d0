"""Activation functions as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad import _core
from rustgrad.nn import functional as F
from rustgrad.nn.modules.module import Module
from rustgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from rustgrad._core import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]  # fmt: skip

_relu = _core._nn_relu


class _Elementwise(Module):
    """A function of each element with some numbers; subclasses name both."""

    _function: Callable[..., Tensor]
    _numbers: tuple[str, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        numbers = (getattr(self, name) for name in self._numbers)
        return type(self)._function(input, *numbers)

    def extra_repr(self) -> str:
        """Return the numbers, and whether the input is overwritten."""
        shown = [f"{name}={getattr(self, name)}" for name in self._numbers if name != "inplace"]
        if getattr(self, "inplace", False):
            shown.append("inplace=True")
        return ", ".join(shown)


class ReLU(Module):
    """``max(0, x)``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        result: Tensor = _relu(input, self.inplace)
        return result

    def extra_repr(self) -> str:
        """Return whether the input is overwritten."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return input.sigmoid()


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return input.tanh()


class _Inplace(_Elementwise):
    """A function without numbers that can overwrite its input."""

    _numbers = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


def _define(name: str, base: type, doc: str, function: Any) -> Any:
    return type(name, (base,), {"__doc__": doc, "__module__": __name__, "_function": staticmethod(function)})


_nn: Any = _core
SiLU = _define("SiLU", _Inplace, "``x * sigmoid(x)``.", _nn._nn_silu)
Mish = _define("Mish", _Inplace, "``x * tanh(softplus(x))``.", _nn._nn_mish)
SELU = _define("SELU", _Inplace, "The scaled exponential linear unit.", _nn._nn_selu)
ReLU6 = _define("ReLU6", _Inplace, "``min(max(0, x), 6)``.", _nn._nn_relu6)
Hardsigmoid = _define("Hardsigmoid", _Inplace, "``relu6(x + 3) / 6``.", _nn._nn_hardsigmoid)
Hardswish = _define("Hardswish", _Inplace, "``x * relu6(x + 3) / 6``.", _nn._nn_hardswish)
LogSigmoid = _define("LogSigmoid", _Elementwise, "``log(sigmoid(x))``.", _nn._nn_logsigmoid)
Softsign = _define("Softsign", _Elementwise, "``x / (1 + abs(x))``.", _nn._nn_softsign)
Tanhshrink = _define("Tanhshrink", _Elementwise, "``x - tanh(x)``.", _nn._nn_tanhshrink)


class LeakyReLU(_Elementwise):
    """``x`` above zero, ``negative_slope * x`` below."""

    _function = staticmethod(_nn._nn_leaky_relu)
    _numbers = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace


class ELU(_Elementwise):
    """``x`` above zero, ``alpha * (exp(x) - 1)`` below."""

    _function = staticmethod(_nn._nn_elu)
    _numbers = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace


class CELU(ELU):
    """``x`` above zero, ``alpha * (exp(x / alpha) - 1)`` below."""

    _function = staticmethod(_nn._nn_celu)


class GELU(Module):
    """``x`` times the normal distribution function of ``x``, or an approximation by tanh."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        result: Tensor = _nn._nn_gelu(input, self.approximate)
        return result

    def extra_repr(self) -> str:
        """Return the approximation."""
        return f"approximate={self.approximate!r}"


class Hardtanh(_Elementwise):
    """``x`` limited to ``[min_val, max_val]``."""

    _function = staticmethod(_nn._nn_hardtanh)
    _numbers = ("min_val", "max_val", "inplace")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace
        if not max_val > min_val:
            message = "max_val must be larger than min_val"
            raise AssertionError(message)


class Softplus(_Elementwise):
    """``log(1 + exp(beta * x)) / beta``, linear above ``threshold``."""

    _function = staticmethod(_nn._nn_softplus)
    _numbers = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold


class Softshrink(_Elementwise):
    """``x`` moved towards zero by ``lambd``."""

    _function = staticmethod(_nn._nn_softshrink)
    _numbers = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """Return the shift."""
        return str(self.lambd)


class Hardshrink(Softshrink):
    """``x`` beyond ``±lambd``, zero between."""

    _function = staticmethod(_nn._nn_hardshrink)


class Threshold(_Elementwise):
    """``x`` above ``threshold``, ``value`` elsewhere."""

    _function = staticmethod(_nn._nn_threshold)
    _numbers = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace


class PReLU(Module):
    """``x`` above zero, a trained multiple of it below."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(
            rustgrad.full((num_parameters,), init, device=device, dtype=dtype or rustgrad.get_default_dtype())
        )

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """The first half along a dimension times the sigmoid of the second."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class _Along(Module):
    """A function along a dimension."""

    _function: Callable[..., Tensor]

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return type(self)._function(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


Softmax = _define("Softmax", _Along, "``exp(x)`` over its sum along a dimension.", F.softmax)
Softmin = _define("Softmin", _Along, "``exp(-x)`` over its sum along a dimension.", F.softmin)


class LogSoftmax(_Along):
    """The logarithm of softmax along a dimension."""

    _function = staticmethod(F.log_softmax)


class Softmax2d(Module):
    """Softmax over the channels at each place of images."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        if input.dim() not in (3, 4):
            message = f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            raise ValueError(message)
        return input.softmax(-3)


class RReLU(Module):
    """Below zero times a slope drawn uniformly while training, else the mean slope."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Return the slopes."""
        shown = f"lower={self.lower}, upper={self.upper}"
        return f"{shown}, inplace=True" if self.inplace else shown


def __getattr__(name: str) -> object:
    # Torch keeps it here.
    if name == "MultiheadAttention":
        from rustgrad.nn.modules.attention import MultiheadAttention

        return MultiheadAttention
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
