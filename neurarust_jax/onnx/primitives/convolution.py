"""Lowering of convolutions: Conv, and ConvTranspose where the input is dilated."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..emitter import Emitter, Operand, is_static
from ..support import carrier
from .contraction import dot
from .elementwise import dtype_of
from .registry import lowers
from .shaping import pad


class _Convolution(NamedTuple):
    """A convolution over inputs (batch, features, ...) and kernels (output features, input features of a group, ...)."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int


@lowers("conv_general_dilated")
def _convolution(g: Emitter, equation: Any, x: Operand, w: Operand) -> Operand:
    p = equation.params
    layout = p["dimension_numbers"]
    lhs, rhs = (v.aval for v in equation.invars)
    out = equation.outvars[0].aval
    dtype = np.dtype(out.dtype)
    x = g.transpose(g.cast(x, dtype_of(equation, 0), dtype), layout.lhs_spec)
    w = g.transpose(g.cast(w, dtype_of(equation, 1), dtype), layout.rhs_spec)
    x_shape = tuple(lhs.shape[d] for d in layout.lhs_spec)
    w_shape = tuple(rhs.shape[d] for d in layout.rhs_spec)
    y_shape = tuple(out.shape[d] for d in layout.out_spec)
    convolution = _Convolution(tuple(p["window_strides"]), tuple(p["padding"]), tuple(p["lhs_dilation"]), tuple(p["rhs_dilation"]), p["feature_group_count"])
    if p["batch_group_count"] > 1:
        x, x_shape = _batch_groups_as_features(g, x, x_shape, p["batch_group_count"])
        convolution = convolution._replace(groups=p["batch_group_count"])
    y = convolve(g, x, w, x_shape, w_shape, y_shape, convolution, dtype)
    order = [0] * len(layout.out_spec)
    for place, dim in enumerate(layout.out_spec):
        order[dim] = place
    return g.transpose(y, order)


def _batch_groups_as_features(g: Emitter, x: Operand, shape: tuple, groups: int) -> tuple[Operand, tuple]:
    batch, features, *spatial = shape
    x = g.reshape(x, (groups, batch // groups, features, *spatial), shape)
    x = g.transpose(x, [1, 0, *range(2, len(shape) + 1)])
    merged = (batch // groups, groups * features, *spatial)
    return g.reshape(x, merged), merged


def convolve(g: Emitter, x: Operand, w: Operand, x_shape: tuple, w_shape: tuple, y_shape: tuple, c: _Convolution, dtype: np.dtype) -> Operand:
    """The convolution of an input (batch, features, ...)."""
    if any(n > 1 for n in c.lhs_dilation):
        y = _transposed(g, x, w, w_shape, c, dtype)
        if y is not None:
            return y
    config = [(0, 0, 0), (0, 0, 0), *((min(low, 0) if n == 1 else low, min(high, 0) if n == 1 else high, n - 1) for (low, high), n in zip(c.padding, c.lhs_dilation, strict=True))]
    kept = tuple((max(low, 0), max(high, 0)) if n == 1 else (0, 0) for (low, high), n in zip(c.padding, c.lhs_dilation, strict=True))
    if any(any(part) for part in config):
        x = pad(g, x, np.zeros((), dtype), x_shape, config, dtype)
        x_shape = tuple(n + (n - 1) * between + low + high for n, (low, high, between) in zip(x_shape, config, strict=True))
    if dtype.name not in ("float16", "float32", "bfloat16"):
        return _by_taps(g, x, w, x_shape, w_shape, y_shape, c._replace(padding=kept), dtype)
    inner = carrier("Conv", dtype, {})
    y = g.node(
        "Conv",
        g.cast(x, dtype, inner),
        g.cast(w, dtype, inner),
        kernel_shape=[int(n) for n in w_shape[2:]],
        strides=list(c.strides),
        dilations=list(c.rhs_dilation),
        group=c.groups,
        pads=[low for low, _ in kept] + [high for _, high in kept],
    )
    return g.cast(y, inner, dtype)


def _transposed(g: Emitter, x: Operand, w: Operand, w_shape: tuple, c: _Convolution, dtype: np.dtype) -> Operand | None:
    """A convolution over a dilated input as ConvTranspose with the kernel turned around; `None` where its padding is none that ConvTranspose has."""
    if any(n != 1 for n in c.strides) or dtype.name not in ("float16", "float32", "bfloat16") or not is_static(w_shape):
        return None
    reach = [d * (k - 1) for d, k in zip(c.rhs_dilation, w_shape[2:], strict=True)]
    before = [r - low for r, (low, _) in zip(reach, c.padding, strict=True)]
    after = [r - high for r, (_, high) in zip(reach, c.padding, strict=True)]
    extra = [max(-n, 0) for n in after]
    if min(before) < 0 or any(e >= max(s, d) for e, s, d in zip(extra, c.lhs_dilation, c.rhs_dilation, strict=True)):
        return None
    inner = carrier("ConvTranspose", dtype, {})
    y = g.node(
        "ConvTranspose",
        g.cast(x, dtype, inner),
        _turned(g, g.cast(w, dtype, inner), w_shape, c.groups),
        kernel_shape=[int(n) for n in w_shape[2:]],
        strides=list(c.lhs_dilation),
        dilations=list(c.rhs_dilation),
        group=c.groups,
        pads=before + [max(n, 0) for n in after],
        output_padding=extra if any(extra) else None,
    )
    return g.cast(y, inner, dtype)


def _turned(g: Emitter, w: Operand, shape: tuple, groups: int) -> Operand:
    """A kernel (output, input of a group, ...) as (input, output of a group, ...), reversed in space."""
    out, inputs, *spatial = shape
    axes = list(range(2, len(shape)))
    w = g.slice(w, [-1] * len(axes), [-(1 << 62)] * len(axes), axes, [-1] * len(axes))
    if groups == 1:
        return g.transpose(w, [1, 0, *axes])
    w = g.reshape(w, (groups, out // groups, inputs, *spatial), shape)
    w = g.transpose(w, [0, 2, 1, *(a + 1 for a in axes)])
    return g.reshape(w, (groups * inputs, out // groups, *spatial))


def _by_taps(g: Emitter, x: Operand, w: Operand, x_shape: tuple, w_shape: tuple, y_shape: tuple, c: _Convolution, dtype: np.dtype) -> Operand:
    """A convolution in a type that runtimes have no Conv for: one product for each place in the kernel."""
    if any(any(p) for p in c.padding):
        x = pad(g, x, np.zeros((), dtype), x_shape, [(0, 0, 0), (0, 0, 0), *((*p, 0) for p in c.padding)], dtype)
    groups, out, inputs = c.groups, w_shape[0], w_shape[1]
    axes = list(range(2, len(x_shape)))
    total = None
    for tap in itertools.product(*map(range, w_shape[2:])):
        starts = [t * d for t, d in zip(tap, c.rhs_dilation, strict=True)]
        ends = [start + (n - 1) * s + 1 for start, n, s in zip(starts, y_shape[2:], c.strides, strict=True)]
        part = g.slice(x, starts, ends, axes, list(c.strides))
        part = g.reshape(part, (y_shape[0], groups, inputs, *y_shape[2:]))
        kernel = g.reshape(g.slice(w, list(tap), [t + 1 for t in tap], axes), (groups, out // groups, inputs))
        spatial = tuple(range(3, len(x_shape) + 1))
        product = dot(g, kernel, part, [(2,), (2,), (0,), (1,)], [(groups, out // groups, inputs), (y_shape[0], groups, inputs, *y_shape[2:])], dtype)
        product = g.transpose(product, [2, 0, 1, *spatial])  # from (group, output, batch, ...)
        total = product if total is None else g.op("Add", dtype, total, product)
    return g.reshape(total, y_shape)
