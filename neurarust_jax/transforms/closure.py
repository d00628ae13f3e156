"""`Closure`: a user's function, with the cells it reads and writes, traced once to a pure function that `jax.lax`'s control flow takes.

A construct (a loop, a choice, a checkpoint) puts closures together into one pure function, and `run` makes it one operation on the tape. Eagerly a
construct is a compiled function: `eagerly` keeps one for each pair of construct and environment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import dtypes
from ..autograd.engine import can_be_walked, graph_behind
from ..autograd.graph import deferred, mode
from ..cells import Cell, Leaf, StateTrace, current_trace, next_in_sequence
from ..dispatch import Kernel, call
from ..errors import ArgumentTypeError, AutogradError
from ..generator import default_generator
from ..parameter import CellTensor
from ..tensor import Tensor, array_from, wrap
from .environment import Environment, cells_around, substituted
from .jit import CompiledFunction, _is_local, raw
from .lift import is_tensor, value_of
from .ordering import flatten, unordered

Aval = jax.ShapeDtypeStruct


class Outputs:
    """What a function returned, taken apart: arrays, and how to put such arrays together again.

    Attributes:
        tensors: for each leaf the Tensor, or `None` for an array.
        values: the arrays.
    """

    def __init__(self, returned: Any, name: str):
        leaves, self.ordered = flatten(returned, is_leaf=is_tensor)
        self.structure = unordered(self.ordered)
        for leaf in leaves:
            if not isinstance(leaf, Tensor) and not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float | complex):
                raise ArgumentTypeError(f"{name}: the function returned {leaf!r} of type {type(leaf).__name__}; expected tensors, arrays and numbers, in any structure")
        self.tensors = [x if isinstance(x, Tensor) else wrap(array_from(x)) if not isinstance(x, jax.Array) else None for x in leaves]
        self.values = [_strong(value_of(x)) for x in leaves]
        self.paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(returned, is_leaf=is_tensor)[0]]

    def forget(self) -> None:
        """Keep no tracer."""
        self.avals = [Aval(v.shape, v.dtype) for v in self.values]
        self.kinds = [t is not None for t in self.tensors]
        self.tensors, self.values = [], []

    def unpack(self, tensors: Sequence[Tensor]) -> Any:
        """The structure that was returned, of other tensors."""
        return self.ordered.unflatten([t if is_one else t._value for t, is_one in zip(tensors, self.kinds, strict=True)])


def _strong(value: Any) -> Any:
    return jax.lax.convert_element_type(value, value.dtype) if getattr(value, "weak_type", False) else value


def shaped(value: Any) -> Aval | None:
    """The shape and dtype of a value."""
    value = raw(value)
    return None if value is None else Aval(jnp.shape(value), value.dtype)


def peek(cell: Cell) -> Any:
    """The present value of a cell, without noting that it was read."""
    trace = current_trace()
    while trace is not None:
        if cell in trace.values:
            return trace.values[cell]
        trace = trace.parent
    return cell._state


class Closure:
    """A function of flat operands, traced for their shapes.

    Args:
        name: the construct's name, for errors.
        function: takes tensors and arrays as they are in `operands`, and returns a pytree.
        operands: a Tensor or array for each argument, whose kind and need of a gradient the function sees.
        avals: their shapes and dtypes inside. Default: their own.
        around: the user's functions, in whose closures cells and tensors are looked for.
        initial: shapes and dtypes that cells have inside, in place of their own.

    Attributes:
        reads: the cells that it reads, in order.
        writes: for each cell that it writes the shape and dtype of the new value.
        captured: plain tensors from outside that require grad, further inputs.
        outputs: what the function returned.
        depends: for each output and each new value of a cell `None` if it requires no grad whatever the operands do, else the numbers of the operands that it has its gradient
            from, -1 among them if it requires grad in any case.
    """

    def __init__(
        self, name: str, function: Callable, operands: Sequence[Any], around: Sequence[Any], avals: Sequence[Aval] | None = None, initial: dict[Cell, Aval] | None = None,
        watched: bool = False,
    ):  # fmt: skip
        self.name, self.function, self.operands = name, function, operands
        self.avals = [shaped(x) for x in operands] if avals is None else list(avals)
        self.initial = dict(initial or {})
        self.captured = [t for t in Environment(around).tensors if t._node is not None] if mode.grad else []
        self.watched = watched  # whether every floating-point operand is followed, as one that may come to require grad
        self.caller_x64 = jax.config.jax_enable_x64
        candidates = list(dict.fromkeys([default_generator, *cells_around(around), *self.initial]))
        missed_before: set[Cell] = set()
        while True:
            trace = self._trace(candidates)
            offered = set(candidates)
            missed = [c for c in trace.read_cells if c not in offered and not _is_local(c)]
            read = [c for c in trace.read_cells if c in offered]
            if not missed or (missed_before and not missed_before.intersection(read)):
                break  # what is still missed was made inside the function
            candidates, missed_before = [*read, *missed], set(missed)
        self.reads = dict.fromkeys(c for c in read if self._aval(c) is not None)
        for cell in set(read).difference(self.reads):
            cell._read()  # the surrounding transformation depends on its being empty
        self.offered = [c for c in candidates if self._aval(c) is not None]

    def _aval(self, cell: Cell) -> Aval | None:
        return self.initial[cell] if cell in self.initial else shaped(peek(cell))

    def _trace(self, candidates: list[Cell]) -> StateTrace:
        traces: list[StateTrace] = []

        def pure(cells: list[Any], captured: list[Any], values: list[Any]) -> Any:
            stand_ins = [_inside(value, True) for value in captured]
            inside = [_inside(v, self._follows(x)) if isinstance(x, Tensor) else v for x, v in zip(self.operands, values, strict=True)]
            known = {s._node for s in stand_ins}
            started = next_in_sequence()
            with StateTrace({c: self._as_inside(c, v, known) for c, v in zip(candidates, cells, strict=True)}) as trace, substituted(self.captured, stand_ins):
                with jax.enable_x64(self.caller_x64), deferred():
                    self.outputs = Outputs(self.function(*inside), self.name)
                own = {x._node: i for i, x in enumerate(inside) if isinstance(x, Tensor) and x._node is not None}
                known |= {c._node for c in trace.read_cells if isinstance(c, CellTensor)}
                written = {c for c in trace.written_cells if c not in own and not _is_local(c)}
                writes = [c for c in dict.fromkeys((*trace.read_cells, *trace.written_cells)) if c in written]
                new = [trace.values[c] for c in writes]
                self.depends = [self._sources(t, own, known, started) for t in (*self.outputs.tensors, *new)]
            traces.append(trace)
            self.writes = {c: shaped(v) for c, v in zip(writes, new, strict=True)}
            values = self.outputs.values
            self.outputs.forget()
            return values, [_strong(raw(v)) for v in new if v is not None]

        with dtypes.x64():
            self.jaxpr = jax.make_jaxpr(pure)([self._aval(c) for c in candidates], [shaped(t) for t in self.captured], self.avals)
        return traces[0]

    @staticmethod
    def _as_inside(cell: Cell, value: Any, known: set[Any]) -> Any:
        """What a cell holds inside; where a Tensor with a graph was, one that is followed."""
        outside = peek(cell) if cell._may_hold_tensor else None
        if not isinstance(outside, Tensor) or outside._node is None or not mode.grad:
            return value
        tensor = _inside(value, True)
        known.add(tensor._node)
        return tensor

    def _follows(self, operand: Tensor) -> bool:
        floating = operand._value.dtype.kind in "fcV"
        return mode.grad and floating and (self.watched or operand._node is not None)

    def _sources(self, tensor: Any, own: dict[Any, int], known: set[Any], started: int) -> set[int] | None:
        """Where an output's gradient goes."""
        if not isinstance(tensor, Tensor) or tensor._node is None or not mode.grad or not can_be_walked(tensor._node):
            return None
        found = set()
        for source in graph_behind(tensor._node):
            if source in own:
                found.add(own[source])
            elif source in known:
                found.add(-1)
            elif source.sequence < started and not (isinstance(source, Leaf) and source.traced):
                raise AutogradError(
                    f"{self.name}: a gradient would flow to a tensor from outside that is neither an operand, nor a variable of the function, nor a cell. Pass that tensor as an "
                    "operand, or make it a Parameter."
                )
        return found

    def __call__(self, cells: dict[Cell, Any], captured: dict[Tensor, Any], values: Sequence[Any]) -> tuple[list[Any], dict[Cell, Any]]:
        """(the outputs, new values of the cells it writes), as a pure function."""
        inputs = [*(cells.get(c) for c in self.offered), *(captured[t] for t in self.captured), *values]
        results = jax.core.eval_jaxpr(self.jaxpr.jaxpr, self.jaxpr.consts, *inputs)
        count = len(self.outputs.kinds)
        new = iter(results[count:])
        return results[:count], {c: None if aval is None else next(new) for c, aval in self.writes.items()}

    def flags(self, operands: Sequence[bool] | None = None) -> tuple[list[bool], dict[Cell, bool]]:
        """Which outputs and which new values of cells require grad, for operands that do or do not."""
        if operands is None:
            operands = [isinstance(x, Tensor) and x._node is not None for x in self.operands]
        flags = [d is not None and (-1 in d or any(operands[i] for i in d if i >= 0)) for d in self.depends]
        count = len(self.outputs.kinds)
        return flags[:count], dict(zip(self.writes, flags[count:], strict=True))

    def describe(self, cell: Cell) -> str:
        """What to call a cell in an error."""
        return f"a {type(cell).__name__}" + (" (the gradient of a leaf)" if isinstance(cell, Leaf) else "")


def _inside(value: Any, follows: bool) -> Tensor:
    tensor = wrap(value)
    if follows:
        tensor._node = tensor.__dict__["_kept_leaf"] = Leaf(traced=True)
    return tensor


def union(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """The elements of all lists, each once, in order."""
    return list(dict.fromkeys(x for one in lists for x in one))


class Inputs(NamedTuple):
    """The inputs of a construct, which are those of the operation on the tape."""

    cells: list[Cell]
    captured: list[Tensor]
    operands: Sequence[Any]

    def tensors(self) -> list[Any]:
        """All, as the tape takes them."""
        return [*(c if isinstance(c, CellTensor) else c._read() for c in self.cells), *self.captured, *self.operands]

    def split(self, values: Sequence[Any]) -> tuple[dict[Cell, Any], dict[Tensor, Any], list[Any]]:
        """The values of cells, of captured tensors and of operands."""
        a, b = len(self.cells), len(self.cells) + len(self.captured)
        return dict(zip(self.cells, values[:a], strict=True)), dict(zip(self.captured, values[a:b], strict=True)), list(values[b:])


def run(name: str, pure: Callable, inputs: Inputs, flags: Sequence[bool]) -> list[Tensor]:
    """Call a pure function of the values of `inputs`, recorded as one operation if an output requires grad."""
    arguments = inputs.tensors()
    if mode.grad and any(flags) and any(isinstance(x, Tensor) and x._node is not None for x in arguments):
        mode.constructs += not mode.deferred
        outputs = list(call(Kernel(name, pure, keeps_vjp=True), arguments))
        for tensor, wanted in zip(outputs, flags, strict=True):
            if not wanted:
                tensor._node = None
        return outputs
    with dtypes.x64():
        return [wrap(v) for v in pure(*map(value_of, arguments))]


def write(cells: Sequence[Cell], values: Sequence[Tensor | None]) -> None:
    """Put the new values into the cells."""
    for cell, value in zip(cells, values, strict=True):
        keeps_graph = value is not None and cell._may_hold_tensor and value._node is not None
        cell._write(value if value is None or keeps_graph else value._value)


# --- eagerly -------------------------------------------------------------------------------------------------------

_KEPT = 256
_compiled: OrderedDict[Any, CompiledFunction] = OrderedDict()


def is_traced(functions: Sequence[Any], operands: Any) -> bool:
    """Whether a call stands inside a transformation."""
    if current_trace() is not None:
        return True
    leaves = jax.tree.leaves(operands)
    return any(isinstance(x, jax.core.Tracer) for x in leaves) or any(isinstance(t._value, jax.core.Tracer) for t in Environment(functions).tensors)


def eagerly(construct: Callable, functions: Sequence[Callable], fixed: tuple, operands: Any) -> Any:
    """Run ``construct(functions, fixed, operands)`` compiled; the program is kept for calls with the same functions in the same environment."""
    environment = Environment(functions)
    key = (construct, environment.key, fixed)
    compiled = _compiled.get(key)
    if compiled is None:

        def program(captured: list[Tensor], operands: Any) -> Any:
            with substituted(environment.tensors, captured), deferred():
                return construct(functions, fixed, operands)

        program.__name__ = program.__qualname__ = construct.__name__
        compiled = _compiled[key] = CompiledFunction(program)
        if len(_compiled) > _KEPT:
            _compiled.popitem(last=False)
    else:
        _compiled.move_to_end(key)
    return compiled(environment.tensors, operands)
