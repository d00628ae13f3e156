"""Adaptive pooling, whose windows divide each dimension into a given number of parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import CONVERTERS, case, converter
from .convolution import batched, unbatched
from .reduction import reduced

_FLOATS = (np.float16, np.float32, np.float64)


def _adaptive(n: int) -> None:
    image = (2, 4, 7, 8, 6)[: n + 2]

    @converter(
        f"adaptive_avg_pool{n}d",
        cases=[
            case(f"F.adaptive_avg_pool{n}d(x, 1)", "GlobalAveragePool", x=image),
            case(f"F.adaptive_avg_pool{n}d(x, 2)", "AveragePool", x=(2, 4, 6, 8, 4)[: n + 2]),
        ],
    )
    def adaptive_avg_pool(g: Graph, input: Value, output_size: Any) -> Value | None:
        if input.dtype not in _FLOATS:
            return None
        lengths, wanted = input.known_shape[-n:], _wanted(output_size, input, n)
        if all(w == 1 for w in wanted):
            if input.ndim == n + 2:
                return g.add("GlobalAveragePool", input)
            return reduced(g, "ReduceMean", input, tuple(range(-n, 0)), True)
        if 0 in wanted:
            return None
        if not all(isinstance(d, int) for d in (*lengths, *wanted)):
            return _averaged_open(g, input, lengths, wanted)
        if all(size % w == 0 for size, w in zip(lengths, wanted, strict=True)):
            kernel = [size // w for size, w in zip(lengths, wanted, strict=True)]
            return unbatched(g, g.add("AveragePool", batched(g, input, n), kernel_shape=kernel, strides=kernel), input, n)
        x = input
        for place, (size, w) in enumerate(zip(lengths, wanted, strict=True)):
            if size != w:
                x = _averaged(g, x, place - n, size, w, input.ndim)
        return x

    @converter(
        f"adaptive_max_pool{n}d",
        cases=[
            case(f"F.adaptive_max_pool{n}d(x, 1)", "GlobalMaxPool", x=image),
            case(f"F.adaptive_max_pool{n}d(x, 2)", "MaxPool", x=(2, 4, 6, 8, 4)[: n + 2]),
        ],
    )
    def adaptive_max_pool(g: Graph, input: Value, output_size: Any, return_indices: bool) -> Any:
        if input.dtype not in _FLOATS:
            return None
        lengths, wanted = input.known_shape[-n:], _wanted(output_size, input, n)
        if all(w == 1 for w in wanted) and input.ndim == n + 2 and not return_indices:
            return g.add("GlobalMaxPool", input)
        if 0 in wanted:
            return None
        if not all(isinstance(d, int) for d in (*lengths, *wanted)):
            return _greatest_open(g, input, lengths, wanted, return_indices)
        if all(size % w == 0 for size, w in zip(lengths, wanted, strict=True)):
            kernel = tuple(size // w for size, w in zip(lengths, wanted, strict=True))
            return CONVERTERS[f"max_pool{n}d"](g, input, kernel, None, 0, 1, False, return_indices)
        if return_indices:
            return None
        x = input
        for place, (size, w) in enumerate(zip(lengths, wanted, strict=True)):
            x = _greatest(g, x, input.ndim + place - n, size, w)
        return x


def _wanted(output_size: Any, input: Value, n: int) -> list[Any]:
    sizes = [output_size] * n if output_size is None or isinstance(output_size, int) else list(output_size)
    sizes = sizes * n if len(sizes) == 1 else sizes
    return [length if size is None else size for size, length in zip(sizes, input.known_shape[-n:], strict=True)]


def _windows(size: int, count: int) -> list[range]:
    """The elements of each window of adaptive pooling."""
    return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _averaged(g: Graph, x: Value, axis: int, size: int, count: int, ndim: int) -> Value:
    """Means of windows along an axis counted from the end, as a product with a matrix."""
    matrix = np.zeros((size, count), x.dtype)
    for i, window in enumerate(_windows(size, count)):
        matrix[window.start : window.stop, i] = 1 / len(window)
    if axis == -1:
        return g.add("MatMul", x, g.constant(matrix))
    if axis == -2:
        return g.add("MatMul", g.constant(np.ascontiguousarray(matrix.T)), x)
    letters = "abcdefgh"[:ndim]
    old = letters[axis]
    return g.add("Einsum", x, g.constant(matrix), equation=f"{letters},{old}z->{letters.replace(old, 'z')}")


def _greatest(g: Graph, x: Value, axis: int, size: int, count: int) -> Value:
    """Maxima of windows along an axis: their elements side by side, the last of a shorter window repeated."""
    windows = _windows(size, count)
    longest = max(map(len, windows))
    places = np.array([[window[min(i, len(window) - 1)] for i in range(longest)] for window in windows], np.int64)
    shape = [*x.known_shape[:axis], count, longest, *x.known_shape[axis + 1 :]]
    gathered = g.add("Gather", x, g.constant(places), axis=axis, shape=shape)
    return reduced(g, "ReduceMax", gathered, axis + 1, False)


# --- windows of dimensions that are open --------------------------------------------------------------------------------


def _bounds(g: Graph, size: Any, count: Any) -> Iterator[Value]:
    """Where each window starts and stops, as int64 vectors."""
    zero, one = g.constant(np.int64(0)), g.constant(np.int64(1))
    number = g.add("Range", zero, g.scalar_dim(count), one, shape=(count,))
    start = g.add("Mul", number, g.dim(size), shape=(count,))
    behind = g.add("Add", g.add("Add", start, g.dim(size), shape=(count,)), g.dim(count - 1), shape=(count,))
    return (g.add("Div", x, g.dim(count), shape=(count,)) for x in (start, behind))


def _averaged_open(g: Graph, x: Value, lengths: Any, wanted: list[Any]) -> Value:
    """Means along each dimension, as products with matrices that are made while the model runs."""
    shape = list(x.known_shape)
    for axis, (size, count) in enumerate(zip(lengths, wanted, strict=True), x.ndim - len(wanted)):
        if str(size) == str(count):
            continue
        starts, stops = _bounds(g, size, count)
        places = g.unsqueeze(g.add("Range", g.constant(np.int64(0)), g.scalar_dim(size), g.constant(np.int64(1)), shape=(size,)), [1])
        inside = g.add(
            "And", g.add("Not", g.add("Less", places, starts, dtype=bool, shape=(size, count))), g.add("Less", places, stops, dtype=bool, shape=(size, count)),
            shape=(size, count),
        )  # fmt: skip
        width = g.cast(g.add("Sub", stops, starts, shape=(count,)), x.dtype)
        matrix = g.add("Div", g.cast(inside, x.dtype), width, shape=(size, count))
        letters = "abcdefgh"[: x.ndim]
        shape[axis] = count
        x = g.add("Einsum", x, matrix, equation=f"{letters},{letters[axis]}z->{letters.replace(letters[axis], 'z')}", shape=list(shape))
    return x


def _greatest_open(g: Graph, input: Value, lengths: Any, wanted: list[Any], return_indices: bool) -> Any:
    """Maxima of windows that are gathered along every dimension; the last element of a shorter window stands for those that it lacks."""
    n, lead, x = len(wanted), input.ndim - len(wanted), input
    shape, places, longest = list(input.known_shape[:lead]), [], []
    for number, (size, count) in enumerate(zip(lengths, wanted, strict=True)):
        width = (size + count - 1) // count + 1
        starts, stops = _bounds(g, size, count)
        steps = g.add("Range", g.constant(np.int64(0)), g.scalar_dim(width), g.constant(np.int64(1)), shape=(width,))
        last = g.unsqueeze(g.add("Sub", stops, g.ints(1), shape=(count,)), [1])
        windows = g.add("Min", g.add("Add", g.unsqueeze(starts, [1]), steps, shape=(count, width)), last, shape=(count, width))
        shape += [count, width]
        x = g.add("Gather", x, windows, axis=lead + 2 * number, shape=[*shape, *lengths[number + 1 :]])
        places.append(windows)
        longest.append(width)
    order = [*range(lead), *(lead + 2 * i for i in range(n)), *(lead + 2 * i + 1 for i in range(n))]
    x = g.reshape(g.transpose(x, order), [*shape[:lead], *wanted, math.prod(longest)])
    if not return_indices:
        return reduced(g, "ReduceMax", x, -1, False)
    best = g.add("ArgMax", x, axis=-1, keepdims=1, dtype=np.int64, shape=[*shape[:lead], *wanted, 1])
    flat = places[0]  # in the plane, of each element of each window
    for i in range(1, n):
        flat = g.add("Mul", flat, g.dim(lengths[i]), shape=flat.shape)
        flat = g.add("Add", g.unsqueeze(flat, [2 * i, 2 * i + 1]), places[i], shape=[*flat.known_shape, *places[i].known_shape])
    flat = g.transpose(flat, [*(2 * i for i in range(n)), *(2 * i + 1 for i in range(n))])
    flat = g.expand(g.reshape(flat, [*wanted, math.prod(longest)]), x.known_shape)
    values = g.add("GatherElements", x, best, axis=-1, shape=best.shape)
    found = g.add("GatherElements", flat, best, axis=-1, shape=best.shape)
    return g.squeeze(values, [-1]), g.squeeze(found, [-1])


for _n in (1, 2, 3):
    _adaptive(_n)
