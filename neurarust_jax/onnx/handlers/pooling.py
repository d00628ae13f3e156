"""Pools: the maximum, mean or norm of each window, and maxima put back where they came from."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...ops.common import cast
from ...ops.nn.extremes import windows_of
from ...ops.nn.pooling import wide, window_sums
from ...ops.nn.sliding import every, extend
from ..registry import handler
from ..values import apply, shape_of
from .shaping import ints
from .windows import Windows, windows_of_node


@handler("MaxPool")
def max_pool(node, x):
    windows = windows_of_node(node, shape_of(x)[2:], node.get("kernel_shape"))
    if len(node.outputs) < 2 or not node.outputs[1]:
        return apply(_max_pool, x, windows=windows)
    return apply(_max_pool_with_places, x, windows=windows, by_columns=bool(node.get("storage_order", 0)))


def _reach(w: Windows, sizes: Any) -> list[tuple[int, int]]:
    """Padding such that the last window ends within it."""
    spans = [d * (k - 1) + 1 for d, k in zip(w.dilation, w.kernel, strict=True)]
    return [
        (before, max(0, (n - 1) * s + span - size - before)) for (before, _), n, s, span, size in zip(w.pads, w.lengths, w.stride, spans, sizes, strict=True)
    ]


def _max_pool(x, windows):
    return windows_of(x, 2, windows.kernel, windows.stride, windows.dilation, _reach(windows, x.shape[2:]), windows.lengths)[0]


def _max_pool_with_places(x, windows, by_columns):
    values, places = windows_of(x, 2, windows.kernel, windows.stride, windows.dilation, _reach(windows, x.shape[2:]), windows.lengths)
    places = places.astype(jnp.int64)
    sizes = x.shape[2:]
    if by_columns:
        coordinates = jnp.unravel_index(places, sizes)
        places = functools.reduce(lambda flat, i: flat * sizes[i] + coordinates[i], range(len(sizes) - 2, -1, -1), coordinates[-1])
    maps = jnp.arange(x.shape[0] * x.shape[1]).reshape((*x.shape[:2], *(1,) * len(sizes)))
    return values, places + maps * math.prod(sizes)


@handler("AveragePool")
def average_pool(node, x):
    windows = windows_of_node(node, shape_of(x)[2:], node.get("kernel_shape"))
    return apply(_average_pool, x, windows=windows, counts_padding=bool(node.get("count_include_pad", 0)))


def _sums(x, w):
    x = extend(x, 2, _reach(w, x.shape[2:]))
    for i in reversed(range(len(w.kernel))):
        kernel, stride, dilation, length = w.kernel[i], w.stride[i], w.dilation[i], w.lengths[i]
        if dilation == 1:
            x = window_sums(x, 2 + i, kernel, stride, length)
        else:
            x = functools.reduce(jnp.add, [every(x, 2 + i, k * dilation, stride, length) for k in range(kernel)])
    return x


def _average_pool(x, windows, counts_padding):
    counts = []
    for size, kernel, stride, dilation, (before, after), length in zip(x.shape[2:], *windows, strict=True):
        taps = np.arange(length)[:, None] * stride - before + np.arange(kernel) * dilation
        inside = (taps < size + after) if counts_padding else (taps >= 0) & (taps < size)
        counts.append(np.maximum(inside.sum(1), 1))
    count = functools.reduce(np.multiply.outer, counts)
    sums = _sums(wide(x), windows)
    return cast(sums / np.asarray(count, sums.dtype), x.dtype)


@handler("LpPool")
def lp_pool(node, x):
    return apply(_lp_pool, x, windows=windows_of_node(node, shape_of(x)[2:], node.get("kernel_shape")), p=float(node.get("p", 2)))


def _lp_pool(x, windows, p):
    return cast(_root(_sums(jnp.abs(wide(x)) ** p, windows), p), x.dtype)


def _root(sums, p):
    """The p-th root, whose gradient at 0 is taken as 0."""
    return jnp.where(sums == 0, 0, jnp.where(sums == 0, 1, sums) ** (1 / p))


# --- over everything -------------------------------------------------------------------------------------------------


@handler("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node, x):
    return apply(_global_mean if node.op_type == "GlobalAveragePool" else _global_max, x)


def _global_mean(x):
    return jnp.mean(x, tuple(range(2, x.ndim)), keepdims=True)


def _global_max(x):
    return jnp.max(x, tuple(range(2, x.ndim)), keepdims=True)


@handler("GlobalLpPool")
def global_lp_pool(node, x):
    return apply(_global_norm, x, p=float(node.get("p", 2)))


def _global_norm(x, p):
    return cast(_root(jnp.sum(jnp.abs(wide(x)) ** p, tuple(range(2, x.ndim)), keepdims=True), p), x.dtype)


# --- back ------------------------------------------------------------------------------------------------------------


@handler("MaxUnpool", static=("output_shape",))
def max_unpool(node, x, places, output_shape=None):
    shape, kernel = shape_of(x), node.get("kernel_shape")
    n = len(kernel)
    strides, pads = node.get("strides") or [1] * n, node.get("pads") or [0] * (2 * n)
    sizes = [(length - 1) * s + k - pads[i] - pads[i + n] for i, (length, s, k) in enumerate(zip(shape[2:], strides, kernel, strict=True))]
    full = (*shape[:2], *sizes)
    return apply(_max_unpool, x, places, full=full, shape=full if output_shape is None else ints(output_shape))


def _max_unpool(x, places, full, shape):
    """The places count the elements of the least output that the pool could have come from; a larger one is filled up with zeros."""
    y = jnp.zeros(math.prod(full), x.dtype).at[places.reshape(-1)].set(x.reshape(-1)).reshape(full)
    return extend(y, 0, [(0, want - have) for want, have in zip(shape, full, strict=True)])
