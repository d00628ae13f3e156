"""`Function`: operations with a forward and a backward written by the user."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import dtypes
from ..cells import current_trace
from ..dispatch import Kernel, edges_of, record
from ..errors import ArgumentTypeError, AutogradError
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
        self._saved_for_forward: tuple[Any, ...] | None = None
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or `None`s) for `backward`."""
        self._saved = _only_tensors("save_for_backward", tensors)

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep tensors (or `None`s) for `jvp`. Without it `jvp` finds what was kept for `backward`."""
        self._saved_for_forward = _only_tensors("save_for_forward", tensors)

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


def _only_tensors(name: str, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    for i, t in enumerate(tensors):
        if t is not None and not isinstance(t, Tensor):
            raise ArgumentTypeError(f"{name} can only save variables, but argument {i} is of type {type(t).__name__}; keep it as an attribute: ctx.x = x")
    return tensors


class VmapInfo(NamedTuple):
    """What a `vmap` method gets first.

    Attributes:
        batch_size: the number of examples.
        randomness: always ``"error"``: a `Function` draws its random numbers by a generator, which `nr.vmap` batches.
    """

    batch_size: int
    randomness: str


class Function:
    """Base class of operations with a backward pass of their own.

    A subclass defines the static methods ``forward(ctx, *inputs)`` and ``backward(ctx, *grad_outputs)``, or ``forward(*inputs)`` with
    ``setup_context(ctx, inputs, output)``. `backward` returns one gradient, or `None`, for each input of `forward`. Call it by ``apply``.

    Two more methods are optional. ``jvp(ctx, *tangents)`` gives the tangents of the outputs, for `nr.jvp` and `jacfwd`. ``vmap(info, in_dims, *inputs)`` gives ``(output, out_dims)``
    for a batch; without it (or with PyTorch's `generate_vmap_rule`) `nr.vmap` batches `forward` and `backward` by itself.

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
        raise NotImplementedError("You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD.")

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs, from those of the inputs."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @staticmethod
    def vmap(info: VmapInfo, in_dims: tuple, *arguments: Any) -> Any:
        """The operation on a batch, and where the batch is in its outputs."""
        raise NotImplementedError("Function.vmap is not implemented.")

    @classmethod
    def apply(cls, *arguments: Any, **named: Any) -> Any:
        """Run the operation and record it."""
        if any(isinstance(x, Tensor) and isinstance(x._value, jax.core.Tracer) for x in arguments):
            return cls._apply_traced(arguments, named)
        ctx, output = cls._run_forward(arguments, named, tuple(isinstance(x, Tensor) and x._node is not None and mode.grad for x in arguments))
        if not (mode.grad and any(ctx.needs_input_grad)):
            return output
        outputs = list(output) if isinstance(output, tuple) else [output]
        positions, edges = edges_of(arguments)
        node = _FunctionNode(cls, ctx, positions, edges, outputs, [(arguments[p].shape, arguments[p]._value.dtype) for p in positions])
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
    def _run_forward(cls, arguments: Sequence[Any], named: dict[str, Any], needed: tuple[bool, ...]) -> tuple[FunctionCtx, Any]:
        ctx = FunctionCtx()
        ctx.needs_input_grad = needed
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                output = cls._mapped(arguments, named) if cls.vmap is not Function.vmap else cls.forward(*arguments, **named)
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
        for g in gradients:
            if g is not None and not isinstance(g, Tensor | jax.Array):
                raise AutogradError(f"{cls.__name__}.backward: expected Variable or None (got {type(g).__name__})")
        return [g if g is None or isinstance(g, Tensor) else wrap(g) for g in gradients]

    @classmethod
    def _fitted(cls, gradient: Any, index: int, shape: Any, dtype: Any) -> Any:
        """A gradient in the shape and dtype of its input: what was broadcast is summed."""
        if gradient is None:
            return None
        if tuple(gradient.shape) != tuple(shape):
            try:
                fits = np.broadcast_shapes(tuple(gradient.shape), tuple(shape)) == tuple(gradient.shape)
            except ValueError:
                fits = False
            if not fits:
                raise AutogradError(
                    f"Function {cls.__name__}Backward returned an invalid gradient at index {index} - got {list(gradient.shape)} but expected shape compatible with {list(shape)}"
                )
            gradient = gradient.sum_to_size(shape)
        return gradient.to(dtype) if gradient._value.dtype != dtype else gradient

    @classmethod
    def _mapped(cls, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        """`forward`, for which `vmap` stands under `nr.vmap`."""
        places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
        if not any(isinstance(arguments[i]._value, jax.core.Tracer) for i in places):
            return cls.forward(*arguments, **named)
        kept: list[Any] = []

        def filled(values: Sequence[Any]) -> list[Any]:
            inputs = list(arguments)
            for place, value in zip(places, values, strict=True):
                inputs[place] = wrap(value)
            return inputs

        def taken_apart(output: Any) -> list[Any]:
            leaves, structure = jax.tree.flatten(output, is_leaf=_is_tensor)
            kept[:] = structure, [None if _is_tensor(y) else y for y in leaves]
            return [y._value for y in leaves if _is_tensor(y)]

        @jax.custom_batching.custom_vmap
        def forward(*values: Any) -> Any:
            return taken_apart(cls.forward(*filled(values), **named))

        @forward.def_vmap
        def _(size: int, batched: Any, *values: Any) -> Any:
            dims: list[Any] = [None] * len(arguments)
            for place, is_batched in zip(places, batched, strict=True):
                dims[place] = 0 if is_batched else None
            output, out_dims = cls.vmap(VmapInfo(size, "error"), tuple(dims), *filled(values))
            found = taken_apart(output)
            out_dims = list(out_dims) if isinstance(out_dims, tuple | list) else [out_dims] * len(found)
            moved = [y if d is None else jax.numpy.moveaxis(y, d, 0) for y, d in zip(found, out_dims, strict=True)]
            return moved, [d is not None for d in out_dims]

        found = iter(forward(*[arguments[i]._value for i in places]))
        structure, others = kept
        return jax.tree.unflatten(structure, [wrap(next(found)) if x is None else x for x in others])

    @classmethod
    def _apply_traced(cls, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
        """Inside a transformation: as a `jax.custom_vjp`, so that JAX's own gradients take the user's backward too."""
        places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
        kept: dict[str, Any] = {}
        needed = tuple(isinstance(x, Tensor) and x._node is not None for x in arguments)
        if mode.deferred or not any(needed):  # JAX differentiates, and does not say by what
            needed = tuple(isinstance(x, Tensor) and x._value.dtype.kind in "fcV" for x in arguments)

        def run(*values: Any) -> tuple[FunctionCtx, list[Any]]:
            inputs = list(arguments)
            for place, value in zip(places, values, strict=True):
                inputs[place] = wrap(value)
            ctx, output = cls._run_forward(inputs, named, needed)
            kept["tuple"] = isinstance(output, tuple)
            outputs = list(output) if isinstance(output, tuple) else [output]
            kept["dtypes"] = [y._value.dtype for y in outputs if isinstance(y, Tensor)]
            kept["others"] = [None if isinstance(y, Tensor) else (y,) for y in outputs]
            kept["constant"] = [any(y is x for x in ctx._non_differentiable) for y in outputs if isinstance(y, Tensor)]
            return ctx, [y for y in outputs if isinstance(y, Tensor)]

        def primal(*values: Any) -> Any:
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
            with dtypes.x64():
                given = [jax.numpy.zeros(c.shape, d) if c.dtype == jax.dtypes.float0 else _conjugate(c) for c, d in zip(cotangents, kept["dtypes"], strict=True)]
            remaining = iter(given)
            arrived = [wrap(next(remaining)) if other is None else None for other in kept["others"]]
            gradients = cls._gradients(restored, arrived, len(arguments))
            result = []
            for place in places:
                x = arguments[place]
                g = cls._fitted(gradients[place], place, x.shape, x.dtype.dtype)
                with dtypes.x64():
                    result.append(jax.numpy.zeros(x.shape, x.dtype.dtype) if g is None else _conjugate(g._value))
            return tuple(result)

        if mode.forward and cls.jvp is not Function.jvp:
            function = cls._with_tangents(run, arguments, places)
        else:
            function = jax.custom_vjp(primal)
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
        for output, constant in zip(outputs, kept["constant"], strict=True):
            if constant:
                output._node = None
        found = iter(outputs)
        everything = [next(found) if other is None else other[0] for other in kept["others"]]
        return tuple(everything) if kept["tuple"] else everything[0]

    @classmethod
    def _with_tangents(cls, run: Callable, arguments: Sequence[Any], places: Sequence[int]) -> Callable:
        """The operation as a `jax.custom_jvp`, for a derivative in forward mode."""

        @jax.custom_jvp
        def function(*values: Any) -> Any:
            return tuple(y._value for y in run(*values)[1])

        @function.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            ctx, outputs = run(*primals)
            if ctx._saved_for_forward is not None:
                ctx._saved = ctx._saved_for_forward
            given: list[Any] = [None] * len(arguments)
            for place, value, tangent in zip(places, primals, tangents, strict=True):
                given[place] = wrap(tangent if tangent.dtype == value.dtype else jax.numpy.zeros(value.shape, value.dtype))
            returned = cls.jvp(ctx, *given)
            returned = list(returned) if isinstance(returned, tuple | list) else [returned]
            if len(returned) < len(outputs):
                raise AutogradError(f"{cls.__name__}.jvp must return a tangent or None for each of the {len(outputs)} outputs, but returned {len(returned)}")
            values = tuple(y._value for y in outputs)
            return values, tuple(_tangent(t, v) for t, v in zip(returned, values, strict=False))

        return function


def _conjugate(x: Any) -> Any:
    return jax.numpy.conj(x) if x.dtype.kind == "c" else x


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def _tangent(tangent: Any, value: Any) -> Any:
    if value.dtype.kind not in "fcV":
        return np.zeros(value.shape, jax.dtypes.float0)
    return jax.numpy.zeros(value.shape, value.dtype) if tangent is None else jax.numpy.broadcast_to(tangent._value.astype(value.dtype), value.shape)


class _FunctionNode(Node):
    """The node of a `Function`: its backward runs in Python, so the pass goes step by step."""

    __slots__ = ("function", "shapes", "inputs", "of_inputs")

    def __init__(self, function: type[Function], ctx: FunctionCtx, positions: tuple[int, ...], edges: list[Any], outputs: list[Any], of_inputs: list[Any]):
        super().__init__(None, ctx, positions, edges, self._pull_back, len(outputs), current_trace() is not None)
        self.function = function
        self.shapes = [(y._value.shape, y._value.dtype) if isinstance(y, Tensor) else None for y in outputs]
        self.inputs = len(ctx.needs_input_grad)
        self.of_inputs = of_inputs

    def _pull_back(self, arrived: list[Any]) -> list[Any]:
        ctx = self.values
        cotangents = list(arrived)
        for i, value in enumerate(cotangents):
            shape_and_dtype = self.shapes[i]
            if value is None and ctx._materialize and shape_and_dtype is not None:
                with dtypes.x64():
                    cotangents[i] = wrap(jax.numpy.zeros(*shape_and_dtype))
        gradients = self.function._gradients(ctx, cotangents, self.inputs)
        return [self.function._fitted(gradients[p], p, *of_input) for p, of_input in zip(self.positions, self.of_inputs, strict=True)]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        if self.values is None:
            raise AutogradError("Trying to directly access saved tensors after they have already been freed. Specify retain_graph=True.")
        return self.values.saved_tensors

    def name(self) -> str:
        return self.function.__name__ + "Backward"


def once_differentiable(function: Callable) -> Callable:
    """Decorator of a `backward` that is not itself differentiable: a second derivative through it raises."""

    @functools.wraps(function)
    def once(ctx: Any, *arguments: Any) -> Any:
        with no_grad():
            returned = function(ctx, *arguments)
        if not (mode.grad and any(isinstance(x, Tensor) and x._node is not None for x in arguments)):
            return returned
        tensors = [x for x in (returned if isinstance(returned, tuple) else (returned,)) if isinstance(x, Tensor) and x._value.dtype.kind in "fcV"]

        def refuse(arrived: Any) -> Any:
            raise AutogradError("trying to differentiate twice a function that was marked with @once_differentiable")

        positions, edges = edges_of(arguments)
        node = _OnceNode(None, (), positions, edges, refuse, len(tensors), current_trace() is not None)
        again = {id(x): wrap(x._value) for x in tensors}
        for index, tensor in enumerate(again.values()):
            tensor._node, tensor._index = node, index
        return tuple(again.get(id(x), x) for x in returned) if isinstance(returned, tuple) else again.get(id(returned), returned)

    return once


class _OnceNode(Node):
    """The node of a gradient that has no gradient of its own."""

    __slots__ = ()

    def name(self) -> str:
        return "DelayedError"
