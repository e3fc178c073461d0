"""Functions with a derivative of the user's own: :class:`Function` and what its ``backward`` sees."""

from __future__ import annotations

import warnings
from functools import wraps

from rustgrad import _core
from rustgrad._core import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rustgrad._core import dtype

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "NestedIOFunction",
    "once_differentiable",
]


class FunctionCtx:
    """What ``forward`` and ``backward`` of a custom function share."""

    to_save: tuple[Tensor | None, ...] | None = None
    saved_for_forward: tuple[Tensor | None, ...] | None = None
    dirty_tensors: tuple[Tensor, ...] | None = None
    non_differentiable: tuple[Tensor, ...] | None = None
    materialize_grads: bool = True
    _materialize_non_diff_grads: bool = True
    needs_input_grad: tuple[bool, ...] | None = None
    output_grad_dtypes: tuple[dtype | None, ...] | None = None

    @property
    def saved_variables(self) -> tuple[Tensor, ...]:
        """The old name of ``saved_tensors``."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        saved: tuple[Tensor, ...] = self.saved_tensors  # type: ignore[attr-defined]
        return saved

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``backward``, where ``ctx.saved_tensors`` gives them back.

        Call it once, with inputs, outputs or other tensors; writes in place to them are detected.
        """
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for ``jvp``, where ``ctx.saved_tensors`` gives them back."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs ``forward`` overwrote; each must be returned."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no gradient; ``backward`` still takes a gradient for each."""
        self.non_differentiable = args

    def set_output_grad_dtype(self, *dtypes: dtype | None) -> None:
        """Say in which dtype ``backward`` wants the gradient of each output: its own unless told; None for any.

        Raises
        ------
        RuntimeError
            On the second call.
        """
        if self.output_grad_dtypes is not None:
            message = "set_output_grad_dtype can only be called once"
            raise RuntimeError(message)
        self.output_grad_dtypes = dtypes

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether absent gradients reach ``backward`` as zeros (the default) or as None.

        Raises
        ------
        TypeError
            If the value is not a bool.
        """
        if not isinstance(value, bool):
            message = f"set_materialize_grads() takes a bool, not {type(value).__name__}"
            raise TypeError(message)
        self.materialize_grads = value

    def mark_shared_storage(self, *pairs: object) -> None:
        """Do nothing: shared storage is detected."""
        warnings.warn(
            "mark_shared_storage is deprecated. Tensors with shared storages are automatically "
            "tracked. Note that calls to `set_()` are not tracked",
            FutureWarning,
            stacklevel=2,
        )


class BackwardCFunction(_core._FunctionBase, FunctionCtx):
    """The context of one call, which is also the node of its result (``y.grad_fn``)."""

    _forward_cls: type[Function]

    def apply(self, *args: Any) -> Any:  # type: ignore[override]
        """Run the function's ``backward`` (or ``vjp``) on gradients of its outputs."""
        if self._forward_cls.boxed_grads_call:
            return self.apply_boxed(list(args))
        return self._derivative()(self, *args)

    def apply_boxed(self, grads: list[Any]) -> Any:
        """Run it on the gradients in one list, which it may empty to let them go."""
        return self._derivative()(self, grads)

    def _derivative(self) -> Callable[..., Any]:
        function = self._forward_cls
        backward, vjp = function.backward, function.vjp
        if backward is not Function.backward and vjp is not Function.vjp:
            message = (
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. "
                "You should only implement one of them."
            )
            raise RuntimeError(message)
        return vjp if vjp is not Function.vjp else backward

    def apply_jvp(self, *args: Any) -> Any:
        """Run the function's ``jvp`` on the directions in which its arguments move."""
        return self._forward_cls.jvp(self, *args)


class FunctionMeta(type):
    """Makes the class of a function's contexts, ``<name>Backward``."""

    def __init__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> None:
        cls._backward_cls = type(
            name + "Backward", (BackwardCFunction,), {"_forward_cls": cls, "__module__": cls.__module__}
        )
        super().__init__(name, bases, attributes)

    @property
    def _has_setup_context(cls) -> bool:
        return getattr(cls, "setup_context", None) is not Function.setup_context


class Function(_core._FunctionBase, FunctionCtx, metaclass=FunctionMeta):
    """The base of functions with a derivative of their own.

    Override ``forward`` and ``backward`` as static methods, and call the function by ``apply``.
    ``forward(ctx, *args)`` computes and keeps what is needed in one; or ``forward(*args)`` computes
    and ``setup_context(ctx, inputs, output)`` keeps.

    >>> import rustgrad as torch
    >>> class Exp(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp()
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (y,) = ctx.saved_tensors
    ...         return grad * y
    >>> x = torch.zeros(2, requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """

    generate_vmap_rule = False
    #: ``backward`` takes the gradients of the outputs as one list.
    boxed_grads_call = False
    #: What was saved is given out once, and nothing else keeps it then.
    clear_saved_tensors_on_access = False

    def __init__(self, *args: object, **kwargs: object) -> None:
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself. Instantiating an autograd "
            "function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Refuse: functions are called by ``apply`` on the class."""
        message = (
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. "
            "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )
        raise RuntimeError(message)

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the function; to be overridden."""
        message = "You must implement the forward function for custom autograd.Function."
        raise NotImplementedError(message)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep what ``backward`` needs, when ``forward`` takes no context; to be overridden."""
        message = "setup_context is not implemented."
        raise NotImplementedError(message)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Give the gradient of each argument of ``forward``; to be overridden."""
        message = (
            "You must implement either the backward or vjp method for your custom autograd.Function "
            "to use it with backward mode AD."
        )
        raise NotImplementedError(message)

    # Only one of the two names may be overridden.
    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        """Another name of ``backward``."""
        return Function.backward(ctx, *grad_outputs)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Say how the outputs move if the arguments do; to be overridden."""
        message = "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        raise NotImplementedError(message)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Refuse unless overridden: there is no vmap."""
        message = "To use autograd.Function with vmap, you must override the vmap staticmethod"
        raise NotImplementedError(message)

    @classmethod
    def _bind_arguments(
        cls, args: tuple[Any, ...], kwargs: dict[str, Any] | None, context: bool = False
    ) -> tuple[Any, ...]:
        """Bring the arguments of ``apply`` into the order of ``forward``, defaults filled in."""
        from inspect import signature

        names = signature(cls.forward).parameters
        for name in kwargs or ():
            if name not in names or names[name].kind is names[name].KEYWORD_ONLY:
                message = f"forward() got an unexpected keyword argument '{name}'"
                raise TypeError(message)
        given = list(names)[: len(args) + context]
        for name in kwargs or ():
            if name in given:
                message = f"forward() got multiple values for argument '{name}'"
                raise TypeError(message)
        bound = signature(cls.forward).bind(*([None] if context else []), *args, **(kwargs or {}))
        bound.apply_defaults()
        return bound.args[1:] if context else bound.args


class InplaceFunction(Function):
    """A function that may work in place; kept for old programs."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """Refused: nested inputs and outputs were never part of torch's public interface."""

    @classmethod
    def apply(cls, *args: object, **kwargs: object) -> Any:
        """Refuse."""
        message = "NestedIOFunction is not supported; flatten the arguments and use Function"
        raise NotImplementedError(message)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Make a ``backward`` whose result cannot be differentiated again; doing so is an error."""

    @wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        enabled = _core.is_grad_enabled()
        before = _core._set_grad_enabled(False)
        try:
            outputs = fn(ctx, *args)
        finally:
            _core._set_grad_enabled(before)
        if not enabled or not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            return outputs
        several = isinstance(outputs, tuple)
        results = list(outputs) if several else [outputs]
        places = [i for i, output in enumerate(results) if output is not None]
        refused = _core._delayed_error(
            "trying to differentiate twice a function that was marked with @once_differentiable",
            [results[i] for i in places],
        )
        for i, output in zip(places, refused, strict=True):
            results[i] = output
        return tuple(results) if several else results[0]

    return wrapper
