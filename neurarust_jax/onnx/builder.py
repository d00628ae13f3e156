"""A graph under construction: values, nodes, constants and initializers, and the dimensions that are computed while the model runs.

What is added here is ONNX's own vocabulary; which op of ours becomes which nodes is said in `converters`, and what JAX's primitives become in `primitives`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ..errors import ArgumentError
from .dimensions import evaluate, evaluate_text, is_symbolic, names_in, parsed

_NAMES = re.compile(r"[A-Za-z_]\w*")


class UnsupportedOpError(ArgumentError, NotImplementedError):
    """What was to be exported has no form in ONNX."""


@dataclass(eq=False)
class Value:
    """One value of a graph.

    Attributes:
        name: its name, unique in the model.
        dtype: the dtype of its elements.
        shape: ints and symbolic dimensions; `None` while unknown.
        constant: its elements, if they are known while exporting.
        dim: the symbolic dimension that a scalar is.
        weight: whether the constant is a parameter or buffer of the model.
        learned: whether it is a parameter.
        transposed: the name of the parameter that it is the transpose of.
        weak_type: whether it counts as a Python number in promotion.
    """

    name: str
    dtype: np.dtype
    shape: tuple[Any, ...] | None = None
    constant: np.ndarray | None = None
    dim: Any = None
    weight: bool = False
    learned: bool = False
    transposed: str = ""
    weak_type: bool = False

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.known_shape)

    @property
    def known_shape(self) -> tuple[Any, ...]:
        """The shape, which must be known."""
        assert self.shape is not None, f"the shape of {self.name} is not known"
        return self.shape

    @property
    def is_static(self) -> bool:
        """Whether all dimensions are known numbers."""
        return self.shape is not None and not any(map(is_symbolic, self.shape))


@dataclass(eq=False)
class Node:
    """One node: inputs and outputs are names, `""` for an input left out."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""

    def subgraphs(self) -> list[Graph]:
        """The graphs among the attributes."""
        return [a for a in self.attributes.values() if isinstance(a, Graph)]


class Graph:
    """The nodes of a graph, and of those around it what they share.

    Args:
        opset: the version of ONNX's operators to write.
        parent: the graph that this one is a branch or loop body of. Its values can be used here.

    Attributes:
        nodes: in order.
        inputs, outputs: values.
        values: every value by name, those of all graphs of the model.
        initializers: constants by name; only the outermost graph has any.
    """

    def __init__(self, opset: int, parent: Graph | None = None):
        self.opset = opset
        self.parent = parent
        self.root: Graph = self if parent is None else parent.root
        self.nodes: list[Node] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.results: list[Any] = []  # the types of the outputs of the op that is being converted
        self.scope = "value" if parent is None else parent.scope
        self.dims: dict[str, tuple[Value, int]] = {} if parent is None else dict(parent.dims)
        self._dim_values: dict[str, Value] = {} if parent is None else dict(parent._dim_values)
        if parent is None:
            self.values: dict[str, Value] = {}
            self.initializers: dict[str, np.ndarray] = {}
            self._constants: dict[Any, Value] = {}
            self._counts: dict[str, int] = {}
        else:
            self.values, self.initializers = parent.values, parent.initializers
            self._constants, self._counts = parent._constants, parent._counts

    # --- names and values ----------------------------------------------------------------------------------------------

    def unique(self, stem: str) -> str:
        """A name that no value has yet."""
        count = self._counts.get(stem, 0)
        while True:
            name = stem if count == 0 else f"{stem}_{count}"
            count += 1
            if name not in self.values:
                self._counts[stem] = count
                return name

    def _new(self, dtype: Any, shape: Any = None, stem: str | None = None) -> Value:
        dtype, shape = _in_words(dtype, shape)
        value = Value(self.unique(stem or self.scope), np.dtype(dtype), None if shape is None else tuple(shape))
        self.values[value.name] = value
        return value

    def input(self, name: str, dtype: Any, shape: Sequence[Any]) -> Value:
        """A new input of the graph."""
        value = self._new(dtype, shape, name)
        self.inputs.append(value)
        self.note_dims(value)
        return value

    def note_dims(self, value: Value) -> None:
        """Let symbolic dimensions be read off a value."""
        for axis, dim in enumerate(value.shape or ()):
            if is_symbolic(dim):
                self.dims.setdefault(str(dim), (value, axis))

    def declare(self, value: Value, shape: Sequence[Any], dtype: Any) -> Value:
        """Say what type a value has."""
        dtype, shape = _in_words(dtype, shape)
        if value.shape is None:
            value.shape = tuple(shape)
            self.note_dims(value)
        value.dtype = np.dtype(dtype)
        return value

    # --- constants -----------------------------------------------------------------------------------------------------

    def constant(self, array: Any, dtype: Any = None, name: str = "constant") -> Value:
        """A constant; equal small ones are one."""
        array = np.asarray(array, None if dtype is None else np.dtype(dtype))
        key = (array.dtype.str if array.dtype.kind != "V" else str(array.dtype), array.shape, array.tobytes()) if array.size <= 4096 else id(array)
        found = self._constants.get(key)
        if found is None:
            found = self._constants[key] = Value(self.unique(name), array.dtype, array.shape, array)
            self.values[found.name] = found
            self.initializers[found.name] = array
        return found

    def weight(self, name: str, array: np.ndarray, learned: bool = True) -> Value:
        """A parameter, or a buffer, by its name in the model's `state_dict`."""
        value = Value(self.unique(name), array.dtype, array.shape, array, weight=True, learned=learned)
        self.values[value.name] = value
        self.initializers[value.name] = array
        return value

    def derived(self, source: Value, array: np.ndarray, suffix: str) -> Value:
        """A constant made of another one: a weight transposed, say, whose name is then the weight's with a suffix."""
        key = (source.name, suffix)
        found = self._constants.get(key)
        if found is None:
            found = self.weight(f"{source.name}{suffix}", array, source.learned) if source.weight else self.constant(array, name=source.name)
            self._constants[key] = found
        return found

    def ints(self, *numbers: Any) -> Value:
        """A vector of int64 constants."""
        return self.constant(np.asarray(numbers, np.int64).reshape(-1), name="ints")

    # --- nodes ---------------------------------------------------------------------------------------------------------

    def add(self, op_type: str, *inputs: Value | None, dtype: Any = None, shape: Sequence[Any] | None = None, domain: str = "", **attributes: Any) -> Value:
        """A node with one output.

        Args:
            op_type: its operator.
            inputs: its inputs; `None` for one left out.
            dtype: of the output. Default: that of the first input.
            shape: of the output, if it is known.
            domain: of the operator.
            attributes: numbers, strings, lists of these, arrays or graphs; those that are `None` are left out.
        """
        if dtype is None:
            dtype = next(i.dtype for i in inputs if i is not None)
        return self.add_many(op_type, inputs, [(dtype, shape)], domain, **attributes)[0]

    def add_many(self, op_type: str, inputs: Sequence[Value | None], outputs: Sequence[Any], domain: str = "", **attributes: Any) -> list[Value]:
        """A node with several outputs, given as (dtype, shape or `None`); `None` for one left out, in whose place comes a value without a name."""
        made = [Value("", np.dtype(np.float32)) if o is None else self._new(*o) for o in outputs]
        names = ["" if i is None else i.name for i in inputs]
        while names and not names[-1]:
            names.pop()
        self.nodes.append(Node(op_type, names, [o.name for o in made], {k: a for k, a in attributes.items() if a is not None}, domain))
        for value in made:
            if value.name:
                self.note_dims(value)
        return made

    def add_random(self, op_type: str, inputs: Sequence[Value], dtype: Any, shape: Sequence[Any], attributes: dict[str, Any]) -> Value:
        """A node that draws random numbers: its own attributes are named as Python's arguments for types and shapes are."""
        made = self._new(dtype, shape)
        self.nodes.append(Node(op_type, [i.name for i in inputs], [made.name], {"dtype": element_type(dtype), **attributes}))
        self.note_dims(made)
        return made

    # --- what converters need often ------------------------------------------------------------------------------------

    def cast(self, value: Value, dtype: Any) -> Value:
        """A value in another dtype."""
        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return value
        if value.constant is not None and (value.constant.size <= 4096 or value.weight):
            return self.constant(value.constant.astype(dtype)) if not value.weight else self.derived(value, value.constant.astype(dtype), f".{dtype.name}")
        made = self.add("Cast", value, dtype=dtype, shape=value.shape, to=element_type(dtype))
        made.dim = value.dim
        return made

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """The dimensions in another order."""
        order = list(order)
        if order == sorted(order):
            return value
        if value.constant is not None:
            if value.weight:
                suffix = ".T" if order == [1, 0] else ".permuted" + "".join(map(str, order))
                found = self.derived(value, np.ascontiguousarray(value.constant.transpose(order)), suffix)
                found.transposed = value.name if order == [1, 0] else ""
                return found
            return self.constant(np.ascontiguousarray(value.constant.transpose(order)))
        return self.add("Transpose", value, shape=None if value.shape is None else [value.shape[i] for i in order], perm=order)

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """The elements in another shape."""
        shape = tuple(shape)
        if value.shape is not None and _same(value.shape, shape):
            return value
        if value.constant is not None and not any(map(is_symbolic, shape)):
            array = value.constant.reshape(shape)
            return self.derived(value, array, ".reshaped" + "x".join(map(str, shape))) if value.weight else self.constant(array)
        return self.add("Reshape", value, self._target(value, shape), shape=shape, allowzero=1 if any(isinstance(d, int) and d == 0 for d in shape) else None)

    def _target(self, value: Value, shape: tuple[Any, ...]) -> Value:
        """The second input of Reshape: a constant if at most one dimension has to be told from the number of elements."""
        if any(isinstance(d, int) and d == 0 for d in shape):
            return self.shape_vector(shape)
        numbers, open_ones = [], 0
        for axis, dim in enumerate(shape):
            if not is_symbolic(dim):
                numbers.append(int(dim))
            elif value.shape is not None and axis < len(value.shape) and value.shape[axis] is not None and _equal(value.shape[axis], dim):
                numbers.append(0)
            else:
                numbers.append(-1)
                open_ones += 1
        if open_ones == 0 and 0 in numbers:
            return self.ints(*numbers)
        return self.ints(*numbers) if open_ones <= 1 else self.shape_vector(shape)

    def unsqueeze(self, value: Value, axes: Sequence[int]) -> Value:
        """New dimensions of length 1 at these places of the output."""
        axes = [int(a) for a in axes]
        if not axes:
            return value
        if value.constant is not None and not value.weight:
            return self.constant(np.expand_dims(value.constant, tuple(axes)))
        shape = None
        if value.shape is not None:
            rank = len(value.shape) + len(axes)
            wanted, rest = {a % rank for a in axes}, iter(value.shape)
            shape = [1 if i in wanted else next(rest) for i in range(rank)]
        return self.add("Unsqueeze", value, self.ints(*axes), shape=shape)

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        """Without these dimensions, whose length is 1."""
        if not axes:
            return value
        shape = None if value.shape is None else [d for i, d in enumerate(value.shape) if i not in {a % len(value.shape) for a in axes}]
        return self.add("Squeeze", value, self.ints(*axes), shape=shape)

    def slice(self, value: Value, axis: int, start: Any, stop: Any, step: int = 1, shape: Sequence[Any] | None = None) -> Value:
        """A slice along one dimension; bounds may be symbolic."""
        length = value.shape[axis] if value.shape is not None else None
        start, stop = (self._bound(b, length) for b in (start, stop))
        return self.add("Slice", value, start, stop, self.ints(axis), self.ints(step) if step != 1 else None, shape=shape)

    def _bound(self, bound: Any, length: Any) -> Value:
        """A bound of a slice: counted from the end where that is a constant."""
        if not is_symbolic(bound):
            return self.ints(bound)
        if _equal(bound, length):
            return self.ints(np.iinfo(np.int64).max)
        behind = None if length is None else bound - length
        if behind is not None and not is_symbolic(behind) and behind < 0:
            return self.ints(behind)
        return self.shape_vector((bound,))

    def expand(self, value: Value, shape: Sequence[Any]) -> Value:
        """The value broadcast to a shape."""
        if value.shape is not None and _same(value.shape, shape):
            return value
        return self.add("Expand", value, self.shape_vector(shape), shape=shape)

    # --- dimensions ----------------------------------------------------------------------------------------------------

    def shape_vector(self, dims: Sequence[Any]) -> Value:
        """The dimensions as a vector of int64, a constant if all are known."""
        dims = tuple(dims)
        if not any(map(is_symbolic, dims)):
            return self.ints(*(int(d) for d in dims))
        pieces: list[Value] = []
        place = 0
        while place < len(dims):
            if is_symbolic(dims[place]):
                run, piece = self._run_of_dims(dims, place)
            else:
                run = 1
                while place + run < len(dims) and not is_symbolic(dims[place + run]):
                    run += 1
                piece = self.ints(*(int(d) for d in dims[place : place + run]))
            pieces.append(piece)
            place += run
        return pieces[0] if len(pieces) == 1 else self.add("Concat", *pieces, shape=(len(dims),), axis=0)

    def _run_of_dims(self, dims: tuple[Any, ...], place: int) -> tuple[int, Value]:
        """How many dimensions from `place` on stand side by side in one value's shape, and a vector of them."""
        source = self.dims.get(str(dims[place]))
        run = 1
        if source is not None:
            value, axis = source
            shape = value.known_shape
            while place + run < len(dims) and axis + run < len(shape) and _equal(shape[axis + run], dims[place + run]):
                run += 1
            while run > 1 and not is_symbolic(dims[place + run - 1]):
                run -= 1
            if run > 1:
                return run, self._shape_of(value, axis, axis + run)
        return 1, self.dim(dims[place])

    def _shape_of(self, value: Value, start: int, end: int) -> Value:
        key = f"{value.name}[{start}:{end}]"
        if key not in self._dim_values:
            whole = start == 0 and end == value.ndim
            bounds = (None, None) if whole else (start, end)
            self._dim_values[key] = self.add("Shape", value, dtype=np.int64, shape=(end - start,), start=bounds[0], end=bounds[1])
        return self._dim_values[key]

    def dim(self, dim: Any) -> Value:
        """A dimension as a vector of one int64."""
        if not is_symbolic(dim):
            return self.ints(int(dim))
        found = self._dim_values.get(str(dim))
        if found is None:
            source = self.dims.get(str(dim))
            found = self._shape_of(source[0], source[1], source[1] + 1) if source is not None else self._computed(parsed(dim))
            self._dim_values[str(dim)] = found
        return found

    def scalar_dim(self, dim: Any) -> Value:
        """A dimension as a scalar int64."""
        if not is_symbolic(dim):
            return self.constant(np.int64(int(dim)))
        key = f"scalar {dim}"
        if key not in self._dim_values:
            made = self.squeeze(self.dim(dim), [0])
            made.dim = dim
            self._dim_values[key] = made
        return self._dim_values[key]

    def _computed(self, expression: ast.expr) -> Value:
        """The value of an expression over dimensions."""
        text = ast.unparse(expression).replace(" ** ", "^").replace("**", "^")
        if text in self._dim_values:
            return self._dim_values[text]
        if isinstance(expression, ast.Constant):
            return self.ints(expression.value)
        if isinstance(expression, ast.Name):
            if text not in self.dims:
                return self._root(text)
            value, axis = self.dims[text]
            return self._shape_of(value, axis, axis + 1)
        if isinstance(expression, ast.UnaryOp):
            return self.add("Neg", self._computed(expression.operand), shape=(1,))
        if isinstance(expression, ast.Call):
            assert isinstance(expression.func, ast.Name)
            kind = {"floordiv": "Div", "mod": "Mod", "max": "Max", "min": "Min"}[expression.func.id]
            operands = [self._computed(a) for a in expression.args]
            if kind == "Div":
                return self._floor_division(*operands)
            return self.add(kind, *operands, shape=(1,))
        if isinstance(expression, ast.BinOp):
            kind = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Pow: "Pow"}[type(expression.op)]
            return self.add(kind, self._computed(expression.left), self._computed(expression.right), shape=(1,))
        raise UnsupportedOpError(f"the dimension {text} cannot be computed in ONNX")

    def _root(self, name: str) -> Value:
        """The value of a name of which only a multiple, plus a number, is the length of something."""
        for text, (value, axis) in self.dims.items():
            if set(_NAMES.findall(text)) == {name}:
                start, step, *rest = (evaluate_text(text, {name: n}) for n in (0, 1, 2, 5, 97))
                step -= start
                if step > 0 and rest == [start + n * step for n in (2, 5, 97)]:
                    length = self._shape_of(value, axis, axis + 1)
                    length = self.add("Sub", length, self.ints(start), shape=(1,)) if start else length
                    found = self._dim_values[name] = self.add("Div", length, self.ints(step), shape=(1,))
                    return found
        raise UnsupportedOpError(f"the dimension {name} is the length of no input of the graph, so that its value is not known while the model runs")

    def _floor_division(self, a: Value, b: Value) -> Value:
        """Division that rounds down, where Div rounds towards zero: exact as (a - a mod b) / b."""
        remainder = self.add("Mod", a, b, shape=(1,))
        return self.add("Div", self.add("Sub", a, remainder, shape=(1,)), b, shape=(1,))

    # --- other graphs --------------------------------------------------------------------------------------------------

    def child(self) -> Graph:
        """A graph for a branch or a loop's body."""
        return Graph(self.opset, self)


def _in_words(dtype: Any, shape: Any) -> tuple[Any, Any]:
    """The type of a value; a key of JAX's random numbers is two words."""
    if not jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        return dtype, shape
    return np.uint32, None if shape is None else (*shape, 2)


def _equal(a: Any, b: Any) -> bool:
    return str(a) == str(b)


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(map(_equal, a, b))


def element_type(dtype: Any) -> int:
    """ONNX's number for a dtype."""
    import onnx

    dtype = np.dtype(dtype)
    if dtype == jax.dtypes.float0:
        dtype = np.dtype(bool)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError):
        raise UnsupportedOpError(f"ONNX has no tensors of dtype {dtype}") from None


def holds_known_names(dim: Any, graph: Graph) -> bool:
    """Whether a dimension can be computed from those of the graph's inputs."""
    return all(name in graph.dims for name in names_in(dim))


def length_for(dim: Any, values: dict[str, int]) -> int:
    """The length of a dimension for given lengths of its names."""
    return evaluate(dim, values)
