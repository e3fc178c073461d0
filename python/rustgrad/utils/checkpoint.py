"""Checkpoints: parts of a program whose intermediate results are computed anew in the backward pass.

Inside a checkpoint (without re-entrance) every tensor an operation saves is replaced by an empty
:class:`_Place`. The first place that the backward pass opens runs the function again; what operations
save then, in the same order, fills the places of that pass. A place is emptied when it is read.
"""

from __future__ import annotations

import traceback
import warnings
import weakref
from contextlib import contextmanager, nullcontext
from functools import partial, update_wrapper
from itertools import count
from pathlib import Path
from threading import local

from rustgrad import _core
from rustgrad._core import Tensor
from rustgrad.autograd import backward as _run_backward
from rustgrad.autograd._saved import saved_tensors_hooks
from rustgrad.autograd.function import Function
from rustgrad.autograd.grad_mode import enable_grad, no_grad
from rustgrad.random import fork_rng

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    _G = TypeVar("_G")

    Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "DefaultDeviceType",
    "GraphExecGroup",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

_UNEXPLAINED = ("create_selective_checkpoint_contexts", "CheckpointPolicy", "SelectiveCheckpointContext")


def __getattr__(name: str) -> object:
    message = f"module 'rustgrad.utils.checkpoint' has no attribute {name!r}"
    if name in _UNEXPLAINED:
        message += ": selective checkpoints need torch's dispatch modes, which rustgrad does not have"
    raise AttributeError(message)


class CheckpointError(RuntimeError):
    """The function did not save the same when it was run again."""


_TIP = (
    "Tip: To see a more detailed error message, either pass `debug=True` to "
    "`torch.utils.checkpoint.checkpoint(...)` or wrap the code block with "
    "`with torch.utils.checkpoint.set_checkpoint_debug_enabled(True):` to enable checkpoint debug mode globally."
)

_early_stop: bool | None = None
_debug: bool | None = None


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Say, for checkpoints made inside, whether recomputing ends with the last tensor that is needed."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Override ``debug=`` of the checkpoints made inside; None leaves it to them."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


# One device, the CPU: what torch offers for others, for programs that name it.


class DefaultDeviceType:
    """The kind of device whose random state a checkpoint keeps besides the CPU's: none."""

    _device_type: str | None = None

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Note a kind of device; it changes nothing."""
        DefaultDeviceType._device_type = device

    @staticmethod
    def get_device_type() -> str:
        """Give the kind noted, else the CPU."""
        return DefaultDeviceType._device_type or "cpu"


def get_device_states(*args: object) -> tuple[list[int], list[Tensor]]:
    """Give the devices of the arguments other than the CPU, and their random states: none."""
    return [], []


def set_device_states(devices: Iterable[int], states: Iterable[Tensor], *, device_type: str | None = None) -> None:
    """Set the random states of devices other than the CPU.

    Raises
    ------
    RuntimeError
        If there is one to set.
    """
    if list(devices):
        message = "there is no device but the CPU"
        raise RuntimeError(message)


def noop_context_fn() -> Contexts:
    """Give two contexts that do nothing."""
    return nullcontext(), nullcontext()


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cut tensors from their history; those that required gradients are leaves that do.

    Raises
    ------
    RuntimeError
        If ``inputs`` is not a tuple.
    """
    if not isinstance(inputs, tuple):
        message = f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}"
        raise RuntimeError(message)
    return tuple(one.detach().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn if no input requires a gradient, which leaves a re-entrant checkpoint without any."""
    if not any(one.requires_grad for one in inputs if isinstance(one, Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


@contextmanager
def _random_state(state: Tensor | None) -> Iterator[None]:
    with fork_rng(devices=[], enabled=state is not None):
        if state is not None:
            _core.set_rng_state(state)
        yield


class CheckpointFunction(Function):
    """The re-entrant checkpoint: its backward pass runs the function again and goes back through it."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the function without recording it."""
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.state = _core.get_rng_state() if preserve_rng_state else None
        ctx.tensor_indices = [i for i, one in enumerate(args) if isinstance(one, Tensor)]
        ctx.inputs = [None if isinstance(one, Tensor) else one for one in args]
        ctx.save_for_backward(*(args[i] for i in ctx.tensor_indices))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *args: Any) -> Any:
        """Run the function again, recorded, and a backward pass inside this one."""
        if not _core._is_checkpoint_valid():
            message = (
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
            raise RuntimeError(message)
        inputs = list(ctx.inputs)
        for i, tensor in zip(ctx.tensor_indices, ctx.saved_tensors, strict=True):
            inputs[i] = tensor
        detached = detach_variable(tuple(inputs))
        with _random_state(ctx.state), enable_grad():
            outputs = ctx.run_function(*detached)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (output, grad)
            for output, grad in zip(outputs, args, strict=False)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not pairs:
            message = "none of output has requires_grad=True, this checkpoint() is not necessary"
            raise RuntimeError(message)
        roots, grads = zip(*pairs, strict=True)
        _run_backward(roots, grads)
        return None, None, *(one.grad if isinstance(one, Tensor) else None for one in detached)


class _Group(local):
    current: Any = None


_group = _Group()


class GraphExecGroup:
    """Backward passes that share what is recomputed: each saved tensor is read once within the group."""

    def __enter__(self: _G) -> _G:  # noqa: PYI019
        if _group.current is not None:
            message = f"GraphExecGroup contexts cannot be nested. Already inside group {_group.current}"
            raise RuntimeError(message)
        _group.current = self
        return self

    def __exit__(self, *exception: object) -> None:
        _group.current = None


_outside = count(-2, -1)
"""Numbers for reading a saved tensor outside of any backward pass."""


def _current_pass() -> object:
    """Give what identifies the backward pass, or the group of passes, that is running."""
    if _group.current is not None:
        return _group.current
    task = _core._current_graph_task_id()
    return next(_outside) if task == -1 else task


class _Stop(Exception):
    """All tensors are there; the rest of the function need not run."""


class _Place:
    """Stands for a tensor that was saved: holds it while a pass that recomputed it has not read it."""

    __slots__ = ("__weakref__", "tensors")

    def __init__(self) -> None:
        self.tensors: dict[object, Tensor | None] = {}


class _Inputs(Function):
    """Saves the inputs of a checkpoint like those of an operation, under the hooks around it."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return anchor.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        message = "the node that keeps the inputs of a checkpoint is not part of the graph"
        raise AssertionError(message)


class _Region:
    """One call of a checkpointed function."""

    def __init__(
        self,
        again: Callable[..., None],
        args: tuple[Any, ...],
        early_stop: bool,
        describe: Callable[[Tensor], Any],
        log: _Log | None,
    ) -> None:
        self.again, self.early_stop, self.describe, self.log = again, early_stop, describe, log
        self.places: list[weakref.ref[_Place]] = []
        self.descriptions: list[Any] = []
        self.saved: dict[object, int] = {}
        """How many tensors each pass has seen saved while recomputing."""
        self.done: set[object] = set()
        self.complete = False
        self.more_is_fine = False
        self.args = [None if isinstance(one, Tensor) else one for one in args]
        self.tensor_positions = [i for i, one in enumerate(args) if isinstance(one, Tensor)]
        anchor = _core.empty((), requires_grad=True)
        # The tensor, not its node: the node's Python object does not keep the node.
        self.keeper = _Inputs.apply(anchor, *(args[i] for i in self.tensor_positions))

    def hooks(self) -> saved_tensors_hooks:
        """Give the hooks under which the function runs the first time."""
        return saved_tensors_hooks(self.leave_out, self.recall)

    def leave_out(self, tensor: Tensor) -> _Place:
        """Remember that a tensor was saved here, but not the tensor."""
        place = _Place()
        self.places.append(weakref.ref(place))
        with no_grad():
            self.descriptions.append(self.describe(tensor))
        if self.log is not None:
            self.log.note("forward", tensor)
        return place

    def recall(self, place: _Place) -> Tensor:
        """Give the tensor of a place, recomputing all if this pass has not."""
        try:
            return self._recall(place)
        except CheckpointError as error:
            if self.log is None:
                raise
            raise CheckpointError(self.log.text()) from error

    def _recall(self, place: _Place) -> Tensor:
        task = _current_pass()
        if task not in self.done:
            self._recompute(task)
            self.done.add(task)
            self._compare(task)
        tensor = place.tensors.get(task)
        if tensor is None:
            extra = ""
            if _group.current is not None:
                extra = (
                    "Performing two backward calls that overlap (i.e. require the same saved activation in order to "
                    "compute gradients) is not allowed while under the torch.utils.checkpoint.GraphExecGroup context. "
                )
            message = (
                "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already unpacked once. "
                f"{extra}If you are calling ctx.saved_tensors in backward, make sure to do so only once. Otherwise "
                "please open an issue with details on your use case."
            )
            raise CheckpointError(message)
        place.tensors[task] = None
        return tensor

    def _recompute(self, task: object) -> None:
        args = list(self.args)
        for i, tensor in zip(self.tensor_positions, self.keeper.grad_fn.saved_tensors, strict=True):
            args[i] = tensor
        if self.log is not None:
            self.log.restart()
        try:
            with saved_tensors_hooks(partial(self._fill, task), lambda tensor: tensor), enable_grad():
                self.again(*args)
        except _Stop:
            pass

    def _fill(self, task: object, tensor: Tensor) -> Tensor:
        """Put a tensor that is saved while recomputing in its place."""
        tensor = tensor.detach()
        if self.log is not None:
            self.log.note("recompute", tensor)
        at = self.saved.get(task, 0)
        self.saved[task] = at + 1
        if at >= len(self.places):
            if not self.complete:
                # A backward pass inside the function, which has not saved all yet.
                self.more_is_fine = True
                return tensor
            message = (
                "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                f"forward pass.\n{_TIP}"
            )
            raise CheckpointError(message)
        place = self.places[at]()
        if place is not None:
            place.tensors[task] = tensor
        if self.early_stop and at + 1 == len(self.places):
            raise _Stop
        return tensor

    def _compare(self, task: object) -> None:
        """Refuse what differs between the two runs."""
        if self.more_is_fine:
            return
        seen = self.saved.get(task, 0)
        if seen != len(self.places):
            message = (
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.places)}\n"
                f"Number of tensors saved during recomputation: {seen}.\n{_TIP}"
            )
            raise CheckpointError(message)
        different = ""
        for at, (weak, before) in enumerate(zip(self.places, self.descriptions, strict=True)):
            place = weak()
            tensor = None if place is None else place.tensors.get(task)
            if tensor is not None and (now := self.describe(tensor)) != before:
                different += f"tensor at position {at}:\nsaved metadata: {before}\nrecomputed metadata: {now}\n"
        if different:
            message = (
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                f"during the forward pass.\n{different}.\n{_TIP}"
            )
            raise CheckpointError(message)


_OURS = str(Path(__file__).parents[1])


class _Log:
    """What was saved where, for ``debug=True``."""

    def __init__(self) -> None:
        self.entries: dict[str, list[str]] = {"forward": [], "recompute": []}

    def restart(self) -> None:
        self.entries["recompute"] = []

    def note(self, run: str, tensor: Tensor) -> None:
        stack = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(_OURS)]
        lines = "".join(f"    {frame.filename}:{frame.lineno}:{frame.name}\n" for frame in reversed(stack[-6:]))
        entries = self.entries[run]
        entries.append(f"  tensor {len(entries)}: {tuple(tensor.shape)} {tensor.dtype}, saved at\n{lines}")

    def text(self) -> str:
        """Show both runs, and from where they differ."""
        first, second = self.entries["forward"], self.entries["recompute"]
        same = 0
        while same < min(len(first), len(second)) and first[same].partition("\n")[0] == second[same].partition("\n")[0]:
            same += 1
        return (
            "An error happened while unpacking tensors of a checkpoint. You are seeing this error because you passed "
            "`debug=True` to checkpoint and tensors to be saved during the original forward and differ between those "
            "saved during recomputation. This can happen if different operators were ran in the original forward and "
            f"in the recomputation.\n\nThe first {same} tensors saved agree.\n"
            f"\nSaved during the original forward:\n{''.join(first)}\nSaved during recomputation:\n{''.join(second)}"
        )


def _shape_and_dtype(tensor: Tensor) -> dict[str, object]:
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


_DETERMINISM_CHECKS: dict[str, Callable[[Tensor], Any]] = {"default": _shape_and_dtype, "none": lambda _: None}


def _checkpoint_by_hooks(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    preserve_rng_state: bool,
    context_fn: Callable[[], Contexts],
    determinism_check: str,
    debug: bool,
    early_stop: bool,
) -> Any:
    log = None
    if debug if _debug is None else _debug:
        if context_fn is not noop_context_fn:
            message = "debug=True is incompatible with non-default context_fn"
            raise ValueError(message)
        log = _Log()
    if determinism_check not in _DETERMINISM_CHECKS:
        message = f"determinism_check should be one of {list(_DETERMINISM_CHECKS)}, but got {determinism_check}"
        raise ValueError(message)
    forward_context, recompute_context = context_fn()
    state = _core.get_rng_state() if preserve_rng_state else None
    if not _core.is_grad_enabled():
        return function(*args, **kwargs)

    def again(*args: Any) -> None:
        with _random_state(state), recompute_context:
            function(*args, **kwargs)

    stop = early_stop if _early_stop is None else _early_stop
    region = _Region(again, args, stop, _DETERMINISM_CHECKS[determinism_check], log)
    with region.hooks(), forward_context:
        result = function(*args, **kwargs)
        region.complete = True
    if not region.complete:
        message = (
            "torch.utils.checkpoint: the forward context provided by context_fn suppressed an exception raised "
            "during the checkpointed forward. This is not supported because checkpoint cannot return a value for a "
            "failed forward."
        )
        raise RuntimeError(message)
    return result


class _Checkpointed:
    """A function or method that is checkpointed whenever it is called."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function, self.options = function, options
        update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _checkpoint(self.function, args, kwargs, **self.options)

    def __get__(self, instance: object, owner: type | None = None) -> _Checkpointed:
        bind = getattr(self.function, "__get__", None)
        return self if instance is None or bind is None else _Checkpointed(bind(instance, owner), self.options)


def checkpoint(
    function: Callable[..., Any] | None = None,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    respect_saved_tensors_hooks: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Run a function so that its intermediate results are not kept but computed anew in the backward pass.

    Without ``function``, gives a decorator with the same options.

    Parameters
    ----------
    function, args, kwargs
        What to run. Keywords need ``use_reentrant=False``.
    use_reentrant
        False: what operations save is left out and recomputed when first needed. True: the function is
        one node whose backward runs a pass inside the pass; that excludes ``grad()``, ``inputs=`` and
        inputs inside containers, and at least one input must require a gradient. Pass it: the default
        is True, with a warning, as in torch.
    preserve_rng_state
        Recompute with the random state of the first run.
    context_fn
        Gives a context for the first run and one for recomputing.
    determinism_check
        ``"default"`` compares shape and dtype of what both runs save, ``"none"`` their number only.
    debug
        Note the lines at which tensors are saved, and show them if the runs differ.
    early_stop
        End recomputing with the last tensor needed.
    respect_saved_tensors_hooks
        Accepted with ``use_reentrant=False``; only selective checkpoints, which are absent, look at it.

    Returns
    -------
    object
        What ``function`` returns.

    Raises
    ------
    CheckpointError
        In the backward pass, if both runs do not save the same.
    ValueError
        For options that exclude each other.
    """
    options: dict[str, Any] = {
        "use_reentrant": use_reentrant,
        "preserve_rng_state": preserve_rng_state,
        "context_fn": context_fn,
        "determinism_check": determinism_check,
        "debug": debug,
        "early_stop": early_stop,
        "respect_saved_tensors_hooks": respect_saved_tensors_hooks,
    }
    if function is None and not args:
        _refuse_keywords(kwargs)
        return lambda function: _Checkpointed(function, options)
    return _checkpoint(function, args, kwargs, **options)


def _refuse_keywords(kwargs: dict[str, Any]) -> None:
    if kwargs:
        message = "Unexpected keyword arguments: " + ",".join(kwargs)
        raise ValueError(message)


def _default_reentrant(name: str, use_reentrant: bool | None, stacklevel: int) -> bool:
    if use_reentrant is not None:
        return use_reentrant
    warnings.warn(
        f"{name}: the use_reentrant parameter should be passed explicitly. In a future release, calling checkpoint "
        "without use_reentrant will raise an exception. use_reentrant=False is recommended, but if you need to "
        "preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for more details on "
        "the differences between the two variants.",
        stacklevel=stacklevel + 1,
    )
    return True


def _checkpoint(
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    use_reentrant: bool | None,
    preserve_rng_state: bool,
    context_fn: Callable[[], Contexts],
    determinism_check: str,
    debug: bool,
    early_stop: bool,
    respect_saved_tensors_hooks: bool | None,
) -> Any:
    if not _default_reentrant("torch.utils.checkpoint", use_reentrant, 3):
        return _checkpoint_by_hooks(
            function, args, kwargs, preserve_rng_state, context_fn, determinism_check, debug, early_stop
        )
    _refuse_keywords(kwargs)
    if context_fn is not noop_context_fn or debug is not False or respect_saved_tensors_hooks is not None:
        message = (
            "Passing `context_fn`, `debug`, or `respect_saved_tensors_hooks` is only supported when "
            "use_reentrant=False."
        )
        raise ValueError(message)
    return CheckpointFunction.apply(function, preserve_rng_state, *args)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Run functions one after the other in segments that are checkpointed, but for the last.

    Parameters
    ----------
    functions
        A ``Sequential`` module or a list of modules or functions of one argument.
    segments
        How many parts to make.
    input
        What the first function takes.
    use_reentrant
        As in :func:`checkpoint`.
    preserve_rng_state
        As in :func:`checkpoint`; no other keyword is taken.

    Returns
    -------
    object
        What the last function returns.
    """
    use_reentrant = _default_reentrant("torch.utils.checkpoint.checkpoint_sequential", use_reentrant, 2)
    preserve = kwargs.pop("preserve_rng_state", True)
    _refuse_keywords(kwargs)
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def part(value: Any) -> Any:
            for step in steps[start:end]:
                value = step(value)
            return value

        return part

    size = len(steps) // segments
    start = 0
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    rest = start + size if segments > 1 and size else 0
    return run(rest, len(steps))(input)
