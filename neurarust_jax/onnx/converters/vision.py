"""Resizing, sampling on grids, and sliding blocks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import numpy as np

from ..builder import Graph, Value
from ..lowering import CONVERTERS, SHAPES, case, converter
from .convolution import tuple_of

_WEIGHTED = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}


@converter(
    "interpolate",
    cases=[
        case("F.interpolate(x, scale_factor=2)", "Resize", x=(1, 2, 3, 4)),
        case("F.interpolate(x, size=(5, 7), mode='bilinear')", "Resize", x=(1, 2, 3, 4)),
        case("F.interpolate(x, scale_factor=1.7, mode='bicubic', align_corners=True)", "Resize", x=(1, 2, 3, 4)),
        case("F.interpolate(x, size=5, mode='linear')", "Resize", x=(1, 2, 3)),
        case("F.interpolate(x, size=(2, 2), mode='area')", "AveragePool", x=(1, 2, 4, 4)),
    ],
)
def interpolate(
    g: Graph, input: Value, size: Any, scale_factor: Any, mode: str, align_corners: bool | None, recompute_scale_factor: bool | None, antialias: bool
) -> Value | None:
    n = input.ndim - 2
    lengths = g.results[0].shape[2:]
    if mode == "area":
        return CONVERTERS[f"adaptive_avg_pool{n}d"](g, input=input, output_size=tuple(lengths))
    if antialias or input.dtype not in (np.float16, np.float32, np.float64):
        return None
    attributes = _attributes(mode, bool(align_corners))
    by_factor = scale_factor is not None and not recompute_scale_factor and not align_corners
    if by_factor:
        factors = list(scale_factor) if isinstance(scale_factor, tuple) else [scale_factor] * n
        scales, sizes = g.constant(np.array([1.0, 1.0, *factors], np.float32)), None
    else:
        scales, sizes = None, g.shape_vector((*input.known_shape[:2], *lengths))
    return g.add(
        "Resize", input, None, scales, sizes, mode=attributes["mode"], coordinate_transformation_mode=attributes["coordinates"], nearest_mode=attributes.get("nearest"),
        cubic_coeff_a=attributes.get("a"),
    )  # fmt: skip


def _resized(input: Any, size: Any, scale_factor: Any, **_: Any) -> Any:
    """The output's type. A factor such as 0.7 is taken for the fraction 7/10 that it stands for: its own value would round some lengths down by one."""
    if scale_factor is None or size is not None:
        return None
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * (input.ndim - 2)
    fractions = [Fraction(float(f)).limit_denominator(1000) for f in factors]
    lengths = [n * f.numerator // f.denominator for n, f in zip(input.shape[2:], fractions, strict=True)]
    return jax.ShapeDtypeStruct((*input.shape[:2], *lengths), input.dtype)


SHAPES["interpolate"] = _resized


def _attributes(mode: str, align_corners: bool) -> dict[str, Any]:
    if mode == "nearest":
        return {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor"}
    if mode == "nearest-exact":
        return {"mode": "nearest", "coordinates": "half_pixel", "nearest": "round_prefer_ceil"}
    found = {"mode": _WEIGHTED[mode], "coordinates": "align_corners" if align_corners else "half_pixel"}
    return {**found, "a": -0.75} if mode == "bicubic" else found


@converter(
    "grid_sample",
    cases=[
        case("F.grid_sample(x, y)", "GridSample", x=(1, 2, 3, 4), y=(1, 2, 2, 2)),
        case("F.grid_sample(x, y, mode='nearest', padding_mode='border', align_corners=True)", "GridSample", 20, x=(1, 2, 3, 4), y=(1, 2, 2, 2)),
    ],
)
def grid_sample(g: Graph, input: Value, grid: Value, mode: str, padding_mode: str, align_corners: bool | None) -> Value | None:
    if g.opset < 20 and input.ndim != 4:
        return None
    if g.opset >= 20:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return g.add("GridSample", input, grid, mode=mode, padding_mode=padding_mode, align_corners=int(bool(align_corners)))


@converter("affine_grid", cases=[case("F.affine_grid(x, (2, 3, 4, 5))", "AffineGrid", 20, x=(2, 2, 3))])
def affine_grid(g: Graph, theta: Value, size: Any, align_corners: bool | None) -> Value | None:
    return g.add("AffineGrid", theta, g.shape_vector(size), align_corners=int(bool(align_corners))) if g.opset >= 20 else None


# --- sliding blocks ------------------------------------------------------------------------------------------------------


def _steps(size: int, kernel: int, dilation: int, padding: int, stride: int) -> np.ndarray:
    """For each element of the block the places that it visits along a padded dimension."""
    count = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return np.arange(kernel)[:, None] * dilation + np.arange(count)[None] * stride


@converter("unfold", cases=[case("F.unfold(x, (2, 3), padding=1)", "Gather Gather Pad Reshape Transpose", x=(2, 3, 4, 5))])
def unfold(g: Graph, input: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value | None:
    height, width = input.known_shape[-2:]
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    kernel, dilations, pads, strides = (tuple_of(x, 2) for x in (kernel_size, dilation, padding, stride))
    x, lead = input, input.ndim - 2
    if any(pads):
        shape = [*input.known_shape[:-2], height + 2 * pads[0], width + 2 * pads[1]]
        x = g.add("Pad", input, g.ints(*[0] * lead, *pads, *[0] * lead, *pads), mode="constant", shape=shape)
    rows, columns = (_steps(s, k, d, p, t).astype(np.int64) for s, k, d, p, t in zip((height, width), kernel, dilations, pads, strides, strict=True))
    x = g.add("Gather", x, g.constant(rows), axis=lead, shape=[*x.known_shape[:lead], *rows.shape, x.known_shape[-1]])
    x = g.add("Gather", x, g.constant(columns), axis=lead + 2, shape=[*x.known_shape[:-1], *columns.shape])
    x = g.transpose(x, [*range(lead + 1), lead + 2, lead + 1, lead + 3])
    return g.reshape(x, g.results[0].shape)


@converter("fold", cases=[case("F.fold(x, (3, 4), (2, 2))", "Col2Im", x=(2, 8, 6))])
def fold(g: Graph, input: Value, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value | None:
    if g.opset < 18 or input.dtype != np.float32:
        return None
    size, kernel, dilations, pads, strides = (tuple_of(x, 2) for x in (output_size, kernel_size, dilation, padding, stride))
    blocks = g.unsqueeze(input, [0]) if input.ndim == 2 else input
    image = g.add("Col2Im", blocks, g.ints(*size), g.ints(*kernel), dilations=dilations, pads=pads * 2, strides=strides)
    return g.squeeze(image, [0]) if input.ndim == 2 else image
