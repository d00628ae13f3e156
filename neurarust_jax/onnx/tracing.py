"""The record of ops: a function as a jaxpr in which every op of `nr` is one equation that says which op it is and with which arguments."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .. import dispatch, dtypes
from ..autograd.graph import no_grad
from ..cells import Cell, StateTrace
from ..dispatch import OPS, Kernel, Op
from ..errors import NeuraRustError
from ..generator import Generator
from ..ops.indexing import _KERNELS
from ..tensor import Tensor, array_from, wrap
from .builder import UnsupportedOpError
from .dimensions import concrete, is_symbolic, shapes_by_samples

_PREFIX = "nr."


@dataclass
class Call:
    """One call of an op.

    Attributes:
        name: the op's name in `nr`.
        static: its static arguments by name.
        places: for each traced argument its place among the equation's inputs; `None` where `None` was given, a list for a sequence.
        shapes: shapes of the equation's inputs, by which it is told that the equation is still the one recorded.
        opaque: the equation's own jaxpr only has the right output types: the op could not be traced with symbolic dimensions.
    """

    name: str
    static: dict[str, Any]
    places: dict[str, Any]
    shapes: list[tuple[Any, ...]]
    opaque: str = ""

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers: such ops take the state of a generator."""
        return "state" in self.places

    def label(self, index: int) -> str:
        """The name of the call's equation."""
        return f"{_PREFIX}{index}"


@dataclass
class Traced:
    """A function as a jaxpr.

    Attributes:
        jaxpr: a closed jaxpr, whose inputs are the traced leaves of the arguments.
        calls: the calls of ops that its equations name.
        tree: the structure of what the function returned.
        leaves: for each leaf of that `True` if it is one of the jaxpr's outputs, else the value in a tuple.
        written: cells that the function wrote.
        read: the arrays of the cells that it read.
    """

    jaxpr: Any
    calls: list[Call]
    tree: Any
    leaves: list[Any]
    written: list[Cell]
    read: dict[Cell, Any]

    def call_of(self, equation: Any) -> Call | None:
        """The call that an equation stands for; none if a transformation has changed it since."""
        name = str(equation.params.get("name", ""))
        if equation.primitive.name not in ("jit", "pjit") or not name.startswith(_PREFIX) or not name[len(_PREFIX) :].isdigit():
            return None
        call = self.calls[int(name[len(_PREFIX) :])]
        return call if [tuple(v.aval.shape) for v in equation.invars] == call.shapes else None


def has_converter(name: str) -> bool:
    """Whether an op becomes nodes as a whole, so that what it computes need not be traced."""
    from .lowering import CONVERTERS

    return name in CONVERTERS


def trace(function: Callable, arguments: Sequence[Any], named: dict[str, Any]) -> Traced:
    """Run a function on abstract values.

    Args:
        function: a module or function over tensors.
        arguments, named: what it is called with; a `jax.ShapeDtypeStruct` for each tensor, its dimensions ints or symbols.
    """
    leaves, structure = jax.tree.flatten((tuple(arguments), named), is_leaf=_whole)
    traced = [isinstance(x, jax.ShapeDtypeStruct) for x in leaves]
    calls: list[Call] = []
    found: list[Any] = []
    caller_x64 = jax.config.jax_enable_x64  # code in `jax.numpy` has the dtypes that it has without an export

    def pure(*values: Any) -> list[Any]:
        remaining = iter(values)
        filled = [wrap(next(remaining)) if t else x for x, t in zip(leaves, traced, strict=True)]
        given, keywords = jax.tree.unflatten(structure, filled)
        with _Apart() as state, jax.enable_x64(caller_x64), no_grad(), _listening(calls):
            returned = function(*given, **keywords)
            flat, tree = jax.tree.flatten(returned, is_leaf=_whole)
            flat = [state.read(x) if isinstance(x, Cell) else x._value if isinstance(x, Tensor) else x for x in flat]
        found[:] = [tree, [True if isinstance(x, jax.Array) else (x,) for x in flat], state]
        return [x for x in flat if isinstance(x, jax.Array)]

    try:
        with dtypes.x64():
            jaxpr = jax.make_jaxpr(pure)(*(x for x, t in zip(leaves, traced, strict=True) if t))
    finally:
        _forget_symbols()
    tree, kinds, state = found
    written = [c for c in state.written_cells if not isinstance(c, Generator)]
    return Traced(jaxpr, calls, tree, kinds, written, state.arrays)


class _Apart(StateTrace):
    """A state trace in which no two cells have the same array, as copies of a layer have, so that each is an initializer of its own.

    Attributes:
        arrays: by cell what was read.
    """

    __slots__ = ("arrays", "owners")

    def __init__(self):
        super().__init__()
        self.arrays: dict[Cell, Any] = {}
        self.owners: dict[int, Cell] = {}

    def read(self, cell: Cell) -> Any:
        """The value of the cell, in an array of its own."""
        value = super().read(cell)
        if cell in self.written_cells or cell in self.arrays:
            return value
        if isinstance(cell, Tensor) and self.owners.setdefault(id(value), cell) is not cell:
            with jax.ensure_compile_time_eval():
                value = self.values[cell] = jax.numpy.array(value, copy=True)
        self.arrays[cell] = value
        return value


def _whole(x: Any) -> bool:
    return isinstance(x, Tensor | jax.ShapeDtypeStruct | Cell) or hasattr(x, "_cells")


# --- listening to the dispatcher ---------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _listening(calls: list[Call]) -> Iterator[None]:
    """Note the calls of ops that this thread makes."""
    thread = threading.get_ident()

    def hear(kernel: Kernel, values: list[Any]) -> Any:
        if threading.get_ident() != thread:
            return dispatch.run_kernel(kernel, values)
        return _as_one_equation(kernel, values, calls)

    with _one_at_a_time:
        previous, dispatch.listener = dispatch.listener, hear
        try:
            yield
        finally:
            dispatch.listener = previous


def _as_one_equation(kernel: Kernel, values: list[Any], calls: list[Call]) -> Any:
    op, key = _origin(kernel)
    call = _describe(kernel, op, key, values)
    label = call.label(len(calls))
    calls.append(call)

    def function_at(sample: Mapping[str, int]) -> Callable:
        return kernel.function if op is None or key is None else op.kernel(concrete(key, sample)).function

    with dtypes.x64():
        output = _staged(kernel.function, function_at, values, label, call)
    return _wrapped(output)


def _staged(function: Callable, function_at: Callable, values: list[Any], label: str, call: Call) -> Any:
    """The function's output, made by one equation of that name."""

    def named(*arguments: Any) -> Any:
        return function(*arguments)

    named.__name__ = named.__qualname__ = label
    given = [x for x in values if x is not None]
    call.shapes = [tuple(np.shape(x) if not hasattr(x, "shape") else x.shape) for x in given]
    symbolic = any(is_symbolic(d) for shape in call.shapes for d in shape) or _holds_symbols(call.static)
    if not symbolic:
        return jax.jit(named)(*values)
    try:
        return jax.jit(named)(*values)
    except (TypeError, ValueError, OverflowError, jax.errors.InconclusiveDimensionOperation) as error:
        if not has_converter(call.name) and "comparison" in str(error):
            raise  # the export decides the comparison, and begins again
        outputs = _known_shape(call, values)
        if outputs is None:
            outputs = shapes_by_samples(function_at, values, call.static)
        if outputs is None:
            if isinstance(error, NeuraRustError | jax.errors.InconclusiveDimensionOperation):
                raise
            raise fixed_shape_needed(call.name, error) from error
        call.opaque = str(error).partition("\n")[0]

    def blank(*_: Any) -> Any:
        return jax.tree.map(lambda o: jax.numpy.zeros(o.shape, o.dtype), outputs)

    blank.__name__ = blank.__qualname__ = label
    return jax.jit(blank, keep_unused=True)(*values)


def fixed_shape_needed(name: str, reason: Any) -> UnsupportedOpError:
    """The error for an op that has no form for open dimensions."""
    reason = str(reason).partition("\n")[0].strip().rstrip(".")
    return UnsupportedOpError(
        f"nr.{name} cannot be exported with these dynamic dimensions: {reason}. Export it with a fixed shape, by leaving the dimension out of dynamic_shapes"
    )


def _known_shape(call: Call, values: list[Any]) -> Any:
    from .lowering import SHAPES

    function = SHAPES.get(call.name)
    return None if function is None else function(*values, **call.static)


def _wrapped(output: Any) -> Any:
    if isinstance(output, tuple):
        wrapped = map(_wrapped, output)
        return output._make(wrapped) if hasattr(output, "_make") else tuple(wrapped)
    return None if output is None else wrap(output)


def _origin(kernel: Kernel) -> tuple[Op | None, tuple[Any, ...] | None]:
    """The op that a kernel belongs to, and the static arguments it was made for."""
    op = OPS.get(kernel.name)
    return op, None if op is None else next((key for key, known in op.kernels.items() if known is kernel), None)


def _describe(kernel: Kernel, op: Op | None, key: tuple[Any, ...] | None, values: list[Any]) -> Call:
    """Which arguments of the op the values are."""
    if op is None or key is None:
        return Call(kernel.name, kernel.fixed, {"values": list(range(sum(v is not None for v in values)))}, [])
    static = dict(zip((p.name for p in op.static), key, strict=False))
    return Call(op.name, static, _places(op, key, values), [])


def _places(op: Op, key: tuple[Any, ...], values: list[Any]) -> dict[str, Any]:
    sequences = [p for p in op.traced if p.kind == "arrays"]
    counts = iter(key[len(key) - len(sequences) :] if sequences else ())
    numbers, place = [], 0
    for value in values:
        numbers.append(None if value is None else place)
        place += value is not None
    remaining = iter(numbers)
    return {p.name: [next(remaining) for _ in range(next(counts))] if p.kind == "arrays" else next(remaining) for p in op.traced}


# --- symbols in keys ---------------------------------------------------------------------------------------------------


def _holds_symbols(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_symbols, value.values()))
    return any(map(_holds_symbols, value)) if isinstance(value, tuple | list) else is_symbolic(value)


def _forget_symbols() -> None:
    """Drop the kernels that were made for symbolic dimensions: the symbols of another export are others."""
    for kernels in (_KERNELS, *(op.kernels for op in OPS.values())):
        for key in [key for key in kernels if _holds_symbols(key)]:
            del kernels[key]


def abstract(value: Any, shape: Sequence[Any] | None = None) -> jax.ShapeDtypeStruct:
    """The type of a tensor or array, with another shape if one is given."""
    array = value._value if isinstance(value, Tensor) else array_from(value)
    return jax.ShapeDtypeStruct(tuple(array.shape if shape is None else shape), array.dtype)


def warn_of_training(module: Any) -> None:
    """Say that a module in training mode is exported as it is."""
    if getattr(module, "training", False) and any(True for _ in module.modules()):
        warnings.warn(
            "The model is exported in training mode, with dropout and the statistics of the batch in it; write model.eval() before the export to have the form for inference.",
            stacklevel=4,
        )
