"""Lowering of reductions over whole dimensions, and of the places of extremes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand, is_static
from .elementwise import dtype_of
from .registry import lowers

_REDUCTIONS = {"reduce_sum": ("ReduceSum", 0), "reduce_prod": ("ReduceProd", 1), "reduce_max": ("ReduceMax", None), "reduce_min": ("ReduceMin", None)}


def identity_of(name: str, dtype: np.dtype) -> np.ndarray:
    """The element that changes nothing in a maximum or minimum."""
    if dtype.kind == "b":
        return np.asarray("min" in name)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(limits.min if "max" in name else limits.max, dtype)
    return np.asarray(-np.inf if "max" in name else np.inf, dtype)


@lowers(*_REDUCTIONS)
def _reduce(g: Emitter, equation: Any, x: Operand) -> Operand:
    name, dtype, axes = equation.primitive.name, dtype_of(equation), equation.params["axes"]
    op_type, start = _REDUCTIONS[name]
    shape = equation.invars[0].aval.shape
    if not is_static(equation.outvars[0].aval.shape) or 0 not in shape:
        if dtype.kind == "b":
            return g.cast(g.reduce(op_type, g.cast(x, bool, np.uint8), axes, np.uint8), np.uint8, bool)
        return g.reduce(op_type, x, axes, dtype)
    start = identity_of(name, dtype) if start is None else np.asarray(start, dtype)
    return np.broadcast_to(start, equation.outvars[0].aval.shape)


@lowers("reduce_and", "reduce_or", "reduce_xor")
def _reduce_logic(g: Emitter, equation: Any, x: Operand) -> Operand:
    name, dtype, axes = equation.primitive.name, dtype_of(equation), equation.params["axes"]
    if dtype.kind != "b":
        return _reduce_bits(g, equation, x)
    if is_static(equation.outvars[0].aval.shape) and 0 in equation.invars[0].aval.shape:
        return np.broadcast_to(np.asarray(name == "reduce_and"), equation.outvars[0].aval.shape)
    if name == "reduce_xor":
        total = g.reduce("ReduceSum", g.cast(x, bool, np.int32), axes, np.int32)
        return g.cast(g.op("Mod", np.int32, total, np.asarray(2, np.int32)), np.int32, bool)
    if g.opset >= 20:
        return g.node("ReduceMin" if name == "reduce_and" else "ReduceMax", x, np.asarray([int(a) for a in axes], np.int64), keepdims=0) if axes else x
    return g.cast(g.reduce("ReduceMin" if name == "reduce_and" else "ReduceMax", g.cast(x, bool, np.uint8), axes, np.uint8), np.uint8, bool)


def _reduce_bits(g: Emitter, equation: Any, x: Operand) -> Operand:
    """Halves that are combined until one is left."""
    combine = {"reduce_and": jnp.bitwise_and, "reduce_or": jnp.bitwise_or, "reduce_xor": jnp.bitwise_xor}[equation.primitive.name]
    aval, axes = equation.invars[0].aval, [int(a) for a in equation.params["axes"]]
    if not is_static([aval.shape[a] for a in axes]):
        raise g.unsupported(f"{equation.primitive.name} of integers along a dynamic dimension has no form in ONNX")

    def reduced(x):
        x = jnp.moveaxis(x, axes, range(len(axes))).reshape(-1, *(n for d, n in enumerate(x.shape) if d not in axes))
        while x.shape[0] > 1:
            half = x.shape[0] // 2
            x = jnp.concatenate([combine(x[:half], x[half : 2 * half]), x[2 * half :]])
        return x[0]

    return g.trace(reduced, [aval], x)


@lowers("reduce")
def _reduce_by_function(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    """A reduction by a function of the user's: a loop over the elements."""
    count = len(inputs) // 2
    axes = [int(d) for d in equation.params["dimensions"]]
    body = equation.params["jaxpr"]
    consts = equation.params.get("consts", ())

    def reduced(*arrays):
        arrays, starts = arrays[:count], arrays[count:]
        moved = [jnp.moveaxis(a, axes, range(len(axes))).reshape(-1, *(n for d, n in enumerate(a.shape) if d not in axes)) for a in arrays]
        carry = tuple(jnp.broadcast_to(s, m.shape[1:]) for s, m in zip(starts, moved, strict=True))

        def combined(*elements):
            closed = body if hasattr(body, "consts") else None
            return jax.core.eval_jaxpr(body.jaxpr if closed else body, body.consts if closed else consts, *elements)

        for _ in range(moved[0].ndim - 1):
            combined = jax.vmap(combined)
        return jax.lax.scan(lambda c, x: (tuple(combined(*c, *x)), None), carry, tuple(moved))[0]

    outputs = g.trace(reduced, [v.aval for v in equation.invars], *inputs)
    return outputs if isinstance(outputs, list) else [outputs]


@lowers("argmax", "argmin")
def _arg_extreme(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype, (axis,) = dtype_of(equation), equation.params["axes"]
    if dtype.kind == "b":
        x, dtype = g.cast(x, bool, np.uint8), np.dtype(np.uint8)
    op_type = "ArgMax" if equation.primitive.name == "argmax" else "ArgMin"
    found = g.op(op_type, dtype, x, result=np.int64, axis=int(axis), keepdims=0)
    return g.cast(found, np.int64, equation.params["index_dtype"])
