"""What a graph can tell of itself: numbers that are not finite, and memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from rustgrad import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Range:
    """What the elements of a tensor were like."""

    shape: tuple[int, ...]
    dtype: str
    finite: tuple[float, float] | None
    """The least and the largest finite element; None if there is none."""
    nan: int
    """How many elements are NaN."""
    inf: int
    """How many are infinite."""

    def __str__(self) -> str:
        """Describe shape, dtype, range and what is not finite."""
        within = "no finite element" if self.finite is None else f"{self.finite[0]:g} to {self.finite[1]:g}"
        counts = "".join(f", {n} {name}" for n, name in ((self.nan, "NaN"), (self.inf, "infinite")) if n)
        return f"{list(self.shape)} {self.dtype}, {within}{counts}"


@dataclass(frozen=True)
class NonFinite:
    """The first operation whose inputs were finite and whose output was not."""

    name: str
    """The class name of its node, such as ``LogBackward0``."""
    file: str | None
    line: int | None
    backward: bool
    """Whether it was its gradient that was not finite."""
    inputs: tuple[Range, ...]
    output: Range

    def __str__(self) -> str:
        """Describe the operation, its line, and the ranges of what went in and came out."""
        what = "the gradient of " if self.backward else ""
        lines = [f"{what}{self.name} at {self.file}:{self.line} gave {self.output}"]
        lines += [f"  input {i}: {given}" for i, given in enumerate(self.inputs)]
        return "\n".join(lines)


@dataclass
class NonFiniteReport:
    """What :class:`find_nonfinite` found; ``first`` is None if all was finite."""

    first: NonFinite | None = field(default=None)

    def __bool__(self) -> bool:
        """Whether something was found."""
        return self.first is not None

    def __str__(self) -> str:
        """Describe the operation, or say that all was finite."""
        return "all recorded operations were finite" if self.first is None else str(self.first)


class find_nonfinite:
    """Find the first recorded operation with finite inputs and a NaN or infinity in its output.

    Backward passes inside are looked at too. Everything inside runs on one thread and is looked at
    element by element, so it is slow: for finding errors only.

    >>> import rustgrad as torch
    >>> x = torch.tensor([1.0, 0.0], requires_grad=True)
    >>> with torch.autograd.find_nonfinite() as report:
    ...     y = (x.log() * x).sum()
    >>> report.first.name, report.first.output.inf
    ('LogBackward0', 1)

    Parameters
    ----------
    raise_error
        Raise a FloatingPointError at the end of the block if something was found.
    """

    def __init__(self, *, raise_error: bool = False) -> None:
        self.raise_error = raise_error
        self._reports: list[NonFiniteReport] = []

    def __enter__(self) -> NonFiniteReport:
        report = NonFiniteReport()
        self._reports.append(report)
        self._outer = _core._watch_nonfinite(True)
        return report

    def __exit__(self, kind: object, *exception: object) -> None:
        _core._watch_nonfinite(self._outer)
        found = _core._found_nonfinite()
        report = self._reports.pop()
        if found is not None:
            name, place, backward, inputs, output = found
            file, line = place or (None, None)
            report.first = NonFinite(
                name, file, line, backward, tuple(_range(parts) for parts in inputs), _range(output)
            )
            if self.raise_error and kind is None:
                raise FloatingPointError(str(report.first))


def _range(parts: Any) -> Range:
    shape, dtype, finite, nan, inf = parts
    return Range(tuple(shape), dtype, finite, nan, inf)


@dataclass(frozen=True)
class LineMemory:
    """What the nodes recorded at one line hold."""

    file: str | None
    line: int | None
    nodes: int
    """Live nodes."""
    tensors: int
    """Tensors they saved."""
    bytes: int
    """Bytes of buffers these keep alive, each buffer counted once."""


@dataclass(frozen=True)
class GraphMemory:
    """All live graphs, by line of the program that recorded them, the most bytes first."""

    lines: tuple[LineMemory, ...]

    @property
    def nodes(self) -> int:
        """All live nodes."""
        return sum(line.nodes for line in self.lines)

    @property
    def bytes(self) -> int:
        """All bytes held by saved tensors."""
        return sum(line.bytes for line in self.lines)

    def __str__(self) -> str:
        """Give a table of lines."""
        rows = [f"{self.nodes} nodes hold {self.bytes} bytes"]
        rows += [f"{row.bytes:>12}  {row.nodes:>8} nodes  {row.file}:{row.line}" for row in self.lines]
        return "\n".join(rows)


def memory() -> GraphMemory:
    """List live nodes and the bytes their saved tensors hold, by line of the program.

    A graph that is kept by mistake (a loss appended to a list with its history, say) shows up as
    the line that recorded it.
    """
    return GraphMemory(
        tuple(
            LineMemory(file, line, nodes, tensors, size)
            for place, nodes, tensors, size in _core._graph_memory()
            for file, line in [place or (None, None)]
        )
    )
