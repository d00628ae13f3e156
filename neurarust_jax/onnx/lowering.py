"""From jaxprs to nodes.

An equation that stands for a call of an op goes to the op's converter; where there is none, what the op computes is entered, down to JAX's primitives, for each of which
a function under `@primitive` says its nodes. Equations over constants are computed here and now.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .. import dtypes
from .builder import Graph, UnsupportedOpError, Value
from .dimensions import is_symbolic
from .tracing import Call, Traced, fixed_shape_needed

CONVERTERS: dict[str, Callable[..., Any]] = {}
"""By an op's name in `nr`: a function of the graph and, by name, the op's arguments. It returns a value for each output, or `None` to let the op be entered."""

PRIMITIVES: dict[str, Callable[..., Any]] = {}
"""By a primitive's name: a function of the `Lowering`, the equation and the values of its inputs, which returns a value or a list of them."""

SHAPES: dict[str, Callable[..., Any]] = {}
"""By an op's name: a function of the types of its traced arguments and of its static arguments, which gives its output's type where a dimension is open, or `None`. Of
other ops that cannot be traced then, the types are found from samples."""

_ENTERED = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr", "custom_lin": "jaxpr", "composite": "jaxpr",
}  # fmt: skip
_IDENTITIES = {"stop_gradient", "copy", "copy_p", "optimization_barrier", "sharding_constraint", "name", "pvary", "reduce_precision_identity"}
_FOLDED_AT_MOST = 1 << 20  # elements


@dataclasses.dataclass(frozen=True)
class Case:
    """An example of what a converter makes.

    Attributes:
        code: an expression over `nr`, `F`, `nn` and the inputs.
        nodes: the operators of the nodes that it becomes, sorted, with spaces between.
        inputs: shape and kind of each input by name.
        opset: at which it is so.
    """

    code: str
    nodes: str
    inputs: dict[str, Any]
    opset: int = 18


CASES: dict[str, list[Case]] = {}
"""The examples of each converter, by the first of its names."""


def case(code: str, nodes: str, opset: int = 18, **inputs: Any) -> Case:
    """An example: `inputs` are shapes of normal numbers, or ``(limit, *shape)`` behind the word `"below"` for integers, or ``(*shape,)`` behind `"bool"`."""
    return Case(code, nodes, inputs, opset)


def converter(*names: str, cases: Sequence[Case] = ()) -> Callable[[Callable], Callable]:
    """Register a function as the converter of ops.

    It is called with the graph and the op's arguments by name: a `Value`, `None`, or a list of values for the traced ones, Python values for the others. It says what each
    output is: a value or a sequence of them, or `None` to let the op's own primitives be lowered. `graph.results` holds the types that the outputs must have.

    Args:
        names: the ops' names in `nr`.
        cases: examples, which the tests export, run and compare.
    """

    def register(function: Callable) -> Callable:
        for name in names:
            CONVERTERS[name] = function
        CASES.setdefault(names[0], []).extend(cases)
        return function

    return register


def primitive(*names: str) -> Callable[[Callable], Callable]:
    """Register a function as what primitives become: it takes the `Lowering`, the equation, and its inputs' values, and returns its outputs' values."""

    def register(function: Callable) -> Callable:
        for name in names:
            PRIMITIVES[name] = function
        return function

    return register


class Lowering:
    """Writes jaxprs into a graph.

    Args:
        graph: the graph.
        traced: the record that the jaxpr comes from.
        weights: by the identity of arrays (the name of the parameter or buffer, whether it is a parameter).

    Attributes:
        op: the op that is being entered, for messages.
    """

    def __init__(self, graph: Graph, traced: Traced, weights: dict[int, tuple[str, bool]]):
        self.graph = graph
        self.traced = traced
        self.weights = weights
        self.op: Call | None = None

    def within(self, graph: Graph) -> Lowering:
        """The same for the graph of a branch or loop body."""
        inner = Lowering(graph, self.traced, self.weights)
        inner.op = self.op
        return inner

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a jaxpr whose inputs have these values.

        Args:
            jaxpr: an open jaxpr.
            consts: arrays or values for its constants.
            inputs: values for its inputs.
        """
        env: dict[Any, Value] = {}
        for variable, const in zip(jaxpr.constvars, consts, strict=True):
            env[variable] = const if isinstance(const, Value) else self.constant(const)
        env.update(zip(jaxpr.invars, inputs, strict=True))
        for equation in jaxpr.eqns:
            outputs = self.equation(equation, [self.read(env, atom) for atom in equation.invars])
            for variable, value in zip(equation.outvars, outputs, strict=True):
                env[variable] = value
        return [self.read(env, atom) for atom in jaxpr.outvars]

    def run_closed(self, closed: Any, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a closed jaxpr."""
        return self.run(closed.jaxpr, closed.consts, inputs)

    def read(self, env: dict[Any, Value], atom: Any) -> Value:
        """The value of a variable or literal."""
        return self.constant(atom.val, atom.aval.dtype) if hasattr(atom, "val") else env[atom]

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """An array as a constant; parameters and buffers under their own names."""
        known = self.weights.get(id(array))
        if known is None:
            return self.graph.constant(_as_numpy(array), None if dtype is None or jax.numpy.issubdtype(dtype, jax.dtypes.extended) else dtype)
        name, learned = known
        found = self.graph.values.get(name)
        return self.graph.weight(name, np.asarray(array), learned) if found is None else found

    # --- one equation ----------------------------------------------------------------------------------------------------

    def equation(self, equation: Any, inputs: list[Value]) -> list[Value]:
        """The outputs of an equation."""
        call = self.traced.call_of(equation)
        outer_scope, outer_op = self.graph.scope, self.op
        if call is not None:
            self.graph.scope, self.op = call.name.strip("_").rpartition(".")[2], call
        try:
            outputs = self._outputs(equation, call, inputs)
        finally:
            self.graph.scope, self.op = outer_scope, outer_op
        for value, variable in zip(outputs, equation.outvars, strict=True):
            if value.name and not jax.numpy.issubdtype(variable.aval.dtype, jax.dtypes.extended):
                self._check(value, variable.aval, equation, call)
        return outputs

    def _check(self, value: Value, aval: Any, equation: Any, call: Call | None) -> None:
        if value.dtype != aval.dtype:
            raise AssertionError(f"the converter of {call.name if call else equation.primitive.name} made {value.dtype} of what is {aval.dtype}")
        self.graph.declare(value, aval.shape, aval.dtype)

    def _outputs(self, equation: Any, call: Call | None, inputs: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if self._is_foldable(equation, call, inputs):
            folded = self._folded(equation, inputs)
            if folded is not None:
                return folded
        if call is not None:
            outputs = self._converted(equation, call, inputs)
            if outputs is not None:
                return outputs
            if call.draws:
                warnings.warn(f"nr.{call.name.strip('_')} has no operator in ONNX: the exported model draws the same random numbers at every run", stacklevel=2)
            if call.opaque:
                raise fixed_shape_needed(call.name, call.opaque)
        if name in PRIMITIVES:
            outputs = PRIMITIVES[name](self, equation, *inputs)
            return [outputs] if isinstance(outputs, Value) else list(outputs)
        if name in _IDENTITIES:
            return inputs
        if name in _ENTERED:
            return self._entered(equation.params[_ENTERED[name]], inputs)
        if name == "convert_element_type":
            return [self.graph.cast(inputs[0], equation.outvars[0].aval.dtype)]
        if name == "dim_as_value":
            return [self.graph.cast(self.graph.scalar_dim(equation.params["dim"]), equation.outvars[0].aval.dtype)]
        within = f" in nr.{self.op.name}" if self.op is not None else ""
        raise UnsupportedOpError(f"JAX's primitive {name!r}{within} has no form in ONNX here: {equation}")

    def _entered(self, jaxpr: Any, inputs: list[Value]) -> list[Value]:
        return self.run_closed(jaxpr, inputs) if hasattr(jaxpr, "consts") else self.run(jaxpr, (), inputs)

    def _converted(self, equation: Any, call: Call, inputs: list[Value]) -> list[Value] | None:
        function = CONVERTERS.get(call.name)
        if function is None:
            return None
        if any(np.dtype(v.aval.dtype).kind == "c" for v in (*equation.invars, *equation.outvars)):
            return None  # ONNX's operators take no complex numbers
        inputs = [dataclasses.replace(v, weak_type=True) if a.aval.weak_type else v for v, a in zip(inputs, equation.invars, strict=True)]
        arguments = {name: _at(place, inputs) for name, place in call.places.items()}
        self.graph.results = [v.aval for v in equation.outvars]
        outputs = function(self.graph, **arguments, **call.static)
        if outputs is None:
            return None
        return [outputs] if isinstance(outputs, Value) else list(outputs)

    # --- constants -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _is_foldable(equation: Any, call: Call | None, inputs: list[Value]) -> bool:
        """Whether the outputs can be computed now, and are not larger than worth it."""
        if any(v.constant is None for v in inputs) or (call is not None and (call.opaque or call.draws)) or equation.effects:
            return False
        if inputs and any(v.weight for v in inputs) and call is not None and call.name in CONVERTERS:
            return False
        sizes = [v.aval.shape for v in equation.outvars]
        if any(is_symbolic(d) for shape in sizes for d in shape) or _holds_symbol(equation.params):
            return False
        return sum(int(np.prod(s)) for s in sizes) <= max(_FOLDED_AT_MOST, sum(v.constant.size for v in inputs if v.constant is not None))

    def _folded(self, equation: Any, inputs: list[Value]) -> list[Value] | None:
        """The outputs computed here."""
        if any(jax.numpy.issubdtype(v.aval.dtype, jax.dtypes.extended) for v in (*equation.outvars, *equation.invars)):
            return None
        arrays = [v.constant for v in inputs]
        with jax.ensure_compile_time_eval(), dtypes.x64():
            function = jax.core.eval_jaxpr
            outputs = (
                equation.primitive.bind(*map(jax.numpy.asarray, arrays), **equation.params)
                if not _ENTERED.get(equation.primitive.name)
                else function(*_opened(equation.params[_ENTERED[equation.primitive.name]]), *map(jax.numpy.asarray, arrays))
            )
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        sources = [v for v in inputs if v.weight]
        if not sources:
            return [self.graph.constant(np.asarray(o)) for o in outputs]
        learned = any(v.learned for v in sources)
        return [self.graph.weight(f"{sources[0].name}.{self.graph.scope}", np.asarray(o), learned) for o in outputs]


def _opened(jaxpr: Any) -> tuple[Any, Any]:
    return (jaxpr.jaxpr, jaxpr.consts) if hasattr(jaxpr, "consts") else (jaxpr, ())


def _holds_symbol(params: Any) -> bool:
    if isinstance(params, dict):
        return any(map(_holds_symbol, params.values()))
    if isinstance(params, tuple | list):
        return any(map(_holds_symbol, params))
    if hasattr(params, "eqns") or hasattr(params, "jaxpr"):
        inner = params.jaxpr if hasattr(params, "jaxpr") else params
        return any(_holds_symbol(e.params) or any(is_symbolic(d) for v in e.outvars for d in getattr(v.aval, "shape", ())) for e in inner.eqns)
    return is_symbolic(params)


def _at(place: Any, inputs: list[Value]) -> Any:
    return [_at(p, inputs) for p in place] if isinstance(place, list) else None if place is None else inputs[place]


def _as_numpy(array: Any) -> np.ndarray:
    if isinstance(array, jax.Array) and jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
