"""Sequences of different lengths: padded to one tensor, or packed step by step."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import Self

import rustgrad as _rg
from rustgrad._core import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences step by step: the first elements of all, then the second ones of those that have them, and so on.

    Made by :func:`pack_padded_sequence` and :func:`pack_sequence`.

    Attributes
    ----------
    data
        ``(total, *)``: all elements.
    batch_sizes
        How many sequences have each step.
    sorted_indices, unsorted_indices
        How the sequences were sorted by length, and the way back; ``None`` if they came sorted.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        """Make one of its parts; what leads back is computed if it is not given."""
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            message = "batch_sizes is missing"
            raise TypeError(message)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return it with the data in another dtype or on another device."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replace(data=data)

    def double(self) -> PackedSequence:
        """Return it with data of float64."""
        return self.to(_rg.float64)

    def float(self) -> PackedSequence:
        """Return it with data of float32."""
        return self.to(_rg.float32)

    def cpu(self) -> PackedSequence:
        """Return it on the CPU, where it is."""
        return self

    @property
    def is_cuda(self) -> bool:
        """Whether it is on another device than the CPU: no."""
        return False

    def is_pinned(self) -> bool:
        """Say whether the memory is pinned: no."""
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return the permutation that undoes another."""
    if permutation is None:
        return None
    steps = _rg.arange(permutation.numel(), dtype=permutation.dtype)
    return _rg.empty_like(permutation).scatter_(0, permutation, steps)


def _places(batch_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return step and sequence of each element in packed order, and the lengths of the sequences."""
    steps = _rg.arange(batch_sizes.numel()).repeat_interleave(batch_sizes)
    starts = batch_sizes.cumsum(0) - batch_sizes
    sequence = _rg.arange(steps.numel()) - starts[steps]
    most = int(batch_sizes[0])
    lengths = (batch_sizes.unsqueeze(1) > _rg.arange(most)).sum(0)
    return steps, sequence, lengths


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch ``(T, B, *)``, or ``(B, T, *)``, of sequences of the given lengths.

    Raises
    ------
    RuntimeError
        If a length is not positive, there are not as many as sequences, or they are not sorted though
        ``enforce_sorted`` says so.
    """
    counts = lengths if isinstance(lengths, Tensor) else _rg.as_tensor(lengths, dtype=_rg.int64)
    if enforce_sorted:
        order = None
    else:
        counts, order = counts.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    if input.numel() == 0:
        message = "Cannot pack empty tensors."
        raise RuntimeError(message)
    if counts.dim() != 1 or counts.numel() != input.shape[1]:
        message = (
            f"Expected `len(lengths)` to be equal to batch_size, but got {counts.numel()} (batch_size={input.shape[1]})"
        )
        raise RuntimeError(message)
    numbers = counts.tolist()
    if numbers[-1] <= 0 or min(numbers) <= 0:
        message = "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        raise RuntimeError(message)
    if any(a < b for a, b in itertools.pairwise(numbers)):
        message = (
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
        raise RuntimeError(message)
    if numbers[0] > input.shape[0]:
        message = f"Expected lengths to be at most the padded size {input.shape[0]}, but got {numbers[0]}"
        raise RuntimeError(message)
    sizes = (counts > _rg.arange(numbers[0]).unsqueeze(1)).sum(1)
    steps, sequence, _ = _places(sizes)
    return PackedSequence(input[steps, sequence], sizes, order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return a packed batch as a padded tensor, and the lengths; the inverse of :func:`pack_padded_sequence`.

    Raises
    ------
    ValueError
        If ``total_length`` is shorter than a sequence.
    """
    data, sizes, _, back = sequence
    longest = sizes.numel()
    if total_length is not None:
        if total_length < longest:
            message = (
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
            raise ValueError(message)
        longest = total_length
    steps, place, lengths = _places(sizes)
    shape = (longest, int(sizes[0]), *data.shape[1:])
    padded = data.new_full(shape, padding_value).index_put((steps, place), data)
    if back is not None:
        padded, lengths = padded.index_select(1, back), lengths[back]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Tensor | list[Tensor] | tuple[Tensor, ...],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Return tensors ``(L, *)`` of different lengths in one, ``(T, B, *)`` or ``(B, T, *)``.

    Raises
    ------
    ValueError
        If the side is neither left nor right.
    """
    if padding_side not in ("left", "right"):
        message = f"padding_side: invalid choice '{padding_side}', it must be 'left' or 'right'"
        raise ValueError(message)
    if isinstance(sequences, Tensor):
        sequences = sequences.unbind(0)
    longest = max(one.shape[0] for one in sequences)
    rows = []
    for one in sequences:
        missing = longest - one.shape[0]
        if missing:
            fill = one.new_full((missing, *one.shape[1:]), padding_value)
            one = _rg.cat([one, fill] if padding_side == "right" else [fill, one])
        rows.append(one)
    return _rg.stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Return the sequences of a padded batch, each in its length."""
    rows = padded_sequences.unbind(0 if batch_first else 1)
    return [row[: int(length)] for row, length in zip(rows, lengths.tolist(), strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack tensors ``(L, *)`` of different lengths."""
    lengths = _rg.as_tensor([one.shape[0] for one in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences of a packed batch."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
