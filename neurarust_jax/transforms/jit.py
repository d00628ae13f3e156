"""`nr.jit`: a function with everything it reads and writes, as one XLA program.

The first call runs the function once, under a state trace, on tracers. That tells which cells it reads and writes, and gives the program: a
pure function of three flat lists, (cells that change, cells that are only read, tensors among the arguments), which returns the outputs and the new
values of the cells. Cells that change are donated, so that XLA writes the new value into the old one's memory. A later call gathers
the cells' values, makes one compiled call, and puts the new values back.

What is no tensor is part of the key under which a program is kept: the other arguments, the plain attributes of modules, the grad mode, and what `amp.autocast` sets.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from .. import dtypes, parameter
from ..autograd.anomaly import CheckedKernel, checked_program
from ..autograd.engine import backward, can_be_walked, graph_behind
from ..autograd.graph import Node, _ModeSwitch, deferred, mode, under_regime
from ..cells import Cell, Leaf, StateTrace, current_trace, donatable, next_in_sequence
from ..dispatch import Kernel, edges_of, record
from ..errors import ArgumentTypeError, AutogradError, TracedValueError
from ..generator import Generator, default_generator
from ..parameter import CellTensor
from ..tensor import Tensor, array_from, wrap
from . import retraces
from .analysis import Analyzed
from .ordering import flatten, ordered

_RECOMPILATIONS_BEFORE_WARNING = 6
_KEY_MARKS = 5  # where in a key the marks of the arguments begin


def raw(value: Any) -> Any:
    """The array of a cell's value, which may be a Tensor with a graph."""
    return value._value if isinstance(value, Tensor) else value


# --- arguments -----------------------------------------------------------------------------------------------------
# Each leaf of the arguments leaves a mark in the key: one of these three if it is traced, (type, value) if it is fixed.

_TENSOR, _TENSOR_WITH_GRAD, _ARRAY = "tensor", "tensor that requires grad", "array"
_TRACED = (_TENSOR, _TENSOR_WITH_GRAD, _ARRAY)
_PLAIN = (int, float, bool, str, type(None))


class _Same:
    """A fixed argument that is equal only to itself: a cell, a module, or what cannot be hashed."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _opaque(x: Any) -> bool:
    """Whether a node of a pytree is not to be taken apart: tensors, cells, modules, optimizers."""
    return isinstance(x, Tensor | Cell) or hasattr(x, "_cells")


def _split(arguments: tuple, named: dict[str, Any]) -> tuple[Any, list[Any], list[Any]]:
    """(structure or `None` for plain positional arguments, a mark for each leaf, the traced leaves)"""
    structure, flat = None, arguments
    if named or any(type(x) is not Tensor and type(x) not in _PLAIN and not isinstance(x, jax.Array) for x in arguments):
        flat, structure = jax.tree.flatten((arguments, named), is_leaf=_opaque)
    marks, leaves = [], []
    for x in flat:
        kind = type(x)
        if kind is Tensor:
            leaves.append(x)
            marks.append(_TENSOR if x._node is None or not mode.grad else _TENSOR_WITH_GRAD)
        elif kind in _PLAIN:
            marks.append((kind, x))
        elif isinstance(x, Tensor) and not isinstance(x, Cell):  # `.data`, `.grad`
            leaves.append(wrap(x._value) if x._node is None else x)
            marks.append(_TENSOR if x._node is None or not mode.grad else _TENSOR_WITH_GRAD)
        elif isinstance(x, jax.Array | np.ndarray | np.generic):
            leaves.append(x if isinstance(x, jax.Array) else array_from(x))
            marks.append(_ARRAY)
        elif hasattr(x, "shape") and hasattr(x, "__dlpack__") and not isinstance(x, Cell):
            raise ArgumentTypeError(f"nr.jit cannot trace a {kind.__module__}.{kind.__name__}; write nr.as_tensor(x) before the call")
        else:
            marks.append((kind, _Same(x) if _opaque(x) or not _hashable(x) else x))
    return structure, marks, leaves


def _split_in_order(arguments: tuple, named: dict[str, Any]) -> tuple[Any, list[Any], list[Any]]:
    """The same, with a structure that knows the order of keys: for a trace, where time does not matter."""
    structure, marks, leaves = _split(arguments, named)
    return ordered(structure, (arguments, named)), marks, leaves


def _hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _join(structure: Any, marks: Sequence[Any], leaves: Iterable[Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments that were split, with other traced leaves."""
    remaining = iter(leaves)
    flat = [next(remaining) if mark in _TRACED else mark[1].value if isinstance(mark[1], _Same) else mark[1] for mark in marks]
    return (tuple(flat), {}) if structure is None else structure.unflatten(flat)


# --- what a program gives back ---------------------------------------------------------------------------------------


class _Meta:
    """What is known of a program's outputs once it has been traced."""

    __slots__ = ("tree", "kinds", "written", "arguments_with_gradient", "requires_grad", "single")

    def __init__(self, tree, kinds, written, arguments_with_gradient, requires_grad):
        self.tree = tree  # structure of what the function returned
        self.kinds = kinds  # for each leaf Tensor, jax.Array, or a _Static
        self.written = written  # cells, in the order of their new values
        self.arguments_with_gradient = arguments_with_gradient  # numbers of the leaves that a backward() inside reached
        self.requires_grad = requires_grad  # for each traced output
        self.single = len(kinds) == 1 and kinds[0] is Tensor and tree == _LEAF


_LEAF = jax.tree.structure(0)


class _Static:
    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value


class _Result:
    """The flat outputs of a program: (traced leaves, new values of cells, gradients of arguments), with the `_Meta` as static part."""

    __slots__ = ("outputs", "written", "gradients", "meta")

    def __init__(self, outputs, written, gradients, meta):
        self.outputs = outputs
        self.written = written
        self.gradients = gradients
        self.meta = meta


jax.tree_util.register_pytree_node(
    _Result, lambda r: ((r.outputs, r.written, r.gradients), r.meta), lambda meta, children: _Result(*children, meta)
)


# --- the program -----------------------------------------------------------------------------------------------------


class _MissedCellsError(Exception):
    """Cells were read that are no inputs of the program."""

    def __init__(self, cells: list[Cell]):
        super().__init__()
        self.cells = cells


class _Program:
    """One function, compiled for one key.

    Attributes:
        changing: cells whose value goes in, donated, and comes out new.
        reading: cells whose value only goes in.
        modules: the modules whose plain attributes it depends on, each with the signature it was traced for.
    """

    def __init__(self, owner: CompiledFunction, structure: Any, marks: list[Any]):
        self.owner = owner
        self.structure = structure
        self.marks = marks
        self.grad, self.regime = mode.grad, mode.regime
        self.changing: list[Cell] = []
        self.reading: list[Cell] = []
        self.modules: list[tuple[Any, Any]] = []
        self.flags: list[tuple[CellTensor, bool]] = []
        self.seen_changes = -1
        self.watched: list[tuple[Any, Any]] = []
        self.records = False
        self.holds_tensors = False
        self.shapes: list[Any] = []  # of its inputs, for each time it was traced
        self._compile()
        self.first_trace: Any = None  # until it is compiled
        self.traces_anew = False  # whether the trace that compiles it is a second one of the same call

    def _compile(self) -> None:
        pure = functools.partial(self._pure)
        pure.__name__ = self.owner.__name__  # type: ignore[attr-defined]  (profiles and HLO show it)
        self.compiled = jax.jit(pure, donate_argnums=0)
        self.kernel = Kernel(self.owner.__name__, self._flat, keeps_vjp=True)
        if self.regime is not None and self.regime.anomaly is not None:
            self.compiled = checked_program(jax.jit(pure))  # donates nothing: a call that raises changes nothing
            self.kernel = CheckedKernel(self.owner.__name__, self._flat, keeps_vjp=True)

    # tracing

    def _run(self, values: dict[Cell, Any], leaves: list[Any]) -> tuple[_Result, StateTrace]:
        """The user's function on tracers."""
        inside: list[Any] = []
        leaf_cells: list[Leaf | None] = []
        for value, mark in zip(leaves, (m for m in self.marks if m in _TRACED), strict=True):
            cell = None
            if mark is not _ARRAY:
                value = wrap(value)
                if mark is _TENSOR_WITH_GRAD:
                    value._node = value.__dict__["_kept_leaf"] = cell = Leaf(traced=True)
                    values[cell] = None
            inside.append(value)
            leaf_cells.append(cell)
        trace = StateTrace(values)
        arguments, named = _join(self.structure, self.marks, inside)
        started = next_in_sequence()
        # the caller's own jnp code runs as it would outside, and the mode is that of the call, also when a backward pass traces again
        deferring = deferred(self.records or self.owner.module is not None)
        with trace, jax.enable_x64(self.owner.caller_x64), _ModeSwitch(self.grad), under_regime(self.regime), deferring:
            returned = self.owner.function(*arguments, **named)
        found, tree = flatten(returned, is_leaf=_opaque)
        outputs, kinds, requires_grad = [], [], []
        for leaf in found:
            if isinstance(leaf, Tensor):
                kinds.append(Tensor)
                value = trace.read(leaf) if isinstance(leaf, Cell) else leaf._value
                outputs.append(value)
                walkable = leaf._node is not None and mode.grad and can_be_walked(leaf._node) and not self._reads_what_changed(leaf._node, trace)
                requires_grad.append(walkable)
                if walkable:
                    self._check_graph(leaf._node, started, trace, leaf_cells)
            elif isinstance(leaf, jax.Array):
                kinds.append(jax.Array)
                outputs.append(leaf)
                requires_grad.append(False)
            else:
                kinds.append(_Static(leaf))
        own = dict.fromkeys(c for c in leaf_cells if c is not None)
        written = {c for c in trace.written_cells if c not in own and not _is_local(c)}
        # those that were read first, in that order: JAX gives a donated input's memory to the first output of its shape
        written = [c for c in dict.fromkeys((*trace.read_cells, *trace.written_cells)) if c in written]
        reached = [i for i, c in enumerate(leaf_cells) if c is not None and trace.values[c] is not None]
        gradients = [raw(trace.values[c]) for c in own if trace.values[c] is not None]
        meta = _Meta(tree, kinds, written, reached, requires_grad)
        return _Result(outputs, [raw(trace.values[c]) for c in written], gradients, meta), trace

    @staticmethod
    def _reads_what_changed(node: Any, trace: StateTrace) -> bool:
        """Whether gradients would flow to the value that a parameter had before the function changed it."""
        changed = {c._node: when for c, when in trace.written_cells.items() if isinstance(c, CellTensor) and c._node is not None}
        if not changed:
            return False
        return any(
            source in changed and consumer.sequence < changed[source] for consumer in graph_behind(node) if isinstance(consumer, Node) for source, _ in consumer.edges
        )

    @staticmethod
    def _check_graph(node: Any, started: int, trace: StateTrace, leaf_cells: list[Leaf | None]) -> None:
        """Raise if gradients of an output would have to flow to a tensor that is neither an argument nor a cell: it is fixed in the program."""
        known = {*leaf_cells, *(c._node for c in trace.read_cells if isinstance(c, CellTensor))}
        for source in graph_behind(node):
            if source not in known and source.sequence < started and not (isinstance(source, Leaf) and source.traced):
                raise AutogradError(
                    "a function under nr.jit returns a tensor whose gradient would flow to a tensor from outside that is no argument, and what is no argument is fixed in the "
                    "program. Pass that tensor as an argument, or make it a Parameter."
                )

    def _pure(self, changing: list[Any], reading: list[Any], leaves: list[Any]) -> _Result:
        """What JAX compiles. The first time it repeats the trace that discovered the cells; for other shapes it runs the function anew."""
        known = dict(zip((*self.changing, *self.reading), (*changing, *reading), strict=True))
        if self.first_trace is None and not self.traces_anew:
            retraces.note(self.owner, retraces.of_other_shapes(self, changing, reading, leaves))
        self.traces_anew = False
        self.shapes.append(retraces.shapes_of((*changing, *reading, *leaves)))
        if self.first_trace is not None:
            (jaxpr, cells, tree), self.first_trace = self.first_trace, None
            inputs = [known.get(cell) for cell in cells]  # `None` for those that were offered and not read
            return jax.tree.unflatten(tree, jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *inputs, *leaves))
        result, trace = self._run(dict(known), leaves)
        missed = self._missed(trace, known)
        if missed:
            raise _MissedCellsError(missed)
        self._depend_on(trace)
        return result

    @staticmethod
    def _missed(trace: StateTrace, known: Any) -> list[Cell]:
        """Cells that were read and are no inputs; those made inside the function do not count, as far as they can be told."""
        return [c for c in trace.read_cells if c not in known and not _is_local(c)]

    def discover(self, candidates: list[Cell], leaves: list[Any]) -> None:
        """Trace the function once to find its cells; cells that were not among the candidates cost a second trace."""
        missed_before: set[Cell] = set()
        constructs = mode.constructs
        while True:
            found: list[tuple[_Result, StateTrace]] = []

            def pure(reading, leaves, found=found, candidates=candidates):
                result, trace = self._run(dict(zip(candidates, reading, strict=True)), leaves)
                found.append((result, trace))
                return result

            values = [raw(c._state) for c in candidates]
            with dtypes.x64():
                jaxpr, shapes = jax.make_jaxpr(pure, return_shape=True)(values, leaves)
            result, trace = found[0]
            offered = set(candidates)
            missed = self._missed(trace, offered)
            read = [c for c in trace.read_cells if c in offered]
            if not missed or (missed_before and not missed_before.intersection(read)):
                break  # what is still missed was made inside the function
            candidates, missed_before = [*read, *missed], set(missed)
        after = dict(zip(result.meta.written, result.written, strict=True))
        self.changing = [c for c in read if c in after and _same_type(raw(c._state), after[c])]
        self.reading = [c for c in read if c not in set(self.changing)]
        self.records = any(result.meta.requires_grad)
        self.holds_tensors = any(c._may_hold_tensor for c in read)
        self._depend_on(trace)
        cells = [c for c, v in zip(candidates, values, strict=True) if v is not None]
        self.first_trace = (jaxpr, cells, jax.tree.structure(shapes))
        if self.records and mode.constructs != constructs:
            self.first_trace, self.traces_anew = None, True  # trace again, in the form that JAX differentiates

    def _depend_on(self, trace: StateTrace) -> None:
        modules = dict.fromkeys((*(m for m, _ in self.modules), *trace.modules, *self.owner._modules_around(_join(self.structure, self.marks, itertools.repeat(None)))))
        self.modules = [(m, m._signature()) for m in modules]
        self.watched = [(m, s) for m, s in self.modules if m._holds_mutable_values()]
        self.flags = [(c, c._node is not None) for c in trace.read_cells if isinstance(c, CellTensor)]
        self.seen_changes = parameter.changes

    # calling

    def matches(self) -> bool:
        """Whether the plain attributes of its modules, and the flags of its cells, are as when it was traced."""
        if self.seen_changes != parameter.changes:
            if any(m._signature() != s for m, s in self.modules) or any((c._node is not None) != flag for c, flag in self.flags):
                return False
            self.seen_changes = parameter.changes
        elif self.watched:
            return all(m._signature() == s for m, s in self.watched)
        return True

    def __call__(self, leaves: list[Any]) -> Any:
        if self.records:
            return self._call_recorded(leaves)
        changing = [c._state for c in self.changing]
        reading = [c._state for c in self.reading]
        if self.holds_tensors:
            changing, reading = list(map(raw, changing)), list(map(raw, reading))
        changing = donatable(changing)
        values = [x._value if isinstance(x, Tensor) else x for x in leaves]
        previous = dtypes.enter_x64(True)
        try:
            result = self.compiled(changing, reading, values)
        except ValueError as error:
            if "incompatible devices" not in str(error):
                raise
            result = self.compiled(self._with_loose_generators(changing), reading, values)
        finally:
            dtypes.leave_x64(previous)
        meta = result.meta
        self._write(result)
        self._backward_to_arguments(leaves, result)
        if meta.single:
            return wrap(result.outputs[0])
        return _returned(meta, result.outputs)

    def _with_loose_generators(self, changing: list[Any]) -> list[Any]:
        """The values with those of generators on the host, from where they go to any device: an earlier call left them on another one."""
        return [np.asarray(v) if isinstance(c, Generator) else v for c, v in zip(self.changing, changing, strict=True)]

    def _call_recorded(self, leaves: list[Any]) -> Any:
        """The call as one op on the tape: what it returns requires grad. Nothing is donated, for the backward pass needs it."""
        cells = [*self.changing, *self.reading]
        inputs = [*cells, *leaves]
        values = [raw(c._state) for c in cells] + [raw(x) for x in leaves]
        positions, edges = edges_of(inputs)
        previous = dtypes.enter_x64(True)
        try:
            result, vjp = self.kernel.record(positions)(*values)
        finally:
            dtypes.leave_x64(previous)
        meta = result.meta
        node = Node(self.kernel, values, positions, edges, vjp, None, False)
        outputs = record(node, (*result.outputs, *result.written, *result.gradients))
        self._write(result)
        self._backward_to_arguments(leaves, result)
        tensors = [t if wanted else t.detach() for t, wanted in zip(outputs, meta.requires_grad, strict=False)]
        kinds = [kind for kind in meta.kinds if not isinstance(kind, _Static)]
        return _returned(meta, [t if kind is Tensor else t._value for t, kind in zip(tensors, kinds, strict=True)])

    def _flat(self, *values: Any) -> _Result:
        changing, cells = len(self.changing), len(self.changing) + len(self.reading)
        return self._pure(list(values[:changing]), list(values[changing:cells]), list(values[cells:]))

    @staticmethod
    def _write(result: _Result) -> None:
        """Put the new values into the cells."""
        if result.written and isinstance(result.written[0], jax.core.Tracer):
            raise TracedValueError("a function under nr.jit that changes cells was called inside jax.jit or the like; use nr.jit and nr's other transformations around it")
        for cell, value in zip(result.meta.written, result.written, strict=True):
            cell._state = value

    @staticmethod
    def _backward_to_arguments(leaves: list[Any], result: _Result) -> None:
        """Carry on, outside, the backward passes that reached arguments inside."""
        if result.gradients:
            backward([leaves[i] for i in result.meta.arguments_with_gradient], list(map(wrap, result.gradients)))


def _same_type(old: Any, new: Any) -> bool:
    """Whether the new value of a cell fits into the memory of the old one."""
    return old is not None and new is not None and (old.shape, old.dtype) == (new.shape, new.dtype)


def _is_local(cell: Cell) -> bool:
    """Whether a cell was made inside the function that is being traced."""
    return isinstance(raw(cell._state), jax.core.Tracer) or (isinstance(cell, Leaf) and cell.traced)


def _returned(meta: _Meta, outputs: list[Any]) -> Any:
    """What the function returned, from its traced leaves."""
    values = iter(outputs)
    leaves = []
    for kind in meta.kinds:
        if kind is Tensor:
            value = next(values)
            leaves.append(value if isinstance(value, Tensor) else wrap(value))
        else:
            leaves.append(next(values) if kind is jax.Array else kind.value)
    return meta.tree.unflatten(leaves)


# --- the public face -------------------------------------------------------------------------------------------------


class CompiledFunction(Analyzed):
    """A function under `nr.jit`. See there."""

    def __init__(self, function: Callable):
        self.module = function if hasattr(function, "_cells") and callable(function) else None
        self.function = function
        self.programs: dict[Any, list[_Program]] = {}
        self.last: dict[Any, _Program] = {}
        self.retraced_for: dict[str, int] = {}
        self.traces: list[retraces.Trace] = []
        functools.update_wrapper(self, function if self.module is None else type(function).forward, updated=())
        if not hasattr(self, "__name__"):
            self.__name__ = type(function).__name__

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the program compiled for arguments like these; compile it first if there is none."""
        if current_trace() is not None:
            return self.function(*arguments, **named)
        structure, marks, leaves = _split(arguments, named)
        if any(isinstance(raw(x), jax.core.Tracer) for x in leaves):
            return self.function(*arguments, **named)
        self.caller_x64 = jax.config.jax_enable_x64
        key = (self.caller_x64, mode.grad, mode.regime, dtypes._fixed, structure, *marks)
        program = self.last.get(key)
        if program is None or not program.matches():
            program = self._find(key, structure, marks, leaves, (arguments, named))
        try:
            return program(leaves)
        except _MissedCellsError as missed:  # other shapes made the function read other cells
            program.discover([*program.changing, *program.reading, *missed.cells], [raw(x) for x in leaves])
            program._compile()
            return program(leaves)

    def _looked_up(self, arguments: tuple, named: dict[str, Any]) -> tuple[_Program, list[Any]]:
        """The program for these arguments, which is not run, and the traced leaves among them."""
        structure, marks, leaves = _split(arguments, named)
        self.caller_x64 = jax.config.jax_enable_x64
        key = (self.caller_x64, mode.grad, mode.regime, dtypes._fixed, structure, *marks)
        return self._find(key, structure, marks, leaves, (arguments, named)), leaves

    def _find(self, key: Any, structure: Any, marks: list[Any], leaves: list[Any], call_arguments: tuple[tuple, dict[str, Any]]) -> _Program:
        """The program for this key whose modules are as they are now, traced if there is none."""
        for program in self.programs.get(key, ()):
            if program.matches():
                self.last[key] = program
                return program
        if self.programs and key not in self.programs:
            self._warn_of_changing_argument(key, call_arguments)
        retraces.note(self, retraces.of_new_program(self, key, structure, marks))
        program = _Program(self, ordered(structure, call_arguments), marks)
        candidates = list(dict.fromkeys([default_generator, *self._cells_around(call_arguments)]))
        program.discover(candidates, [raw(x) for x in leaves])
        self.programs.setdefault(key, []).append(program)
        self.last[key] = program
        return program

    def _warn_of_changing_argument(self, key: tuple[Any, ...], call_arguments: tuple[tuple, dict[str, Any]]) -> None:
        alike = [k for k in self.programs if len(k) == len(key)]
        if not alike:
            return
        nearest = min(alike, key=lambda k: retraces.differences(k, key))
        marks, others = key[_KEY_MARKS:], nearest[_KEY_MARKS:]
        for position, (mine, other) in enumerate(zip(marks, others, strict=True)):
            if mine == other or mine in _TRACED:
                continue
            name = self._argument_name(position, call_arguments)
            self.retraced_for[name] = self.retraced_for.get(name, 0) + 1
            if self.retraced_for[name] == _RECOMPILATIONS_BEFORE_WARNING:
                value = mine[1].value if isinstance(mine[1], _Same) else mine[1]
                warnings.warn(
                    f"nr.jit has compiled {self.__name__} {len(self.programs) + 1} times because its argument {name!r} changes (now {value!r}): what is no tensor is fixed in "
                    f"the program. Pass it as a tensor, nr.tensor({name}), if it is a number that the function computes with.",
                    stacklevel=4,
                )

    def _argument_name(self, position: int, call_arguments: tuple[tuple, dict[str, Any]]) -> str:
        """The name of the argument that holds a leaf."""
        path, _ = jax.tree_util.tree_flatten_with_path(call_arguments, is_leaf=lambda x: _opaque(x) or x is None)[0][position]
        if path[0].idx == 1:
            return str(path[1].key)
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        index = path[1].idx
        named = index < len(parameters) and parameters[index].kind is not inspect.Parameter.VAR_POSITIONAL
        return (parameters[index].name if named else f"number {index}") + "".join(map(str, path[2:]))

    def _cells_around(self, call_arguments: Any) -> Iterable[Cell]:
        for found in _objects_around((self.function, call_arguments)):
            if isinstance(found, Cell):
                yield found
                if isinstance(found, CellTensor) and "_kept_leaf" in found.__dict__:
                    yield found._leaf()
            else:
                yield from found._cells()

    def _modules_around(self, call_arguments: Any) -> list[Any]:
        roots = [x for x in _objects_around((self.function, call_arguments)) if hasattr(x, "_signature") and hasattr(x, "modules")]
        return [m for root in roots for m in root.modules()]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__.get("module")
        if module is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(module, name)

    def __repr__(self) -> str:
        return f"nr.jit({self.module!r})" if self.module is not None else f"<nr.jit of {self.__name__}>"


def _objects_around(root: Any) -> Iterable[Any]:
    """Cells, and objects that hold cells, which a function will probably read: those in its arguments, its closure, and the globals it names.

    A guess, made to trace once rather than twice: what it misses, the trace finds.
    """
    seen: set[int] = set()
    stack: list[tuple[Any, int]] = [(root, 0)]
    while stack:
        x, depth = stack.pop()
        if id(x) in seen or depth > 10 or isinstance(x, str | int | float | types.ModuleType | type):
            continue
        seen.add(id(x))
        if isinstance(x, Cell) or hasattr(x, "_cells"):
            yield x
        elif isinstance(x, CompiledFunction):
            stack.append((x.function, depth + 1))
        elif isinstance(x, types.MethodType):
            stack += [(x.__self__, depth + 1), (x.__func__, depth + 1)]
        elif isinstance(x, functools.partial):
            stack += [(x.func, depth + 1), (x.args, depth + 1), (x.keywords, depth + 1)]
        elif isinstance(x, types.FunctionType):
            if x.__module__ and x.__module__.partition(".")[0] in ("jax", "numpy", "neurarust_jax") and not x.__closure__:
                continue
            stack += [(c.cell_contents, depth + 1) for c in x.__closure__ or () if _is_filled(c)]
            stack += [(x.__globals__[n], depth + 1) for n in _names_in(x.__code__) if n in x.__globals__]
            stack += [(d, depth + 1) for d in x.__defaults__ or ()]
        elif isinstance(x, tuple | list | set | frozenset) and len(x) < 1000:
            stack += [(element, depth + 1) for element in x]
        elif isinstance(x, dict) and len(x) < 1000:
            stack += [(element, depth + 1) for element in x.values()]
        elif depth <= 3 and hasattr(x, "__dict__") and not isinstance(x, Tensor):
            stack.append((vars(x), depth + 1))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _names_in(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names


def jit(function: Callable | None = None) -> Any:
    """Compile a function, with all it reads and writes, into one XLA program.

    Parameters, buffers, gradients, optimizer states and random generators that the function uses are found by running it once; nothing is
    listed by hand. A whole training step compiles: forward pass, `backward()`, `optimizer.step()`.

    Args:
        function: a function, a method, or a `Module`, whose call is then compiled. Tensors and arrays in its arguments, also inside lists, tuples and dicts,
            are traced. Anything else is fixed in the program: other values lead to another one, as do other shapes and dtypes, another grad mode, and a change of
            a module's plain attributes (`training` among them).

    Returns:
        A callable of the same signature. Python code of the function runs only while tracing: what it prints, it prints then.

    Raises:
        TracedValueError: the function asks a traced tensor for its value (`if x:`, `x.item()`).

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(3, 1)
        >>> optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
        >>> @nr.jit
        ... def step(x, y):
        ...     optimizer.zero_grad()
        ...     loss = ((model(x) - y) ** 2).mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> x, y = nr.randn(8, 3), nr.zeros(8, 1)
        >>> bool(step(x, y) > step(x, y))
        True
    """
    if function is None:
        return jit
    if isinstance(function, CompiledFunction):
        return function
    if not callable(function):
        raise ArgumentTypeError(f"nr.jit takes a function or a Module, got {type(function).__name__}")
    return CompiledFunction(function)


def compile(  # noqa: A001 (PyTorch's name)
    model: Callable | None = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = None, mode: str | None = None,
    options: dict[str, Any] | None = None, name: str | None = None, disable: bool = False, recompile_limit: int | None = None,
    isolate_recompiles: bool = False, shapes_spec: Any = None,
) -> Any:  # fmt: skip
    """`jit` by PyTorch's name, with its options.

    Args:
        model: a function, a method or a `Module`. Without it, a decorator is returned.
        disable: hand back `model` as it is.
        fullgraph, dynamic, backend, mode, options, name, recompile_limit, isolate_recompiles, shapes_spec: accepted and without effect: XLA always compiles
            the whole function, for each shape anew.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.compile(fullgraph=True, mode="max-autotune")
        ... def double(x):
        ...     return x * 2
        >>> double(nr.ones(2))
        tensor([2., 2.])
    """
    if model is None:
        return functools.partial(compile, disable=disable)
    return model if disable else jit(model)
