"""`custom_jvp` and `custom_vjp`: functions with derivatives of one's own, by JAX's interface, over Tensors, Modules and any pytree. On the tape each call is one operation."""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..autograd.graph import Node, deferred, mode
from ..cells import Cell, Leaf, StateTrace, current_trace
from ..dispatch import Kernel, call, edges_of
from ..errors import ArgumentError, ArgumentTypeError, AutogradError
from ..parameter import CellTensor, Parameter
from ..tensor import Tensor, wrap
from .closure import Closure, Inputs, Outputs, eagerly, is_traced, run, write
from .environment import Environment, cells_around
from .jit import _join, _opaque, _split_in_order
from .lift import is_tensor, modules_in, value_of
from .over_modules import OverModules

__all__ = ["custom_jvp", "custom_vjp"]


class _Custom:
    """What both share: the function, and which of its arguments have no derivative."""

    def __init__(self, fun: Callable, nondiff_argnums: Sequence[int] = ()):
        if not callable(fun):
            raise ArgumentTypeError(f"{type(self).__name__} takes a function, got {type(fun).__name__}")
        self.fun = fun
        self._over_modules: OrderedDict[Any, _Custom] = OrderedDict()
        self.nondiff_argnums = tuple(sorted((nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums))
        functools.update_wrapper(self, fun, updated=())
        self.__name__ = getattr(fun, "__name__", type(fun).__name__)

    def _rules(self) -> tuple[Callable, ...]:
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        fixed = (type(self), self.__name__, self.nondiff_argnums)
        functions = (self.fun, *self._rules())
        if kwargs:
            args = _positional(self.fun, args, kwargs)
        if any(modules_in(a) for i, a in enumerate(args) if i not in self.nondiff_argnums):
            return self._of_modules(args)
        args = jax.tree.map(_as_operand, args, is_leaf=_opaque)
        if is_traced(functions, args):
            return _called(functions, (*fixed, False), args)[0]
        returned, reached = eagerly(_called, functions, (*fixed, True), args)
        if reached is None or not mode.grad:
            return returned
        refusing = _refusing(self.__name__, [*reached.cells, *(t for t in Environment(functions).tensors if t._node is not None)])
        return jax.tree.map(lambda y: call(_TIED, (y, refusing)) if is_tensor(y) and y._node is not None else y, returned, is_leaf=is_tensor)

    def _of_modules(self, args: tuple) -> Any:
        """Call the function with modules among the arguments; for modules that it has met, by the programs that there are."""
        over = OverModules(self.nondiff_argnums, args)
        key = (self._rules(), over.key)
        derived = self._over_modules.get(key)
        if derived is None:
            derived = self._over_modules[key] = self._derived(over)
            derived.__name__ = self.__name__
            if len(self._over_modules) > _KEPT:
                self._over_modules.popitem(last=False)
        return derived(*over.given)

    def _derived(self, over: OverModules) -> _Custom:
        """The same as a function of tensors, those of the modules among them."""
        raise NotImplementedError

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


_KEPT = 16


def _as_operand(x: Any) -> Any:
    """An argument; a parameter as a tensor in its place in the graph."""
    if not isinstance(x, CellTensor):
        return x
    tensor = wrap(x._value)
    tensor._node = x._node
    return tensor


def _positional(function: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple:
    import inspect

    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        raise ArgumentTypeError(f"{getattr(function, '__name__', 'the function')} has keyword-only arguments {sorted(bound.kwargs)}, which a function with its own derivative cannot have")
    return bound.args


def _called(functions: Sequence[Callable], fixed: tuple, args: tuple) -> tuple[Any, _Reached | None]:
    """(the call as one operation whose derivative is the user's; the cells around it that have a gradient which the rule does not give, if there are any)"""
    kind, name, nondiff, eager = fixed
    structure, marks, leaves = _split_in_order(args, {})
    with _watched([functions[0], args]):
        closure = Closure(name, lambda *inside: functions[0](*_join(structure, marks, inside)[0]), leaves, [functions[0], args])
    one = _Call(name, functions, nondiff, closure, structure, marks, leaves)
    written = [c for c, aval in closure.writes.items() if aval is not None]
    around: list[Any] = [*closure.reads, *closure.captured]
    reaches = any(closure.flags([False] * len(leaves))[0])  # whether a gradient would flow to something around the function
    recorded = reaches and any(isinstance(x, Tensor) and x._node is not None for x in around)
    refusing = [_refusing(name, around)] if recorded and not eager else []
    inputs = _Separate(list(closure.reads), closure.captured, [*leaves, *refusing])
    count = len(around)

    def primal(cells: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
        given, captured, operands = inputs.split([*cells, *values])
        outputs, new = closure(given, captured, operands)
        return outputs, [new[c] for c in written]

    differentiable = kind._derive(primal, one)
    guard = _guard(name) if reaches and not eager else jax.lax.stop_gradient

    def pure(*values: Any) -> tuple:
        outputs, new = differentiable([guard(v) if v.dtype.kind in "fcV" else v for v in values[:count]], list(values[count : count + len(leaves)]))
        return *outputs, *new

    needs = recorded or any(isinstance(x, Tensor) and x._node is not None for x in leaves)
    flags = [needs and np.dtype(aval.dtype).kind in "fcV" for aval in closure.outputs.avals]
    results = run(name, pure, inputs, [*flags, *([False] * len(written))])
    write(written, results[len(flags) :])
    return closure.outputs.unpack(results[: len(flags)]), _Reached(list(closure.reads)) if recorded else None


class _Reached:
    """Cells that gradients would flow to."""

    def __init__(self, cells: list[Cell]):
        self.cells = cells


_TIED = Kernel("custom_rule", lambda output, refusing: output, linear=True)


@contextlib.contextmanager
def _watched(around: Sequence[Any]) -> Iterator[None]:
    """For the duration of a `with` block parameters to which JAX may differentiate, those of a `functional_call`, are followed as if they required grad."""
    cells = [c for c in cells_around(around) if isinstance(c, Parameter) and c._node is None and isinstance(c._value, jax.core.Tracer)]
    for cell in cells:
        cell.__dict__["_node"] = Leaf(traced=True)
    try:
        yield
    finally:
        for cell in cells:
            cell.__dict__["_node"] = None


class _Separate(Inputs):
    """Inputs of which cells and captured tensors are no part of the graph: a rule gives gradients to arguments only."""

    def tensors(self) -> list[Any]:
        """All, as the tape takes them."""
        outer = [*(c if isinstance(c, CellTensor) else c._read() for c in self.cells), *self.captured]
        return [*(wrap(value_of(x)) for x in outer), *self.operands]


def _refusal(name: str) -> AutogradError:
    return AutogradError(
        f"{name}: a gradient would flow to a parameter or tensor that the function takes from around it, and its own rule gives gradients to its arguments only. Make it an "
        "argument of the function (of a module, its parameters: dict(module.named_parameters()), for functional_call), or write .detach() where the function uses it."
    )


class _Refusing(Node):
    """The node between a function with its own rule and the parameters around it, to which the rule gives no gradient."""

    __slots__ = ()

    def name(self) -> str:
        return "ClosedOverBackward0"


def _refusing(name: str, around: Sequence[Any]) -> Tensor:
    """A further operand, empty, from which a backward pass reaches parameters around the function, and says that it cannot."""

    def refuse(arrived: Any) -> Any:
        raise _refusal(name)

    positions, edges = edges_of(around)
    tensor = wrap(np.zeros(0, np.float32))
    tensor._node = _Refusing(None, (), positions, edges, refuse, 1, current_trace() is not None)
    return tensor


def _guard(name: str) -> Callable:
    """The identity, which JAX's own derivatives do not pass."""
    guarded = jax.custom_vjp(lambda x: x)

    def refuse(_: None, cotangent: Any) -> Any:
        raise _refusal(name)

    guarded.defvjp(lambda x: (x, None), refuse)
    return guarded


class _Call:
    """One call: how its arguments and outputs are packed, and the user's rules on arrays."""

    def __init__(self, name: str, functions: Sequence[Callable], nondiff: tuple[int, ...], closure: Closure, structure: Any, marks: list[Any], leaves: list[Any]):
        self.name, self.rules, self.nondiff, self.closure = name, functions[1:], nondiff, closure
        self.structure, self.marks, self.leaves = structure, marks, leaves
        self.caller_x64 = jax.config.jax_enable_x64
        self.places = [[x for x in jax.tree.leaves(p, is_leaf=is_tensor) if isinstance(x, int)] for p in self._of_leaves(range(len(leaves)))]

    def _of_leaves(self, leaves: Any) -> tuple:
        """The arguments, with their traced leaves replaced, and everything else out of the way."""
        flat = [_Fixed() if not isinstance(mark, str) else None for mark in self.marks]
        remaining = iter(leaves)
        flat = [x if isinstance(x, _Fixed) else next(remaining) for x in flat]
        return tuple(flat) if self.structure is None else self.structure.unflatten(flat)[0]

    def arguments(self, values: Sequence[Any]) -> tuple:
        """The arguments of the user's function, of arrays."""
        inside = [wrap(v) if isinstance(x, Tensor) else v for x, v in zip(self.leaves, values, strict=True)]
        return _join(self.structure, self.marks, inside)[0]

    def split(self, arguments: Sequence[Any]) -> tuple[list[Any], tuple]:
        """(the arguments without derivative, the others)"""
        return [arguments[i] for i in self.nondiff], tuple(a for i, a in enumerate(arguments) if i not in self.nondiff)

    def run_rule(self, rule: Callable, *arguments: Any) -> Any:
        """Call a rule; what it writes to cells is dropped, for the function wrote it."""
        with StateTrace(), deferred(), jax.enable_x64(self.caller_x64):
            return rule(*arguments)

    def tangents(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple:
        """Tangents in the structure of the arguments that have a derivative."""
        return self.split(self.arguments([_as_tangent(t, v) for t, v in zip(tangents, values, strict=True)]))[1]

    def packed(self, returned: Any, what: str) -> list[Any]:
        """The arrays of outputs, or of their tangents or cotangents, in the structure of the function's output."""
        outputs = Outputs(returned, self.name)
        if outputs.structure != self.closure.outputs.structure:
            raise ArgumentTypeError(f"{self.name}: {what} must have the structure of the function's output, {self.closure.outputs.structure}, but has {outputs.structure}")
        for path, value, aval in zip(outputs.paths, outputs.values, self.closure.outputs.avals, strict=True):
            if value.shape != aval.shape:
                raise ArgumentTypeError(f"{self.name}: {what}{path} has shape {list(value.shape)}, and the function's output {list(aval.shape)}")
        return outputs.values

    def gradients(self, returned: Any, values: Sequence[Any]) -> list[Any]:
        """The cotangents of all leaves, from what a `bwd` rule returned: one gradient or `None` for each argument that has a derivative."""
        wanted = [i for i in range(len(self.places)) if i not in self.nondiff]
        returned = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
        if len(returned) != len(wanted):
            raise AutogradError(f"{self.name}: bwd must return a gradient or None for each of the {len(wanted)} arguments, but returned {len(returned)}")
        found: list[Any] = [None] * len(values)
        for number, gradient in zip(wanted, returned, strict=True):
            if gradient is None:
                continue
            parts = jax.tree.leaves(gradient, is_leaf=lambda x: x is None or is_tensor(x))
            if len(parts) != len(self.places[number]):
                raise AutogradError(f"{self.name}: bwd returned {len(parts)} gradients for argument {number}, which has {len(self.places[number])} tensors")
            for place, part in zip(self.places[number], parts, strict=True):
                if part is not None:
                    array = value_of(part)
                    if array.shape != values[place].shape:
                        raise AutogradError(f"{self.name}: bwd returned a gradient of shape {list(array.shape)} for argument {number}, which has {list(values[place].shape)}")
                    found[place] = array
        return [_cotangent(g, v) for g, v in zip(found, values, strict=True)]


class _Fixed:
    """A place in the arguments without a traced leaf."""


def _as_tangent(tangent: Any, value: Any) -> Any:
    return jnp.zeros(value.shape, value.dtype) if tangent.dtype == jax.dtypes.float0 else tangent


def _cotangent(gradient: Any, value: Any) -> Any:
    if value.dtype.kind not in "fcV":
        return np.zeros(value.shape, jax.dtypes.float0)
    return jnp.zeros(value.shape, value.dtype) if gradient is None else _conjugate(gradient.astype(value.dtype))


def _conjugate(x: Any) -> Any:
    return jnp.conj(x) if x.dtype.kind == "c" else x


def _float0_for_integers(tangents: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    return [t.astype(v.dtype) if v.dtype.kind in "fcV" else np.zeros(v.shape, jax.dtypes.float0) for t, v in zip(tangents, values, strict=True)]


class custom_jvp(_Custom):  # noqa: N801 (JAX's name)
    """A function whose derivative in forward mode is given; that in reverse mode follows from it.

    Args:
        fun: a function of tensors, arrays, modules or pytrees of them. Its rule gives them their gradients; a parameter or tensor that it takes from around it
            gets none, and a backward pass that would reach one raises. For a module the rule is given a module whose parameters hold tangents.
        nondiff_argnums: numbers of arguments that have no derivative; the rule gets them first.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.custom_jvp
        ... def log1pexp(x):
        ...     return (1 + x.exp()).log()
        >>> @log1pexp.defjvp
        ... def rule(primals, tangents):
        ...     (x,), (t,) = primals, tangents
        ...     return log1pexp(x), x.sigmoid() * t
        >>> nr.grad(log1pexp)(nr.tensor(100.0))
        tensor(1.)
    """

    rule: Callable | None = None

    def defjvp(self, jvp: Callable) -> Callable:
        """Set the rule: of ``(primals, tangents)``, tuples of the arguments, to ``(output, tangent)``."""
        self.rule = jvp
        return jvp

    def defjvps(self, *jvps: Callable | None) -> None:
        """Set a rule for each argument: of ``(tangent, output, *arguments)`` to the output's tangent, or `None` for none."""

        def rule(*given: Any) -> Any:
            *fixed, primals, tangents = given
            output = self(*primals)
            parts = [jvp(t, output, *primals) for jvp, t in zip(jvps, tangents, strict=True) if jvp is not None]
            if not parts:
                return output, jax.tree.map(lambda x: x * 0, output, is_leaf=is_tensor)
            return output, functools.reduce(lambda a, b: jax.tree.map(lambda x, y: x + y, a, b, is_leaf=is_tensor), parts)

        if self.nondiff_argnums:
            raise ArgumentError("defjvps does not take functions with nondiff_argnums; write defjvp")
        self.rule = rule

    def _rules(self) -> tuple[Callable, ...]:
        if self.rule is None:
            raise AttributeError(f"No JVP defined for custom_jvp function {self.__name__} using defjvp.")
        return (self.rule,)

    def _derived(self, over: OverModules) -> _Custom:
        derived = custom_jvp(functools.partial(over.function, self.fun), over.nondiff_argnums)
        derived.defjvp(functools.partial(over.tangent_rule, *self._rules()))
        return derived

    @staticmethod
    def _derive(primal: Callable, call: _Call) -> Callable:
        differentiable = jax.custom_jvp(primal)

        @differentiable.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            cells, values = primals
            fixed, arguments = call.split(call.arguments(values))
            returned = call.run_rule(call.rules[0], *fixed, arguments, call.tangents(values, tangents[1]))
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                raise ArgumentTypeError(f"{call.name}: the rule must return a pair (output, tangent)")
            new = primal(cells, values)[1]
            outputs = call.packed(returned[0], "the rule's output")
            outputs = [o.astype(a.dtype) for o, a in zip(outputs, call.closure.outputs.avals, strict=True)]
            tangent = _float0_for_integers(call.packed(returned[1], "the rule's tangent"), outputs)
            zeros = [jnp.zeros(v.shape, v.dtype) if v.dtype.kind in "fcV" else np.zeros(v.shape, jax.dtypes.float0) for v in new]
            return (outputs, new), (tangent, zeros)

        return differentiable


class custom_vjp(_Custom):  # noqa: N801 (JAX's name)
    """A function whose gradient is given.

    Args:
        fun: a function of tensors, arrays, modules or pytrees of them. Its rule gives them their gradients; a parameter or tensor that it takes from around it
            gets none, and a backward pass that would reach one raises.
        nondiff_argnums: numbers of arguments that have no gradient; `bwd` gets them first.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.custom_vjp
        ... def clipped_gradient(x):
        ...     return x
        >>> clipped_gradient.defvjp(lambda x: (x, None), lambda residuals, g: (g.clamp(-1, 1),))
        >>> x = nr.tensor([1.0, 2.0], requires_grad=True)
        >>> (5 * clipped_gradient(x)).sum().backward()
        >>> x.grad
        tensor([1., 1.])
    """

    forward: Callable | None = None
    backward: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Set the rules.

        Args:
            fwd: of the arguments, to ``(output, residuals)``.
            bwd: of ``(residuals, gradient of the output)``, to a tuple with a gradient, or `None`, for each argument. That of a module is a dict of its parameters'
                names, or a module whose parameters hold gradients, as `grad` gives it.
        """
        self.forward, self.backward = fwd, bwd

    def _rules(self) -> tuple[Callable, ...]:
        if self.forward is None or self.backward is None:
            raise AttributeError(f"No VJP defined for custom_vjp function {self.__name__} using defvjp.")
        return self.forward, self.backward

    def _derived(self, over: OverModules) -> _Custom:
        forward, backward = self._rules()
        derived = custom_vjp(functools.partial(over.function, self.fun), over.nondiff_argnums)
        derived.defvjp(functools.partial(over.forward_rule, forward), functools.partial(over.backward_rule, backward))
        return derived

    @staticmethod
    def _derive(primal: Callable, call: _Call) -> Callable:
        differentiable = jax.custom_vjp(primal)
        kept: dict[str, Any] = {}

        def forward(cells: list[Any], values: list[Any]) -> Any:
            returned = call.run_rule(call.rules[0], *call.arguments(values))
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                raise ArgumentTypeError(f"{call.name}: fwd must return a pair (output, residuals)")
            outputs = [o.astype(a.dtype) for o, a in zip(call.packed(returned[0], "the output of fwd"), call.closure.outputs.avals, strict=True)]
            leaves, structure = jax.tree.flatten(returned[1], is_leaf=is_tensor)
            kept["residuals"] = structure, [x if not hasattr(x, "dtype") else _Tensor if isinstance(x, Tensor) else None for x in leaves]
            new = primal(cells, values)[1]
            return (outputs, new), (cells, values, [value_of(x) for x in leaves if hasattr(x, "dtype")])

        def backward(residuals: Any, cotangents: Any) -> Any:
            cells, values, arrays = residuals
            structure, kinds = kept["residuals"]
            left = iter(arrays)
            leaves = [wrap(next(left)) if k is _Tensor else next(left) if k is None else k for k in kinds]
            outputs = call.closure.outputs
            given = [wrap(jnp.zeros(a.shape, a.dtype) if c.dtype == jax.dtypes.float0 else _conjugate(c)) for c, a in zip(cotangents[0], outputs.avals, strict=True)]
            fixed, _ = call.split(call.arguments(values))
            returned = call.run_rule(call.rules[1], *fixed, jax.tree.unflatten(structure, leaves), outputs.unpack(given))
            return [_cotangent(None, v) for v in cells], call.gradients(returned, values)

        differentiable.defvjp(forward, backward)
        return differentiable


_Tensor = object()
