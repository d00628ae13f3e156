"""Convolutions, transposed ones among them. The layout is NCHW, as ONNX has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter

_FLOATS = (np.float16, np.float32, np.float64)


def tuple_of(x: Any, n: int) -> list[int]:
    """`n` ints, of one if there is one."""
    values = [x] if isinstance(x, int) else list(x)
    return values * n if len(values) == 1 else values


def batched(g: Graph, input: Value, n: int) -> Value:
    """The input with a batch dimension in front of its channels."""
    return g.unsqueeze(input, [0]) if input.ndim == n + 1 else input


def unbatched(g: Graph, output: Value, input: Value, n: int) -> Value:
    """The output without the batch dimension that the input did not have."""
    return g.squeeze(output, [0]) if input.ndim == n + 1 else output


def unless(values: list[int], default: int) -> list[int] | None:
    """An attribute that is left out if it has its default."""
    return None if all(v == default for v in values) else values


def _pads(padding: Any, dilation: list[int], window: tuple[int, ...]) -> list[int]:
    """ONNX's form: what is added before each dimension, then what after."""
    if padding == "valid":
        return [0] * (2 * len(window))
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
        return [t // 2 for t in total] + [t - t // 2 for t in total]
    return tuple_of(padding, len(window)) * 2


def _convolution(n: int) -> None:
    image = (2, 4, 7, 8, 6)[: n + 2]
    kernel = (6, 4, 3, 3, 3)[: n + 2]

    @converter(
        f"conv{n}d",
        cases=[
            case(f"F.conv{n}d(x, w, b, stride=2, padding=1)", "Conv", x=image, w=kernel, b=(6,)),
            case(f"F.conv{n}d(x, w, padding='same', dilation=2)", "Conv", x=image, w=kernel),
            case(f"F.conv{n}d(x, w)", "Conv Squeeze Unsqueeze", x=image[1:], w=kernel),
        ],
    )
    def conv(g: Graph, input: Value, weight: Value, bias: Value | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Value | None:
        if input.dtype not in _FLOATS:
            return None
        strides, dilations, window = tuple_of(stride, n), tuple_of(dilation, n), tuple(weight.known_shape[2:])
        pads = _pads(padding, dilations, window)
        output = g.add(
            "Conv", batched(g, input, n), weight, bias, kernel_shape=list(window), strides=unless(strides, 1), pads=unless(pads, 0),
            dilations=unless(dilations, 1), group=groups if groups != 1 else None,
        )  # fmt: skip
        return unbatched(g, output, input, n)

    @converter(
        f"conv_transpose{n}d",
        cases=[
            case(f"F.conv_transpose{n}d(x, w, b, stride=2, padding=1, output_padding=1)", "ConvTranspose", x=image, w=(4, 6, 3, 3, 3)[: n + 2], b=(6,)),
            case(f"F.conv_transpose{n}d(x, w, groups=2)", "ConvTranspose", x=image, w=(4, 3, 2, 2, 2)[: n + 2]),
        ],
    )
    def conv_transpose(
        g: Graph, input: Value, weight: Value, bias: Value | None, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
    ) -> Value | None:
        if input.dtype not in _FLOATS:
            return None
        output = g.add(
            "ConvTranspose", batched(g, input, n), weight, bias, kernel_shape=list(weight.known_shape[2:]), strides=unless(tuple_of(stride, n), 1),
            pads=unless(tuple_of(padding, n) * 2, 0), output_padding=unless(tuple_of(output_padding, n), 0), dilations=unless(tuple_of(dilation, n), 1),
            group=groups if groups != 1 else None,
        )  # fmt: skip
        return unbatched(g, output, input, n)


for _n in (1, 2, 3):
    _convolution(_n)
