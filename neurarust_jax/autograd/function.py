"""`Function`: operations with a forward and a backward written by the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from .. import dtypes
from ..cells import current_trace
from ..dispatch import Kernel, edges_of, record
from ..errors import ArgumentError, AutogradError
from ..tensor import Tensor, wrap
from .graph import Node, mode, no_grad


class FunctionCtx:
    """What `forward` hands on to `backward`.

    Attributes:
        needs_input_grad: for each input of `forward` whether its gradient is asked for.
        saved_tensors: what `save_for_backward` was given.
    """

    def __init__(self):
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or `None`s) for `backward`."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise ArgumentError(f"save_for_backward can only save variables, but argument is of type {type(t).__name__}; keep it as an attribute: ctx.x = x")
        self._saved = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        return self._saved

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Raises: a Tensor's value never changes, so no input can be changed in place."""
        raise AutogradError("mark_dirty: a Tensor's value never changes here; return the new value from forward instead")

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing cotangents reach `backward` as zeros (the default) or as `None`."""
        self._materialize = value


class Function:
    """Base class of operations with a backward pass of their own.

    A subclass defines the static methods ``forward(ctx, *inputs)`` and ``backward(ctx, *grad_outputs)``, or ``forward(*inputs)`` with
    ``setup_context(ctx, inputs, output)``. `backward` returns one gradient, or `None`, for each input of `forward`. Call it by ``apply``.

    Examples:
        >>> import neurarust_jax as nr
        >>> class Double(nr.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad_output):
        ...         return grad_output * 2
        >>> x = nr.ones(2, requires_grad=True)
        >>> Double.apply(x).sum().backward()
        >>> x.grad
        tensor([2., 2.])
    """

    generate_vmap_rule = False

    @staticmethod
    def forward(*arguments: Any, **named: Any) -> Any:
        """The operation. It runs without recording."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Keep what `backward` needs, where `forward` takes no `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients at the inputs, from those at the outputs."""
        raise NotImplementedError("You must implement the backward function for your custom autograd.Function.")

    vjp = backward

    @classmethod
    def apply(cls, *arguments: Any, **named: Any) -> Any:
        """Run the operation and record it."""
        if any(isinstance(x, Tensor) and isinstance(x._value, jax.core.Tracer) for x in arguments):
            return cls._apply_traced(arguments, named)
        ctx, output = cls._run_forward(arguments, named)
        if not (mode.grad and any(ctx.needs_input_grad)):
            return output
        outputs = list(output) if isinstance(output, tuple) else [output]
        positions, edges = edges_of(arguments)
        node = _FunctionNode(cls, ctx, positions, edges, outputs, [arguments[p]._value.dtype for p in positions])
        results = []
        for index, y in enumerate(outputs):
            if isinstance(y, Tensor):
                if any(y is x for x in arguments):
                    y = wrap(y._value)
                if y._value.dtype.kind in "fcV" and not any(y is x for x in ctx._non_differentiable):
                    y._node, y._index = node, index  # also what save_for_backward kept of the outputs
            results.append(y)
        return tuple(results) if isinstance(output, tuple) else results[0]

    @classmethod
    def _run_forward(cls, arguments: Sequence[Any], named: dict[str, Any]) -> tuple[FunctionCtx, Any]:
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(x, Tensor) and x._node is not None and mode.grad for x in arguments)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*arguments, **named)
                cls.setup_context(ctx, tuple(arguments), output)
            else:
                output = cls.forward(ctx, *arguments, **named)
        return ctx, output

    @classmethod
    def _gradients(cls, ctx: FunctionCtx, cotangents: Sequence[Any], inputs: int) -> list[Any]:
        """What `backward` returns, one entry for each input."""
        returned = cls.backward(ctx, *cotangents) if cls.backward is not Function.backward else cls.vjp(ctx, *cotangents)
        gradients = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(gradients) > inputs and all(g is None for g in gradients[inputs:]):
            gradients = gradients[:inputs]
        if len(gradients) != inputs:
            raise AutogradError(f"function {cls.__name__}Backward returned an incorrect number of gradients (expected {inputs}, got {len(gradients)})")
        return gradients

    @classmethod
    def _apply_traced(cls, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        """Inside a transformation: as a `jax.custom_vjp`, so that JAX's own gradients take the user's backward too."""
        places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
        kept: dict[str, Any] = {}

        def run(*values: Any) -> tuple[FunctionCtx, list[Any]]:
            inputs = list(arguments)
            for place, value in zip(places, values, strict=True):
                inputs[place] = wrap(value)
            ctx, output = cls._run_forward(inputs, named)
            kept["tuple"] = isinstance(output, tuple)
            ctx.needs_input_grad = tuple(isinstance(x, Tensor) and x._value.dtype.kind in "fcV" for x in inputs)
            return ctx, list(output) if isinstance(output, tuple) else [output]

        @jax.custom_vjp
        def function(*values: Any) -> Any:
            return tuple(y._value for y in run(*values)[1])

        def forward(*values: Any) -> Any:
            ctx, outputs = run(*values)
            kept["ctx"] = ctx
            held = [t for t in (*ctx._saved, *vars(ctx).values()) if isinstance(t, Tensor)]
            return tuple(y._value for y in outputs), [t._value for t in held]

        def backward(residuals: Any, cotangents: Any) -> Any:
            ctx = kept["ctx"]
            values = iter(residuals)
            restored = FunctionCtx()
            saved = tuple(wrap(next(values)) if isinstance(t, Tensor) else t for t in ctx._saved)
            vars(restored).update({n: wrap(next(values)) if isinstance(v, Tensor) else v for n, v in vars(ctx).items()})
            restored._saved = saved
            gradients = cls._gradients(restored, [wrap(_conjugate(c)) for c in cotangents], len(arguments))
            result = []
            for place in places:
                g, x = gradients[place], arguments[place]
                with dtypes.x64():
                    result.append(jax.numpy.zeros(x.shape, x.dtype.dtype) if g is None else _conjugate(g._value.astype(x.dtype.dtype)))
            return tuple(result)

        function.defvjp(forward, backward)
        tensors = [arguments[i] for i in places]
        values = [t._value for t in tensors]
        positions, edges = edges_of(tensors)
        kernel = Kernel(cls.__name__, function)
        with dtypes.x64():
            if not positions or not mode.grad:
                outputs = [wrap(y) for y in function(*values)]
            else:
                _, vjp = kernel.record(positions)(*values)
                outputs = function(*values)  # not those of `record`, which JAX would differentiate by the forward pass
                outputs = record(Node(kernel, values, positions, edges, vjp, None, True), tuple(outputs))
        return tuple(outputs) if kept["tuple"] else outputs[0]


def _conjugate(x: Any) -> Any:
    return jax.numpy.conj(x) if x.dtype.kind == "c" else x


def _as(gradient: Any, dtype: Any) -> Any:
    """A gradient in the dtype of the input that it belongs to."""
    return gradient.to(dtype) if isinstance(gradient, Tensor) and gradient._value.dtype != dtype else gradient


class _FunctionNode(Node):
    """The node of a `Function`: its backward runs in Python, so the pass goes step by step."""

    __slots__ = ("function", "shapes", "inputs", "dtypes")

    def __init__(self, function: type[Function], ctx: FunctionCtx, positions: tuple[int, ...], edges: list[Any], outputs: list[Any], of_inputs: list[Any]):
        super().__init__(None, ctx, positions, edges, self._pull_back, len(outputs), current_trace() is not None)
        self.function = function
        self.shapes = [(y._value.shape, y._value.dtype) if isinstance(y, Tensor) else None for y in outputs]
        self.inputs = len(ctx.needs_input_grad)
        self.dtypes = of_inputs

    def _pull_back(self, arrived: list[Any]) -> list[Any]:
        ctx = self.values
        cotangents = list(arrived)
        for i, value in enumerate(cotangents):
            shape_and_dtype = self.shapes[i]
            if value is None and ctx._materialize and shape_and_dtype is not None:
                with dtypes.x64():
                    cotangents[i] = wrap(jax.numpy.zeros(*shape_and_dtype))
        gradients = self.function._gradients(ctx, cotangents, self.inputs)
        return [_as(gradients[p], dtype) for p, dtype in zip(self.positions, self.dtypes, strict=True)]

    def name(self) -> str:
        return self.function.__name__ + "Backward"


def once_differentiable(function: Any) -> Any:
    """Decorator of a `backward` that is not itself differentiable."""
    return no_grad()(function)
