"""`Emitter`: the vocabulary in which the rules of `primitives` write ONNX nodes.

An operand is a `Value` of the graph, a NumPy array that is known while the graph is made, or a pair of such for a complex tensor. Functions of the emitter compute what
they can from known arrays, and write nodes for the rest. Operators are written for the types that onnxruntime implements, with casts around them for the others.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from .builder import UnsupportedOpError, Value, element_type
from .dimensions import is_symbolic
from .support import carrier

if TYPE_CHECKING:
    from .lowering import Lowering

Operand = Any  # Value | np.ndarray | Complex


class Complex(NamedTuple):
    """A complex tensor as its two parts: ONNX has no operators on complex numbers."""

    real: Operand
    imag: Operand


class Aval(NamedTuple):
    """Shape and dtype of a value that stands for no variable of a jaxpr."""

    shape: tuple[Any, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


def is_static(shape: Sequence[Any]) -> bool:
    """Whether all lengths are numbers, none a symbolic dimension."""
    return not any(map(is_symbolic, shape))


def compact(array: np.ndarray) -> np.ndarray:
    """The array with length 1 wherever it repeats itself along a dimension, so that broadcasting restores it; a number if all elements are equal."""
    if array.size == 0 or array.ndim == 0:
        return array
    kept = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    for axis in range(kept.ndim):
        first = kept[(slice(None),) * axis + (slice(0, 1),)]
        if kept.shape[axis] > 1 and kept.size <= _COMPARED and _same_bits(kept, first):
            kept = first
    return kept.reshape(()) if kept.size == 1 else kept


_COMPARED = 1 << 20  # elements of a constant that are looked through for repetition


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    unsigned = f"u{a.dtype.itemsize}" if a.dtype.itemsize in (1, 2, 4, 8) else None
    return bool((a.view(unsigned) == b.view(unsigned)).all()) if unsigned else bool((a == b).all())


_unexpanded: weakref.WeakKeyDictionary[Value, tuple[Operand, tuple]] = weakref.WeakKeyDictionary()
"""Of values made by broadcasting: what was broadcast, and its shape."""

_BOOLEAN = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf"}
_INDICES = {"Shape", "Size", "ArgMax", "ArgMin", "NonZero"}


class Emitter:
    """Writes nodes into a graph under construction.

    Args:
        lowering: what the rules are called by, with the graph under construction.

    Attributes:
        opset: the version of ONNX's operators that the graph is written for.
    """

    def __init__(self, lowering: Lowering):
        self.lowering = lowering
        self.graph = lowering.graph
        self.opset = lowering.graph.opset

    # --- nodes -----------------------------------------------------------------------------------------------------

    def node(self, op_type: str, *inputs: Operand | None, outputs: int = 1, dtype: Any = None, **attributes: Any) -> Any:
        """Write a node.

        Args:
            op_type: its operator.
            inputs: its inputs, `None` for one left out.
            outputs: how many outputs it has.
            dtype: of the output. Default: what follows from the operator and its inputs.
            attributes: as ONNX names them.

        Returns:
            The output, or a list if there are several.
        """
        values = [None if x is None else self.value(x) for x in inputs]
        if dtype is None:
            first = values[1 if op_type == "Where" else 0]
            dtype = bool if op_type in _BOOLEAN else np.int64 if op_type in _INDICES or first is None else first.dtype
        types = [(dtype, None)] * outputs
        if op_type == "TopK":
            types = [(dtype, None), (np.int64, None)]
        made = self.graph.add_many(op_type, values, types, **attributes)
        return made[0] if outputs == 1 else made

    def op(self, op_type: str, dtype: Any, *inputs: Operand, result: Any = None, **attributes: Any) -> Value:
        """Write a node whose inputs all have `dtype`, in a type that onnxruntime implements; `result` is the output's dtype if another."""
        dtype = np.dtype(dtype)
        inner = carrier(op_type, dtype, attributes)
        output = self.node(op_type, *(self.cast(x, dtype, inner) for x in inputs), **attributes)
        return output if result is not None else self.cast(output, inner, dtype)

    def cast(self, x: Operand, source: Any, target: Any) -> Any:
        """`x` of dtype `source` as `target`."""
        source, target = np.dtype(source), np.dtype(target)
        if source == target:
            return x
        if isinstance(x, np.ndarray):
            with np.errstate(all="ignore"):
                return np.broadcast_to(compact(x).astype(target), x.shape)
        return self.graph.add("Cast", self.value(x), dtype=target, to=element_type(target))

    def value(self, x: Operand) -> Value:
        """The value of the graph that an operand is: a known array becomes a constant."""
        if isinstance(x, Value):
            return x
        if isinstance(x, Complex):
            raise UnsupportedOpError("a complex tensor cannot be an operand here: ONNX has no operators on complex numbers")
        return self.graph.constant(x)

    # --- shapes ----------------------------------------------------------------------------------------------------

    def dim(self, length: Any) -> Operand:
        """A length as an int64 number."""
        return np.asarray(length, np.int64) if is_static((length,)) else self.graph.scalar_dim(length)

    def shape(self, shape: Sequence[Any]) -> Operand:
        """Lengths as a vector of int64."""
        if is_static(shape):
            return np.asarray([int(n) for n in shape], np.int64)
        return self.graph.shape_vector(shape)

    def reshape(self, x: Operand, shape: Sequence[Any], source: Sequence[Any] | None = None) -> Operand:
        """`x` in another shape; nothing where `source`, its shape, is the same."""
        if source is not None and tuple(source) == tuple(shape):
            return x
        if isinstance(x, np.ndarray) and is_static(shape):
            return x.reshape(tuple(int(n) for n in shape))
        value = self.value(x)
        if value.shape is None and source is not None:
            self.graph.declare(value, source, value.dtype)
        return self.graph.reshape(value, [n if is_symbolic(n) else int(n) for n in shape])

    def expand(self, x: Operand, shape: Sequence[Any], source: Sequence[Any], dtype: Any) -> Operand:
        """`x` of shape `source` broadcast to `shape`."""
        if tuple(source) == tuple(shape):
            return x
        if isinstance(x, np.ndarray) and is_static(shape):
            return np.broadcast_to(x, tuple(int(n) for n in shape))
        expanded = self._expand(x, shape, dtype)
        _unexpanded[expanded] = (x, tuple(source))
        self.graph.declare(expanded, shape, dtype)
        return expanded

    def unexpanded(self, x: Operand) -> tuple[Operand, tuple] | None:
        """What was broadcast to make `x`, and its shape; `None` if it was not made so."""
        return _unexpanded.get(x) if isinstance(x, Value) else None

    def _expand(self, x: Operand, shape: Sequence[Any], dtype: Any) -> Value:
        inner = carrier("Expand", np.dtype(dtype), {})
        return self.cast(self.node("Expand", self.cast(x, dtype, inner), self.shape(shape)), inner, dtype)

    def transpose(self, x: Operand, permutation: Sequence[int]) -> Operand:
        """`x` with its dimensions in the order of `permutation`."""
        permutation = [int(d) for d in permutation]
        if permutation == sorted(permutation):
            return x
        if isinstance(x, np.ndarray):
            return np.transpose(x, permutation)
        return self.graph.transpose(self.value(x), permutation)

    def unsqueeze(self, x: Operand, axes: Sequence[int]) -> Operand:
        """`x` with dimensions of length 1 put in at `axes` of the result."""
        axes = [int(a) for a in axes]
        if not axes:
            return x
        if isinstance(x, np.ndarray):
            return np.expand_dims(x, tuple(axes))
        return self.node("Unsqueeze", x, np.asarray(axes, np.int64))

    def squeeze(self, x: Operand, axes: Sequence[int]) -> Operand:
        """`x` without the dimensions `axes`, which have length 1."""
        axes = [int(a) for a in axes]
        if not axes:
            return x
        if isinstance(x, np.ndarray):
            return np.squeeze(x, tuple(axes))
        return self.node("Squeeze", x, np.asarray(axes, np.int64))

    def slice(self, x: Operand, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int] | None = None) -> Operand:
        """A part of `x` along `axes`; numbers, or symbolic dimensions."""
        if not axes:
            return x
        steps = [1] * len(axes) if steps is None else steps
        if isinstance(x, np.ndarray) and is_static(starts) and is_static(ends):
            index: list[Any] = [slice(None)] * x.ndim
            for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
                index[axis] = slice(int(start), None if step < 0 and end < 0 else int(end), int(step))
            return x[tuple(index)]
        unit = all(step == 1 for step in steps)
        return self.node("Slice", x, self.shape(starts), self.shape(ends), np.asarray(axes, np.int64), None if unit else np.asarray(steps, np.int64))

    def concat(self, values: Sequence[Operand], axis: int) -> Operand:
        """Operands one after the other along `axis`."""
        if len(values) == 1:
            return values[0]
        if all(isinstance(v, np.ndarray) for v in values):
            return np.concatenate(values, axis)
        return self.node("Concat", *values, axis=int(axis))

    def arange(self, length: Any) -> Operand:
        """0, 1, ... as int64."""
        if is_static((length,)):
            return np.arange(int(length), dtype=np.int64)
        return self.node("Range", np.asarray(0, np.int64), self.dim(length), np.asarray(1, np.int64))

    def where(self, condition: Operand, x: Operand, y: Operand, dtype: Any) -> Operand:
        """`x` where the condition holds, else `y`."""
        if all(isinstance(v, np.ndarray) for v in (condition, x, y)):
            return np.where(condition, x, y)
        dtype = np.dtype(dtype)
        inner = carrier("Where", dtype, {})
        return self.cast(self.node("Where", condition, self.cast(x, dtype, inner), self.cast(y, dtype, inner)), inner, dtype)

    def reduce(self, op_type: str, x: Operand, axes: Sequence[int], dtype: Any, keepdims: bool = False) -> Operand:
        """A reduction such as `ReduceSum` over `axes`."""
        axes = [int(a) for a in axes]
        if not axes:
            return x
        inner = carrier(op_type, np.dtype(dtype), {})
        x = self.cast(x, dtype, inner)
        if self.opset >= 18 or op_type == "ReduceSum":
            output = self.node(op_type, x, np.asarray(axes, np.int64), keepdims=int(keepdims))
        else:
            output = self.node(op_type, x, axes=axes, keepdims=int(keepdims))
        return self.cast(output, inner, dtype)

    def gather(self, x: Operand, indices: Operand, axis: int) -> Operand:
        """Slices of `x` along `axis`."""
        if isinstance(x, np.ndarray) and isinstance(indices, np.ndarray):
            return np.take(x, indices, axis)
        return self.node("Gather", x, indices, axis=int(axis))

    def split_pair(self, x: Operand, axis: int) -> tuple[Operand, Operand]:
        """The two slices of `x` along `axis`, which has length 2, without that dimension."""
        return self.gather(x, np.asarray(0), axis), self.gather(x, np.asarray(1), axis)

    # --- functions over jax.numpy ----------------------------------------------------------------------------------

    def trace(self, function: Callable, avals: Sequence[Any], *inputs: Operand) -> Any:
        """Write a function over `jax.numpy` by its own jaxpr; `avals` have shapes and dtypes of the inputs."""
        with jax.enable_x64(True):
            closed = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals))
        outputs = self.enter(closed, inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def enter(self, jaxpr: Any, inputs: Sequence[Operand]) -> list[Operand]:
        """Write an open or closed jaxpr; its outputs."""
        values = [as_value(self, x) for x in inputs]
        if hasattr(jaxpr, "consts"):
            return [as_operand(v) for v in self.lowering.run_closed(jaxpr, values)]
        return [as_operand(v) for v in self.lowering.run(jaxpr, (), values)]

    def child(self) -> Emitter:
        """An emitter for the graph of a branch or of a loop's body."""
        return Emitter(self.lowering.within(self.graph.child()))

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error for what ONNX has no form for."""
        return UnsupportedOpError(what)


class ComplexValue(Value):
    """A complex tensor between two equations, as its parts; it has no name in the graph."""

    def __init__(self, parts: Complex, dtype: Any, shape: Sequence[Any]):
        super().__init__("", np.dtype(dtype), tuple(shape))
        self.parts = parts


def as_operand(value: Value) -> Operand:
    """What the rules see of a value: its elements if they are known and no parameter, its parts if it is complex."""
    if isinstance(value, ComplexValue):
        return value.parts
    return value.constant if value.constant is not None and not value.weight else value


def as_value(g: Emitter, x: Operand, aval: Any = None) -> Value:
    """The value that equations hand on."""
    if isinstance(x, Complex):
        return ComplexValue(x, np.complex64 if aval is None else aval.dtype, () if aval is None else aval.shape)
    return g.value(x)
