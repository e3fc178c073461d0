"""Gradients held against finite differences: :func:`gradcheck` and :func:`gradgradcheck`."""

from __future__ import annotations

import warnings
from itertools import product

from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad.autograd._batched import batched
from rustgrad.autograd.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Tensors = tuple[Tensor, ...]
    Columns = list[tuple[Tensor, ...]]

__all__ = [
    "GradcheckError",
    "get_analytical_jacobian",
    "get_numerical_jacobian",
    "get_numerical_jacobian_wrt_specific_input",
    "gradcheck",
    "gradgradcheck",
]


class GradcheckError(RuntimeError):
    """What :func:`gradcheck` and :func:`gradgradcheck` raise when gradients are wrong."""


_NONDETERMINISTIC = (
    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
    "different values, although analytical gradient matches numerical gradient."
    "The tolerance for nondeterminism was {tolerance}.\n\n\n"
    "NOTE: where the function is known to be non-deterministic, pass that tolerance as `nondet_tol=<tol>`.\n"
)
_FAST_ONLY = (
    "Fast gradcheck failed but element-wise differences are small. This means that the test might've passed in "
    "slow_mode!\n\nPass `fast_mode=False` to compare element by element."
)
_UNDEFINED = 'Please look at "Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _differentiable(outputs: Any) -> Tensors:
    return tuple(output for output in _tuple(outputs) if output.requires_grad)


def _wanted(inputs: Sequence[Any]) -> list[tuple[int, Tensor]]:
    """Give the inputs that require a gradient, each with its position."""
    return [(i, one) for i, one in enumerate(inputs) if isinstance(one, Tensor) and one.requires_grad]


def _close(a: Tensor, b: Tensor, rtol: float, atol: float) -> bool:
    dtype = _core.promote_types(a.dtype, b.dtype)
    return bool(_core.allclose(a.to(dtype), b.to(dtype), rtol, atol))


# Numerically: differences of values.


def _difference(
    func: Callable[..., Any], inputs: Sequence[Any], place: Tensor, step: Tensor | float, eps: float, where: str
) -> Tensors:
    """Change ``place``, which shares memory with an input, by ``step`` to both sides; flat central differences."""

    def values() -> Tensors:
        return tuple(output.clone() for output in _tuple(func(*inputs)))

    before = place.clone()
    place.copy_(before - step)
    below = values()
    place.copy_(before + step)
    above = values()
    place.copy_(before)
    columns = []
    for a, b in zip(below, above, strict=False):
        for what, first, second in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
            if first != second:
                message = (
                    f"Expected `func` to return outputs with the same {what} when inputs are perturbed {where}by "
                    f"{eps}, but got: {what}s {first} and {second}."
                )
                raise AssertionError(message)
        columns.append(((b - a) / (2 * eps)).detach().reshape(-1))
    return tuple(columns)


def get_numerical_jacobian_wrt_specific_input(
    fn: Callable[..., Any],
    input_idx: int,
    inputs: Sequence[Any],
    outputs: Sequence[Tensor],
    eps: float,
    input: Tensor | None = None,
    is_forward_ad: bool = False,
) -> Tensors:
    """Give for each output the matrix of its derivatives: a row for each element of one input."""
    target = inputs[input_idx] if input is None else input
    if not target.requires_grad:
        message = "Expected input to have requires_grad=True"
        raise AssertionError(message)
    matrices = tuple(
        _core.zeros(target.numel(), output.numel(), dtype=output.dtype if output.is_floating_point() else target.dtype)
        for output in outputs
    )
    shared = target.data  # has a version of its own, so that what `fn` saved is not refused
    for row, index in enumerate(product(*map(range, target.shape))):
        columns = _difference(fn, inputs, shared[index], eps, eps, f"on index {index} ")
        for matrix, column in zip(matrices, columns, strict=False):
            matrix[row] = column
    return matrices


def _numerical(
    func: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Tensor], eps: float, targets: Any = None
) -> Columns:
    """Give the matrices of :func:`get_numerical_jacobian_wrt_specific_input` for each input."""
    return [
        get_numerical_jacobian_wrt_specific_input(func, i, inputs, outputs, eps, one)
        for i, one in _wanted(inputs if targets is None else targets)
    ]


def _numerical_along(
    func: Callable[..., Any], inputs: Sequence[Any], position: int, direction: Tensor, eps: float
) -> Tensors:
    """Give for each output its derivative along a direction of one input."""
    place = inputs[position].data
    return _difference(func, inputs, place, direction.reshape(place.shape) * eps, eps, "")


# Analytically: backward passes.


def _analytical(inputs: Sequence[Any], output: Tensor) -> list[Tensor]:
    """Give a matrix for each input: a row for each of its elements, a column for each element of ``output``."""
    targets = [one for _, one in _wanted(inputs)]
    rows = _core._jacobian_rows(output.clone(), targets, False)
    return [
        _core.zeros(one.numel(), output.numel(), dtype=one.dtype)
        if stacked is None
        else stacked.reshape(output.numel(), one.numel()).t()
        for (stacked, _, _), one in zip(rows, targets, strict=True)
    ]


def _analytical_along(inputs: Sequence[Any], output: Tensor, weights: Tensor) -> list[Tensor]:
    """Give the gradient of a weighted sum of the elements of ``output``, flat, for each input."""
    targets = [one for _, one in _wanted(inputs)]
    grads = _core._grad([output.clone()], targets, [weights.reshape(output.shape)], True, False, True)
    return [
        _core.zeros(one.numel(), dtype=one.dtype) if grad is None else grad.reshape(-1)
        for grad, one in zip(grads, targets, strict=True)
    ]


def _twice(compute: Callable[[], list[Tensor]], tolerance: float) -> list[Tensor]:
    """Run a backward computation two times and refuse results that differ."""
    first, second = compute(), compute()
    if _apart(first, second, tolerance):
        raise GradcheckError(_NONDETERMINISTIC.format(tolerance=tolerance))
    return first


def _apart(first: list[Tensor], second: list[Tensor], tolerance: float) -> bool:
    return any(a.numel() != 0 and bool((a - b).abs().max() > tolerance) for a, b in zip(first, second, strict=True))


def _mismatch(output: int, input: int, numerical: object, analytical: object) -> str:
    return (
        f"Jacobian mismatch for output {output:d} with respect to input {input:d},\n"
        f"numerical:{numerical}\nanalytical:{analytical}\n"
    )


class _Check:
    """One call of the function under test, and what is held against it."""

    def __init__(
        self, func: Callable[..., Any], inputs: tuple[Any, ...], eps: float, rtol: float, atol: float, nondet_tol: float
    ) -> None:
        self.func, self.inputs = func, inputs
        self.eps, self.rtol, self.atol, self.nondet_tol = eps, rtol, atol, nondet_tol
        self.returned = func(*inputs)
        self.outputs = _differentiable(self.returned)

    def _places(self) -> list[int]:
        """Give the positions of the differentiable outputs among all."""
        return [i for i, output in enumerate(_tuple(self.returned)) if output.requires_grad]

    def element_by_element(self) -> None:
        """Compare whole Jacobians."""
        everything = _tuple(self.returned)
        numerical = _numerical(self.func, self.inputs, everything, self.eps)
        if not self.outputs:
            if any(bool(matrix.ne(0).any()) for matrices in numerical for matrix in matrices):
                message = "Numerical gradient for function expected to be zero"
                raise GradcheckError(message)
            return
        for i, (place, output) in enumerate(zip(self._places(), self.outputs, strict=True)):
            analytical = _twice(lambda output=output: _analytical(self.inputs, output), self.nondet_tol)  # type: ignore[misc]
            for j, (mine, theirs) in enumerate(zip(analytical, numerical, strict=True)):
                if not _close(mine, theirs[place], self.rtol, self.atol):
                    raise GradcheckError(_mismatch(i, j, theirs[place], mine))

    def along_random_directions(self) -> None:
        """Compare one number for each pair of input and output: a random combination of the Jacobian's entries."""
        generator = _core.Generator()  # its own, so that the user's random numbers stay the same

        def direction(like: Tensor) -> Tensor:
            drawn = _core.rand(like.numel(), generator=generator).to(like.dtype)
            return drawn / drawn.norm()

        wanted = _wanted(self.inputs)
        sides = [direction(one) for _, one in wanted]
        weights = [direction(output) for output in self.outputs]
        columns = [
            _numerical_along(self.func, self.inputs, position, side, self.eps)
            for (position, _), side in zip(wanted, sides, strict=True)
        ]
        if not self.outputs:
            if any(c.numel() != 0 and bool(c.abs().max() > self.nondet_tol) for column in columns for c in column):
                message = "Numerical gradient for function expected to be zero"
                raise GradcheckError(message)
            return
        analytical = [
            _twice(lambda output=output, v=v: _analytical_along(self.inputs, output, v), self.nondet_tol)  # type: ignore[misc]
            for output, v in zip(self.outputs, weights, strict=True)
        ]
        for j, (side, column) in enumerate(zip(sides, columns, strict=True)):
            for i, (place, v) in enumerate(zip(self._places(), weights, strict=True)):
                theirs = (v * column[place]).sum()
                mine = (analytical[i][j] * side).sum()
                # An error of `atol` in each entry adds up to this in the combination.
                if not _close(mine, theirs, self.rtol, self.atol * float(side.sum()) * float(v.sum())):
                    raise GradcheckError(_mismatch(i, j, theirs, mine) + self._in_full(place, i, j))

    def _in_full(self, place: int, i: int, j: int) -> str:
        """Tell what the comparison element by element sees."""
        numerical = _numerical(self.func, self.inputs, _tuple(self.returned), self.eps)[j][place]
        analytical = _analytical(self.inputs, self.outputs[i])[j]
        text = (
            "\nThe above quantities relating the numerical and analytical jacobians are computed \n"
            "in fast mode. See: https://github.com/pytorch/pytorch/issues/53876 for more background \n"
            "about fast mode. Below, we recompute numerical and analytical jacobians in slow mode:\n\n"
            f"Numerical:\n {numerical}\nAnalytical:\n{analytical}\n\n"
            f"The max per-element difference (slow mode) is: {(numerical - analytical).abs().max()}.\n"
        )
        return text + _FAST_ONLY if _close(analytical, numerical, self.rtol, self.atol) else text

    def scales(self, masked: bool | None) -> None:
        """Gradients of zero must give gradients of zero."""
        targets = [one for _, one in _wanted(self.inputs)]
        zeros = [_core.zeros_like(output) for output in self.outputs]
        for grad in _core._grad(self.outputs, targets, zeros, False, False, True) if self.outputs else ():
            if grad is None:
                continue
            right = _core.allclose(grad, _core.zeros_like(grad)) if masked else bool(grad.eq(0).all())
            if not right:
                message = "backward not multiplied by grad_output"
                raise GradcheckError(message)

    def carries_forward(self) -> None:
        """Let each element of the inputs move, and compare how the outputs do."""
        from rustgrad.autograd import forward_ad

        everything = _tuple(self.returned)
        numerical = _numerical(self.func, self.inputs, everything, self.eps)
        for j, (position, one) in enumerate(_wanted(self.inputs)):
            for row, index in enumerate(product(*map(range, one.shape))):
                direction = _core.zeros_like(one.detach())
                direction[index] = 1
                with forward_ad.dual_level():
                    moving = list(self.inputs)
                    moving[position] = forward_ad.make_dual(one, direction)
                    tangents = [forward_ad.unpack_dual(output).tangent for output in _tuple(self.func(*moving))]
                for i, tangent in enumerate(tangents):
                    theirs = numerical[j][i][row]
                    mine = _core.zeros_like(theirs) if tangent is None else tangent.detach().reshape(-1)
                    if not _close(mine, theirs, self.rtol, self.atol):
                        raise GradcheckError(
                            "Jacobian computed with forward mode mismatch" + _mismatch(i, j, theirs, mine)[17:]
                        )

    def takes_batches(self) -> None:
        """Compare a batch of gradients with what each gives alone."""
        targets = [one for _, one in _wanted(self.inputs)]
        for i, output in enumerate(self.outputs):
            vectors = _core.stack([_core.rand_like(output) for _ in range(2)])
            alone = [_core._grad([output], targets, [vector], True, False, True) for vector in vectors]
            together = batched([output], targets, [vectors], True, False, True)
            for j, (all_at_once, *each) in enumerate(zip(together, *alone, strict=True)):
                if all_at_once is None:
                    continue
                expected = _core.stack([_core.zeros_like(all_at_once[0]) if g is None else g for g in each])
                if not _core.allclose(all_at_once, expected):
                    message = (
                        "gradcheck or gradgradcheck failed while testing batched gradient computation for output "
                        f"{i} and input {j}:\ngot {all_at_once}\nexpected {expected}"
                    )
                    raise GradcheckError(message)

    def takes_absent_gradients(self) -> None:
        """Leave out the gradients of all outputs, then of one at a time."""
        first = [_Absent.apply(output) for output in _differentiable(self.func(*self.inputs))]
        self._without(first)
        if len(first) < 2:
            return
        for absent in range(len(self.outputs)):
            outputs = _differentiable(self.func(*self.inputs))
            self._without([_Absent.apply(o) if i == absent else o for i, o in enumerate(outputs)])

    def _without(self, outputs: list[Tensor]) -> None:
        targets = [one for _, one in _wanted(self.inputs)]
        zeros = [_core.zeros_like(output) for output in outputs]
        try:
            grads = _core._grad(outputs, targets, zeros, False, False, True) if outputs else ()
        except RuntimeError as error:
            _warn_of_the_check()
            message = f"Expected backward function to handle undefined output grads. {_UNDEFINED}"
            raise GradcheckError(message) from error
        if any(grad is not None and not bool(grad.eq(0).all()) for grad in grads):
            _warn_of_the_check()
            message = (
                "Expected all input grads to be undefined or zero when all output grads are undefined or zero. "
                f"{_UNDEFINED}"
            )
            raise GradcheckError(message)


class _Absent(Function):
    """The identity, whose gradient is never there."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        return None


def _warn_of_the_check() -> None:
    warnings.warn(
        "Backwards compatibility: New undefined gradient support checking feature is enabled by default, but it may "
        "break existing callers of this function. If this is true for you, you can call this function with "
        '"check_undefined_grad=False" to disable the feature',
        stacklevel=6,
    )


def _check_inputs(inputs: tuple[Any, ...]) -> None:
    wanted = _wanted(inputs)
    for i, one in wanted:
        if one.dtype != _core.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=4,
            )
        if any(stride == 0 and size > 1 for stride, size in zip(one.stride(), one.shape, strict=True)):
            message = (
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
            raise RuntimeError(message)
    if not wanted:
        message = (
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
        raise ValueError(message)


def _require(conditions: Iterator[tuple[bool, str]]) -> None:
    for holds, message in conditions:
        if not holds:
            raise AssertionError(message)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Hold the gradients of a function against central differences.

    Numbers agree if ``|a - b| <= atol + rtol * |b|``. The default tolerances are for float64.

    Parameters
    ----------
    func
        Takes tensors and returns a tensor or a tuple of tensors.
    inputs
        A tensor or a tuple; at least one tensor must require a gradient.
    eps
        The step of the differences.
    atol, rtol
        The tolerances.
    raise_exception
        Raise :class:`GradcheckError` where gradients are wrong; else return False.
    nondet_tol
        By how much two backward passes may differ.
    check_undefined_grad
        Check that the function works where the gradients of outputs are absent.
    check_grad_dtypes
        Check that gradients have the dtypes of their inputs; the engine sees to that.
    check_batched_grad
        Check that a batch of gradients (``is_grads_batched``) gives what each of them gives.
    check_batched_forward_grad
        Accepted; batches are loops here.
    check_forward_ad
        Compare derivatives that are carried forward too.
    check_backward_ad
        Check the gradients at all.
    fast_mode
        Compare one random combination of all entries for each pair of input and output.
    masked
        For sparse tensors in torch; here it only lets gradients of zero be nearly zero.

    Returns
    -------
    bool
        Whether all gradients are right.

    Raises
    ------
    GradcheckError
        If some are not, and ``raise_exception`` is set.
    ValueError
        If no input requires a gradient.
    """
    _require(
        iter(
            (
                (
                    check_forward_ad or check_backward_ad,
                    "Expected at least one of check_forward_ad or check_backward_ad to be True",
                ),
                (
                    check_backward_ad or not check_batched_grad,
                    "Setting check_batched_grad=True requires check_backward_ad to be True",
                ),
                (
                    check_forward_ad or not check_batched_forward_grad,
                    "Setting check_batched_forward_grad=True requires check_forward_ad to be True",
                ),
            )
        )
    )
    given = _tuple(inputs)
    try:
        _check_inputs(given)
        check = _Check(func, given, eps, rtol, atol, nondet_tol)
        if check_forward_ad:
            check.carries_forward()
        if not check_backward_ad:
            return True
        if fast_mode:
            check.along_random_directions()
        else:
            check.element_by_element()
        if check_batched_grad:
            check.takes_batches()
        check.scales(masked)
        if check_undefined_grad:
            check.takes_absent_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _random_like(output: Tensor, spread: bool) -> Tensor:
    """Draw numbers between -1 and 1 in the shape of ``output``; ``spread`` out in memory if asked for."""
    shape = list(output.shape)
    spread = spread and output.numel() > 1
    if spread:
        shape[-1] *= 2
    drawn = _core.rand(shape, dtype=output.dtype) * 2 - 1
    return (drawn[..., ::2] if spread else drawn).requires_grad_()


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Hold the gradients of the gradients of a function against central differences.

    Parameters
    ----------
    func, inputs, eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, check_grad_dtypes, check_batched_grad, fast_mode, masked
        As in :func:`gradcheck`.
    grad_outputs
        The gradients of the outputs; random if absent.
    gen_non_contig_grad_outputs
        Whether the random ones are to be spread out in memory.
    check_fwd_over_rev
        Carry derivatives of the gradients forward too.
    check_rev_over_rev
        Check the second gradients at all.

    Returns
    -------
    bool
        Whether all second gradients are right.

    Raises
    ------
    GradcheckError
        If some are not, and ``raise_exception`` is set.
    """  # noqa: E501
    _require(
        iter(
            (
                (
                    check_fwd_over_rev or check_rev_over_rev,
                    "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True",
                ),
                (
                    check_rev_over_rev or not check_undefined_grad,
                    "Setting check_undefined_grad=True requires check_rev_over_rev to be True",
                ),
                (
                    check_rev_over_rev or not check_batched_grad,
                    "Setting check_batched_grad=True requires check_rev_over_rev to be True",
                ),
            )
        )
    )
    given = _tuple(inputs)
    if grad_outputs is None:
        weights = tuple(_random_like(output, gen_non_contig_grad_outputs) for output in _differentiable(func(*given)))
    else:
        weights = _tuple(grad_outputs)

    def gradients(*args: Any) -> Tensors:
        point, vector = args[: len(args) - len(weights)], args[len(args) - len(weights) :]
        targets = [one for one in point if isinstance(one, Tensor) and one.requires_grad]
        outputs = _differentiable(func(*point))
        grads = _core._grad(outputs, targets, list(vector), True, True, True)
        return tuple(grad for grad in grads if grad is not None)

    return gradcheck(
        gradients,
        given + weights,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _old_interface(name: str, grad_out: float) -> None:
    warnings.warn(
        f"`{name}` was part of PyTorch's private API and not meant to be exposed. We are deprecating it and it will "
        "be removed in a future version of PyTorch. If you have a specific use for this or feature request for this "
        "to be a stable API, please file us an issue at https://github.com/pytorch/pytorch/issues/new",
        FutureWarning,
        stacklevel=3,
    )
    if grad_out != 1.0:
        message = f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0."
        raise ValueError(message)


def get_numerical_jacobian(
    fn: Callable[..., Any], inputs: Any, target: Any = None, eps: float = 1e-3, grad_out: float = 1.0
) -> Tensors:
    """Give the numerical Jacobian of the first output of ``fn(inputs)``, a matrix for each input (deprecated)."""
    _old_interface("get_numerical_jacobian", grad_out)

    def packed(*values: Any) -> Any:
        return fn(values)

    given = _tuple(inputs)
    outputs = _tuple(packed(*given))
    return tuple(
        matrices[0]
        for matrices in _numerical(packed, given, outputs, eps, _tuple(target) if target is not None else None)
    )


def get_analytical_jacobian(
    inputs: Any, output: Tensor, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple[Tensors, bool, bool, bool]:
    """Give the Jacobian by backward passes, whether two agree, and two facts that always hold here (deprecated)."""
    _old_interface("get_analytical_jacobian", grad_out)
    first, second = (_analytical(_tuple(inputs), output) for _ in range(2))
    return tuple(first), not _apart(first, second, nondet_tol), True, True
