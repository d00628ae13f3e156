"""Lowering of reductions over windows: pooling operators where they fit, slices that are combined otherwise."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand, is_static
from ..support import carrier
from .elementwise import dtype_of
from .reduction import identity_of
from .registry import lowers
from .shaping import pad

_COMBINE = {"reduce_window_max": "Max", "reduce_window_min": "Min", "reduce_window_sum": "Add"}


@lowers(*_COMBINE)
def _reduce_window(g: Emitter, equation: Any, x: Operand) -> Operand:
    name, dtype, p = equation.primitive.name, dtype_of(equation), equation.params
    pooled = _pooled(g, equation, x) if dtype.kind in "fV" else None
    if pooled is not None:
        return pooled
    start = np.zeros((), dtype) if name == "reduce_window_sum" else identity_of(name, dtype)
    op_type = _COMBINE[name]
    return _by_slices(g, x, start, equation, dtype, lambda a, b: g.op(op_type, dtype, a, b), p)


def _pooled(g: Emitter, equation: Any, x: Operand) -> Operand | None:
    """MaxPool or AveragePool, if the window, its padding and the type are such as they take."""
    name, dtype, p = equation.primitive.name, dtype_of(equation), equation.params
    window, strides, padding, dilation = p["window_dimensions"], p["window_strides"], p["padding"], p["window_dilation"]
    moving = [d for d in range(len(window)) if window[d] != 1 or strides[d] != 1 or tuple(padding[d]) != (0, 0)]
    fixed = [d for d in range(len(window)) if d not in moving]
    while len(fixed) > 2:
        moving = sorted([*moving, fixed.pop()])
    average = name == "reduce_window_sum"
    if len(fixed) != 2 or len(moving) > 3 or any(n != 1 for n in p["base_dilation"]) or not is_static(window):
        return None
    if any(low < 0 or high < 0 or max(low, high) >= window[d] for d in moving for low, high in [padding[d]]):
        return None
    if average and (dtype.name == "float64" or (g.opset < 19 and any(n != 1 for n in dilation))):
        return None
    order = [*fixed, *moving]
    op_type = "AveragePool" if average else "MaxPool"
    inner = carrier(op_type, dtype, {})
    attributes: dict[str, Any] = {"kernel_shape": [int(window[d]) for d in moving], "strides": [int(strides[d]) for d in moving]}
    attributes["pads"] = [int(padding[d][0]) for d in moving] + [int(padding[d][1]) for d in moving]
    if any(n != 1 for n in dilation):
        attributes["dilations"] = [int(dilation[d]) for d in moving]
    x = g.cast(g.transpose(x, order), dtype, inner)
    if name == "reduce_window_min":
        y = g.node("Neg", g.node("MaxPool", g.node("Neg", x), **attributes))
    elif average:
        y = g.node("AveragePool", x, count_include_pad=1, **attributes)
        y = g.node("Mul", y, np.asarray(np.prod([window[d] for d in moving]), inner))
    else:
        y = g.node("MaxPool", x, **attributes)
    back = [order.index(d) for d in range(len(order))]
    return g.transpose(g.cast(y, inner, dtype), back)


def _by_slices(g: Emitter, x: Operand, start: np.ndarray, equation: Any, dtype: np.dtype, combine: Any, p: Any) -> Operand:
    """One dimension after the other: the slices that the places in the window see, combined."""
    shape = equation.invars[0].aval.shape
    config = [(low, high, between - 1) for (low, high), between in zip(p["padding"], p["base_dilation"], strict=True)]
    if any(any(c) for c in config):
        x = pad(g, x, start, shape, config, dtype)
    for axis, length in enumerate(equation.outvars[0].aval.shape):
        window, stride, dilation = p["window_dimensions"][axis], p["window_strides"][axis], p["window_dilation"][axis]
        if window == 1 and stride == 1:
            continue
        slices = []
        for place in range(window):
            first = place * dilation
            slices.append(g.slice(x, [first], [first + (length - 1) * stride + 1], [axis], [stride]))
        x = functools.reduce(combine, slices)
    return x


@lowers("reduce_window")
def _reduce_window_by_function(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    if len(inputs) != 2:
        raise g.unsupported("reduce_window over several arrays at once has no form in ONNX")
    x, start = inputs
    p, aval = equation.params, equation.invars[0].aval
    jaxpr = p["jaxpr"]

    def combine(a: Operand, b: Operand) -> Operand:
        def elementwise(a, b):
            flat = jax.vmap(lambda u, v: jax.core.eval_jaxpr(getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", p.get("consts", ())), u, v)[0])
            return flat(a.reshape(-1), b.reshape(-1)).reshape(a.shape)

        return g.trace(elementwise, [shapes[0], shapes[0]], a, b)

    shapes = [equation.outvars[0].aval]
    if not isinstance(start, np.ndarray):
        raise g.unsupported("reduce_window whose initial value is computed has no form in ONNX")
    moving = [d for d, n in enumerate(p["window_dimensions"]) if n > 1]
    if len(moving) > 1 and not is_static(aval.shape):
        raise g.unsupported("reduce_window by a function over dynamic dimensions has no form in ONNX")
    return [_over_places(g, x, start, equation, np.dtype(aval.dtype), combine)]


def _over_places(g: Emitter, x: Operand, start: np.ndarray, equation: Any, dtype: np.dtype, combine: Any) -> Operand:
    p = equation.params
    config = [(low, high, between - 1) for (low, high), between in zip(p["padding"], p["base_dilation"], strict=True)]
    if any(any(c) for c in config):
        x = pad(g, x, start, equation.invars[0].aval.shape, config, dtype)
    shape = equation.outvars[0].aval.shape
    total = g.expand(start, shape, (), dtype)
    for place in np.ndindex(*p["window_dimensions"]):
        starts = [k * d for k, d in zip(place, p["window_dilation"], strict=True)]
        ends = [first + (n - 1) * s + 1 for first, n, s in zip(starts, shape, p["window_strides"], strict=True)]
        total = combine(total, g.slice(x, starts, ends, range(len(shape)), p["window_strides"]))
    return total


@lowers("select_and_scatter_add")
def _select_and_scatter_add(g: Emitter, equation: Any, source: Operand, operand: Operand) -> Operand:
    """The gradient of max pooling: each element of `source` goes to the first greatest (or least) element of its window."""
    p = equation.params
    least = "le" in p["select_prim"].name
    window, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]

    def scattered(source, operand):
        fill = jnp.asarray(identity_of("min" if least else "max", np.dtype(operand.dtype)))
        padded = jax.lax.pad(operand, fill, [(low, high, 0) for low, high in padding])
        total = jnp.zeros(padded.shape, source.dtype)
        best, slices = None, []
        for place in np.ndindex(*window):
            limits = [k + (n - 1) * s + 1 for k, n, s in zip(place, source.shape, strides, strict=True)]
            slices.append((place, limits, jax.lax.slice(padded, place, limits, strides)))
        for _, _, part in slices:
            best = part if best is None else (jnp.minimum if least else jnp.maximum)(best, part)
        free = jnp.ones(source.shape, bool)
        for place, _limits, part in slices:
            chosen = free & (part == best)
            free = free & ~chosen
            spread = [(k, n - k - ((m - 1) * s + 1), s - 1) for k, n, m, s in zip(place, padded.shape, source.shape, strides, strict=True)]
            total = total + jax.lax.pad(jnp.where(chosen, source, 0).astype(source.dtype), jnp.zeros((), source.dtype), spread)
        inner = [(low, n - high) for n, (low, high) in zip(padded.shape, padding, strict=True)]
        return jax.lax.slice(total, [a for a, _ in inner], [b for _, b in inner])

    return g.trace(scattered, [v.aval for v in equation.invars], source, operand)
