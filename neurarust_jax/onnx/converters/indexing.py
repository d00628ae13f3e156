"""Reading by index, slices, gathering and scattering, sorting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..lowering import case, converter
from .elementwise import in_result_dtype, out_dtype
from .embedding import indices

_LAST = np.iinfo(np.int64).max


def _known(value: Value) -> Any:
    """An integer's value: a number, a symbolic dimension, or `None`."""
    if value.dim is not None:
        return value.dim
    return int(value.constant) if value.constant is not None else None


def _vector(g: Graph, value: Value) -> Value:
    """A scalar as a vector of one int64."""
    known = _known(value)
    return g.dim(known) if known is not None else g.unsqueeze(g.cast(value, np.int64), [0])


def _between(g: Graph, start: Value, length: Any, size: Any) -> tuple[Value, Value]:
    """Start and end of a slice of a given length, as vectors."""
    known = _known(start)
    if known is None:
        first = _vector(g, start)
        return first, g.add("Add", first, g.dim(length), shape=(1,))
    return g._bound(known, size), g._bound(known + length, size)


@converter(
    "getitem",
    cases=[
        case("x[1]", "Gather", x=(2, 3)),
        case("x[:, 1:3]", "Slice", x=(2, 4)),
        case("x[:1, 1:3]", "Slice", x=(2, 4)),
        case("x[:, -1]", "Gather", x=(2, 4)),
        case("x[:, ::2]", "Slice", x=(2, 5)),
        case("x[:, None]", "Unsqueeze", x=(2, 3)),
        case("x[..., 0, None, 1:]", "Gather Slice Unsqueeze", x=(2, 3, 4)),
        case("x[n]", "Gather", x=(4, 3), n=("below", 4, 2, 2)),
        case("x[:, n]", "Gather", x=(2, 4, 3), n=("below", 4, 5)),
        case("x[n, m]", "Concat GatherND Unsqueeze Unsqueeze", x=(4, 4, 3), n=("below", 4, 5), m=("below", 4, 5)),
        case("x[:, n, m]", "Concat GatherND Transpose Transpose Unsqueeze Unsqueeze", x=(2, 4, 4), n=("below", 4, 5), m=("below", 4, 5)),
    ],
)
def getitem(g: Graph, values: list[Value], pattern: tuple[Any, ...]) -> Value | None:
    if any(part[0] == "bool" for part in pattern if isinstance(part, tuple)) or values[0].dtype != out_dtype(g):
        return None
    x, dynamic = values[0], iter(values[1:])
    x = _sliced(g, x, pattern, dynamic_parts := [None if part in (":", "none") or part[0] == "step" else next(dynamic) for part in pattern])
    places = [part for part in pattern if part != "none"]
    kept = [(part, value) for part, value in zip(pattern, dynamic_parts, strict=True) if part != "none"]
    for axis in reversed(range(len(places))):
        part, value = kept[axis]
        if part == "int" and value is not None:
            x = g.add("Gather", x, _scalar_index(g, value), axis=axis, shape=[d for i, d in enumerate(x.known_shape) if i != axis])
    kinds = [part for part in pattern if part != "int"]
    x = g.unsqueeze(x, [axis for axis, part in enumerate(kinds) if part == "none"])
    arrays = [
        (axis, value)
        for axis, value in enumerate(v for p, v in zip(pattern, dynamic_parts, strict=True) if p != "int")
        if kinds[axis] == "array" and value is not None
    ]
    return _by_arrays(g, x, arrays) if arrays else x


def _scalar_index(g: Graph, value: Value) -> Value:
    known = _known(value)
    return g.constant(np.int64(known)) if isinstance(known, int) else g.scalar_dim(known) if known is not None else indices(g, value)


def _sliced(g: Graph, x: Value, pattern: tuple[Any, ...], dynamic: list[Value | None]) -> Value:
    """`x` after all its slices, in one node."""
    starts, ends, axes, steps = [], [], [], []
    shape, axis = list(x.known_shape), 0
    for part, value in zip(pattern, dynamic, strict=True):
        if part == "none":
            continue
        if isinstance(part, tuple):
            size = shape[axis]
            if part[0] == "slice":
                assert value is not None
                start, end = _between(g, value, part[1], size)
                steps.append(1)
                shape[axis] = part[1]
            else:
                start, end = g._bound(part[1], size), g._bound(part[2], size)
                steps.append(part[3])
                shape[axis] = -((part[1] - part[2]) // part[3])
            starts.append(start)
            ends.append(end)
            axes.append(axis)
        axis += 1
    if not axes:
        return x
    joined = [vectors[0] if len(vectors) == 1 else g.add("Concat", *vectors, axis=0, shape=(len(vectors),)) for vectors in (starts, ends)]
    return g.add("Slice", x, *joined, g.ints(*axes), g.ints(*steps) if any(s != 1 for s in steps) else None, shape=shape)


def _by_arrays(g: Graph, x: Value, arrays: list[tuple[int, Value]]) -> Value:
    """The elements that index arrays at some dimensions name together."""
    if len(arrays) == 1:
        axis, index = arrays[0]
        return g.add("Gather", x, indices(g, index), axis=axis)
    axes = [axis for axis, _ in arrays]
    others = [axis for axis in range(x.ndim) if axis not in axes]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    together = _stacked(g, [index for _, index in arrays])
    found = g.add("GatherND", g.transpose(x, [*axes, *others]), together)
    if not adjacent or axes[0] == 0:
        return found
    shape = g.results[0].shape
    count = len(shape) - len(others)
    return g.transpose(found, [*range(count, count + axes[0]), *range(count), *range(count + axes[0], len(shape))])


def _stacked(g: Graph, arrays: list[Value]) -> Value:
    """Index arrays broadcast together, as the last dimension of one."""
    arrays = [g.cast(a, np.int64) for a in arrays]
    known = [a.constant for a in arrays if a.constant is not None]
    if len(known) == len(arrays):
        return g.constant(np.stack(np.broadcast_arrays(*known), -1))
    ndim = max(a.ndim for a in arrays)
    if len({tuple(map(str, a.known_shape)) for a in arrays}) > 1:
        shape = []
        for axis in range(-ndim, 0):
            lengths = [a.known_shape[axis] for a in arrays if -axis <= a.ndim]
            shape.append(next((d for d in lengths if is_symbolic(d) or d != 1), 1))
        arrays = [g.expand(a, shape) for a in arrays]
    return g.add("Concat", *(g.unsqueeze(a, [ndim]) for a in arrays), axis=ndim)


@converter("select", cases=[case("x.select(1, 2)", "Gather", x=(2, 3))])
def select(g: Graph, input: Value, index: Value, dim: int) -> Value:
    return g.add("Gather", input, _scalar_index(g, index), axis=dim % input.ndim)


@converter("narrow", cases=[case("x.narrow(1, 1, 2)", "Slice", x=(2, 4))])
def narrow(g: Graph, input: Value, start: Value, dim: int, length: Any) -> Value:
    axis = dim % input.ndim
    size = input.known_shape[axis]
    known = _known(start)
    if isinstance(known, int) and known < 0:
        start = g.constant(np.int64(known + size)) if isinstance(size, int) else start
    first, end = _between(g, start, length, size)
    return g.add("Slice", input, first, end, g.ints(axis))


@converter("slice_copy", cases=[case("nr.slice_copy(x, 1, 1, 4, 2)", "Slice", x=(2, 5))])
def slice_copy(g: Graph, input: Value, dim: int, start: Any, end: Any, step: int) -> Value:
    axis = dim % input.ndim
    return g.slice(input, axis, 0 if start is None else start, _LAST if end is None else end, step)


@converter("tril", cases=[case("x.tril()", "Trilu", x=(3, 4)), case("x.tril(1)", "Trilu", x=(2, 3, 4))])
def tril(g: Graph, input: Value, diagonal: int) -> Value:
    return _triangle(g, input, diagonal, 0)


@converter("triu", cases=[case("x.triu(-1)", "Trilu", x=(3, 4))])
def triu(g: Graph, input: Value, diagonal: int) -> Value:
    return _triangle(g, input, diagonal, 1)


def _triangle(g: Graph, x: Value, diagonal: int, upper: int) -> Value:
    return g.add("Trilu", x, g.constant(np.int64(diagonal)) if diagonal else None, upper=upper, shape=x.shape)


# --- gathering and scattering --------------------------------------------------------------------------------------------


@converter("gather", cases=[case("x.gather(1, n)", "GatherElements", x=(2, 4), n=("below", 4, 2, 3))])
def gather(g: Graph, input: Value, dim: int, index: Value) -> Value | None:
    if input.ndim == 0 or index.ndim != input.ndim:
        return None
    return g.add("GatherElements", input, indices(g, index), axis=dim % input.ndim)


@converter("take_along_dim", cases=[case("nr.take_along_dim(x, n, 1)", "GatherElements", x=(2, 4), n=("below", 4, 2, 3))])
def take_along_dim(g: Graph, input: Value, indices: Value, dim: int | None) -> Value | None:
    same = dim is not None and len(input.known_shape) == len(indices.known_shape)
    if not same or any(str(a) != str(b) for i, (a, b) in enumerate(zip(input.known_shape, indices.known_shape, strict=True)) if i != dim % input.ndim):  # type: ignore[operator]
        return None
    return g.add("GatherElements", input, g.cast(indices, np.int64), axis=dim % input.ndim)  # type: ignore[operator]


@converter("index_select", cases=[case("x.index_select(1, n)", "Gather", x=(2, 4), n=("below", 4, 3))])
def index_select(g: Graph, input: Value, dim: int, index: Value) -> Value | None:
    return g.add("Gather", input, indices(g, index), axis=dim % input.ndim) if input.ndim and index.ndim == 1 else None


@converter("take", cases=[case("x.take(n)", "Gather Reshape", x=(2, 4), n=("below", 8, 3))])
def take(g: Graph, input: Value, index: Value) -> Value:
    return g.add("Gather", g.reshape(input, (math.prod(input.known_shape),)), indices(g, index), axis=0)


def _fits(index: Value, src: Value) -> bool:
    """Whether the index and what is scattered have one shape, as ONNX wants it."""
    return [str(d) for d in index.known_shape] == [str(d) for d in src.known_shape]


def _scattered(g: Graph, input: Value, dim: int, index: Value, src: Value, reduction: str | None = None) -> Value | None:
    input, src = in_result_dtype(g, input, src)
    if input.ndim == 0 or index.ndim != input.ndim:
        return None
    if not _fits(index, src):
        if not (index.is_static and src.is_static):
            return None
        for axis, length in enumerate(index.known_shape):
            if src.known_shape[axis] != length:
                shape = [length if i == axis else d for i, d in enumerate(src.known_shape)]
                src = g.slice(src, axis, 0, length, shape=shape)
    return g.add("ScatterElements", input, indices(g, index), src, axis=dim % input.ndim, reduction=reduction)


@converter("scatter", cases=[case("x.scatter(1, n, y)", "ScatterElements", x=(2, 4), n=("below", 2, 2, 1), y=(2, 1))])
def scatter(g: Graph, input: Value, dim: int, index: Value, src: Value) -> Value | None:
    return _scattered(g, input, dim, index, src)


@converter("_scatter_number", cases=[case("x.scatter(1, n, 2.5)", "ScatterElements", x=(2, 4), n=("below", 2, 2, 1))])
def _scatter_number(g: Graph, input: Value, dim: int, index: Value, value: Value) -> Value | None:
    return _scattered(g, input, dim, index, g.expand(g.cast(value, input.dtype), index.known_shape))


@converter("scatter_add", cases=[case("x.scatter_add(1, n, y)", "ScatterElements", x=(2, 4), n=("below", 4, 2, 3), y=(2, 3))])
def scatter_add(g: Graph, input: Value, dim: int, index: Value, src: Value) -> Value | None:
    return _scattered(g, input, dim, index, src, "add")


@converter("scatter_reduce", cases=[case("x.scatter_reduce(1, n, y, 'amax')", "ScatterElements", x=(2, 4), n=("below", 4, 2, 3), y=(2, 3))])
def scatter_reduce(g: Graph, input: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool) -> Value | None:
    how = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}.get(reduce)
    if how is None or not include_self or (how in ("max", "min") and g.opset < 18):
        return None
    return _scattered(g, input, dim, index, src, how)


# --- sorting -------------------------------------------------------------------------------------------------------------


def _top(g: Graph, x: Value, k: Value, axis: int, largest: bool) -> list[Value]:
    narrow = x.dtype if x.dtype in (np.float16, np.float32, np.float64, np.int32, np.int64) else np.dtype(np.int32)
    values, places = g.add_many("TopK", [g.cast(x, narrow), k], [(narrow, None), (np.dtype(np.int64), None)], axis=axis, largest=int(largest), sorted=1)
    return [g.cast(values, x.dtype), places]


@converter("topk", cases=[case("x.topk(2)", "TopK", x=(3, 5)), case("x.topk(2, 0, largest=False)", "TopK", x=(3, 5))])
def topk(g: Graph, input: Value, k: int, dim: int, largest: bool, sorted: bool) -> list[Value] | None:
    if input.ndim == 0 or input.dtype.kind not in "iuf":
        return None
    return _top(g, input, g.dim(k), dim % input.ndim, largest)


@converter("sort", cases=[case("x.sort(1)", "TopK", x=(3, 5)), case("x.sort(0, descending=True)", "TopK", x=(3, 5))])
def sort(g: Graph, input: Value, dim: int, descending: bool, stable: bool) -> list[Value] | None:
    if input.ndim == 0 or input.dtype.kind not in "iuf":
        return None
    return _top(g, input, g.dim(input.known_shape[dim]), dim % input.ndim, descending)


@converter("argsort", cases=[case("x.argsort(1)", "TopK", x=(3, 5))])
def argsort(g: Graph, input: Value, dim: int, descending: bool, stable: bool) -> Value | None:
    found = sort(g, input, dim, descending, stable)
    return None if found is None else found[1]


@converter("msort", cases=[case("nr.msort(x)", "TopK", x=(3, 5))])
def msort(g: Graph, input: Value) -> Value | None:
    found = sort(g, input, 0, False, False)
    return None if found is None else found[0]
