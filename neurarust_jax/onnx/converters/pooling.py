"""Pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .convolution import batched, tuple_of, unbatched, unless
from .elementwise import number
from .reduction import reduced

_FLOATS = (np.float16, np.float32, np.float64)


def _strides(stride: Any, kernel: list[int], n: int) -> list[int]:
    return kernel if stride is None or stride == () else tuple_of(stride, n)


def _pooling(n: int) -> None:
    image = (2, 4, 7, 8, 6)[: n + 2]

    @converter(
        f"max_pool{n}d",
        cases=[
            case(f"F.max_pool{n}d(x, 3, 2, 1)", "MaxPool", x=image),
            case(f"F.max_pool{n}d(x, 2, ceil_mode=True)", "MaxPool", x=image),
            case(f"F.max_pool{n}d(x, 2, return_indices=True)", "MaxPool Mod", x=image),
        ],
    )
    def max_pool(g: Graph, input: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool) -> Any:
        if input.dtype not in (*_FLOATS, np.int8, np.uint8):
            return None
        kernel = tuple_of(kernel_size, n)
        x = batched(g, input, n)
        outputs = g.add_many(
            "MaxPool", [x], [(input.dtype, None), (np.dtype(np.int64), None)] if return_indices else [(input.dtype, None)], kernel_shape=kernel,
            strides=_strides(stride, kernel, n), pads=unless(tuple_of(padding, n) * 2, 0), dilations=unless(tuple_of(dilation, n), 1),
            ceil_mode=1 if ceil_mode else None,
        )  # fmt: skip
        values = unbatched(g, outputs[0], input, n)
        if not return_indices:
            return values
        plane = math.prod(input.known_shape[-n:])  # ONNX counts through the whole tensor, PyTorch within a plane
        count = g.constant(np.int64(plane)) if isinstance(plane, int) else g.scalar_dim(plane)
        return values, unbatched(g, g.add("Mod", outputs[1], count), input, n)

    @converter(
        f"avg_pool{n}d",
        cases=[
            case(f"F.avg_pool{n}d(x, 3, 2, 1)", "AveragePool", x=image),
            case(f"F.avg_pool{n}d(x, 2, padding=1, count_include_pad=False)", "AveragePool", x=image),
        ],
    )
    def avg_pool(
        g: Graph, input: Value, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None = None
    ) -> Value | None:
        if input.dtype not in _FLOATS:
            return None
        kernel, pads = tuple_of(kernel_size, n), tuple_of(padding, n)
        if ceil_mode and (divisor_override is not None or any(pads)):
            return None
        include = divisor_override is not None or (count_include_pad and any(pads))
        output = g.add(
            "AveragePool", batched(g, input, n), kernel_shape=kernel, strides=_strides(stride, kernel, n), pads=unless(pads * 2, 0),
            ceil_mode=1 if ceil_mode else None, count_include_pad=1 if include else None,
        )  # fmt: skip
        if divisor_override is not None:
            output = g.add("Mul", output, number(g, math.prod(kernel) / divisor_override, input.dtype))
        return unbatched(g, output, input, n)

    @converter(f"lp_pool{n}d", cases=[case(f"F.lp_pool{n}d(x, 2, 2)", "LpPool", x=image)])
    def lp_pool(g: Graph, input: Value, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Value | None:
        if input.dtype != np.float32 or ceil_mode:
            return None
        kernel = tuple_of(kernel_size, n)
        x = batched(g, input, n)
        strides = _strides(stride, kernel, n)
        if norm_type % 2 == 0:
            return unbatched(g, g.add("LpPool", x, p=int(norm_type), kernel_shape=kernel, strides=strides), input, n)
        if math.isinf(norm_type):
            return unbatched(g, g.add("MaxPool", g.add("Abs", x), kernel_shape=kernel, strides=strides), input, n) if norm_type > 0 else None
        mean = g.add("AveragePool", g.add("Pow", x, number(g, norm_type, x.dtype)), kernel_shape=kernel, strides=strides)
        total = g.add("Mul", mean, number(g, math.prod(kernel), x.dtype))
        return unbatched(g, g.add("Pow", total, number(g, 1 / norm_type, x.dtype)), input, n)

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
        if not all(isinstance(d, int) for d in (*lengths, *wanted)) or 0 in wanted:
            return None
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
        if not all(isinstance(d, int) for d in (*lengths, *wanted)) or 0 in wanted:
            return None
        if all(size % w == 0 for size, w in zip(lengths, wanted, strict=True)):
            kernel = tuple(size // w for size, w in zip(lengths, wanted, strict=True))
            return max_pool(g, input, kernel, None, 0, 1, False, return_indices)
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


for _n in (1, 2, 3):
    _pooling(_n)
