"""Dimensions that stay open in an exported model: both of PyTorch's ways to say which, as symbols for tracing."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ..errors import ArgumentError
from .dimensions import LARGEST, evaluate_text

_RESERVED = {"max", "min", "mod", "floordiv"}


class Dim:
    """A named dimension of an exported model, with bounds if there are any; sums and products of one are dimensions too.

    Args:
        name: its name in the file.
        min: the least length. Default: 1, or the length in the example if that is less than what the function needs.
        max: the greatest length.

    Examples:
        >>> from neurarust_jax.onnx import Dim
        >>> length = Dim("length", max=512)
        >>> 2 * length
        Dim(2*length)
    """

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):  # noqa: A002 (PyTorch's names)
        self.__name__ = name
        self.min = min
        self.max = max
        self.roots: tuple[Dim, ...] = (self,)

    def _joined(self, other: Any, sign: str, reverse: bool = False) -> Dim:
        texts = [f"({x.__name__})" if isinstance(x, Dim) and x.roots != (x,) else getattr(x, "__name__", str(x)) for x in (self, other)]
        made = Dim(sign.join(reversed(texts) if reverse else texts))
        made.roots = (*self.roots, *(other.roots if isinstance(other, Dim) else ()))
        return made

    def __add__(self, other: Any) -> Dim:
        return self._joined(other, " + ")

    def __sub__(self, other: Any) -> Dim:
        return self._joined(other, " - ")

    def __mul__(self, other: Any) -> Dim:
        return self._joined(other, "*", reverse=not isinstance(other, Dim))

    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self) -> str:
        return f"Dim({self.__name__})"


@dataclass
class OpenShapes:
    """The shapes of a function's traced arguments, some of their dimensions open.

    Attributes:
        entries: for each argument an int or the text of an expression over names for each dimension.
        lengths: the example's length by name.
        bounds: the least and greatest length by name, where known.
        written: the name as it is to stand in the file, by its name as a symbol.
        assumed: comparisons that were decided by the example.
        compared: those of them that the user's code made: (where, what was assumed).
    """

    entries: list[tuple[Any, ...]]
    lengths: dict[str, int] = field(default_factory=dict)
    bounds: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    compared: list[tuple[str, str]] = field(default_factory=list)

    def shapes(self) -> list[tuple[Any, ...]]:
        """The shapes with symbols in them."""
        names = list(self.lengths)
        if not names:
            return self.entries
        constraints = []
        for name in names:
            least, greatest = self.bounds.get(name, (None, None))
            least = max(self.lengths[name], 1) if least is None else min(least, self.lengths[name])
            constraints.append(f"{name} >= {least}")
            constraints.append(f"{name} <= {max(LARGEST if greatest is None else greatest, least)}")
        known = dict(zip(names, jax.export.symbolic_shape(", ".join(names), constraints=[*constraints, *self.assumed]), strict=True))
        scope = next(iter(known.values())).scope

        def symbol(entry: Any) -> Any:
            if isinstance(entry, int):
                return entry
            return known[entry] if entry in known else jax.export.symbolic_shape(entry, scope=scope)[0]

        return [tuple(map(symbol, shape)) for shape in self.entries]

    def shapes_at(self, lengths: Mapping[str, int]) -> list[tuple[int, ...]]:
        """The shapes for some lengths of the open dimensions."""
        return [tuple(e if isinstance(e, int) else evaluate_text(e, lengths) for e in shape) for shape in self.entries]

    def others(self) -> list[dict[str, int]]:
        """Other lengths than the example's: the least ones, and those of the example and one more."""
        least, more = {}, {}
        for name, length in self.lengths.items():
            low, high = self.bounds.get(name, (None, None))
            least[name] = min(low or 1, length)
            more[name] = length + 1 if high is None or length < high else length
        return [lengths for lengths in (more, least) if lengths != self.lengths]

    def in_words(self, fact: str) -> str:
        """A comparison with the names as the user wrote them."""
        return re.sub(r"\w+", lambda m: self.written.get(m[0], m[0]), fact)

    def assume(self, error: Exception) -> bool:
        """Decide a comparison that JAX could not by the example's lengths, as PyTorch does. Whether that helps."""
        found = re.search(r"comparison '(.+?)' (<=|>=|<|>|==) '(.+?)' is inconclusive", str(error))
        if found is None:
            return False
        left, sign, right = found.groups()
        a, b = (evaluate_text(side, self.lengths) for side in (left, right))
        if sign in ("<", ">="):
            fact = f"{left} >= {right}" if a >= b else f"{right} >= {left} + 1"
        else:
            fact = f"{right} >= {left}" if a <= b else f"{left} >= {right} + 1"
        if fact in self.assumed:
            return False
        self.assumed.append(fact)
        return True

    def merge_equal(self) -> bool:
        """Take dimensions of equal length in the example for one. Whether there were any."""
        first: dict[int, str] = {}
        renamed = {name: first.setdefault(length, name) for name, length in self.lengths.items()}
        if len(first) == len(self.lengths):
            return False
        self.entries = [tuple(renamed.get(e, e) if isinstance(e, str) else e for e in shape) for shape in self.entries]
        self.lengths = {name: length for length, name in first.items()}
        self.assumed, self.compared = [], []
        return True


def open_shapes(tensors: Sequence[Any], names: Sequence[str], spec: Sequence[Any]) -> OpenShapes:
    """The shapes of the traced arguments.

    Args:
        tensors: the traced arguments.
        names: their names as inputs.
        spec: for each of them a mapping from axis to a name, `Dim` or the like; a sequence with one of those for each axis; or `None`.
    """
    made = OpenShapes([])
    anonymous = 0
    for tensor, input_name, entry in zip(tensors, names, spec, strict=True):
        shape = tuple(np.shape(tensor) if not hasattr(tensor, "shape") else tensor.shape)
        dims: list[Any] = list(shape)
        for axis, dim in _by_axis(entry, len(shape), input_name):
            if dim is None or _hint(dim) == "STATIC" or isinstance(dim, int):
                if isinstance(dim, int) and dim not in (-1, shape[axis]):
                    raise ArgumentError(f"dynamic_shapes fixes axis {axis} of {input_name} to {dim}, but the example's shape is {shape}")
                if dim != -1:
                    continue
            if dim == -1 or _hint(dim):
                dims[axis] = made_name = f"s{anonymous}"
                anonymous += 1
                _note(made, made_name, made_name, shape[axis], dim)
            else:
                dims[axis] = _entry(made, dim, shape[axis])
        made.entries.append(tuple(dims))
    return made


def _hint(dim: Any) -> str:
    """`"AUTO"`, `"DYNAMIC"` or `"STATIC"` if it is one of PyTorch's hints."""
    kind = getattr(dim, "type", None)
    return getattr(kind, "name", "") if type(dim).__name__ == "_DimHint" else ""


def _by_axis(entry: Any, ndim: int, name: str) -> list[tuple[int, Any]]:
    if entry is None:
        return []
    pairs = list(entry.items()) if isinstance(entry, Mapping) else list(enumerate(entry))
    for axis, _ in pairs:
        if not isinstance(axis, int) or not -ndim <= axis < ndim:
            raise ArgumentError(f"axis {axis!r} of {name} is to be dynamic, but it has {ndim} dimensions")
    return [(axis % ndim, dim) for axis, dim in pairs]


def _entry(made: OpenShapes, dim: Any, length: int) -> str:
    """The text of a dimension, its names noted."""
    text = dim if isinstance(dim, str) else dim.__name__
    root, function = getattr(dim, "root", None), getattr(dim, "fn", None)
    if root is not None and function is not None:  # PyTorch's derived dimensions
        name = _entry(made, root, _solved(function, length))
        step, start = function(1) - function(0), function(0)
        return f"{step}*{name} + {start}" if start else f"{step}*{name}"
    roots = getattr(dim, "roots", (dim,))
    if roots != (dim,):
        (only,) = set(roots) if len(set(roots)) == 1 else (None,)
        if only is None:
            raise ArgumentError(f"the dimension {text} is made of several names; write one name for it")
        symbol = _symbol(only.__name__)
        expression = re.sub(rf"\b{re.escape(only.__name__)}\b", symbol, text)
        root_length = _solved(lambda n: evaluate_text(expression, {symbol: n}), length)
        _note(made, symbol, only.__name__, root_length, only)
        return expression
    symbol = _symbol(text)
    _note(made, symbol, text, length, dim)
    return symbol


def _solved(function: Callable[[int], int], length: int) -> int:
    """The least length of the root for which a derived dimension has its length."""
    for n in range(LARGEST):
        if function(n) == length:
            return n
    raise ArgumentError(f"no length of the root gives the derived dimension the length {length} that the example has")


def _symbol(name: str) -> str:
    """A name that can stand in an expression."""
    symbol = re.sub(r"\W", "_", name)
    return f"_{symbol}" if not symbol or symbol[0].isdigit() or symbol in _RESERVED or keyword.iskeyword(symbol) else symbol


def _note(made: OpenShapes, symbol: str, written: str, length: int, dim: Any) -> None:
    known = made.lengths.setdefault(symbol, length)
    if known != length:
        raise ArgumentError(f"the dimension {written} has the length {known} in one example argument and {length} in another")
    made.written[symbol] = written
    least, greatest = getattr(dim, "min", None), getattr(dim, "max", None)
    if not isinstance(dim, str):
        made.bounds[symbol] = (least if isinstance(least, int) and least > 0 else None, greatest if isinstance(greatest, int) and greatest < LARGEST else None)


# --- which argument has which -------------------------------------------------------------------------------------------


def from_axes(axes: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str] | None) -> list[Any]:
    """The form of `open_shapes` for PyTorch's `dynamic_axes`."""
    unknown = [name for name in axes if name not in inputs and (outputs is None or name not in outputs)]
    if unknown and outputs is not None:
        raise ArgumentError(f"dynamic_axes names {unknown[0]!r}, which is no input or output; the inputs are {list(inputs)}")
    spec: list[Any] = []
    for name in inputs:
        entry = axes.get(name)
        if entry is not None and not isinstance(entry, Mapping):
            entry = {axis: f"{name}_dynamic_axes_{i + 1}" for i, axis in enumerate(entry)}
        spec.append(entry)
    return spec


def from_shapes(dynamic_shapes: Any, arguments: Mapping[str, Any], is_traced: Callable[[Any], bool]) -> list[Any]:
    """The form of `open_shapes` for PyTorch's `dynamic_shapes`.

    Args:
        dynamic_shapes: by name of the argument, or by place.
        arguments: the arguments by name, in order.
        is_traced: which leaves of them become inputs.
    """
    if isinstance(dynamic_shapes, Mapping):
        unknown = [name for name in dynamic_shapes if name not in arguments]
        if unknown:
            raise ArgumentError(f"dynamic_shapes names {unknown[0]!r}, but the arguments are {list(arguments)}")
        entries = [dynamic_shapes.get(name) for name in arguments]
    else:
        entries = list(dynamic_shapes)
        if len(entries) != len(arguments):
            raise ArgumentError(f"dynamic_shapes has {len(entries)} entries, but there are {len(arguments)} arguments: {list(arguments)}")
    spec: list[Any] = []
    for value, entry in zip(arguments.values(), entries, strict=True):
        _collect(value, entry, is_traced, spec)
    return spec


def _collect(value: Any, entry: Any, is_traced: Callable[[Any], bool], spec: list[Any]) -> None:
    if is_traced(value):
        spec.append(entry)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            _collect(value[key], None if entry is None else entry.get(key), is_traced, spec)
    elif isinstance(value, tuple | list):
        for i, element in enumerate(value):
            _collect(element, None if entry is None else entry[i], is_traced, spec)
    else:
        spec.extend([None] * len([x for x in jax.tree.leaves(value) if is_traced(x)]))
