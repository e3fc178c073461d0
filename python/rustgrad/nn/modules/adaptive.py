"""Softmax over many classes of very different frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import rustgrad as _rg
from rustgrad.nn import functional as F
from rustgrad.nn.modules.container import ModuleList, Sequential
from rustgrad.nn.modules.linear import Linear
from rustgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustgrad._core import Tensor

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax in clusters (Grave et al., 2017): the frequent classes at once, the others by way of their cluster.

    Parameters
    ----------
    in_features, n_classes
        Sizes of the input and of the output.
    cutoffs
        Where clusters begin, the classes being sorted by falling frequency.
    div_value
        By how much smaller each cluster's hidden layer is than that of the cluster before.
    head_bias
        Whether the first layer has a bias.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = list(cutoffs)
        if not given:
            message = "cutoffs should be a sequence of length larger than 0"
            raise ValueError(message)
        if (
            given != sorted(set(given))
            or given[0] <= 0
            or given[-1] > n_classes - 1
            or any(int(cutoff) != cutoff for cutoff in given)
        ):
            message = (
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
            raise ValueError(message)
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = [*given, n_classes]
        self.shortlist_size, self.n_clusters = self.cutoffs[0], len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden, size = int(in_features // div_value ** (i + 1)), self.cutoffs[i + 1] - self.cutoffs[i]
            layers = Linear(in_features, hidden, bias=False, **made), Linear(hidden, size, bias=False, **made)
            self.tail.append(Sequential(*layers))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    @staticmethod
    def _check(input: Tensor, target: Tensor) -> None:
        if target.dim() == 1:
            if input.size(0) != target.size(0):
                message = "Input and target should have the same size in the batch dimension."
                raise RuntimeError(message)
            wanted = 2
        elif target.dim() == 0:
            wanted = 1
        else:
            message = "0D or 1D target tensor expected, multi-target not supported"
            raise RuntimeError(message)
        if input.dim() != wanted:
            found = f"{wanted}D input tensors, but found inputs with size {input.size()}"
            message = f"{wanted - 1}D target tensor expects {found}"
            raise RuntimeError(message)

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """Return the log-probabilities of the targets, and the mean of their negatives."""
        self._check(input_, target_)
        single = target_.dim() == 0
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        inside = (target >= 0) & (target < self.n_classes)
        if not bool(inside.all()):
            message = (
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
            raise RuntimeError(message)
        # The class or the cluster, as the head counts them, and within the cluster.
        place = target
        output = input.new_zeros(target.shape)
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.numel():
                continue
            place = place.index_fill(0, rows, self.shortlist_size + i)
            log = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
            local = log.gather(1, (target.index_select(0, rows) - low).unsqueeze(1)).squeeze(1)
            output = output.index_add(0, rows, local.to(output.dtype))
        head = F.log_softmax(self.head(input), dim=1)
        output = output + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if single else output, loss)

    def _all(self, input: Tensor, head: Tensor) -> Tensor:
        """Return the log-probabilities of all classes, given what the head makes of the input."""
        logs = F.log_softmax(head, dim=1)
        parts = [logs[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            of_cluster = logs[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(self.tail[i](input), dim=1) + of_cluster)
        return _rg.cat(parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log-probabilities of all classes."""
        result: Tensor = self._all(input, self.head(input))
        return result

    def predict(self, input: Tensor) -> Tensor:
        """Return the most likely classes."""
        head = self.head(input)
        best: Tensor = head.argmax(dim=1)
        unsure = best >= self.shortlist_size
        if not bool(unsure.any()):
            return best
        rows = unsure.nonzero().squeeze(1)
        several = self._all(input.index_select(0, rows), head.index_select(0, rows)).argmax(dim=1)
        return best.index_copy(0, rows, several)
