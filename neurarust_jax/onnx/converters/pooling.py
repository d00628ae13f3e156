"""Pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .convolution import batched, tuple_of, unbatched, unless
from .elementwise import number

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
            return _averaged_past_the_end(g, input, kernel, _strides(stride, kernel, n), pads, count_include_pad, divisor_override)
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
        if input.dtype != np.float32:
            return None
        kernel = tuple_of(kernel_size, n)
        x = batched(g, input, n)
        strides = _strides(stride, kernel, n)
        ceil = 1 if ceil_mode else None
        if norm_type % 2 == 0 and not ceil_mode:
            return unbatched(g, g.add("LpPool", x, p=int(norm_type), kernel_shape=kernel, strides=strides), input, n)
        if math.isinf(norm_type):
            return unbatched(g, g.add("MaxPool", g.add("Abs", x), kernel_shape=kernel, strides=strides, ceil_mode=ceil), input, n) if norm_type > 0 else None
        mean = g.add("AveragePool", g.add("Pow", x, number(g, norm_type, x.dtype)), kernel_shape=kernel, strides=strides, ceil_mode=ceil)
        total = g.add("Mul", mean, number(g, math.prod(kernel), x.dtype))
        return unbatched(g, g.add("Pow", total, number(g, 1 / norm_type, x.dtype)), input, n)


def _averaged_past_the_end(
    g: Graph, input: Value, kernel: list[int], strides: list[int], pads: list[int], count_include_pad: bool, divisor: int | None
) -> Value:
    """Means of windows of which the last may reach past the end, as PyTorch counts: what lies in the padding counts, what lies beyond it does not."""
    n = len(kernel)
    lead, lengths = input.ndim - n, input.known_shape[-n:]
    behind = pads if divisor is None else [p + k + s for p, k, s in zip(pads, kernel, strides, strict=True)]  # sums may as well run over zeros
    padded = g.add(
        "Pad", input, g.ints(*[0] * lead, *pads, *[0] * lead, *behind), mode="constant",
        shape=[*input.known_shape[:lead], *(size + p + b for size, p, b in zip(lengths, pads, behind, strict=True))],
    )  # fmt: skip
    if divisor is not None or count_include_pad:
        output = g.add("AveragePool", batched(g, padded, n), kernel_shape=kernel, strides=strides, ceil_mode=1 if divisor is None else None)
    else:
        output = g.add("AveragePool", batched(g, input, n), kernel_shape=kernel, strides=strides, pads=pads * 2, ceil_mode=1)
    if divisor is not None:
        output = g.add("Mul", output, number(g, math.prod(kernel) / divisor, input.dtype))
    output = unbatched(g, output, input, n)
    for axis, (length, k, s, p) in enumerate(zip(g.results[0].shape[lead:], kernel, strides, pads, strict=True), lead):
        if divisor is not None or s > k - p:  # else no window begins in what was added behind
            output = g.slice(output, axis, 0, length)
    return output


for _n in (1, 2, 3):
    _pooling(_n)
