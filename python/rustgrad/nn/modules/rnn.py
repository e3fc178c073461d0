"""Recurrent layers and their cells."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import TYPE_CHECKING, Any

import rustgrad
from rustgrad import _core
from rustgrad.nn import functional as F
from rustgrad.nn import init
from rustgrad.nn.modules.module import Module
from rustgrad.nn.parameter import Parameter
from rustgrad.nn.utils.rnn import PackedSequence, _places

if TYPE_CHECKING:
    from rustgrad._core import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_run: Any = _core._nn_recurrent

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _check_sizes(mode: str, sizes: dict[str, Any], dropout: Any, proj_size: int) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:  # type: ignore[operator]
        message = "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        raise ValueError(message)
    if dropout > 0 and sizes["num_layers"] == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers=1",
            stacklevel=4,
        )
    for name, size in sizes.items():
        if not isinstance(size, int):
            message = f"{name} should be of type int, got: {type(size).__name__}"
            raise TypeError(message)
        if size <= 0 and name != "input_size":
            message = f"{name} must be greater than zero"
            raise ValueError(message)
    if proj_size:
        if mode != "LSTM":
            message = "proj_size argument is only supported for LSTM, not RNN or GRU"
            raise ValueError(message)
        if proj_size < 0:
            message = "proj_size should be a positive integer or zero to disable projections"
            raise ValueError(message)
        if proj_size >= sizes["hidden_size"]:
            message = "proj_size has to be smaller than hidden_size"
            raise ValueError(message)


def _run_projected(input: Tensor, hidden: Tensor, output: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Any]:
    """Run an LSTM whose states are projected, given what its gates take from the input, step by step."""
    states, memories = [], []
    for gates in input.unbind(0):
        enter, forget, value, leave = (gates + F.linear(h, hidden)).chunk(4, -1)
        c = forget.sigmoid() * c + enter.sigmoid() * value.tanh()
        h = F.linear(leave.sigmoid() * c.tanh(), output)
        states.append(h)
        memories.append(c)
    return rustgrad.stack(states), rustgrad.stack(memories)


class RNNBase(Module):
    """What the recurrent layers share: several layers, one or two directions, padded or packed input.

    Parameters
    ----------
    mode
        The cell: ``"RNN_TANH"``, ``"RNN_RELU"``, ``"LSTM"`` or ``"GRU"``.
    input_size, hidden_size
        The last sizes of input and state.
    num_layers
        How many layers, each on the output of the one before.
    bias
        Whether there are biases.
    batch_first
        Whether the batch is the first dimension of input and output (not of the states).
    dropout
        The fraction of the outputs of all layers but the last set to zero while training.
    bidirectional
        Whether a second cell runs from the end to the beginning; outputs are put side by side.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            message = f"Unrecognized RNN mode: {mode}"
            raise ValueError(message)
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        _check_sizes(mode, sizes, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        rows = _GATES[mode] * hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                width = proj_size or hidden_size
                columns = input_size if layer == 0 else width * (1 + bidirectional)
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, width)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, Parameter(rustgrad.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(names))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, uniform in ``±1 / sqrt(hidden_size)``."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: it is for the memory of other devices."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default."""
        shown = f"{self.input_size}, {self.hidden_size}" + (f", proj_size={self.proj_size}" if self.proj_size else "")
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown

    def _check_states(self, states: tuple[Tensor, ...], batch: int) -> None:
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        for width, name, state in zip(
            widths, ("hidden[0]", "hidden[1]") if len(states) > 1 else ("hidden",), states, strict=False
        ):
            expected = (self.num_layers * (1 + self.bidirectional), batch, width)
            if tuple(state.shape) != expected:
                label = f"Expected {name} size" if len(states) > 1 else "Expected hidden size"
                message = f"{label} {expected}, got {list(state.shape)}"
                raise RuntimeError(message)

    def _check_dims(self, input: Tensor, states: tuple[Tensor, ...] | None) -> None:
        if input.dim() not in (2, 3):
            name = "LSTM" if self.mode == "LSTM" else "GRU" if self.mode == "GRU" else "RNN"
            message = f"{name}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            raise ValueError(message)
        if states is None or all(state.dim() == input.dim() for state in states):
            return
        kind = "batched" if input.dim() == 3 else "unbatched"
        if len(states) > 1:
            dims = ", ".join(f"{state.dim()}-D" for state in states)
            message = (
                f"For {kind} {input.dim()}-D input, hx and cx should also be {input.dim()}-D but got ({dims}) tensors"
            )
        else:
            message = (
                f"For {kind} {input.dim()}-D input, hx should also be {input.dim()}-D but got "
                f"{states[0].dim()}-D tensor"
            )
        raise RuntimeError(message)

    def _layers(self, input: Tensor, states: tuple[Tensor, ...], packed: Tensor | None) -> tuple[Tensor, Any]:
        """Run all layers on ``(T, B, *)``, or on packed data."""
        if input.shape[-1] != self.input_size:
            message = f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            raise RuntimeError(message)
        plan = None if packed is None else _Unpacking(packed)
        finals: list[tuple[Tensor, ...]] = []
        directions = 1 + self.bidirectional
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                at = layer * directions + direction
                output, final = self._direction(input, tuple(state[at] for state in states), at, bool(direction), plan)
                outputs.append(output)
                finals.append(final)
            input = outputs[0] if directions == 1 else rustgrad.cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                input = F.dropout(input, self.dropout, True)
        return input, tuple(rustgrad.stack(parts) for parts in zip(*finals, strict=True))

    def _direction(
        self, input: Tensor, first: tuple[Tensor, ...], at: int, backwards: bool, plan: _Unpacking | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one direction of one layer; returns all outputs, and the last states."""
        weights = [getattr(self, name) for name in self._all_weights[at]]
        bias, late = None, None
        if self.bias:
            bias, late = weights[2], None
            if self.mode == "GRU":
                late = weights[3]
            else:
                bias = bias + weights[3]
        projected = F.linear(input, weights[0], bias)
        if plan is not None:
            projected = plan.spread(projected, backwards)
        elif backwards:
            projected = projected.flip(0)
        memory = first[1] if len(first) > 1 else None
        if self.proj_size:
            states, memories = _run_projected(projected, weights[1], weights[-1], first[0], first[1])
        else:
            states, memories = _run(self.mode, projected, weights[1], first[0], memory, late)
        every = (states,) if memories is None else (states, memories)
        if plan is not None:
            return plan.gather(states, backwards), tuple(plan.last(one) for one in every)
        final = tuple(one[-1] for one in every)
        return (states.flip(0) if backwards else states), final

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the layers.

        Parameters
        ----------
        input
            ``(T, B, input_size)``, ``(B, T, input_size)`` with ``batch_first``, ``(T, input_size)``, or packed.
        hx
            The first states ``(num_layers * directions, B, hidden_size)``, of an LSTM a pair; zero if absent.

        Returns
        -------
        tuple
            The outputs of the last layer in the form of the input, and the last states in that of ``hx``.
        """
        given = None if hx is None else tuple(hx) if self.mode == "LSTM" else (hx,)
        packed = order = back = None
        if isinstance(input, PackedSequence):
            data, packed, order, back = input
            batch, single = int(packed[0]), False
        else:
            self._check_dims(input, given)
            data = input
            single = data.dim() == 2
            if single:
                data = data.unsqueeze(1)
                given = None if given is None else tuple(state.unsqueeze(1) for state in given)
            elif self.batch_first:
                data = data.transpose(0, 1)
            batch = data.shape[1]
        if given is None:
            count = self.num_layers * (1 + self.bidirectional)
            widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
            given = tuple(data.new_zeros((count, batch, width)) for width in widths)
        else:
            self._check_states(given, batch)
            if order is not None:
                given = tuple(state.index_select(1, order) for state in given)
        output, final = self._layers(data, given, packed)
        if back is not None:
            final = tuple(state.index_select(1, back) for state in final)
        if single:
            output, final = output.squeeze(1), tuple(state.squeeze(1) for state in final)
        elif packed is None and self.batch_first:
            output = output.transpose(0, 1)
        result = output if packed is None else PackedSequence(output, packed, order, back)
        return result, (final if self.mode == "LSTM" else final[0])


class _Unpacking:
    """Where the elements of a packed batch lie in a padded one, forwards and backwards."""

    def __init__(self, batch_sizes: Tensor) -> None:
        steps, sequence, lengths = _places(batch_sizes)
        self.steps, self.batch = batch_sizes.numel(), lengths.numel()
        self.forwards = steps * self.batch + sequence
        self.backwards = (lengths[sequence] - 1 - steps) * self.batch + sequence
        self.ends = (lengths - 1) * self.batch + rustgrad.arange(self.batch)

    def spread(self, data: Tensor, backwards: bool) -> Tensor:
        """Return packed data as ``(T, B, *)``, zeros behind the ends."""
        place = self.backwards if backwards else self.forwards
        wide = data.new_zeros((self.steps * self.batch, data.shape[1])).index_copy(0, place, data)
        return wide.view(self.steps, self.batch, data.shape[1])

    def gather(self, states: Tensor, backwards: bool) -> Tensor:
        """Undo :meth:`spread`."""
        return states.flatten(0, 1).index_select(0, self.backwards if backwards else self.forwards)

    def last(self, states: Tensor) -> Tensor:
        """Return the states at the ends of the sequences."""
        return states.flatten(0, 1).index_select(0, self.ends)


class RNN(RNNBase):
    """``h = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or with relu (Elman, 1990)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        proj_size: int = 0,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            message = f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            raise ValueError(message)
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997); the gates of the weights are i, f, g, o."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014); the gates of the weights are r, z, n."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        proj_size: int = 0,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip


class RNNCellBase(Module):
    """What the cells share: weights, and the checks of input and states."""

    _mode = "RNN_TANH"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        for name, shape in shapes.items():
            setattr(self, name, Parameter(rustgrad.empty(shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            part = Parameter(rustgrad.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, part)
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default."""
        shown = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            shown += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return shown if nonlinearity == "tanh" else f"{shown}, nonlinearity={nonlinearity}"

    def reset_parameters(self) -> None:
        """Draw all weights anew, uniform in ``±1 / sqrt(hidden_size)``."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, input: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        """Make one step with a batch or a single input; returns the next states."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            message = f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            raise ValueError(message)
        for place, state in enumerate(states or ()):
            if state.dim() not in (1, 2):
                label = "hidden" if self._mode != "LSTM" else f"hx[{place}]"
                message = f"{name}: Expected {label} to be 1D or 2D, got {state.dim()}D instead"
                raise ValueError(message)
        single = input.dim() == 1
        wide = input.unsqueeze(0) if single else input
        if states is None:
            count = 2 if self._mode == "LSTM" else 1
            states = (wide.new_zeros((wide.shape[0], self.hidden_size)),) * count
        elif single:
            states = tuple(state.unsqueeze(0) for state in states)
        if wide.shape[1] != self.input_size:
            message = f"input has inconsistent input_size: got {wide.shape[1]} expected {self.input_size}"
            raise RuntimeError(message)
        for place, state in enumerate(states):
            if state.shape[0] != wide.shape[0]:
                message = f"Input batch size {wide.shape[0]} doesn't match hidden{place} batch size {state.shape[0]}"
                raise RuntimeError(message)
            if state.shape[1] != self.hidden_size:
                message = (
                    f"hidden{place} has inconsistent hidden_size: got {state.shape[1]}, expected {self.hidden_size}"
                )
                raise RuntimeError(message)
        bias, late = self.bias_ih, None
        if self.bias:
            late = self.bias_hh if self._mode == "GRU" else None
            bias = bias if self._mode == "GRU" else bias + self.bias_hh
        projected = F.linear(wide, self.weight_ih, bias).unsqueeze(0)
        memory = states[1] if len(states) > 1 else None
        parts = _run(self._mode, projected, self.weight_hh, states[0], memory, late)
        result = tuple(part.squeeze(0) for part in parts if part is not None)
        return tuple(part.squeeze(0) for part in result) if single else result


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state."""
        if self.nonlinearity not in ("tanh", "relu"):
            message = f"Unknown nonlinearity: {self.nonlinearity}"
            raise RuntimeError(message)
        self._mode = f"RNN_{self.nonlinearity.upper()}"
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`."""

    _mode = "LSTM"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return the next state and memory."""
        state, memory = self._step(input, None if hx is None else tuple(hx))
        return state, memory


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`."""

    _mode = "GRU"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the next state."""
        return self._step(input, None if hx is None else (hx,))[0]
